# SPDX-License-Identifier: GPL-2.0-or-later
"""Two transceivers with a process boundary between them, which delays each message."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.clock import ManualClock
from nicmodels.phy import NULL_PAGE, Abilities, Carrier, Pages, RemoteSegment, Technology, TrainingFrames, resolve
from nicmodels.phy.medium import SILENCE, describe
from nicmodels.phy.remote_segment import parse
from nicmodels.wire import PairWire, WireCounters

if TYPE_CHECKING:
    from collections.abc import Sequence

BOTH = Abilities.of("10GBASE-KR", "1000BASE-KX", pause=True)


class LateWire:
    """One end of a pipe that keeps the order of messages, but delays them.

    Args:
        delay: returns the seconds for a message.
    """

    def __init__(self, clock: ManualClock, delay: object) -> None:
        self.counters = WireCounters()
        self.connected = True
        self.connections = 1
        self.room = True
        self._clock = clock
        self._delay = delay
        self._free = 0.0
        self._sent: list[bytes] = []
        self._come: list[bytes] = []
        self.other: LateWire = self
        self.readable: object = None

    def transmit(self, buffers: Sequence[bytes]) -> None:
        if not self.room:
            self.counters.transmit_drops += 1
            return
        self._sent.append(b"".join(buffers))
        self._free = max(self._free, self._clock.now() + self._delay())
        self._clock.call_later(self._free - self._clock.now(), self._deliver)

    def _deliver(self) -> None:
        self.other._come.append(self._sent.pop(0))
        self.other.readable()

    def receive(self) -> bytes | None:
        return self._come.pop(0) if self._come else None


class Pair:
    """Two transceivers."""

    def __init__(self, near: Abilities, far: Abilities, most: float, seed: int = 1) -> None:
        self.clock = ManualClock()
        source = random.Random(seed)
        self.wires = [LateWire(self.clock, lambda: source.uniform(0, most)) for _ in range(2)]
        self.wires[0].other, self.wires[1].other = self.wires[1], self.wires[0]
        self.lines = [RemoteSegment(self.clock, wire) for wire in self.wires]
        self.ends = [line.attach() for line in self.lines]
        for wire, line, end, offer in zip(self.wires, self.lines, self.ends, (near, far), strict=True):
            wire.readable = line.port.readable
            end.arbitration.advertise(offer.base_page())
            end.arbitration.enable(True)

    def links(self) -> list[object]:
        return [end.link for end in self.ends]


@settings(deadline=None, max_examples=25)
@given(
    st.frozensets(st.sampled_from(list(Technology))),
    st.frozensets(st.sampled_from(list(Technology))),
    st.sampled_from((0.0, 1e-6, 1e-4, 3e-3)),
    st.integers(0, 99),
)
def test_they_converge_however_late_messages_are(
    near: frozenset[Technology], far: frozenset[Technology], most: float, seed: int
) -> None:
    pair = Pair(Abilities(near), Abilities(far), most, seed)
    pair.clock.advance(2)
    assert pair.links() == [resolve(Abilities(near), Abilities(far))] * 2


def test_next_pages_cross() -> None:
    pair = Pair(BOTH, BOTH, 1e-3)
    pair.ends[0].arbitration.advertise(BOTH.base_page() | 1 << 15)
    pair.clock.advance(1)
    assert pair.ends[1].arbitration.lp_next_page & 0x27FF == NULL_PAGE
    assert pair.links() == [resolve(BOTH, BOTH)] * 2


def test_a_restart_is_seen() -> None:
    pair = Pair(BOTH, BOTH, 1e-3)
    pair.clock.advance(1)
    pair.ends[0].arbitration.restart()
    pair.clock.advance(0.01)
    assert pair.links() == [None, None]
    pair.clock.advance(1)
    assert None not in pair.links()


def test_the_other_process_goes_and_another_comes() -> None:
    pair = Pair(BOTH, BOTH, 1e-3)
    pair.clock.advance(1)
    assert pair.lines[0].partner.describe()["phase"] == "linked"
    for wire in pair.wires:
        wire.connected = wire.room = False
    pair.lines[0].port.readable()
    pair.clock.advance(1)
    assert pair.links()[0] is None
    assert pair.lines[0].partner.describe()["phase"] == "silent"
    for wire, line in zip(pair.wires, pair.lines, strict=True):
        wire.connected = wire.room = True
        wire.connections += 1
        line.port.readable()
    pair.clock.advance(1)
    assert None not in pair.links()


def test_a_message_without_room_is_sent_again() -> None:
    pair = Pair(BOTH, BOTH, 0.0)
    pair.wires[0].room = False
    pair.clock.advance(0.2)
    assert pair.links() == [None, None]
    pair.wires[0].room = True
    pair.clock.advance(1)
    assert None not in pair.links()


def test_what_is_sent_again_is_sent_once() -> None:
    """Only the last of several pending signals is sent."""
    pair = Pair(BOTH, BOTH, 0.0)
    pair.clock.advance(0.2)
    port, wire = pair.lines[0].port, pair.wires[0]
    wire.room = False
    for technology in (Technology.KR_10G, Technology.KX_1000M, Technology.KX4_10G):
        port.drive(Carrier(technology))
    lost = wire.counters.transmit_drops
    pair.clock.advance(0.0101)
    assert wire.counters.transmit_drops - lost == 10, "one try a millisecond"
    wire.room = True
    pair.clock.advance(0.0015)
    assert pair.lines[1].port.received == port.driven


def test_an_end_found_gone_while_sending_is_silent() -> None:
    pair = Pair(BOTH, BOTH, 0.0)
    pair.clock.advance(1)
    port, wire = pair.lines[0].port, pair.wires[0]
    assert isinstance(port.received, Carrier)
    wire.connected = wire.room = False
    port.drive(SILENCE)
    pair.clock.advance(0.001)
    assert port.received == SILENCE
    assert pair.links()[0] is None


@pytest.mark.parametrize(
    "signal",
    [
        SILENCE,
        Pages(NULL_PAGE),
        Carrier(Technology.KX4_10G),
        TrainingFrames(Technology.KR_10G, 0x2001, 0x8015),
    ],
)
def test_signals_as_messages(signal: object) -> None:
    assert parse(json.loads(json.dumps(describe(signal)))) == signal


@pytest.mark.parametrize("message", [b"{", b"[]", b'{"time": 1, "signal": "noise"}', b'{"signal": "silence"}'])
def test_garbage_is_ignored(message: bytes) -> None:
    one, other = PairWire.pair()
    line = RemoteSegment(ManualClock(), one)
    other.transmit((message,))
    line.port.readable()
    assert line.port.received == SILENCE
    one.close()
    other.close()


def test_nothing_can_be_set() -> None:
    pair = Pair(BOTH, BOTH, 0.0)
    assert pair.lines[0].partner.control() == pair.lines[0].partner.describe()
    assert pair.lines[0].partner.read() == []
    with pytest.raises(ValueError, match="its own driver"):
        pair.lines[0].partner.control(up=False)
