# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile driver asks for, and what a bug of the model costs: counted, and at most the channel."""

from __future__ import annotations

import pytest
import xgbe_harness as x
from nicmodels.nic.engine import SEGMENTS_A_TURN
from xgbe_harness import XgbeRig

PLAIN = x.PEER + x.MAC + b"\x88\xb5" + bytes(46)
HEADER = x.PEER + x.MAC + b"\x08\x00" + b"\x45".ljust(20, b"\0") + bytes(12) + b"\x50".ljust(8, b"\0")


def violations(harness: XgbeRig) -> dict[str, int]:
    return dict(harness.device.control_methods()["model.counters"]()["violations"])


def test_segments_are_sent_over_several_turns(harness: XgbeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    whole = harness.wire.transmit_many
    monkeypatch.setattr(harness.wire, "transmit_many", lambda frames: (sizes.append(len(frames)), whole(frames)))
    payload = bytes(range(250)) * 12
    sent = harness.segment(HEADER, payload, 10)
    assert len(sent) == 300
    sent = harness.segment(HEADER, payload, 1)
    assert b"".join(frame[54:55] for frame in sent) == payload
    assert len(sent) == 3000
    assert max(sizes, default=0) <= SEGMENTS_A_TURN
    account = harness.device.control_methods()["model.counters"]()["tx"][0]
    assert (account["frames"], account["segments"]) == (2, 3300)
    assert harness.owned() == []


def test_segments_wait_in_a_queue_of_limited_size(harness: XgbeRig) -> None:
    """While the MAC does not send, the DMA puts no more into the queue than fits, and what one turn makes."""
    harness.write(x.MAC_TCR, 0)
    assert harness.segment(HEADER, bytes(3000), 1) == []
    assert harness.owned() != []
    assert sum(len(each.frames) for each in harness.device.transmitter._tx_queues._waiting[0]) <= SEGMENTS_A_TURN
    harness.write(x.MAC_TCR, 1)
    harness.clock.advance(0)
    assert len(harness.wire.sent) == 3000
    assert harness.owned() == []


@pytest.mark.parametrize("named", [0, 999, 1001, 0x3FFFF])
def test_a_payload_length_that_is_not_the_buffers(harness: XgbeRig, named: int) -> None:
    """TPL, the TCP payload length, is what follows the headers."""
    harness.memory.write(x.TX_BUFFERS, HEADER + bytes(1000))
    sent = harness.send(
        (0, 0, 500, x.CONTEXT | x.OWN | 1 << 26),
        (x.TX_BUFFERS, 0, len(HEADER), x.OWN | x.FIRST | 1 << 18 | 5 << 19 | named),
        (x.TX_BUFFERS + len(HEADER), 0, 1000 | 1 << 31, x.OWN | x.LAST),
    )
    assert sent == []
    assert violations(harness) == {"tx.packet": 1}
    assert harness.owned() == []
    assert harness.transmit(PLAIN) == [PLAIN]


def test_a_packet_without_end_stops_its_channel(harness: XgbeRig) -> None:
    assert harness.send(*[(x.TX_BUFFERS, 0, 60, x.OWN | x.FIRST)] * (x.RING - 1)) == []
    assert violations(harness) == {"tx.descriptors": 1}
    assert not harness.read(x.CH_TCR) & 1
    assert harness.transmit(PLAIN, channel=1) == [PLAIN]


def test_a_packet_that_is_too_long(harness: XgbeRig) -> None:
    piece = (x.TX_BUFFERS, 0, 0x3FFF, x.OWN)
    chain = [(*piece[:3], x.OWN | x.FIRST), piece, (*piece[:3], x.OWN | x.LAST)]
    assert harness.send(*chain) == []
    assert violations(harness) == {"tx.packet": 1}


def test_a_bug_costs_the_channel_in_which_it_shows(harness: XgbeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.device.transmitter._tx_queues, "put_plain", broken)
    assert harness.transmit(PLAIN) == []
    monkeypatch.undo()
    assert harness.slot.failures.count == 1
    assert not harness.read(x.CH_TCR) & 1
    assert harness.transmit(PLAIN, channel=1) == [PLAIN]


def test_a_bug_of_reception_costs_the_channel(harness: XgbeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_more: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.device.receiver.dma, "_scatter", broken)
    frame = x.MAC + x.PEER + b"\x88\xb5" + bytes(46)
    assert harness.receive(frame) == []
    assert harness.slot.failures.count == 1
    monkeypatch.undo()
    harness.start()
    assert [each.data for each in harness.receive(frame)] == [frame]
