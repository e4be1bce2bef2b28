# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run``: run the suite on a driver and write the reports."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from plugfest import faults
from plugfest.cli.dry_run import print_commands
from plugfest.cli.options import guest_options, option
from plugfest.cli.prepare import GuestOptions, plan, provenance
from plugfest.cli.terminal import terminal
from plugfest.errors import InfrastructureError, UsageError
from plugfest.falsify.table import TABLE
from plugfest.plugin import suite
from plugfest.report import console as summary
from plugfest.report.write import write_reports
from plugfest.requirements import drivers as registry
from plugfest.run import journal, sandbox
from plugfest.run.capacity import choose_guests
from plugfest.run.plan import VARIABLE, RunPlan


@click.command()
@click.argument("driver")
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports.  [default: results/DRIVER-KERNEL-TIME; results/latest links to it]",
)
@option("--area", "areas", multiple=True, help="Run only this area of the suite; may be repeated.")
@option("--slow", is_flag=True, help="Also run the tests that take minutes each.")
@option("--falsify", is_flag=True, help="Run each test with its fault armed, and require that the test detects it.")
@option("--no-confirm", is_flag=True, help="Do not run a failed test again in a fresh guest to confirm its verdict.")
@option(
    "--strict-waits",
    is_flag=True,
    help="Fail the run if a test waits for more than half of a deadline: such a verdict would hang on the host's speed.",
)
@option(
    "--keep",
    is_flag=True,
    help="Keep the guest up, and run the tests again, with your edits, each time you press Enter.",
)
@option("--strict-known", is_flag=True, help="Fail if a known issue that applies does not show.")
@option(
    "--guests",
    type=click.IntRange(min=1),
    help="How many guests run tests side by side.  [default: what cores and memory allow, 4 on a small host]",
)
@guest_options
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- PYTEST-ARGUMENTS]...")
def run(
    driver: str,
    output: Path | None,
    areas: tuple[str, ...],
    slow: bool,
    falsify: bool,
    no_confirm: bool,
    strict_waits: bool,
    keep: bool,
    strict_known: bool,
    guests: int | None,
    pytest_arguments: tuple[str, ...],
    **rest: Any,
) -> int:
    """Run the suite on DRIVER and write the reports.

    Arguments after -- go to pytest: plugfest run ixgbe -- -k xdp -x
    """
    if keep and falsify:
        raise UsageError("--keep with --falsify: expected one of them; a fault leaves no guest that could be kept")
    if strict_known and falsify:
        raise UsageError("--strict-known with --falsify: expected one of them; under a fault no known issue applies")
    alone = _what_needs_one_guest(pytest_arguments, keep=keep)
    if alone is not None and guests is not None and guests > 1:
        raise UsageError(f"--guests {guests} with {alone}: expected one guest; leave out one of the two")
    options = GuestOptions(**rest)
    guests = choose_guests(1 if alone else guests, options.memory)
    chosen = registry.find(driver)
    wanted = suite.check_areas(areas) if areas else [area for area in suite.areas() if area in chosen.areas]
    arguments = suite.pytest_arguments(wanted, pytest_arguments, slow=slow)
    suite.check_selection(arguments, pytest_arguments)
    faults.check_local(options.faults, TABLE)
    ready = dataclasses.replace(
        plan(driver, options, _absolute(output) or Path()),
        falsify=falsify,
        confirm=not no_confirm,
        strict_waits=strict_waits,
        strict_known=strict_known,
        keep=keep,
        guests=guests,
    )
    if output is None:
        ready = _with_output(ready)
    if options.dry_run:
        print_commands(ready)
        return 0
    return execute(ready, arguments, pytest_arguments)


def _what_needs_one_guest(pytest_arguments: tuple[str, ...], *, keep: bool) -> str | None:
    """Return the option with which there can be one guest alone, or None."""
    return "--keep" if keep else next((word for word in pytest_arguments if word in ("--pdb", "--trace")), None)


def execute(ready: RunPlan, arguments: list[str], user_arguments: tuple[str, ...]) -> int:
    """Run pytest in the run's namespaces, then write the reports.

    Args:
        ready: the plan.
        arguments: all of pytest's arguments.
        user_arguments: those that the user gave.

    Returns:
        The exit status of the command.
    """
    path = ready.output / journal.NAME
    if path.exists():
        raise UsageError(
            f"--output {ready.output}: expected a new or empty folder, found the journal of another run; choose another"
        )
    with journal.Journal(ready.output) as written:
        written.write("run", durable=True, **provenance(ready, user_arguments))
    _link_latest(ready.output)
    plan_path = ready.output / "plan.json"
    ready.dump(plan_path)
    console = terminal()
    console.print(
        f"{ready.driver} on Linux {ready.kernel.release}, QEMU {ready.toolchain.version}, "
        f"{ready.acceleration} ({ready.acceleration_reason})",
        soft_wrap=True,
    )
    outcome = sandbox.enter(
        [sys.executable, "-m", "plugfest.cli.keep" if ready.keep else "pytest", *arguments],
        folder=ready.scratch,
        environment={**os.environ, VARIABLE: str(plan_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    _check_started(ready, outcome.status)
    status = None if outcome.signal is None else 128 + outcome.signal
    document = write_reports(ready.output, died=_how_it_ended(outcome), status=status)
    if ready.keep and status is None:  # it has printed what each of its runs found
        return outcome.status
    summary.render(document, console, folder=_shown(ready.output))
    found: int = document["run"]["exit_status"]
    return found if status is None else status


def _check_started(ready: RunPlan, status: int) -> None:
    """Raise if the run did not start; pytest has printed why."""
    if status < 128 and not any(event["event"] == "planned" for event in journal.read(ready.output)):
        raise InfrastructureError(
            f"expected pytest to run the suite, found that it exited with status {status}; see above"
        )


def _how_it_ended(outcome: sandbox.Outcome) -> str | None:
    if outcome.signal is not None:
        return f"interrupted ({outcome.signal.name})"
    if outcome.status > 128:
        return f"pytest was killed by signal {outcome.status - 128}"
    return None


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _with_output(ready: RunPlan) -> RunPlan:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return dataclasses.replace(
        ready, output=Path("results").absolute() / f"{ready.driver}-{ready.kernel.release}-{stamp}"
    )


def _shown(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _link_latest(output: Path) -> None:
    """Make ``latest``, next to the output folder, a link to it."""
    link = output.parent / "latest"
    if link.exists() and not link.is_symlink():
        return
    partial = output.parent / f".latest-{os.getpid()}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(output.name)
    partial.replace(link)
