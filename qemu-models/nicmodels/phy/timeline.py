# SPDX-License-Identifier: MIT
"""The time of the line: events at their exact instants, however late the process gets to them.

A page lasts a third of a microsecond, and a served model is often milliseconds late. If each end counted from when its
callback happened to run, a stall would make one end stop acknowledging before the other had counted three pages. So
the ends of a medium share a `Timeline`: it runs what is due in order, each event seeing the instant that it is due as
`now()`, and what an event schedules is counted from there.
"""

from __future__ import annotations

import heapq
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from nicmodels.clock import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nicmodels.clock import Clock

BURST = 2000
"""Events in a row before the rest of the process gets its turn."""


class Timeline:
    """A clock on top of the model's; like that one, only for the model's thread.

    Args:
        clock: the model's; a `ManualClock` in tests.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._events: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._instant: float | None = None
        self._wake: Timer | None = None
        self._told: list[Callable[[], object]] = []
        self._telling: Timer | None = None

    def now(self) -> float:
        """The instant of the event that runs, or of `instant`; else the clock's time."""
        return self.clock.now() if self._instant is None else self._instant

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` once, `seconds` from `now()`; events of one instant run in the order they were asked for."""
        timer = Timer(self.now() + max(seconds, 0.0), callback)
        heapq.heappush(self._events, (timer.when, next(self._order), timer))
        if self._instant is None:
            self._rearm()
        return timer

    def settle(self) -> None:
        """Run all that is due by the clock. To be called before something from outside changes an end."""
        if self._instant is not None:
            return
        end = self.clock.now()
        try:
            for _ in range(BURST):
                if not self._events or self._events[0][0] > end:
                    break
                when, _, timer = heapq.heappop(self._events)
                if not timer.cancelled:
                    self._instant = when
                    timer.callback()
        finally:
            self._instant = None
            self._rearm()

    @contextmanager
    def instant(self) -> Iterator[None]:
        """Let all that is done within happen at one instant, however long the process takes over it.

        For a register write that drives the line and schedules what follows: else the far end's answer could come before
        the near end has done what is answered.
        """
        if self._instant is not None:
            yield
            return
        self.settle()
        self._instant = self.clock.now()
        try:
            yield
        finally:
            self._instant = None
            self._rearm()

    def tell(self, callback: Callable[[], object]) -> None:
        """Run `callback` on the clock, after those told before, outside of any event and of whatever call led to it."""
        self._told.append(callback)
        if self._telling is None:
            self._telling = self.clock.call_later(0.0, self._tell)

    def _tell(self) -> None:
        self._telling = None
        told, self._told = self._told, []
        for callback in told:
            callback()

    def _rearm(self) -> None:
        while self._events and self._events[0][2].cancelled:
            heapq.heappop(self._events)
        if not self._events:
            return
        when = self._events[0][0]
        if self._wake is not None and not self._wake.cancelled:
            if self._wake.when <= when:
                return
            self._wake.cancel()
        self._wake = self.clock.call_later(when - self.clock.now(), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self.settle()
