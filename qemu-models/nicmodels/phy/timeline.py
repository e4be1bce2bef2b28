# SPDX-License-Identifier: MIT
"""The time of a link: events see their exact due times, however late the process runs them.

A page lasts a third of a microsecond, and a served model is often milliseconds late. If each end counted from the time
when its callback happened to run, a stall would make one end stop acknowledging before the other had counted three
pages. So the ends of a medium share a `Timeline`: it runs due events in order, `now()` returns the due time of the
event that runs, and what an event schedules counts from there.
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

BURST = 256
"""Events that run before the rest of the process gets its turn: some 0.1 ms each, after the process has waited for a core."""


class Timeline:
    """A clock on top of the model's; not thread-safe, like that one.

    Args:
        clock: the model's; a `ManualClock` in tests.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._events: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._instant: float | None = None
        self._wake: Timer | None = None
        self._deferred: list[Callable[[], object]] = []
        self._deferral: Timer | None = None

    def now(self) -> float:
        """The due time of the event that runs, or the time of `instant`; else the clock's time."""
        return self.clock.now() if self._instant is None else self._instant

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Run `callback` once, `seconds` from `now()`; events of one instant run in the order in which they were scheduled."""
        timer = Timer(self.now() + max(seconds, 0.0), callback)
        heapq.heappush(self._events, (timer.when, next(self._order), timer))
        if self._instant is None:
            self._rearm()
        return timer

    def settle(self) -> None:
        """Run all due events. Call it before changing an end from outside."""
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
        """Let everything within happen at one instant, however long the process takes.

        For a register write that both changes the transmitted signal and schedules events: otherwise the other end could
        answer before this end has finished.
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

    def defer(self, callback: Callable[[], object]) -> None:
        """Run `callback` on the clock, after those deferred before, outside any event and outside the calling code."""
        self._deferred.append(callback)
        if self._deferral is None:
            self._deferral = self.clock.call_later(0.0, self._run_deferred)

    def _run_deferred(self) -> None:
        self._deferral = None
        deferred, self._deferred = self._deferred, []
        for callback in deferred:
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
