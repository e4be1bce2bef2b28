# SPDX-License-Identifier: MIT
"""The parts of a queue engine that do not depend on the descriptors: the work list of queues, and the receive loop.

Both run from the event loop: doorbells that are written together become one batch, and a busy wire does not delay
timers and control clients.
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
"""Frames after which the event loop runs."""


class WorkList:
    """The queues that have work, each once, in the order in which their doorbells were written.

    Args:
        clock: schedules the work.
        work: called from the event loop; it takes the queues with `take`, or leaves them for later.
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
        """Drop a queue."""
        self._pending.pop(queue, None)

    def clear(self) -> None:
        """Drop all queues."""
        self._pending.clear()

    def take(self) -> Iterable[int]:
        """Take all queues with work; those added from now on wait for the next run."""
        pending, self._pending = self._pending, {}
        return pending

    def _run(self) -> None:
        self._scheduled = False
        self._work()


class ReceiveLoop:
    """Receives frames from the wire, in bursts of `BURST`, at most `TURN` at a time.

    Args:
        clock: schedules the next turn.
        wire: the source of the frames.
        receive: runs a turn: it iterates over `frames`, then ends the last burst.
        end_burst: writes the completions of a burst, and raises its interrupts.
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
        """Run a turn from the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_later(0.0, self._run)

    def frames(self, unit: int | None = None) -> Iterator[memoryview]:
        """The frames of a turn, each valid until the next. If frames may be left at its end, another turn is scheduled.

        Args:
            unit: a frame counts as one, plus one for each `unit` bytes; for frames that the device still has to segment.
                None to count each frame as one.
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
