# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest nightly``: a matrix, then its history and site, and what is news."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from plugfest.cli.execute import shown
from plugfest.cli.failure import print_error
from plugfest.cli.history import show_changes
from plugfest.cli.matrix import (
    choose_output,
    file_argument,
    jobs_option,
    new_option,
    place_of,
    read_matrix,
    run_matrix,
    scheduler_option,
)
from plugfest.cli.options import option
from plugfest.cli.site import TITLE
from plugfest.cli.terminal import terminal
from plugfest.errors import InfrastructureError, PlugfestError, UsageError
from plugfest.history import recording
from plugfest.history.database import HistoryError, reading, writing
from plugfest.history.timeline import Timeline, read
from plugfest.matrix import judgement, ledger
from plugfest.matrix.definition import Matrix
from plugfest.matrix.judgement import SeriesJudgement
from plugfest.matrix.ledger import Ledger
from plugfest.report import comparison
from plugfest.report.comparison import Change
from plugfest.report.text import printable
from plugfest.run import journal
from plugfest.site.write import write

FRESH = 13 * 3600.0
"""Seconds after its last event for which an unfinished night is continued; after that the next one begins. A timer that starts two a
day continues it."""

HISTORY, SITE, RESULTS = "history.db", "site", "results"
"""In the output folder."""

_RECORDED = ".recorded"
"""In the output folder of a matrix: the history has all that counts of it, and it was news."""
_SHOWN = ".shown"
"""In the output folder of a matrix: what the history has of it was news."""


@click.command()
@file_argument
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("nightly"),
    show_default=True,
    help="Folder for history.db, site/ and results/; publish it as it is.",
)
@option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run nothing: take the matrix in this folder, which plugfest matrix FILE has made.",
)
@jobs_option
@scheduler_option
@new_option
def nightly(file: Path, output: Path, results: Path | None, jobs: int | None, scheduler: str | None, new: bool) -> int:
    """Run the matrix in FILE, add the runs to the history, write the site, and say what is news since the night before.

    After an interruption the same command continues. The exit status is 1 if a test broke, or lost its verdict; 3 if a job has no result.
    """
    found = read_matrix(file, scheduler)
    place = place_of(jobs, scheduler)
    with _alone(output):
        if results is None:
            chosen = choose_output(found, output / RESULTS, new=new, fresh=_is_fresh)
        elif not (results / ledger.NAME).is_file():
            raise UsageError(f"--results {results}: expected the output folder of a matrix, found none; run the matrix")
        else:
            chosen = results.absolute()
        interrupted: int | None = None
        lost: PlugfestError | None = None
        try:
            if results is None and (status := run_matrix(found, chosen, place)) > 128:
                interrupted = status
        except InfrastructureError as error:  # what is done is news nevertheless
            if not (chosen / ledger.NAME).exists():
                raise
            lost = error
        night = _record(found, chosen, output)
        _prune(found, output / RESULTS, night, keep=(chosen,))
        status = _publish(found, night, output)
        if interrupted is None and lost is None:  # else it is news once more, with an exit status of its own
            _mark(night)
    if lost is not None:
        raise lost
    return status if interrupted is None else interrupted


