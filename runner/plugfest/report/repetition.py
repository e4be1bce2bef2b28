# SPDX-License-Identifier: GPL-2.0-or-later
"""``repeat.json`` and ``repeat.html``: the tests whose verdict varied between the runs of ``plugfest run --repeat``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plugfest.errors import InfrastructureError
from plugfest.report import pages, text_file
from plugfest.report.colours import STYLES
from plugfest.report.comparison import intermittent_tests
from plugfest.report.document import Document
from plugfest.report.text import printable
from plugfest.requirements.verdict import Verdict
from plugfest.run import journal

NAME = "repeat.json"
PREFIX = "run-"
"""What the output folder of each run begins with; its number follows, from 1."""


@dataclass(frozen=True)
class Run:
    """One of the runs.

    Attributes:
        folder: name of its output folder.
        document: its report.
    """

    folder: str
    document: Document


def run_folders(folder: Path) -> list[Path]:
    """Return the output folders of a repeated run that hold a journal, in their order; none if it is none."""
    if (folder / journal.NAME).exists():
        return []
    found = [path.parent for path in folder.glob(f"{PREFIX}*/{journal.NAME}")]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


def build(runs: Sequence[Run], wanted: int, interrupted: str | None) -> Mapping[str, Any]:
    """Compare the verdicts of runs.

    Args:
        runs: those that there are, at least one.
        wanted: how many there were to be.
        interrupted: why there are fewer, if something ended them.

    Returns:
        The content of ``repeat.json``.
    """
    verdicts: dict[str, list[Mapping[str, Any] | None]] = {}
    for number, run in enumerate(runs):
        for result in run.document["results"]:
            # A run that ended early says nothing about the tests that it did not reach.
            if result["verdict"] != Verdict.MISS or run.document["run"]["complete"]:
                verdicts.setdefault(result["test"], [None] * len(runs))[number] = result
    luck = {test for run in runs for test in intermittent_tests(run.document)}
    varied = [_row(runs, test, results, test in luck) for test, results in verdicts.items() if _varies(results)]
    complete = sum(run.document["run"]["complete"] for run in runs)
    failed = any(run.document["run"]["exit_status"] for run in runs)
    first = runs[0].document["run"]
    return {
        "schema": 1,
        **{key: first[key] for key in ("driver", "subject", "kernel", "accel", "versions")},
        "wanted": wanted,
        "complete": complete,
        "interrupted": interrupted,
        "tests": len(verdicts),
        "runs": [_run(run) for run in runs],
        "varied": varied,
        "exit_status": 1 if not all(map(is_expected, varied)) or failed or complete < wanted else 0,
    }


def _run(run: Run) -> dict[str, Any]:
    ran, options = run.document["run"], run.document["run"]["options"]
    return {
        "folder": run.folder,
        "seed": options.get("seed"),
        "load": options.get("load", False),
        **{key: ran[key] for key in ("start", "seconds", "complete", "interrupted", "exit_status")},
        "summary": run.document["summary"],
    }


def _varies(results: Sequence[Mapping[str, Any] | None]) -> bool:
    return len({result["verdict"] for result in results if result is not None}) > 1


def is_expected(row: Mapping[str, Any]) -> bool:
    """Whether a test's verdict varied only as its quarantine, or a known issue that shows by chance, lets it."""
    return bool(row["quarantined"] or row["intermittent"])


def _row(
    runs: Sequence[Run], test: str, results: Sequence[Mapping[str, Any] | None], intermittent: bool
) -> dict[str, Any]:
    found = next(result for result in results if result is not None)
    others = [each for each in results if each and each["verdict"] != Verdict.QUARANTINED]
    return {
        "requirement": found["requirement"],
        "test": test,
        "quarantined": not _varies(others),
        "intermittent": intermittent and {each["verdict"] for each in others} == {Verdict.PASS, Verdict.XFAIL},
        "verdicts": [
            None if result is None else {"folder": run.folder, "verdict": result["verdict"], "reason": result["reason"]}
            for run, result in zip(runs, results, strict=True)
        ],
    }


def write(found: Mapping[str, Any], folder: Path) -> None:
    """Write both files into the folder that has the runs' folders.

    Raises:
        InfrastructureError: it cannot be written.
    """
    page = pages.render("repeat.html", script=None, repeat=found, verdicts=list(Verdict))
    try:
        for name, text in ((NAME, json.dumps(found, indent=2, ensure_ascii=False) + "\n"), ("repeat.html", page)):
            text_file.write(folder / name, text)
    except OSError as error:
        raise InfrastructureError(
            f"{folder}: expected to write the comparison of the runs, found: {error.strerror}; free some space"
        ) from error


def load(folder: Path) -> Mapping[str, Any] | None:
    """Read the ``repeat.json`` of a folder; None if there is none that can be read."""
    try:
        found: Mapping[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def render(found: Mapping[str, Any], console: Console, *, folder: Path) -> None:
    """Print the tests whose verdict varied, and how many runs there are."""
    runs = found["runs"]
    console.print()
    if found["varied"]:
        table = Table(title="Verdicts that varied", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
        table.add_column("requirement")
        table.add_column("test", overflow="fold")
        for run in runs:
            table.add_column(f"{run['folder']}{' load' if run['load'] else ''}")
        for row in found["varied"]:
            table.add_row(
                row["requirement"],
                escape(printable(row["test"].rpartition("::")[2])),
                *("[dim]·[/dim]" if cell is None else _styled(cell["verdict"]) for cell in row["verdicts"]),
            )
        console.print(table)
    if found["interrupted"] or found["complete"] < found["wanted"]:
        why = f": {printable(found['interrupted'])}" if found["interrupted"] else ""
        console.print(
            f"[bold red]{found['complete']} of {found['wanted']} runs are complete[/]{escape(why)}", soft_wrap=True
        )
    console.print(f"reports: {escape(str(folder))}/repeat.html, {NAME}, {PREFIX}*/report.html", soft_wrap=True)
    count = len(found["varied"])
    style = "bold green" if found["exit_status"] == 0 else "bold red"
    kinds = {"quarantined": "quarantined", "intermittent": "by an intermittent known issue"}
    counts = [(sum(row[key] for row in found["varied"]), text) for key, text in kinds.items()]
    listed = ", ".join(f"{number} {text}" for number, text in counts if number)
    of_these = f" ({listed})" if listed else ""
    varied = f"{count or 'no'} {'verdict' if count == 1 else 'verdicts'} of {found['tests']} varied{of_these}"
    failed = sum(run["exit_status"] != 0 for run in runs)
    failures = f", {failed} {'run' if failed == 1 else 'runs'} failed" if failed else ""
    console.print(
        f"[{style}]{found['driver']}: {varied} in {len(runs)} {'run' if len(runs) == 1 else 'runs'}{failures} "
        f"(exit status {found['exit_status']})[/]",
        soft_wrap=True,
    )


def _styled(verdict: str) -> str:
    return f"[{STYLES[Verdict(verdict)]}]{verdict}[/]"
