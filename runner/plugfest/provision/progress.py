# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user sees while something is fetched or built: a spinner with the time, or a line where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(stderr=True)


@contextmanager
def activity(title: str) -> Iterator[None]:
    """Show that something is being done, and how long it took."""
    begin = time.monotonic()
    if not console.is_terminal:
        console.print(f"{title} …", highlight=False, soft_wrap=True)
        yield
        console.print(f"{title}: {time.monotonic() - begin:.1f} s", highlight=False, soft_wrap=True)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(title, total=None)
        yield
    console.print(f"{title}: {time.monotonic() - begin:.1f} s", highlight=False)


def say(text: str) -> None:
    """Tell the user something in one line."""
    console.print(text, highlight=False, soft_wrap=True)
