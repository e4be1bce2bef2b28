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
"""Frames after which completions are written and interrupts raised: as many as a driver of Linux polls at once (NAPI_POLL_WEIGHT)."""
LONG_BURST = 128
"""For devices whose drivers poll until nothing is left before they enable the interrupt again."""
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
    """Receives frames from the wire, in bursts, at most `TURN` at a time.

    Args:
        clock: schedules the next turn.
        wire: the source of the frames.
        receive: runs a turn: it iterates over `bursts`, then ends the last burst.
        end_burst: writes the completions of a burst, and raises its interrupts.
        burst: frames of a burst.
    """

    def __init__(
        self,
        clock: Clock,
        wire: Wire,
        receive: Callable[[], object],
        end_burst: Callable[[], object],
        burst: int = BURST,
    ) -> None:
        self._clock = clock
        self._wire = wire
        self._receive = receive
        self._end_burst = end_burst
        self._burst = burst
        self._scheduled = False
        self._left: list[bytes] = []

    def schedule(self) -> None:
        """Run a turn from the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_later(0.0, self._run)

    def bursts(self, *, singly: Callable[[], object] | None = None) -> Iterator[list[bytes]]:
        """The frames of a turn, as many at once as wait.

        If frames may be left at the turn's end, another turn is scheduled.

        Args:
            singly: whether to take the next frames from the wire one by one, since the device may soon leave the rest there.
        """
        wire = self._wire
        taken = flushed = 0
        more = True
        while more and taken < TURN:
            if self._left:
                frames, self._left = self._left, []
            else:
                room = 1 if singly is not None and singly() else self._burst + flushed - taken
                frames = wire.receive_many(room)
                more = len(frames) == room
                if not frames:
                    return
            taken += len(frames)
            yield frames
            if taken - flushed >= self._burst:
                flushed = taken
                self._end_burst()
        if more:
            self.schedule()

    def put_back(self, frames: list[bytes]) -> None:
        """Keep the rest of a burst, which the device cannot take now, as if it were still on the wire."""
        self._left = frames

    def _run(self) -> None:
        self._scheduled = False
        self._receive()
