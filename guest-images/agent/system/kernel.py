# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel lacks, whatever the driver."""

from __future__ import annotations

from functools import cache
from pathlib import Path

SYMBOLS = Path("/proc/kallsyms")


class KernelLacksError(Exception):
    """The kernel has no such interface; the message says what it lacks and, after a colon, how it shows."""


@cache
def has_symbol(name: str) -> bool:
    """Return whether the kernel, or a module that is loaded, has a function or variable of this name."""
    with SYMBOLS.open() as lines:
        return any(line.split()[2] == name for line in lines)
