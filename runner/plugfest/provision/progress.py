# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of fetching and building: a bar with the elapsed time, or plain lines if there is no terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(stderr=True)

_LOOK = 0.5
"""Seconds between two updates of a progress bar."""

_display: Progress | None = None
"""The live display, of which there is one: nested activities add lines to it."""


@contextmanager
def activity(title: str, measure: Callable[[], float] | None = None) -> Iterator[None]:
    """Show that an activity is in progress, and how long it took.

    Args:
        title: the activity.
        measure: returns the fraction that is done, from 0 to 1; called periodically from another thread. Without it the bar only
            shows that the activity is in progress.
    """
    begin = time.monotonic()
    if console.is_terminal:
        with _line(title, measure):
            yield
    else:
        print_line(f"{title} …")
        yield
    print_line(f"{title}: {time.monotonic() - begin:.1f} s")


def print_line(text: str) -> None:
    """Print one line for the user."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def _line(title: str, measure: Callable[[], float] | None) -> Iterator[None]:
    global _display  # noqa: PLW0603 - there is one terminal
    outermost = _display is None
    if _display is None:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        _display = Progress(*columns, console=console, transient=True)
        _display.start()
    display = _display
    task = display.add_task(title, total=None if measure is None else 1.0)
    ended = threading.Event()

    def look() -> None:
        while measure is not None and not ended.wait(_LOOK):
            display.update(task, completed=min(measure(), 0.99))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        display.remove_task(task)
        if outermost:
            display.stop()
            _display = None
