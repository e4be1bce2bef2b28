# SPDX-License-Identifier: GPL-2.0-or-later
"""Where commands print to."""

from __future__ import annotations

from rich.console import Console

FILE_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""


def terminal(width: int = FILE_WIDTH) -> Console:
    """Return the standard output as rich sees it.

    Args:
        width: columns where it is no terminal.
    """
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = width
    return made
