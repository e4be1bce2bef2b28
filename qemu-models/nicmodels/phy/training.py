# SPDX-License-Identifier: MIT
"""Link training of one end: IEEE 802.3, 72.6.10 (10GBASE-KR PMD control function) and the clauses that refer to it (84, 85, 93 …).

Both ends send training frames. In each frame an end requests changes of the other transmitter's taps (coefficient
update) and reports the result of the last request (status report). An end whose receiver has converged sends "receiver
ready"; when both ends have, the PMDs switch to data.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from nicmodels.phy.medium import Signal, TrainingFrames
from nicmodels.phy.timers import TRAINING_FRAME, max_wait

if TYPE_CHECKING:
    from nicmodels.clock import Timer
    from nicmodels.phy.abilities import Technology
    from nicmodels.phy.timeline import Timeline

PRESET, INITIALIZE = 1 << 13, 1 << 12
RECEIVER_READY = 1 << 15
LOCK_FRAMES = 2
"""Frames with a good marker until frame lock (72.6.10.2.1, figure 72-4)."""
WAIT_FRAMES = 128
"""wait_timer: 100 to 300 training frames (72.6.10.3.2)."""
UPDATE_FRAMES = 2
"""Frames until a transmitter has changed its taps and reports it; 72.6.10.2.5 leaves it to the implementation."""


class Tap(enum.IntEnum):
    """A coefficient of the transmitter's equalizer; the value is the position of its two bits in both fields."""

    PRE = 0
    """c(-1)."""
    MAIN = 2
    """c(0)."""
    POST = 4
    """c(+1)."""


class Update(enum.IntEnum):
    """A coefficient update request (table 72-4)."""

    HOLD = 0
    INCREMENT = 1
    DECREMENT = 2


class CoefficientStatus(enum.IntEnum):
    """A coefficient's status (table 72-5)."""

    NOT_UPDATED = 0
    UPDATED = 1
    MINIMUM = 2
    MAXIMUM = 3


class TrainingState(enum.Enum):
    """Figure 72-5."""

    INITIALIZE = 0
    SEND_TRAINING = 1
    TRAIN_LOCAL = 2
    TRAIN_REMOTE = 3
    LINK_READY = 4
    SEND_DATA = 5
    TRAINING_FAILURE = 6


@dataclass(frozen=True)
class Range:
    """The range of a tap, in steps from its preset (72.7.1.10)."""

    least: int
    most: int
    initial: int


RANGES: Mapping[Tap, Range] = MappingProxyType(
    {Tap.PRE: Range(-6, 0, -2), Tap.MAIN: Range(-12, 0, -4), Tap.POST: Range(-14, 0, -6)}
)
WANTED: Mapping[Tap, int] = MappingProxyType({Tap.PRE: -3, Tap.MAIN: -3, Tap.POST: -8})
"""The settings at which a receiver here converges."""

_TRAINING = frozenset(
    (TrainingState.SEND_TRAINING, TrainingState.TRAIN_LOCAL, TrainingState.TRAIN_REMOTE, TrainingState.LINK_READY)
)


