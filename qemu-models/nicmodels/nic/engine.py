# SPDX-License-Identifier: MIT
"""What a queue engine needs whatever its descriptors look like: a work list of queues, and the loop that takes bursts of frames.

Both defer to the event loop: doorbells that are written together become one batch, and a wire that never falls silent
does not keep timers and control clients waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nicmodels.clock import Clock
    from nicmodels.wire import Wire

BURST = 64
"""Frames after which completions are written and interrupts raised."""
TURN = 256
"""Frames after which the event loop gets its turn."""


class WorkList:
    """The queues that have work, each once, in the order in which their doorbells were written.

    Args:
        clock: schedules the work.
        work: called once the event loop is free; it takes the queues with `take`, or leaves them for later.
    """

    def __init__(self, clock: Clock, work: Callable[[], object]) -> None:
        self._clock = clock
        self._work = work
        self._pending: dict[int, None] = {}
        self._scheduled = False

    def add(self, queue: int) -> None:
        """Schedule work on a queue."""
        self._pending[queue] = None
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_later(0.0, self._run)

    def discard(self, queue: int) -> None:
        """Drop a queue that is gone."""
        self._pending.pop(queue, None)

    def clear(self) -> None:
        """Drop all queues."""
        self._pending.clear()

    def take(self) -> Iterable[int]:
        """The queues with work; what is added from now on waits for the next turn."""
        pending, self._pending = self._pending, {}
        return pending

    def _run(self) -> None:
        self._scheduled = False
        self._work()


class ReceiveLoop:
    """Takes frames off the wire, in bursts of `BURST`, at most `TURN` at a time.

    Args:
        clock: schedules the next turn.
        wire: has the frames.
        receive: the turn: it iterates over `frames` and ends with the last burst's completions.
        end_burst: writes the completions of a burst, and interrupts.
    """

    def __init__(
        self, clock: Clock, wire: Wire, receive: Callable[[], object], end_burst: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._wire = wire
        self._receive = receive
        self._end_burst = end_burst
        self._scheduled = False

    def schedule(self) -> None:
        """Run another turn once the event loop is free."""
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_later(0.0, self._run)

    def frames(self, unit: int | None = None) -> Iterator[memoryview]:
        """The frames of a turn, each valid until the next; when the turn is over and frames may be left, another is scheduled.

        Args:
            unit: bytes beyond which a frame counts as several, for a device that receives what the host has not segmented
                yet; None to count each as one.
        """
        receive = self._wire.receive
        taken = flushed = 0
        while taken < TURN:
            frame = receive()
            if frame is None:
                return
            taken += 1 if unit is None else 1 + len(frame) // unit
            yield frame
            if taken - flushed >= BURST:
                flushed = taken
                self._end_burst()
        self.schedule()

    def _run(self) -> None:
        self._scheduled = False
        self._receive()
