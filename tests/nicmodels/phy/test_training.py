# SPDX-License-Identifier: GPL-2.0-or-later
"""IEEE 802.3, 72.6.10: the training protocol of one end; the test sends the other end's frames.

The bits are repeated here, from tables 72-4 (coefficient update) and 72-5 (status report).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.clock import ManualClock
from nicmodels.phy import Technology, Timeline, Training, TrainingFrames
from nicmodels.phy.medium import SILENCE
from nicmodels.phy.training import RANGES, Tap, TrainingTransmitter

KR = Technology.KR_10G
FRAME = 548 * 8 / 10.3125e9
"""Seconds: 4 bytes of marker, 32 of control channel, 512 of pattern, at 10.3125 GBd."""
PRESET, INITIALIZE, READY = 1 << 13, 1 << 12, 1 << 15
SHIFTS = {Tap.PRE: 0, Tap.MAIN: 2, Tap.POST: 4}
HOLD, INCREMENT, DECREMENT, RESERVED = 0, 1, 2, 3
NOT_UPDATED, UPDATED, MINIMUM, MAXIMUM = 0, 1, 2, 3


# --- the transmitter --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tap", list(Tap))
@pytest.mark.parametrize(("request_", "end", "step"), [(INCREMENT, MAXIMUM, 1), (DECREMENT, MINIMUM, -1)])
def test_to_the_limit(tap: Tap, request_: int, end: int, step: int) -> None:
    """One step per request, each followed by a hold; at the limit the status reports it and the tap stays."""
    transmitter, shift = TrainingTransmitter(), SHIFTS[tap]
    transmitter.reset()
    limit = RANGES[tap].most if step > 0 else RANGES[tap].least
    while transmitter.taps[tap] != limit:
        before = transmitter.taps[tap]
        assert transmitter.apply(request_ << shift, 0) == UPDATED << shift
        assert transmitter.taps[tap] == before + step
        assert transmitter.apply(HOLD, UPDATED << shift) == 0
    for _ in range(2):
        assert transmitter.apply(request_ << shift, 0) == end << shift
        assert transmitter.taps[tap] == limit
        assert transmitter.apply(HOLD, end << shift) == 0


@pytest.mark.parametrize("tap", list(Tap))
def test_a_request_counts_once_until_it_is_held(tap: Tap) -> None:
    transmitter, shift = TrainingTransmitter(), SHIFTS[tap]
    transmitter.reset()
    status = transmitter.apply(DECREMENT << shift, 0)
    taps = dict(transmitter.taps)
    for request in (DECREMENT, DECREMENT, INCREMENT, RESERVED, DECREMENT):
        assert transmitter.apply(request << shift, status) == status
        assert transmitter.taps == taps


@pytest.mark.parametrize("tap", list(Tap))
def test_the_reserved_request_does_nothing(tap: Tap) -> None:
    transmitter = TrainingTransmitter()
    transmitter.reset()
    before = dict(transmitter.taps)
    assert transmitter.apply(RESERVED << SHIFTS[tap], 0) == 0
    assert transmitter.taps == before


def test_taps_are_independent() -> None:
    transmitter = TrainingTransmitter()
    transmitter.reset()
    before = dict(transmitter.taps)
    assert transmitter.apply(INCREMENT | DECREMENT << 2 | INCREMENT << 4, 0) == UPDATED | UPDATED << 2 | UPDATED << 4
    assert {tap: transmitter.taps[tap] - before[tap] for tap in Tap} == {Tap.PRE: 1, Tap.MAIN: -1, Tap.POST: 1}


@pytest.mark.parametrize("command", [PRESET, INITIALIZE])
def test_preset_and_initialize(command: int) -> None:
    """They set all taps, once all are held: preset to no equalization, initialize to where training starts."""
    transmitter = TrainingTransmitter()
    transmitter.reset()
    for tap in Tap:
        transmitter.apply(DECREMENT << SHIFTS[tap], 0)
    changed = dict(transmitter.taps)
    assert transmitter.apply(command, UPDATED << 2) == UPDATED << 2
    assert transmitter.taps == changed, "not while a coefficient is still to be held"
    status = transmitter.apply(command, 0)
    assert all(status >> SHIFTS[tap] & 3 for tap in Tap), "all report it"
    expected = {tap: 0 if command == PRESET else RANGES[tap].initial for tap in Tap}
    assert transmitter.taps == expected
    assert transmitter.apply(HOLD, status) == 0


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.booleans()), max_size=60))
def test_no_request_leads_out_of_range(requests: list[tuple[int, bool]]) -> None:
    transmitter, status = TrainingTransmitter(), 0
    transmitter.reset()
    for update, hold in requests:
        status = transmitter.apply(HOLD if hold else update, status)
        assert status & ~0x3F == 0
        for tap, limits in RANGES.items():
            assert limits.least <= transmitter.taps[tap] <= limits.most


# --- the state diagram ------------------------------------------------------------------------------------------------


class End:
    """One end in training; `answer` is what a correct other end sends back, frame by frame."""

    def __init__(self, *, enabled: bool = True, technology: Technology = KR) -> None:
        self.clock = ManualClock()
        self.sent: TrainingFrames | None = None
        self.states: list[tuple[str, float]] = []
        self.technology = technology
        self.training = Training(
            Timeline(self.clock),
            drive=self._drive,
            notify=lambda state: self.states.append((state.name, self.clock.now())),
        )
        self.training.enabled = enabled
        self.training.start(technology)

    def _drive(self, frames: TrainingFrames | None) -> None:
        self.sent = frames

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.states]

    def frames(self, update: int = 0, status: int = 0, count: float = 3) -> None:
        self.training.receive(TrainingFrames(self.technology, update, status))
        self.clock.advance(count * FRAME)

    def please(self, *, ready: bool = True, limit: int = 1000) -> None:
        """Serve its requests until its receiver is ready."""
        self.frames()
        for _ in range(limit):
            if self.training.local_ready:
                break
            assert self.sent is not None
            asked = self.sent.update
            every = UPDATED | UPDATED << 2 | UPDATED << 4
            status = (
                every
                if asked & (PRESET | INITIALIZE)
                else sum(UPDATED << shift for shift in SHIFTS.values() if asked >> shift & 3)
            )
            self.frames(status=status)
        if ready:
            self.frames(status=READY)


def test_the_way() -> None:
    end = End()
    end.please()
    assert end.names == ["SEND_TRAINING", "TRAIN_LOCAL", "TRAIN_REMOTE", "LINK_READY"]
    end.clock.advance(300 * FRAME)
    assert end.names[-1] == "SEND_DATA"
    assert end.training.trained
    assert end.sent is None
    end.clock.advance(5)
    assert end.names[-1] == "SEND_DATA", "max_wait_timer is over with training"


def test_wait_timer() -> None:
    """100 to 300 training frames from both receivers being ready to data."""
    end = End()
    end.please(ready=False)
    end.frames(status=READY, count=0)
    end.clock.advance(1)
    times = dict(end.states)
    assert 100 * FRAME <= times["SEND_DATA"] - times["LINK_READY"] <= 300 * FRAME


@pytest.mark.parametrize(("count", "locked"), [(1.9, False), (2.1, True)])
def test_frame_lock_after_two_markers(count: float, locked: bool) -> None:
    end = End()
    end.frames(count=count)
    assert end.training.frame_lock is locked
    assert end.names == ["SEND_TRAINING", "TRAIN_LOCAL"][: 1 + locked]


def test_frame_lock_is_lost_and_found() -> None:
    end = End()
    end.frames()
    end.training.receive(SILENCE)
    assert not end.training.frame_lock
    assert end.names[-1] == "TRAIN_LOCAL"
    end.please()
    assert end.names[-1] == "LINK_READY"


def test_another_technology_s_frames_are_not_locked_to() -> None:
    end = End()
    end.training.receive(TrainingFrames(Technology.KR4_40G))
    end.clock.advance(0.1)
    assert not end.training.frame_lock


def test_receiver_ready_is_reported_only_when_it_is() -> None:
    end = End()
    assert not end.sent.status & READY
    end.please(ready=False)
    assert end.sent.status & READY
    assert end.names[-1] == "TRAIN_REMOTE"
    end.clock.advance(0.3)
    assert end.names[-1] == "TRAIN_REMOTE", "the other end is not ready"


def test_the_other_end_is_served_while_it_trains() -> None:
    end = End()
    before = dict(end.training.transmitter.taps)
    end.frames()
    end.frames(update=INCREMENT << 4)
    assert end.sent.status >> 4 & 3 == UPDATED
    assert end.training.transmitter.taps[Tap.POST] == before[Tap.POST] + 1
    end.frames(update=HOLD)
    assert end.sent.status >> 4 & 3 == NOT_UPDATED


def test_a_request_is_held_until_it_is_answered_and_released() -> None:
    end = End()
    end.frames()
    assert end.sent.update == INITIALIZE
    end.frames(count=50)
    assert end.sent.update == INITIALIZE
    end.frames(status=UPDATED | UPDATED << 2 | UPDATED << 4)
    assert end.sent.update == HOLD
    end.frames(status=UPDATED, count=50)
    assert end.sent.update == HOLD, "the next one waits for all to be not updated"
    end.frames()
    assert end.sent.update & 0x3F


@pytest.mark.parametrize("how", ["silence", "no answer", "never ready"])
def test_max_wait_timer(how: str) -> None:
    """After 500 ms, within 1 %: training failure, and the transmitter is off."""
    end = End()
    if how == "no answer":
        end.frames()
    elif how == "never ready":
        end.please(ready=False)
    end.clock.advance(0.495 - end.clock.now())
    assert not end.training.failed
    end.clock.advance(0.01)
    assert end.training.failed
    assert end.sent is None
    assert not end.training.trained


@pytest.mark.parametrize(
    ("label", "seconds"), [("40GBASE-KR4", 0.5), ("50GBASE-KR/CR", 3.0), ("100GBASE-KR1/CR1", 12.0)]
)
def test_max_wait_timer_of_others(label: str, seconds: float) -> None:
    end = End(technology=Technology.named(label))
    end.clock.advance(seconds * 0.99)
    assert not end.training.failed
    end.clock.advance(seconds * 0.02)
    assert end.training.failed


def test_restart_after_failure_and_in_the_middle() -> None:
    end = End()
    end.clock.advance(1)
    assert end.training.failed
    end.training.start(KR)
    end.frames()
    end.frames(update=INCREMENT)
    end.training.start(KR)
    assert end.names[-1] == "SEND_TRAINING"
    assert end.training.transmitter.taps == {tap: limits.initial for tap, limits in RANGES.items()}
    end.please()
    end.clock.advance(0.01)
    assert end.training.trained


def test_training_disabled() -> None:
    """mr_training_enable off: data at once."""
    end = End(enabled=False)
    assert end.names == ["SEND_DATA"]
    assert end.sent is None
