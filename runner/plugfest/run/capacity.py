# SPDX-License-Identifier: GPL-2.0-or-later
"""How many guests this machine can run side by side: its cores and memory, or what its container may use of them."""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from pathlib import Path

from plugfest.errors import UsageError

OVERHEAD = 512
"""MiB that a guest takes besides its own memory: QEMU's translated code, the model, pytest."""

MOST = 16
"""Guests that are started by default at most; a run of the suite has no more to gain."""

SMALL_HOST = 4
"""Guests that even a small host has by default, for most of a test is waiting."""
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return the number of cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))  # a quota of "max" is no number
    return max(1, count)


def free_memory() -> int | None:
    """Return the memory that this process and its children may still allocate, in MiB; None if the host does not tell."""
    found = []
    with suppress(OSError):
        match = re.search(r"^MemAvailable: +(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
        if match is not None:
            found.append(int(match[1]) >> 10)
    with suppress(OSError, ValueError):
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        # The kernel drops what it caches of files before it is short of memory.
        cached = re.search(r"^inactive_file (\d+)$", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
        found.append((limit - used + (int(cached[1]) if cached is not None else 0)) >> 20)
    return min(found, default=None)


def choose_guests(wanted: int | None, memory: int, most_wanted: int = MOST) -> int:
    """Return the number of guests of a run.

    Args:
        wanted: what the user asks for; None for what suits this machine.
        memory: of each guest, MiB.
        most_wanted: how many may suit this machine at most.

    Raises:
        UsageError: the user asks for more than memory allows.
    """
    each, free = memory + OVERHEAD, free_memory()
    most = MOST if free is None else free // each
    if wanted is None:
        return max(1, min(most, most_wanted, max(SMALL_HOST, cores())))
    if free is not None and wanted > max(1, most):
        raise UsageError(
            f"--guests {wanted}: expected at most {max(1, most)}, for each guest needs {each} MiB "
            f"(--memory {memory}, and {OVERHEAD} for QEMU, model and pytest), found {free} MiB free; "
            "choose fewer guests or less --memory"
        )
    return wanted