class TrainingTransmitter:
    """The taps of the local transmitter: figure 72-6, the coefficient update state diagram."""

    def __init__(self) -> None:
        self.taps: dict[Tap, int] = dict.fromkeys(Tap, 0)

    def reset(self) -> None:
        """The INITIALIZE setting, from which training starts."""
        for tap, limits in RANGES.items():
            self.taps[tap] = limits.initial

    def apply(self, update: int, status: int) -> int:
        """Apply an update field; returns the status field.

        A tap whose status is not `NOT_UPDATED` answers only a hold, which makes it `NOT_UPDATED`.
        """
        if update & (PRESET | INITIALIZE):
            if status & 0x3F:
                return status
            for tap, limits in RANGES.items():
                self.taps[tap] = 0 if update & PRESET else limits.initial
            return _report(CoefficientStatus.MAXIMUM if update & PRESET else CoefficientStatus.UPDATED)
        report = 0
        for tap in Tap:
            request, last = update >> tap & 3, CoefficientStatus(status >> tap & 3)
            report |= self._step(tap, request, last) << tap
        return report

    def _step(self, tap: Tap, request: int, last: CoefficientStatus) -> CoefficientStatus:
        if request == Update.HOLD:
            return CoefficientStatus.NOT_UPDATED
        if last is not CoefficientStatus.NOT_UPDATED or request not in (Update.INCREMENT, Update.DECREMENT):
            return last
        limits = RANGES[tap]
        wanted = self.taps[tap] + (1 if request == Update.INCREMENT else -1)
        if wanted > limits.most:
            return CoefficientStatus.MAXIMUM
        if wanted < limits.least:
            return CoefficientStatus.MINIMUM
        self.taps[tap] = wanted
        return CoefficientStatus.UPDATED


def _report(status: CoefficientStatus) -> int:
    return sum(status << tap for tap in Tap)


