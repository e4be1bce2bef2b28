# SPDX-License-Identifier: GPL-2.0-or-later
"""One line a test on the console, while the run goes on."""

from __future__ import annotations

import os

from rich.console import Console
from rich.markup import escape

from plugfest.plugin.bases import FailedBase
from plugfest.report.colours import STYLES
from plugfest.report.text import printable
from plugfest.requirements.base import Base
from plugfest.requirements.verdict import Verdict


class LiveConsole:
    """Prints past pytest's capture: on a copy of the standard output that was taken before it began."""

    def __init__(self) -> None:
        """Copy the standard output."""
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self._console = Console(file=self._file, highlight=False)
        if not self._console.is_terminal:
            self._console.width = 200
        self._total = 0
        self._count = 0
        self._blocking: set[Base] = set()

    def plan(self, tests: int) -> None:
        """Set the number of tests that follow."""
        self._total = tests

    def note(self, text: str) -> None:
        """Print something that belongs to no test."""
        self._clear()
        self._console.print(f"[dim]{escape(text)}[/dim]", soft_wrap=True)

    def attempt(self, requirement: str, sentence: str) -> None:
        """Show, on a terminal, what is running."""
        self._count += 1
        if self._console.is_terminal:
            text = f"{self._progress} running  {requirement}  {sentence}"[: self._console.width - 1]
            self._console.print(f"[dim]{escape(text)}[/dim]", end="\r", overflow="crop", no_wrap=True)

    def result(self, verdict: Verdict, requirement: str, test: str, seconds: float, reason: str) -> None:
        """Print the verdict's line, and its reason below."""
        self._clear()
        style = STYLES[verdict]
        self._console.print(
            f"[dim]{self._progress}[/dim] [{style}]{verdict:<7}[/{style}] {escape(requirement):<18} "
            f"{escape(printable(test))} [dim]{seconds:.1f} s[/dim]",
            soft_wrap=True,
        )
        if reason:
            self._console.print(f"          [{style}]{escape(printable(reason))}[/{style}]", soft_wrap=True)

    def blocked(self, by: FailedBase) -> None:
        """Count a test that is blocked; say so once for each base that failed, since there may be hundreds."""
        self._count += 1
        if by.base not in self._blocking:
            self._blocking.add(by.base)
            style = STYLES[Verdict.BLOCKED]
            self._clear()
            self._console.print(
                f"[{style}]blocked[/{style}]: each test that {escape(printable(str(by)))}", soft_wrap=True
            )

    def close(self) -> None:
        """Close the copy."""
        self._clear()
        self._file.close()

    def _clear(self) -> None:
        if self._console.is_terminal:
            self._file.write("\r\x1b[2K")
            self._file.flush()

    @property
    def _progress(self) -> str:
        width = len(str(self._total))
        return f"[{self._count:>{width}}/{self._total}]"
