# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile driver asks for, and what a bug of the model costs: counted, and at most the queue."""

from __future__ import annotations

from collections.abc import Sequence

import ixgbe_harness as h
import pytest
from ixgbe_harness import DEXT, EOP, IFCS, MAC, PEER, RS, TSE, TX_BUFFERS, Harness
from nicmodels.models.ixgbe.registers import transmit
from nicmodels.nic.engine import SEGMENTS_A_TURN

PLAIN = MAC + PEER + b"\x88\xb5" + bytes(46)
DATA = DEXT | 3 << 20 | IFCS
HEADER = MAC + PEER + b"\x08\x00" + b"\x45".ljust(20, b"\0") + bytes(12) + b"\x50".ljust(8, b"\0")


class Bursts(h.ListWire):
    """A wire that records how many frames are sent at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def transmit_many(self, frames: Sequence[Sequence[bytes | bytearray | memoryview]]) -> None:
        self.sizes.append(len(frames))
        super().transmit_many(frames)


@pytest.fixture
def bursts(harness: Harness) -> Bursts:
    harness.wire = harness.slot.wire = Bursts()
    return harness.wire


def violations(harness: Harness) -> dict[str, int]:
    return dict(harness.device.control_methods()["model.counters"]()["violations"])


def send_plain(harness: Harness, queue: int) -> list[bytes]:
    harness.memory.write(TX_BUFFERS + 0x8000, PLAIN)
    size = len(PLAIN)
    return harness.send((TX_BUFFERS + 0x8000, size | DATA | EOP | RS | size << 46), queue=queue)


def test_segments_are_sent_over_several_turns_and_let_other_queues_in_between(harness: Harness, bursts: Bursts) -> None:
    payload = bytes(range(250)) * 12
    harness.memory.write(TX_BUFFERS, HEADER + payload)
    size = len(HEADER) + len(payload)
    harness.memory.write(TX_BUFFERS + 0x8000, PLAIN)
    plain = (TX_BUFFERS + 0x8000, len(PLAIN) | DATA | EOP | RS | len(PLAIN) << 46)
    harness.memory.write(h.TX_RING + h.RING * 16, b"".join(word.to_bytes(8, "little") for word in plain))
    harness.write(transmit.TDT, 1, 1)  # the other queue's packet waits for the same turn
    first = (TX_BUFFERS, size | DATA | TSE | EOP | RS | len(payload) << 46)
    sent = harness.send(h.context(mss=1), first)
    assert max(bursts.sizes) <= SEGMENTS_A_TURN
    assert len(bursts.sizes) >= 4
    assert sorted(map(len, sent)) == [60] * 3001
    segments = [frame for frame in sent if frame != PLAIN]
    assert b"".join(frame[54:55] for frame in segments) == payload
    assert [int.from_bytes(frame[18:20]) for frame in segments] == list(range(3000))
    assert sent.index(PLAIN) < SEGMENTS_A_TURN + 2
    account = harness.device.statistics.tx[0]
    assert (account.frames, account.bytes, account.segments) == (1, size, 3000)
    assert harness.done()


def test_a_packet_is_written_back_only_when_all_its_segments_are_sent(harness: Harness, bursts: Bursts) -> None:
    payload = bytes(2000)
    harness.memory.write(TX_BUFFERS, HEADER + payload)
    seen = []
    whole = bursts.transmit_many

    def watch(frames: Sequence[Sequence[bytes | bytearray | memoryview]]) -> None:
        seen.append(harness.done())
        whole(frames)

    bursts.transmit_many = watch  # type: ignore[method-assign]
    size = len(HEADER) + len(payload)
    harness.send(h.context(mss=1), (TX_BUFFERS, size | DATA | TSE | EOP | RS | len(payload) << 46))
    assert len(seen) >= 2
    assert not any(seen)
    assert harness.done()


@pytest.mark.parametrize("named", [0, 59, 61, (1 << 18) - 1])
def test_a_payload_length_that_is_not_the_buffers(harness: Harness, named: int) -> None:
    """PAYLEN of a single packet is its length (datasheet 7.2.3.2.4)."""
    harness.memory.write(TX_BUFFERS, PLAIN)
    assert harness.send((TX_BUFFERS, 60 | DATA | EOP | RS | named << 46)) == []
    assert violations(harness) == {"tx.packet": 1}
    assert harness.done()
    assert send_plain(harness, 0) == [PLAIN]


@pytest.mark.parametrize("difference", [-1, 1, 54])
def test_a_payload_length_that_is_not_the_segments(harness: Harness, difference: int) -> None:
    """PAYLEN of a packet to be segmented is what follows the headers, so it includes none of them."""
    harness.memory.write(TX_BUFFERS, HEADER + bytes(1000))
    command = 1054 | DATA | TSE | EOP | RS | 1000 + difference << 46
    assert harness.send(h.context(mss=500), (TX_BUFFERS, command)) == []
    assert violations(harness) == {"tx.packet": 1}


def test_segments_of_gigabytes_are_refused_without_being_read(harness: Harness) -> None:
    """256 KB is the most that PAYLEN can name; buffers of more are not copied, segmented or sent."""
    piece = (TX_BUFFERS, 0xFFFF | DATA | TSE)
    chain = [(TX_BUFFERS, 54 | DATA | TSE | 0x3FFFF << 46), *[piece] * 38, (piece[0], piece[1] | EOP | RS)]
    assert harness.send(h.context(mss=1), *chain) == []
    assert violations(harness) == {"tx.packet": 1}
    assert send_plain(harness, 0) == [PLAIN]


@pytest.mark.parametrize(("size", "mss"), [(15873, 0), (54, 15819)])
def test_frames_longer_than_the_hardware_sends(harness: Harness, size: int, mss: int) -> None:
    named = size - 54 if mss else size
    command = size | DATA | EOP | RS | named << 46 | (TSE if mss else 0)
    assert harness.send(h.context(mss=mss), (TX_BUFFERS, command)) == []
    assert violations(harness) == {"tx.packet": 1}


@pytest.mark.parametrize("count", [41, 63])
def test_a_packet_without_end_disables_its_queue_until_it_is_enabled_again(harness: Harness, count: int) -> None:
    assert harness.send(*[(TX_BUFFERS, 60 | DATA | 60 << 46)] * count) == []
    assert violations(harness) == {"tx.descriptors": 1}
    assert not harness.read(transmit.TXDCTL) & h.ENABLE
    assert not harness.device.queues()["tx"][0]["enabled"]
    assert send_plain(harness, 0) == []
    assert send_plain(harness, 1) == [PLAIN]
    harness.start()
    assert send_plain(harness, 0) == [PLAIN]


def test_a_packet_without_end_in_a_ring_of_contexts(harness: Harness) -> None:
    """The ring is full, and nothing in it ends the packet."""
    harness.send((TX_BUFFERS, 60 | DATA | 60 << 46), *[h.context()] * (h.RING - 2))
    assert violations(harness) == {"tx.descriptors": 1}


def test_a_bug_costs_the_queue_in_which_it_shows(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    send = harness.device.transmitter._send_plain

    def broken(queue: object, frames: object) -> None:
        if queue is harness.device.transmitter.queues[0]:
            raise ZeroDivisionError("a bug")
        send(queue, frames)

    monkeypatch.setattr(harness.device.transmitter, "_send_plain", broken)
    assert send_plain(harness, 0) == []
    assert harness.slot.failures.count == 1
    (event,) = [each for each in harness.slot.events.after() if each["event"] == "model.error"]
    assert event["reason"] == "ZeroDivisionError: a bug"
    assert (event["direction"], event["queue"]) == ("tx", 0)
    assert send_plain(harness, 0) == []
    assert harness.slot.failures.count == 1, "a halted queue is left alone"
    assert send_plain(harness, 1) == [PLAIN]
    monkeypatch.undo()
    harness.start()
    assert send_plain(harness, 0) == [PLAIN]


def test_a_bug_of_reception_costs_the_frame_and_its_queue(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.device.receiver, "_report", broken)
    assert harness.receive(PLAIN) == []
    assert harness.slot.failures.count == 1
    monkeypatch.undo()
    harness.receive(PLAIN)
    harness.start()
    assert [each.data[:60] for each in harness.receive(PLAIN)] == [PLAIN]


def test_a_bug_before_the_queue_is_known_costs_the_frame(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.device.receiver._filters, "passes", broken)
    assert harness.receive(PLAIN) == []
    monkeypatch.undo()
    harness.clock.advance(0.01)
    assert harness.slot.failures.count == 1
    assert [each.data[:60] for each in harness.receive(PLAIN)] == [PLAIN]


@pytest.mark.parametrize(
    ("offset", "size", "value"), [(0, 4, 0x12340), (0, 2, 0x2340), (1, 1, 0x23), (2, 1, 1), (0, 8, 0x12340)]
)
def test_a_narrow_read_of_the_io_address(harness: Harness, offset: int, size: int, value: int) -> None:
    """IOADDR in BAR 2: any size gets the bytes that it asks for, and no more."""
    harness.device.bar_write(2, 0, 0x12340, 4)
    assert harness.device.bar_read(2, offset, size) == value