@dataclass
class Night:
    """What a night leaves in the history.

    Attributes:
        runs: the numbers of its runs, and of those of earlier nights that were not news yet.
        missing: whether a job has no result, or one that cannot be read.
        folders: whose runs these are; with each, whether the history has all that counts of it.
        judgements: of the pending series.
        known: the marks of the judgements of the night before, by the names of the jobs.
    """

    runs: set[int] = field(default_factory=set)
    missing: bool = False
    folders: dict[Path, bool] = field(default_factory=dict)
    judgements: list[SeriesJudgement] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def broken_by_patches(self) -> bool:
        """Whether a series is refused or breaks a test, and did not so the night before."""
        return any(each.worse and each.mark != self.known.get(each.job.name) for each in self.judgements)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keep other nightly runs of this output folder out.

    Raises:
        UsageError: there is one.
        InfrastructureError: the folder cannot be written.
    """
    journal.make_folder(output)
    try:
        lock = (output / ".lock").open("w")
    except OSError as error:
        raise InfrastructureError(
            f"{output}: expected a folder to write to, found: {error.strerror}; choose another with --output"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"--output {output}: expected no other plugfest nightly there, found one that runs; wait for it"
            ) from error
        yield


def _is_fresh(folder: Path) -> bool:
    return time.time() - ledger.left_at(folder) < FRESH


def _record(found: Matrix, chosen: Path, output: Path) -> Night:
    """Add to the history what counts of this night, and of nights before that were never continued, or never became news.

    Raises:
        HistoryError: the history cannot be written. The next night adds what is missing.
    """
    night = Night()
    for folder in ledger.folders((output / RESULTS).absolute(), found.name):
        if folder != chosen and not (folder / _RECORDED).exists():
            try:
                with closing(Ledger(folder, ledger.jobs_of(folder))) as earlier:
                    _add(earlier, output, night)
            except HistoryError:
                raise
            except PlugfestError as error:
                print_error(f"{shown(folder)} is not in the history: {error}", error.exit_status)
    before = [
        folder for folder in ledger.folders((output / RESULTS).absolute(), found.name) if folder.name < chosen.name
    ]
    night.known = judgement.marks(before[-1]) if before else {}
    (chosen / _SHOWN).unlink(missing_ok=True)  # what is added to it now is not shown yet
    with closing(Ledger(chosen, found.jobs)) as opened:
        added = _add(opened, output, night)
        lost = any(each.status == InfrastructureError.exit_status for each in opened.finished.values())
        night.missing = not (added and opened.complete) or lost
        night.judgements = judgement.judge(opened)
        judgement.write(night.judgements, chosen)
        night.folders[chosen] = added and opened.complete
    return night


def _add(opened: Ledger, output: Path, night: Night) -> bool:
    """Add each report by itself: one that cannot be read takes no other with it. Return whether all were added.

    Raises:
        HistoryError: the history cannot be written.
    """
    database, all_added = output / HISTORY, True
    shown_before = (opened.folder / _SHOWN).exists()
    reported = [each for each in opened.finished.values() if each.has_report]
    if reported:
        with writing(database):  # a night without a readable report has a history, too
            pass
    for each in reported:
        try:
            (recorded,) = recording.add(database, [each.folder])
        except HistoryError:  # which is not said of each report
            raise
        except PlugfestError as error:
            print_error(f"{each.job.title} is not in the history: {error}", error.exit_status)
            all_added = False
        else:
            if recorded.added or not shown_before:
                night.runs.add(recorded.id)
    night.folders[opened.folder] = all_added
    return all_added


def _mark(night: Night) -> None:
    """Write that what the night left is news no longer."""
    for folder, whole in night.folders.items():
        with suppress(OSError):  # then the next night shows it once more
            (folder / (_RECORDED if whole else _SHOWN)).touch()


def _prune(found: Matrix, results: Path, night: Night, *, keep: Sequence[Path]) -> None:
    """Delete the output folders of the oldest nights, once the history has what counts of them, and it was news."""
    if found.nightly.keep is None:
        return
    recorded = {folder for folder in ledger.folders(results.absolute(), found.name) if (folder / _RECORDED).exists()}
    nights = sorted(recorded | {folder for folder, whole in night.folders.items() if whole})
    for folder in nights[: -found.nightly.keep]:
        if folder in recorded and folder not in keep:
            shutil.rmtree(folder, ignore_errors=True)
            click.echo(f"{shown(folder)} is deleted: {found.nightly.keep} nights are kept")


def _publish(found: Matrix, night: Night, output: Path) -> int:
    """Write the site, print what is news, and return the exit status."""
    failed = InfrastructureError.exit_status if night.missing else 0
    if not (output / HISTORY).exists():
        _show_judgements(night)
        return failed or int(night.broken_by_patches)
    with reading(output / HISTORY) as connection:
        timeline = read(connection)
    pages = write(timeline, output / SITE, title=found.nightly.title or TITLE)
    show_changes(timeline, night.runs)
    runs = [run for configuration in timeline.configurations for run in configuration.runs if run.id in night.runs]
    for text in _new_complaints(timeline, night):
        click.echo(printable(f"new complaint of the kernel: {text}"))
    _show_judgements(night)
    counts = [(change, sum(len(run.changed(change)) for run in runs)) for change in Change]
    words = ", ".join(f"{count} {change}" for change, count in counts if count) or "no verdict changed"
    click.echo(f"{found.name}: {len(runs)} run{'s' * (len(runs) != 1)} in the history; {words}")
    click.echo(f"{pages} pages; open {shown(output.absolute() / SITE / 'index.html')}")
    worse = any(each.worse for run in runs for each in run.transitions)
    return failed or int(worse or night.broken_by_patches)


def _show_judgements(night: Night) -> None:
    """Print what each pending series changes, after a table of what the worse ones break."""
    console = terminal()
    for each in night.judgements:
        if each.worse and each.comparison is not None:
            console.print()
            comparison.render(each.comparison, console)
    for each in night.judgements:
        click.echo(printable(each.line))


def _new_complaints(timeline: Timeline, night: Night) -> list[str]:
    """Return what the kernel complained of for the first time, where there was a night before."""
    known = {
        text
        for configuration in timeline.configurations
        for run in configuration.runs
        if run.id not in night.runs
        for outcome in run.outcomes.values()
        for text in outcome.crashes
    }
    found: dict[str, str] = {}
    for configuration in timeline.configurations:
        earlier = any(run.id not in night.runs for run in configuration.runs)
        for run in configuration.runs:
            for number, outcome in run.outcomes.items():
                for text in outcome.crashes:
                    if earlier and run.id in night.runs and text not in known:
                        found.setdefault(text, f"{text} ({timeline.tests[number].requirement}, {configuration.name})")
    return list(found.values())
