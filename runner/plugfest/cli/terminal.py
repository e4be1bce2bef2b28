# SPDX-License-Identifier: GPL-2.0-or-later
"""The terminal that commands print to."""

from __future__ import annotations

from rich.console import Console

FILE_WIDTH = 160
"""Width in columns of a table that is printed to a file or a pipe."""


def terminal(width: int = FILE_WIDTH) -> Console:
    """Return a rich console on the standard output.

    Args:
        width: columns, if the standard output is not a terminal.
    """
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = width
    return made
