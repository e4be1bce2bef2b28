# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of a matrix on the console: a row for each job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plugfest.matrix.job import SUITE, Job
from plugfest.matrix.ledger import Finished, Ledger
from plugfest.matrix.progress import STYLES as OUTCOMES
from plugfest.report.colours import STYLES
from plugfest.report.text import printable
from plugfest.requirements.verdict import Verdict


def render(ledger: Ledger, console: Console, folder: Path) -> None:
    """Print a table of the jobs, and where their reports are.

    Args:
        ledger: of the matrix.
        console: where to print.
        folder: the output folder, as the user may call it.
    """
    found = [ledger.finished.get(job.name) for job in ledger.jobs]
    occurring = [verdict for verdict in Verdict if any(each and each.summary.get(verdict) for each in found)]
    kinds = any(job.kind != SUITE for job in ledger.jobs)
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("driver", "kernel", *(["kind"] if kinds else []), "outcome"):
        table.add_column(column)
    for verdict in occurring:
        table.add_column(verdict.value, justify="right")
    table.add_column("seconds", justify="right")
    for job, finished in zip(ledger.jobs, found, strict=True):
        table.add_row(*_axes(job, kinds=kinds), *_found(finished, occurring))
    console.print()
    console.print(table)
    for each in found:
        if each is not None and each.reason is not None:
            console.print(f"{escape(printable(f'{each.job.title}: {each.reason}'))}", soft_wrap=True)
    outcomes = [each.outcome for each in found if each is not None]
    counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in OUTCOMES if outcome in outcomes]
    if len(outcomes) < len(found):
        counts.append(f"{len(found) - len(outcomes)} to do")
    reported = sum(each is not None and each.has_report for each in found)
    who = "each has its report" if reported == len(found) else f"reports of {reported} are"
    console.print(
        f"{len(found)} job{'s' if len(found) != 1 else ''}: {', '.join(counts)}"
        + (f"; {who} in {escape(str(folder))}/JOB/latest" if reported else ""),
        soft_wrap=True,
    )


def _axes(job: Job, *, kinds: bool) -> list[str]:
    driver = f"{job.driver} ({job.profile})" if job.profile else job.driver
    driver += f" with {job.queued.name}" if job.queued else ""
    return [escape(printable(word)) for word in (driver, job.kernel, *([job.kind] if kinds else []))]


def _found(finished: Finished | None, verdicts: Sequence[Verdict]) -> list[str]:
    if finished is None:
        return ["[dim]to do[/dim]", *("" for _ in verdicts), ""]
    counts = [(verdict, finished.summary.get(verdict, 0)) for verdict in verdicts]
    cells = [f"[{STYLES[verdict]}]{count}[/]" if count else "[dim]·[/dim]" for verdict, count in counts]
    style = OUTCOMES[finished.outcome]
    return [f"[{style}]{finished.outcome}[/{style}]", *cells, f"{finished.seconds:.0f}"]
