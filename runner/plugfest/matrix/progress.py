# SPDX-License-Identifier: GPL-2.0-or-later
"""What a matrix shows while it goes on: a line for each job that ends, and on a terminal what runs, below."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from plugfest.matrix.attempt import Count
from plugfest.matrix.job import Job
from plugfest.matrix.ledger import Finished
from plugfest.report.text import printable

STYLES = {"passed": "green", "failed": "bold red", "refused": "bold yellow", "no result": "bold cyan"}
"""rich styles of the outcomes of jobs."""

_QUIET = 60.0
"""Seconds after which a log gets a line about what runs: a CI system may take a silent job for a dead one."""


class Display(Protocol):
    """What is reported of a matrix while it goes on."""

    def note(self, text: str) -> None:
        """Tell something that belongs to no job."""

    def began(self, job: Job, number: int, where: str | None) -> None:
        """Tell that an attempt at a job begins."""

    def counted(self, job: Job, count: Count) -> None:
        """Tell how far a job is."""

    def paused(self, job: Job) -> None:
        """Tell that a job no longer runs, and has not ended."""

    def ended(self, finished: Finished) -> None:
        """Tell what counts of a job."""

    def close(self) -> None:
        """Tell that the matrix is over. Idempotent."""


class ConsoleDisplay:
    """Prints to a rich console."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        """Show the bars, if the console is a terminal.

        Args:
            console: where to print.
            total: how many jobs the matrix has.
            done: how many of them have ended before.
        """
        self._console = console
        self._total, self._done = total, done
        self._running: dict[str, Count] = {}
        self._bars: dict[str, TaskID] = {}
        self._said = time.monotonic()
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
                refresh_per_second=2,
                transient=True,
            )
            self._all = self._progress.add_task("jobs", total=total, completed=done)
            self._progress.start()

    def note(self, text: str) -> None:
        """Print something that belongs to no job."""
        self._print(f"[dim]{escape(printable(text))}[/dim]")

    def began(self, job: Job, number: int, where: str | None) -> None:
        """Show a job's bar; print a line where there are none."""
        self._running[job.title] = Count()
        words = f"attempt {number} at {job.title}" if number > 1 else job.title
        place = f" on {where}" if where else ""
        if self._progress is None:
            self._print(f"began {escape(printable(words + place))}")
            return
        self.paused(job)
        self._running[job.title] = Count()
        self._bars[job.title] = self._progress.add_task(escape(printable(words + place)), total=None)

    def counted(self, job: Job, count: Count) -> None:
        """Show how far a job is."""
        self._running[job.title] = count
        if self._progress is None:
            if time.monotonic() - self._said > _QUIET:
                self._print(f"[dim]{escape('; '.join(map(self._how_far, self._running)))}[/dim]")
        elif job.title in self._bars:
            self._progress.update(self._bars[job.title], completed=count.done, total=count.planned or None)

    def _how_far(self, title: str) -> str:
        count = self._running[title]
        failures = f", {count.failures} failed" if count.failures else ""
        return f"{title}: {count.done} of {count.planned} tests{failures}" if count.planned else f"{title}: no test yet"

    def paused(self, job: Job) -> None:
        """Take a job off the bars."""
        self._running.pop(job.title, None)
        bar = self._bars.pop(job.title, None)
        if self._progress is not None and bar is not None:
            self._progress.remove_task(bar)

    def ended(self, finished: Finished) -> None:
        """Print what counts of a job."""
        self.paused(finished.job)
        self._done += 1
        style = STYLES[finished.outcome]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in finished.summary.items())
        details = "; ".join(word for word in (counts, finished.reason or "", f"{finished.seconds:.0f} s") if word)
        self._print(
            f"[dim][{self._done:>{len(str(self._total))}}/{self._total}][/dim] [{style}]{finished.outcome:<9}[/{style}] "
            f"{escape(printable(finished.job.title))}: {escape(printable(details))}"
        )
        if self._progress is not None:
            self._progress.update(self._all, completed=self._done)

    def close(self) -> None:
        """Remove the bars. Idempotent."""
        if self._progress is not None:
            self._progress.stop()

    def _print(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(text, soft_wrap=True)
