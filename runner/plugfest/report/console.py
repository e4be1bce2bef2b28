# SPDX-License-Identifier: GPL-2.0-or-later
"""The summary at the end of a run: a table of verdicts, and the failures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plugfest.report.colours import STYLES
from plugfest.report.document import Document, blockers, strict_waits, tight_waits
from plugfest.report.flags import ADVERTISED, rows, untested
from plugfest.report.text import printable
from plugfest.requirements.verdict import Verdict

_OUTCOME_STYLES = {"falsified": "green", "skipped": "yellow"}


def render(document: Document, console: Console, *, folder: Path | None = None) -> None:
    """Print the summary.

    Args:
        document: the report.
        console: where to print. A console that is not a terminal gets the same table without colours.
        folder: the output folder, printed in the last lines.
    """
    console.print()
    console.print(_areas(document))
    if "falsification" in document:
        console.print(_falsification(document))
    else:
        if rows(document):
            console.print(_flags(document))
        _problems(document, console)
    _ending(document, console, folder)


def _areas(document: Document) -> Table:
    run = document["run"]
    title = f"{run['driver']} on {run['subject']['text']}, Linux {run['kernel']['release']}, {run['accel']['name']}"
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("area")
    shown = _occurring(document)
    for verdict in shown:
        table.add_column(verdict.value, justify="right")
    table.add_column("seconds", justify="right")
    by_area: dict[str, list[Mapping[str, Any]]] = {}
    for result in document["results"]:
        by_area.setdefault(result["area"], []).append(result)
    for area, results in by_area.items():
        table.add_row(escape(area), *_counts(results, shown), f"{sum(result['seconds'] for result in results):.1f}")
    table.add_section()
    table.add_row("all", *_counts(document["results"], shown), f"{run['seconds']:.1f}", style="bold")
    return table


def _occurring(document: Document) -> list[Verdict]:
    """Return the verdicts that have a column: those that occur, and the usual ones."""
    usual = (Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.XFAIL, Verdict.ERROR)
    return [verdict for verdict in Verdict if verdict in usual or document["summary"][verdict.value]]


def _counts(results: list[Mapping[str, Any]], shown: list[Verdict]) -> list[str]:
    cells = []
    for verdict in shown:
        count = sum(result["verdict"] == verdict for result in results)
        cells.append(f"[{STYLES[verdict]}]{count}[/]" if count else "[dim]·[/dim]")
    return cells


def _flags(document: Document) -> Table:
    table = Table(title="What the driver advertises", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("flag", "advertised", "works", "refused cleanly"):
        table.add_column(column)
    for row in rows(document):
        cells = {
            side: " ".join(f"[{STYLES[Verdict(verdict)]}]{count} {verdict}[/]" for verdict, count in row[side].items())
            for side in ("works", "refused")
        }
        missing = untested(row)
        if missing is not None:
            cells[missing] = "[yellow]not tested[/]"
        table.add_row(row["flag"], ADVERTISED[row["advertised"]], *(cell or "[dim]·[/dim]" for cell in cells.values()))
    return table


def _problems(document: Document, console: Console) -> None:
    """Print each failure; first those that block others, and how many, since they are the cause."""
    sentences = {entry["id"]: entry["sentence"] for entry in document["requirements"]}
    blocking = blockers(document)
    alone = [result for result in document["results"] if _is_shown_alone(result)]
    for result in sorted(alone, key=lambda result: result["requirement"] not in blocking):
        _problem(result, sentences[result["requirement"]], console)
    for requirement, count in blocking.items():
        console.print(
            f"[{STYLES[Verdict.BLOCKED]}]blocked[/] {count} {_tests(count)} on {escape(requirement)}", soft_wrap=True
        )
    _known_issues(document, console)
    missed = sum(result["verdict"] == Verdict.MISS and result["start"] is None for result in document["results"])
    if missed:
        console.print(
            f"[{STYLES[Verdict.MISS]}]miss[/] {missed} {'test' if missed == 1 else 'tests'} never started",
            soft_wrap=True,
        )


def _is_shown_alone(result: Mapping[str, Any]) -> bool:
    verdict = Verdict(result["verdict"])
    ran = result["start"] is not None
    return verdict is Verdict.QUARANTINED or (
        verdict.is_failure and (ran or verdict not in (Verdict.MISS, Verdict.BLOCKED))
    )


def _tests(count: int) -> str:
    return "test stands" if count == 1 else "tests stand"


def _problem(result: Mapping[str, Any], sentence: str, console: Console) -> None:
    verdict = Verdict(result["verdict"])
    style = STYLES[verdict]
    console.print(
        f"[{style}]{verdict}[/] [bold]{escape(result['requirement'])}[/bold] ({result['level']}) {escape(sentence)}",
        soft_wrap=True,
    )
    console.print(f"      {escape(printable(result['test']))}", style="dim", soft_wrap=True)
    console.print(f"      {escape(printable(result['reason']))}", soft_wrap=True)
    for attempt in result["attempts"] or [result]:
        if attempt["artifacts"]:
            folder = Path(next(iter(attempt["artifacts"].values()))).parent
            console.print(
                f"      {escape(str(folder))}: {', '.join(attempt['artifacts'])}", style="dim", soft_wrap=True
            )


def _known_issues(document: Document, console: Console) -> None:
    """Print how many tests the known issues account for, and which issues were expected to show and did not."""
    listed = document.get("known_issues", ())
    showed = {row["title"] for row in listed if row["showed"]}
    if showed:
        tests = sum(row["showed"] for row in listed)
        elsewhere = sum(row["showed"] for row in listed if row["requirement"] is None)
        more = (
            f", {elsewhere} of them by a complaint or a broken rule in a test that is not listed" if elsewhere else ""
        )
        console.print(
            f"[{STYLES[Verdict.XFAIL]}]known issues[/] {len(showed)} showed, in {tests} "
            f"{'test' if tests == 1 else 'tests'}{more}",
            soft_wrap=True,
        )
    style = "bold red" if document["run"]["options"].get("strict_known") else STYLES[Verdict.XFAIL]
    for row in listed:
        if row["unseen"]:
            console.print(
                f"[{style}]known issue did not show[/] [bold]{row['requirement']}[/bold] {escape(printable(row['title']))}",
                soft_wrap=True,
            )


def _falsification(document: Document) -> Table:
    table = Table(title="Does each test detect its fault?", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("requirement", "fault", "fired", "expected", "found", "outcome"):
        table.add_column(column, overflow="fold")
    for row in document["falsification"]:
        style = _OUTCOME_STYLES.get(row["outcome"], "bold red")
        table.add_row(
            row["requirement"],
            escape(row["fault"]),
            str(row["fired"]),
            row["demanded"],
            ", ".join(row["found"]),
            f"[{style}]{row['outcome']}[/]",
        )
    return table


def _ending(document: Document, console: Console, folder: Path | None) -> None:
    run = document["run"]
    if run["interrupted"]:
        console.print(f"[bold red]incomplete run:[/] {escape(printable(run['interrupted']))}", soft_wrap=True)
    if folder is not None:
        console.print(f"reports: {escape(str(folder))}/report.html, report.json, junit.xml, report.tap", soft_wrap=True)
    if "falsification" in document:
        good = sum(row["outcome"] == "falsified" for row in document["falsification"])
        total = f"{good} of {len(document['falsification'])} faults were detected"
    else:
        total = (
            ", ".join(f"{count} {verdict}" for verdict, count in document["summary"].items() if count)
            or "no test was run"
        )
    tight = tight_waits(document)
    if tight:
        worst = tight[0]
        count = "1 wait" if len(tight) == 1 else f"{len(tight)} waits"
        failure = ", a failure under --strict-waits" if strict_waits(document) else ""
        console.print(
            f"[yellow]tight[/] {count} used more than half of their deadline{failure}; the tightest: "
            f"{worst['seconds']:.1f} of {worst['limit']:.1f} s until {escape(printable(worst['what']))} ({worst['requirement']})",
            soft_wrap=True,
        )
    style = "bold green" if run["exit_status"] == 0 else "bold red"
    console.print(
        f"[{style}]{run['driver']}: {total} in {run['seconds']:.0f} s (exit status {run['exit_status']})[/]",
        soft_wrap=True,
    )
