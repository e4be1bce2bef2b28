# SPDX-License-Identifier: MIT
"""Time as every layer sees it: a `Clock` with timers. `ManualClock` is the one of tests, `server.reactor.Reactor` that of a served model.

This module and `nicmodels.events` are below all layers and import none of them.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A callback to be run once at `when` (seconds on its clock's scale)."""

    __slots__ = ("callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Keep the callback from running; harmless when it already ran."""
        self.cancelled = True

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Clock(Protocol):
    """Time as a model sees it."""

    def now(self) -> float:
        """Seconds, monotonic, from an arbitrary start."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` once, `seconds` from now (0: as soon as the loop is free)."""


class ManualClock:
    """A clock that moves only by `advance`, which runs the timers that are due, in order, each at its own time."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._timers: list[Timer] = []

    def now(self) -> float:
        """Seconds since the start, as advanced."""
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` during the `advance` that reaches it."""
        timer = Timer(self._now + max(seconds, 0.0), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Move the time forward and run the timers that are due, also those that timers start."""
        end = self._now + seconds
        while self._timers and self._timers[0].when <= end:
            timer = heapq.heappop(self._timers)
            self._now = max(self._now, timer.when)
            if not timer.cancelled:
                timer.callback()
        self._now = end
