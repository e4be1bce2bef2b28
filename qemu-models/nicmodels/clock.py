# SPDX-License-Identifier: MIT
"""The interface of time: a `Clock` with timers. Tests use `ManualClock`, a served model `nicmodels.server.reactor.Reactor`.

This module, `nicmodels.events` and `nicmodels.ethernet` are below all layers.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A callback that runs once, at `when` in seconds of its clock."""

    __slots__ = ("callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Keep the callback from running; no effect if it already ran."""
        self.cancelled = True

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Clock(Protocol):
    """Time and timers of a model."""

    def now(self) -> float:
        """Seconds, monotonic, from an arbitrary start."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` once, `seconds` from now 0 for the next turn of the event loop."""


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
