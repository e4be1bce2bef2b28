# SPDX-License-Identifier: MIT
"""The parts of a queue engine that do not depend on the descriptors: the work list of queues, and the receive loop.

Both run from the event loop: doorbells that are written together become one batch, and a busy wire does not delay
timers and control clients. Both survive an exception of the model, which costs the queue in which it happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nicmodels.clock import Clock
    from nicmodels.nic.device import Host

BURST = 64
"""Frames after which completions are written and interrupts raised: as many as a driver of Linux polls at once (NAPI_POLL_WEIGHT)."""
LONG_BURST = 128
"""For devices whose drivers poll until nothing is left before they enable the interrupt again."""
TURN = 256
"""Frames after which the event loop runs."""
SEGMENTS_A_TURN = 1024
"""Frames that segmentation makes before the event loop runs: some ms, whatever the segment size."""
AFTER_FAILURE = 1e-3
"""Seconds until the next turn after one that failed, so that a turn that fails again and again takes no whole CPU."""


class WorkList:
    """The queues that have work, each once, in the order in which their doorbells were written.

    Args:
        host: schedules the work, and takes its exceptions.
        work: called with each queue, from the event loop.
        halt: called with a queue and its exception: `DmaError`, or one that shows a bug of the model. It stops the queue.
        begin: called before the first queue of a turn; if it returns false, all wait for the next turn.
    """

    def __init__(
        self,
        host: Host,
        work: Callable[[int], object],
        halt: Callable[[int, Exception], object],
        begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock: Clock = host.clock
        self._failures = host.failures
        self._work = work
        self._halt = halt
        self._begin = begin
        self._pending: dict[int, None] = {}
        self._deferred: dict[int, None] = {}
        self._scheduled = False

    def add(self, queue: int) -> None:
        """Schedule work on a queue."""
        self._pending[queue] = None
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_later(0.0, self._run)

    def defer(self, queue: int) -> None:
        """Serve a queue that found no room in this turn first in the next, before those that had their part."""
        self._deferred[queue] = None

    def discard(self, queue: int) -> None:
        """Drop a queue."""
        self._pending.pop(queue, None)
        self._deferred.pop(queue, None)

    def clear(self) -> None:
        """Drop all queues."""
        self._pending.clear()
        self._deferred.clear()

    def _run(self) -> None:
        self._scheduled = False
        if not self._begin():
            return
        pending, self._pending = self._pending, {}
        for queue in pending:
            try:
                self._work(queue)
            except Exception as error:
                if not isinstance(error, DmaError):
                    self._failures.add(error, direction="tx", queue=queue)
                self._halt(queue, error)
        if self._deferred:
            again, self._deferred = {**self._deferred, **self._pending}, {}
            self._pending = {}
            for queue in again:
                self.add(queue)


class ReceiveLoop:
    """Receives frames from the wire, in bursts, at most `TURN` at a time.

    Args:
        host: has the wire, schedules the next turn, and takes its exceptions.
        receive: a turn: it iterates over `bursts`, then ends the last burst.
        end_burst: writes the completions of a burst, and raises its interrupts.
        burst: frames of a burst.
        failed: called after a turn that failed, to forget what may have caused it.
    """

    def __init__(
        self,
        host: Host,
        receive: Callable[[], object],
        end_burst: Callable[[], object],
        burst: int = BURST,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._clock = host.clock
        self._wire = host.wire
        self._failures = host.failures
        self._receive = receive
        self._end_burst = end_burst
        self._burst = burst
        self._failed = failed
        self._scheduled = False
        self._left: list[bytes] = []

    def schedule(self) -> None:
        """Run a turn from the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_later(0.0, self._run)

    def turn(self) -> None:
        """Run a turn now. After an exception the rest of its burst is lost, and the frames that wait are for another turn."""
        try:
            self._receive()
        except Exception as error:
            self._failures.add(error, direction="rx")
            self._failed()
            if not self._scheduled:
                self._scheduled = True
                self._clock.call_later(AFTER_FAILURE, self._run)

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
        self.turn()
