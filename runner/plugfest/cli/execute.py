# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries one plan out: the tests in the run's namespaces, then the reports."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from rich.console import Console
from scapy.config import conf

from plugfest.cli.keep import run_kept
from plugfest.cli.prepare import provenance
from plugfest.errors import InfrastructureError, UsageError
from plugfest.report import console as summary
from plugfest.report.document import Document
from plugfest.report.write import write_reports
from plugfest.run import journal, sandbox, testbed
from plugfest.run.latest import link_latest
from plugfest.run.plan import VARIABLE, Plan, RunPlan

Planned = TypeVar("Planned", bound=Plan)


_WRITTEN = frozenset(
    {
        "--junitxml",
        "--junit-xml",
        "--basetemp",
        "--log-file",
        "--report-log",
        "--debug",
        "--pastebin-file",
        "--html",
        "--json-report-file",
    }
)
"""Options of pytest, and of common plugins, whose value is a file or folder to write."""


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        document: its report.
        status: the exit status of a command that does nothing else.
        interrupted: the signal that ended it, as ``SIGINT``, or None.
    """

    document: Document
    status: int
    interrupted: str | None


def execute(
    ready: Plan,
    console: Console,
    arguments: Sequence[str],
    user_arguments: Sequence[str],
    described: Callable[[], Mapping[str, object]] | None = None,
) -> Ended:
    """Run pytest in the run's namespaces, write the reports and print the summary.

    Args:
        ready: the plan; its output folder holds no run.
        console: for the summary.
        arguments: all of pytest's arguments.
        user_arguments: those that the user gave.
        described: returns the fields of the journal's ``run`` event; None for those of a run in guests.

    Raises:
        InfrastructureError: the run did not start.
    """
    if described is None:
        assert isinstance(ready, RunPlan)
        described = functools.partial(provenance, ready, user_arguments)
    plan_path = ready.output / "plan.json"
    journal.make_folder(ready.output)
    ready.dump(plan_path)
    payload = functools.partial(run_pytest, plan_path, tuple(arguments), keep=ready.keep)
    return carry_out(ready, console, payload, described, writable=_named_folders(user_arguments))


def carry_out(
    ready: Plan,
    console: Console,
    payload: Callable[[], int],
    described: Callable[[], Mapping[str, object]],
    *,
    writable: Sequence[Path] = (),
) -> Ended:
    """Run tests of either kind in the run's namespaces, write the reports and print the summary.

    Args:
        ready: the plan; its output folder holds no run.
        console: for the summary.
        payload: what runs the tests, and writes into the journal.
        described: returns the fields of the journal's ``run`` event.
        writable: folders that the payload may write to, beside those of the plan.

    Raises:
        InfrastructureError: the run did not start.
    """
    with journal.Journal(ready.output) as written:
        written.write("run", durable=True, **described())
    if isinstance(ready, RunPlan) and ready.kernel.config is not None:
        shutil.copyfile(ready.kernel.config, ready.output / testbed.CONFIG)
    outcome = sandbox.enter(payload, folder=ready.scratch, writable=[*ready.writable(), *writable])
    _check_started(ready, outcome.status)
    status = None if outcome.signal is None else 128 + outcome.signal
    document = write_reports(ready.output, died=_how_it_ended(outcome), status=status)
    if not ready.keep or status is not None:  # else it has printed what each of its runs found
        summary.render(document, console, folder=shown(ready.output))
    found: int = outcome.status if ready.keep else document["run"]["exit_status"]
    return Ended(document, found if status is None else status, None if outcome.signal is None else outcome.signal.name)


def _named_folders(arguments: Sequence[str]) -> list[Path]:
    """Return the folders of the files that pytest is to write, as for ``--junitxml=found.xml``; they are made, as pytest would."""
    given = [each for argument in arguments for each in argument.split("=", 1)]
    values = [value for option, value in itertools.pairwise(given) if option in _WRITTEN]
    named = [Path(os.path.expandvars(value)).expanduser().absolute().parent for value in values]
    for folder in named:
        with suppress(OSError):  # pytest says what is wrong with it
            folder.mkdir(parents=True, exist_ok=True)
    return [folder for folder in named if folder.is_dir()]


def run_pytest(plan: Path, arguments: Sequence[str], *, keep: bool) -> int:
    """Run pytest on a plan: in a fork of this process, which has imported the suite already.

    Args:
        plan: file of the plan.
        arguments: pytest's.
        keep: keep the guest, and run the tests again on request.

    Returns:
        The exit status of the process.
    """
    # scapy has read the host's interfaces and routes when it was imported, and takes default addresses from them.
    conf.ifaces.reload()
    conf.route.resync()
    conf.route6.resync()
    os.environ[VARIABLE] = str(plan)
    sys.dont_write_bytecode = True
    return run_kept(arguments) if keep else int(pytest.main(list(arguments)))


def default_output(ready: Planned) -> Planned:
    """Return a plan whose output folder is ``results/DRIVER-KERNEL-TIME``."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return dataclasses.replace(ready, output=Path("results").absolute() / f"{ready.driver}-{ready.release}-{stamp}")


def check_unused(folder: Path) -> None:
    """Check that an output folder holds no run.

    Raises:
        UsageError: it does.
    """
    found = [*folder.glob(journal.NAME), *folder.glob(f"*/{journal.NAME}")]
    if found:
        raise UsageError(
            f"--output {folder}: expected a new or empty folder, found the journal of another run; choose another"
        )


def make_latest(output: Path) -> None:
    """Create the output folder, and make ``latest``, next to it, a link to it.

    Raises:
        InfrastructureError: one of them cannot be created.
    """
    journal.make_folder(output)
    link_latest(output)


def shown(folder: Path) -> Path:
    """Return the folder as the user may call it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _check_started(ready: Plan, status: int) -> None:
    """Raise if the run did not start; it has printed why."""
    if status < 128 and not any(event["event"] == "planned" for event in journal.read(ready.output)):
        raise InfrastructureError(f"expected the tests to run, found exit status {status}; see above")


def _how_it_ended(outcome: sandbox.Outcome) -> str | None:
    """Return how a run was ended that did not end by itself; None if it did."""
    if outcome.signal is not None:
        return f"interrupted ({outcome.signal.name})"
    if outcome.status > 128:
        return f"the tests' process was killed by signal {outcome.status - 128}"
    return None
