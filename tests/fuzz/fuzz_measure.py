# SPDX-License-Identifier: GPL-2.0-or-later
"""What an input may cost: CPU time and frames of a turn, memory outside what is mapped, containers that grow."""

from __future__ import annotations

import enum
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Set

from nicmodels.clock import ManualClock
from nicmodels.vfio_user.memory import GuestMemory

TURN_SECONDS = 0.1
"""CPU seconds of the longest turn."""
TURN_FRAMES = 1 << 14
MOST_ELEMENTS = 1 << 20
"""Elements in all containers of a device: its register file has a hundred thousand, and its logs some thousands."""
TURNS = 64
"""Turns of one advance of the clock; what is due later runs at the next."""
GUARD = 1 << 16
PATTERN = b"\xa5" * GUARD


class Broken(AssertionError):  # noqa: N818 - a finding
    """An input broke a device or the server."""


class Turns:
    """Measures turns of the event loop.

    Attributes:
        longest: CPU seconds of the longest so far.
        slow: whether one of this input took more than `TURN_SECONDS`.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self.slow = False
        self._within = 0.0

    def run(self, turn: Callable[[], object]) -> None:
        """Run one; turns within it, while time passes, are their own."""
        before, self._within = self._within, 0.0
        start = time.thread_time()
        try:
            turn()
        finally:
            whole = time.thread_time() - start
            took = whole - self._within
            self._within = before + whole
        self.longest = max(self.longest, took)
        self.slow = self.slow or took > TURN_SECONDS


class TurnClock(ManualClock):
    """A manual clock that runs what is due in turns, as the reactor does: what a callback schedules waits for the next."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def advance(self, seconds: float) -> None:
        """Move the time forward, as far as `TURNS` turns go."""
        end = self._now + seconds
        for _ in range(TURNS):
            if not self._timers or self._timers[0].when > end:
                self._now = end
                break
            self._now = max(self._now, self._timers[0].when)
            due = [timer for timer in sorted(self._timers) if timer.when <= self._now]
            self._timers = [timer for timer in self._timers if timer.when > self._now]
            self._timers.sort()
            self._turns.run(lambda due=due: [timer.callback() for timer in due if not timer.cancelled])


class GuardedRam:
    """Guest memory between guards, which a device must not write, and after it a page that it may only read.

    Args:
        memory: where it is mapped, `size` bytes from `iova` on.
    """

    def __init__(self, memory: GuestMemory, iova: int, size: int) -> None:
        self._memory, self._iova, self._size = memory, iova, size
        self._fd = os.memfd_create("guarded")
        os.ftruncate(self._fd, size + 2 * GUARD)
        for at in (0, GUARD + size):
            os.pwrite(self._fd, PATTERN, at)
        self.mapped = False
        self.map()

    def map(self) -> None:
        """Map it, if it is not mapped."""
        if not self.mapped:
            self._memory.map(self._fd, GUARD, self._iova, self._size)
            self._memory.map(self._fd, GUARD + self._size, self._iova + self._size, 4096, writable=False)
            self.mapped = True

    def unmap(self) -> None:
        """Unmap it, whatever the device holds."""
        if self.mapped:
            self._memory.clear()
            self.mapped = False

    def intact(self) -> bool:
        """Whether the guards are as they were."""
        return all(os.pread(self._fd, GUARD, at) == PATTERN for at in (0, GUARD + self._size))

    def close(self) -> None:
        """Release it."""
        self.unmap()
        os.close(self._fd)


def elements(root: object, skipped: Iterable[type] = ()) -> int:
    """The number of elements in all containers that belong to an object.

    Args:
        root: the object.
        skipped: types that are not looked into.
    """
    ignored = (type, str, int, float, enum.Enum, *skipped)
    seen: set[int] = set()
    pending: deque[object] = deque([root])
    total = 0
    while pending:
        each = pending.pop()
        if isinstance(each, ignored) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, bytes | bytearray):
            total += len(each)
        elif isinstance(each, Mapping):
            total += len(each)
            pending.extend(each.keys())
            pending.extend(each.values())
        elif isinstance(each, list | tuple | deque | Set):
            total += len(each)
            pending.extend(each)
        elif type(each).__module__.partition(".")[0] == "nicmodels":
            slots = [name for kind in type(each).__mro__ for name in getattr(kind, "__slots__", ())]
            pending.extend(getattr(each, name, None) for name in (*getattr(each, "__dict__", ()), *slots))
    return total
