# SPDX-License-Identifier: GPL-2.0-or-later
"""One line a test on the console, while the run goes on; on a terminal a progress bar below."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from plugfest.plugin.bases import FailedBase
from plugfest.plugin.pace import Pace
from plugfest.report.colours import STYLES
from plugfest.report.text import printable
from plugfest.requirements.verdict import Verdict


class Live(Protocol):
    """What is reported of a run while it goes on."""

    def plan(self, tests: Sequence[str]) -> None:
        """Tell which tests follow, by node id."""

    def note(self, text: str) -> None:
        """Tell something that belongs to no test."""

    def attempt(self, test: str, requirement: str) -> None:
        """Tell that a test begins."""

    def result(self, verdict: Verdict, requirement: str, name: str, seconds: float, reason: str) -> None:
        """Tell a test's verdict."""

    def base_failed(self, found: FailedBase) -> None:
        """Tell that what stands on a base is blocked from now on."""

    def blocked(self, test: str) -> None:
        """Tell that a test is blocked."""

    def ended(self, test: str, seconds: float) -> None:
        """Tell that a test is over with all that belongs to it, and how long that took without the boot of its guest."""

    def close(self) -> None:
        """Tell that the run is over. Idempotent."""


class LiveConsole:
    """Prints past pytest's capture: on a copy of the standard output that was taken before it began.

    Attributes:
        guests: how many tests run side by side.
    """

    def __init__(self, pace: Pace, *, bar: bool = True) -> None:
        """Copy the standard output.

        Args:
            pace: estimates the time left.
            bar: show a progress bar, if the standard output is a terminal.
        """
        self.guests = 1
        self._pace = pace
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self._console = Console(file=self._file, highlight=False)
        self._wants_bar = bar and self._console.is_terminal
        if not self._console.is_terminal:
            self._console.width = 200
        self._bar: Progress | None = None
        self._running: dict[str, str] = {}
        self._total = 0
        self._count = 0

    def plan(self, tests: Sequence[str]) -> None:
        """Set the tests that follow, and show the bar."""
        self._total = len(tests)
        self._pace.plan(tests)
        if self._wants_bar and tests:
            self._bar = Progress(
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                _TimeLeft(self),
                TextColumn("[dim]{task.description}[/dim]", table_column=Column(no_wrap=True, overflow="ellipsis")),
                console=self._console,
                # A run of several guests forks, for which no thread must hold the console's lock: see `tick`.
                auto_refresh=self.guests == 1,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task("", total=self._total)
            self._bar.start()
            self._update()

    def more(self, count: int) -> None:
        """Expect so many verdicts more than there are tests."""
        self._total += count
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=self._total)

    def note(self, text: str) -> None:
        """Print something that belongs to no test."""
        self._console.print(f"[dim]{escape(text)}[/dim]", soft_wrap=True)

    def attempt(self, test: str, requirement: str) -> None:
        """Show on the bar what is running."""
        self._running[test] = requirement
        self._pace.begin(test)
        self._update()

    def result(self, verdict: Verdict, requirement: str, name: str, seconds: float, reason: str) -> None:
        """Print the verdict's line, and its reason below."""
        self._count += 1
        width = len(str(self._total))
        style = STYLES[verdict]
        self._console.print(
            f"[dim][{self._count:>{width}}/{self._total}][/dim] [{style}]{verdict:<7}[/{style}] "
            f"{escape(requirement):<18} {escape(printable(name))} [dim]{seconds:.1f} s[/dim]",
            soft_wrap=True,
        )
        if reason:
            self._console.print(f"          [{style}]{escape(printable(reason))}[/{style}]", soft_wrap=True)

    def base_failed(self, found: FailedBase) -> None:
        """Print it once: what is blocked by it has no lines, for it may be hundreds."""
        style = STYLES[Verdict.BLOCKED]
        self._console.print(f"[{style}]blocked is all that {escape(printable(str(found)))}[/{style}]", soft_wrap=True)

    def blocked(self, test: str) -> None:
        """Count the test."""
        self._count += 1
        self._pace.forget(test)
        self._update()

    def ended(self, test: str, seconds: float) -> None:
        """Take a test off the bar."""
        self._running.pop(test, None)
        self._pace.end(test, seconds)
        self._update()

    def lost(self, test: str, reason: str) -> None:
        """Print that a test was lost: it has no verdict."""
        self._running.pop(test, None)
        self._pace.forget(test)
        self._count += 1
        self.note(f"{test}: {reason}")
        self._update()

    def tick(self) -> None:
        """Show how the time goes by, where no thread does."""
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Remove the bar and close the copy. Idempotent."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if not self._file.closed:
            self._file.close()

    def left(self) -> float:
        """Return the seconds that the rest of the run will take, as far as is known."""
        return self._pace.left(self.guests)

    def _update(self) -> None:
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=self._count,
                description=escape(", ".join(self._running.values())),
            )


class _TimeLeft(ProgressColumn):
    """The time left, anew each time that the bar is drawn: ``2:05 left``."""

    def __init__(self, live: LiveConsole) -> None:
        super().__init__()
        self._live = live

    def render(self, task: Task) -> Text:  # noqa: ARG002 - there is one
        minutes, seconds = divmod(round(self._live.left()), 60)
        return Text(f"{minutes}:{seconds:02} left")