class Training:
    """The PMD control function of one end.

    Args:
        timeline: the medium's.
        drive: called with the frames to send from now on; None once training has ended.
        notify: called with each new state.

    Attributes:
        state: the current state of figure 72-5.
        enabled: mr_training_enable; while it is off, a PMD switches to data at once.
        automatic: whether training starts as soon as arbitration selects a PMD; otherwise management starts it.
        frame_lock: the local end is locked to the other end's frames.
        local_ready: the local receiver has converged.
        remote_ready: the other end reported receiver ready.
        converges: false for a receiver that never becomes ready.
        answers: false for a transmitter that ignores requests.
        transmitter: the local taps.
        history: the last fields received, (update, status).
    """

    def __init__(
        self,
        timeline: Timeline,
        *,
        drive: Callable[[TrainingFrames | None], object],
        notify: Callable[[TrainingState], object] = lambda _state: None,
    ) -> None:
        self.state = TrainingState.INITIALIZE
        self.enabled = True
        self.automatic = True
        self.frame_lock = False
        self.local_ready = False
        self.remote_ready = False
        self.converges = True
        self.answers = True
        self.transmitter = TrainingTransmitter()
        self.history: deque[tuple[int, int]] = deque(maxlen=256)
        self._timeline = timeline
        self._drive = drive
        self._notify = notify
        self._technology: Technology | None = None
        self._frames: TrainingFrames | None = None
        self._received: TrainingFrames | None = None
        self._pending_requests: Iterator[int] = iter(())
        self._requested = 0
        self._timers: dict[str, Timer] = {}

    @property
    def training(self) -> bool:
        """Whether training frames are sent."""
        return self.state in _TRAINING

    @property
    def trained(self) -> bool:
        """SEND_DATA: the PMD transmits the PCS's signal."""
        return self.state is TrainingState.SEND_DATA

    @property
    def failed(self) -> bool:
        """training_failure."""
        return self.state is TrainingState.TRAINING_FAILURE

    @property
    def technology(self) -> Technology | None:
        """The technology whose PMD trains; None between links."""
        return self._technology

    def start(self, technology: Technology) -> None:
        """mr_restart_training, for a PMD of `technology`."""
        self.stop()
        self._technology = technology
        self.transmitter.reset()
        if not self.enabled:
            self._enter(TrainingState.SEND_DATA)
            return
        self._pending_requests = self._requests()
        self._frames = TrainingFrames(technology)
        self._enter(TrainingState.SEND_TRAINING)
        self._after("max wait", max_wait(technology), self._fail)
        self._evaluate()

    def stop(self) -> None:
        """Back to INITIALIZE: there is no link to train."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.history.clear()
        self.frame_lock = self.local_ready = self.remote_ready = False
        self._technology = self._frames = None
        self._requested = 0
        if self.state is not TrainingState.INITIALIZE:
            self._enter(TrainingState.INITIALIZE)

    def receive(self, signal: Signal) -> None:
        """A new signal arrives from the other end; an event of the timeline."""
        self._received = signal if isinstance(signal, TrainingFrames) else None
        self._evaluate()

    # --- the diagram --------------------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        frames = self._received
        if not self.training:
            return
        if frames is None or frames.technology is not self._technology:
            if self.state is not TrainingState.LINK_READY:  # the other end may have finished already
                self.frame_lock = False
                self._cancel("lock")
            return
        if not self.frame_lock:
            if "lock" not in self._timers:
                self._after("lock", LOCK_FRAMES * TRAINING_FRAME, self._lock)
            return
        self._read(frames)

    def _lock(self) -> None:
        self.frame_lock = True
        if self.state is TrainingState.SEND_TRAINING:
            self._enter(TrainingState.TRAIN_LOCAL)
            self._next_request()
        if self._received is not None:
            self._read(self._received)

    def _read(self, frames: TrainingFrames) -> None:
        """Serve the other end's request, and continue with our own."""
        self.history.append((frames.update, frames.status))
        self.remote_ready = self.remote_ready or bool(frames.status & RECEIVER_READY)
        if self.answers:
            self._after("update", UPDATE_FRAMES * TRAINING_FRAME, self._serve)
        if self.state is TrainingState.TRAIN_LOCAL:
            self._after("request", TRAINING_FRAME, self._answered)
        elif self.state is TrainingState.TRAIN_REMOTE and self.remote_ready:
            self._enter(TrainingState.LINK_READY)
            self._after("wait", WAIT_FRAMES * TRAINING_FRAME, self._finish)

    def _serve(self) -> None:
        if self._frames is None or self._received is None:
            return
        status = self.transmitter.apply(self._received.update, self._frames.status & 0x3F)
        self._send(status=self._frames.status & RECEIVER_READY | status)

    def _answered(self) -> None:
        """The other end's status: a request is done when each requested tap has a status, a hold when none has."""
        if self.state is not TrainingState.TRAIN_LOCAL or self._received is None:
            return
        status = self._received.status & 0x3F
        if self._requested == 0:
            if status == 0:
                self._next_request()
        elif status:
            self._request(0)

    def _next_request(self) -> None:
        update = next(self._pending_requests, None)
        if update is not None:
            self._request(update)
        elif self.converges:
            self.local_ready = True
            assert self._frames is not None
            self._enter(TrainingState.TRAIN_REMOTE)
            self._send(status=self._frames.status | RECEIVER_READY)
            if self._received is not None:
                self._read(self._received)

    def _requests(self) -> Iterator[int]:
        """The local receiver's requests, in order."""
        yield INITIALIZE
        for tap, wanted in WANTED.items():
            steps = wanted - RANGES[tap].initial
            yield from (Update.INCREMENT << tap if steps > 0 else Update.DECREMENT << tap for _ in range(abs(steps)))

    def _request(self, update: int) -> None:
        self._requested = update
        self._send(update=update)

    def _finish(self) -> None:
        self._cancel("max wait")
        self._frames = None
        self._enter(TrainingState.SEND_DATA)

    def _fail(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._frames = None
        self._enter(TrainingState.TRAINING_FAILURE)

    def _enter(self, state: TrainingState) -> None:
        self.state = state
        self._notify(state)
        self._drive(self._frames if self.training else None)

    def _send(self, *, update: int | None = None, status: int | None = None) -> None:
        frames = self._frames
        assert frames is not None
        assert self._technology is not None
        self._frames = TrainingFrames(
            self._technology,
            frames.update if update is None else update,
            frames.status if status is None else status,
        )
        self._drive(self._frames)

    def _after(self, name: str, seconds: float, callback: Callable[[], object]) -> None:
        self._cancel(name)

        def run() -> None:
            del self._timers[name]
            callback()

        self._timers[name] = self._timeline.call_later(seconds, run)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
