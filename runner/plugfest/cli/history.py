# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest history``: keep finished runs in a database, and see what changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from plugfest.cli.listing import show, table
from plugfest.cli.options import option
from plugfest.history import recording
from plugfest.history.database import reading
from plugfest.history.stability import Stability
from plugfest.history.timeline import Configuration, RecordedRun, Timeline, read
from plugfest.report import repetition
from plugfest.report.colours import STYLES
from plugfest.report.comparison import Change
from plugfest.report.text import printable

SCHEMA_VERSION = 1
"""Of what ``changes --json`` prints."""

_database = click.argument("database", metavar="DB", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def history() -> None:
    """Keep finished runs in a history, and see what changed over time."""


@history.command()
@_database
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
def add(database: Path, runs: Sequence[Path]) -> None:
    """Add finished runs to the history in the file DB, which is made if it is missing.

    RUN is the output folder of a run, or of a repeated run. A run that is in the history already is left alone. If anything is wrong
    with one of them, none is added.
    """
    folders = [folder for run in runs for folder in repetition.run_folders(run) or [run]]
    recorded = recording.add(database, folders)
    with reading(database) as connection:
        timeline = read(connection)
    # A run that is older than what is read of its configuration has no changes that would be of interest.
    known = {run.id: run for configuration in timeline.configurations for run in configuration.runs}
    for each in recorded:
        run, summary = each.document["run"], each.document["summary"]
        profile = f" ({run['subject']['profile']})" if run["subject"]["profile"] else ""
        when = run["start"][:16].replace("T", " ")
        what = f"{run['driver']}{profile} on {run['kernel']['spec']} ({run['kernel']['release']}), {when} UTC"
        counts = ", ".join(f"{count} {verdict}" for verdict, count in summary.items() if count) or "no results"
        changed = _changes(known[each.id]) if each.id in known else ""
        click.echo(printable(f"added {what}: {counts}{changed}" if each.added else f"in it already: {what}"))


def _counts(run: RecordedRun) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in run.counts.items()) or "no results"


def _changes(run: RecordedRun) -> str:
    counts = [(change, len(run.changed(change))) for change in Change]
    words = ", ".join(f"{count} {change}" for change, count in counts if count)
    return f"; {words}" if words else ""


@history.command("runs")
@_database
def list_runs(database: Path) -> None:
    """List the runs of the history in the file DB, by configuration, the oldest first."""
    made = table("driver", "kernel", "release", "start (UTC)", "verdicts", "changes", "folder")
    with reading(database) as connection:
        for configuration in read(connection, newest=sys.maxsize).configurations:
            for run in configuration.runs:
                made.add_row(
                    configuration.device,
                    escape(configuration.kernel),
                    run.release,
                    run.when + ("" if run.complete else ", incomplete"),
                    _counts(run),
                    _changes(run).removeprefix("; "),
                    escape(run.folder),
                )
    show(made)


@history.command()
@_database
@option("--json", "as_json", is_flag=True, help="Print it for programs.")
def changes(database: Path, as_json: bool) -> int:
    """Show what changed in the newest run of each configuration: what broke, what was fixed, what is flaky.

    The exit status is 1 if anything broke or lost its verdict, else 0.
    """
    with reading(database) as connection:
        timeline = read(connection)
    worse = any(each.worse for configuration in timeline.configurations for each in configuration.latest.transitions)
    if as_json:
        found = {
            "schema": SCHEMA_VERSION,
            "configurations": [_described(timeline, configuration) for configuration in timeline.configurations],
            "exit_status": int(worse),
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show_changes(timeline, {configuration.latest.id for configuration in timeline.configurations})
        click.echo(_summary(timeline))
    return int(worse)


def show_changes(timeline: Timeline, runs: Collection[int]) -> None:
    """Print a table of what changed in some runs, and of what is flaky where they ran.

    Args:
        timeline: all of the history.
        runs: by their numbers.
    """
    made = table("driver", "kernel", "run (UTC)", "what", "requirement", "test", "verdict", "reason")
    for configuration in timeline.configurations:
        chosen = [run for run in configuration.runs if run.id in runs]
        for run in chosen:
            for row in _changed(run):
                made.add_row(configuration.device, escape(configuration.kernel), run.when, *row)
        if chosen:
            for row in _flaky(timeline, configuration):
                made.add_row(configuration.device, escape(configuration.kernel), chosen[-1].when, *row)
    if made.row_count:
        show(made)


def _changed(run: RecordedRun) -> Iterable[tuple[str, str, str, str, str]]:
    for each in run.transitions:
        verdicts = f"{_styled(each.before)} → {_styled(each.outcome.verdict)}"
        reason = escape(printable(each.outcome.reason))
        yield each.change, each.test.requirement, escape(printable(each.test.short)), verdicts, reason


def _flaky(timeline: Timeline, configuration: Configuration) -> Iterable[tuple[str, str, str, str, str]]:
    for test in timeline.flaky(configuration):
        verdicts = " ".join(_styled(outcome.verdict) for _, outcome in configuration.verdicts(test.id)[-5:])
        yield Stability.FLAKY, test.requirement, escape(printable(test.short)), verdicts, "the last five verdicts"


def _styled(verdict: Any) -> str:
    return f"[{STYLES[verdict]}]{verdict}[/]"


def _summary(timeline: Timeline) -> str:
    newest = [configuration.latest for configuration in timeline.configurations]
    counts = [(change, sum(len(run.changed(change)) for run in newest)) for change in Change]
    flaky = sum(len(timeline.flaky(configuration)) for configuration in timeline.configurations)
    words = [f"{count} {change}" for change, count in counts if count]
    return f"newest runs of {len(newest)} configurations: {', '.join([*words, f'{flaky} flaky'])}"


def _described(timeline: Timeline, configuration: Configuration) -> dict[str, Any]:
    run = configuration.latest
    return {
        "driver": configuration.driver,
        "profile": configuration.profile,
        "kernel": configuration.kernel,
        "modules": configuration.modules,
        "run": {
            "release": run.release,
            "start": run.start,
            "seconds": run.seconds,
            "complete": run.complete,
            "folder": run.folder,
            "verdicts": run.counts,
        },
        "runs": len(configuration.runs),
        "changes": [
            {
                "change": each.change,
                "requirement": each.test.requirement,
                "test": each.test.name,
                "subtest": each.test.subtest,
                "before": each.before,
                "after": each.outcome.verdict,
                "reason": each.outcome.reason,
                "crashes": each.outcome.crashes,
            }
            for each in run.transitions
        ],
        "flaky": [
            {"requirement": test.requirement, "test": test.name, "subtest": test.subtest}
            for test in timeline.flaky(configuration)
        ],
    }
