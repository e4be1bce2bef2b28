# SPDX-License-Identifier: GPL-2.0-or-later
"""Transmit bursts change nothing: frames, descriptors and counters are the same as when each packet takes its own way."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ixgbe_harness import DEXT, EOP, IFCS, IXSM, MAC, PEER, RING, RS, TX_BUFFERS, TX_RING, VLE, Harness, registers_of
from nicmodels.models.ixgbe.registers import BLOCKS, receive, transmit

STATISTICS = [register for register in BLOCKS["statistics"] if register.name not in ("RQSMR", "TQSM")]

together, alone = Harness().start(), Harness().start()
# Armed for a queue that does not exist: it never fires, and keeps all packets out of bursts.
alone.arm("tx.frame.dropped", queue=99)

descriptors = st.tuples(
    st.integers(14, 300),
    st.sampled_from((EOP, EOP, EOP, EOP, 0)),
    st.sampled_from((RS, RS, 0)),
    st.sampled_from(
        (DEXT | 3 << 20, DEXT | 3 << 20, DEXT | 3 << 20, 0, DEXT | 3 << 20 | VLE, IXSM << 40 | DEXT | 3 << 20)
    ),
    st.sampled_from((0x000, 0x400, 0x800)),  # where the buffer begins: broadcast, multicast, unicast
)


def fill(harness: Harness) -> None:
    for at, destination in ((0, b"\xff" * 6), (0x400, bytes.fromhex("333300000001")), (0x800, MAC)):
        harness.memory.write(TX_BUFFERS + at, destination + PEER + b"\x88\xb5" + bytes(600))


def lengths(descriptors: list[tuple[int, int, int, int, int]]) -> list[int]:
    """For each descriptor the length of the packet that it belongs to."""
    found: list[int] = []
    first = 0
    for number, (_, end, *_) in enumerate(descriptors, 1):
        if end:
            found += [sum(size for size, *_ in descriptors[first:number])] * (number - first)
            first = number
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(descriptors, max_size=RING - 1), max_size=3))
def test_transmitting(bursts: list[list[tuple[int, int, int, int, int]]]) -> None:
    results = []
    for harness in (together, alone):
        fill(harness)
        sent = []
        for burst in bursts:
            packets = [*burst[: RING - 2], (60, EOP, RS, DEXT | 3 << 20, 0)]  # ends a packet that is still open
            sent += harness.send(
                *(
                    (TX_BUFFERS + at, size | end | report | kind | IFCS | whole << 46)
                    for (size, end, report, kind, at), whole in zip(packets, lengths(packets), strict=True)
                )
            )
        statistics = harness.device.statistics.describe()
        results.append((sent, harness.memory.read(TX_RING, RING * 16), registers_of(harness, STATISTICS), statistics))
    assert results[0] == results[1]


def test_a_buffer_outside_guest_memory_ends_the_queue_after_the_packets_before_it() -> None:
    harness = Harness().start()
    fill(harness)
    command = 60 | EOP | RS | IFCS | DEXT | 3 << 20 | 60 << 46
    sent = harness.send((TX_BUFFERS, command), (TX_BUFFERS + 0x800, command), (1 << 30, command))
    assert len(sent) == 2
    assert harness.device.statistics.dma_errors == 1


def test_a_context_descriptor_is_no_packet_whatever_its_reserved_bits_are() -> None:
    """One with the bit set that is EOP in a data descriptor, and lengths that would make a frame."""
    harness = Harness().start()
    fill(harness)
    command = 60 | EOP | RS | IFCS | DEXT | 3 << 20 | 60 << 46
    context = 60 | EOP | DEXT | 2 << 20
    assert len(harness.send((TX_BUFFERS, command), (TX_BUFFERS + 0x400, context), (TX_BUFFERS + 0x800, command))) == 2
    assert registers_of(harness, STATISTICS)["GPTC"] == 2


@pytest.mark.parametrize("name", ["tx.counter.doubled", "tx.counter.bytes"])
def test_a_fault_of_a_counter_fires_once_a_frame(name: str) -> None:
    """Although frames of a burst are counted together."""
    harness = Harness().start()
    fill(harness)
    harness.slot.faults[name].arm(times=2)
    command = 60 | EOP | RS | IFCS | DEXT | 3 << 20 | 60 << 46
    harness.send(*[(TX_BUFFERS, command)] * 5)
    values = registers_of(harness, STATISTICS)
    expected = {"tx.counter.doubled": (7, 7 * 64), "tx.counter.bytes": (5, 5 * 64 + 2)}[name]
    assert (values["GPTC"], values["GOTCL"]) == expected


def test_a_ring_that_loses_its_length_under_traffic() -> None:
    """A broken driver: the descriptors that the device has fetched are used up, and nothing else happens."""
    harness = Harness().start()
    frame = b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(46)
    assert len(harness.receive(frame, frame)) == 2
    harness.write(receive.RDLEN, 0)
    harness.wire.incoming.extend([frame] * 100)
    harness.device.frame_arrived()
    harness.clock.advance(0)
    harness.read(receive.RDH)
    assert harness.device.queues()["rx"][0]["size"] == 0


def test_the_head_is_written_back_for_a_burst() -> None:
    harness = Harness().start()
    fill(harness)
    harness.write(transmit.TDWBAL, 0x2000 | 1)
    command = 60 | EOP | RS | IFCS | DEXT | 3 << 20 | 60 << 46
    harness.send(*[(TX_BUFFERS, command)] * 5)
    assert struct.unpack("<I", harness.memory.read(0x2000, 4)) == (5,)
