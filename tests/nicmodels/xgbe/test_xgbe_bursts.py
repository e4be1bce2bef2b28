# SPDX-License-Identifier: GPL-2.0-or-later
"""Bursts change nothing: frames, descriptors and counters are the same as when each frame takes its own way."""

from __future__ import annotations

import struct

import pytest
from burst_frames import any_bursts, datagram
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.models.xgbe.registers import REGISTERS
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from xgbe_harness import FIRST, LAST, MAC, MAC_RCR, OWN, PEER, RING, TX_BUFFERS, XgbeRig

INSERT = 2 << 14
GROUPS = (b"\xff" * 6, bytes.fromhex("333300000001"), MAC, PEER)


BURSTS = any_bursts(
    MAC,
    PEER,
    ports=(1000, 1001),
    groups=GROUPS,
    kinds=(b"\x88\xb5", b"\x88\xb6", b"\0\x20", b"\x88\x08"),
)

MMC = [4 * slot for slot, place in enumerate(REGISTERS.places) if place is not None and 0x814 <= 4 * slot < 0x9A0]
rigs = {split: (XgbeRig().link().start(split=split), XgbeRig().link().start(split=split)) for split in (False, True)}
for _, alone in rigs.values():
    # Armed for queues that do not exist: they never fire, and keep all frames out of bursts.
    alone.arm("rx.frame.truncated", queue=99)
    alone.arm("tx.writeback.lost", queue=99)


def counters(rig: XgbeRig) -> tuple[object, list[int]]:
    """The model's own counts, and the MMC registers."""
    return rig.device.counters.describe(), [rig.read(offset) for offset in MMC]


@settings(max_examples=60, deadline=None)
@given(st.booleans(), BURSTS)
def test_receiving(split: bool, bursts: list[list[bytes]]) -> None:
    together, alone = rigs[split]
    for burst in bursts:
        assert together.receive(*burst) == alone.receive(*burst)
    assert counters(together) == counters(alone)
    assert not len(alone.device.receiver.flow_cache)


def test_segments_of_a_known_flow_use_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = XgbeRig().link().start()
    segments = [datagram(MAC, PEER, 1000, size, 4, TCP, damaged=False) for size in (1000, 1000, 100)]
    rig.receive(segments[0])

    def fail(*_arguments: object) -> None:
        raise AssertionError("a segment of a cached flow took the slow path")

    monkeypatch.setattr(rig.device.receiver, "_take", fail)
    assert [each.data for each in rig.receive(*segments)] == segments


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4000),
    st.sampled_from((4, 6)),
    st.sampled_from((2, 536, 1440)),
    st.none() | st.integers(0, 4095),
    st.booleans(),
)
def test_segments_are_counted_as_if_they_were_sent_one_by_one(
    size: int, version: int, mss: int, tag: int | None, group: bool
) -> None:
    network = IP(src="192.0.2.1", dst="192.0.2.2") if version == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    header = bytes(Ether(dst=GROUPS[1] if group else PEER, src=MAC) / network / TCP(sport=1, dport=2, flags="PA"))
    results = []
    for rig in rigs[False]:
        sent = rig.segment(header, bytes(min(size, 40 * mss)), mss, options=INSERT if tag is not None else 0, tag=tag)
        results.append((sent, counters(rig)))
    assert results[0] == results[1]


def test_the_cache_is_used_until_the_configuration_changes() -> None:
    rig = XgbeRig().link().start()
    frame = b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(46)
    assert len(rig.receive(frame)) == 1
    assert len(rig.device.receiver.flow_cache) == 1
    assert [each.data for each in rig.receive(frame, frame)] == [frame] * 2
    rig.write(MAC_RCR, 0)
    assert rig.receive(frame) == []


def test_more_frames_than_descriptors_are_dropped_or_wait() -> None:
    """A burst that is longer than the ring: what fits is delivered, in order, and the rest waits in the receive queue."""
    rig = XgbeRig(channels=1).link().start()
    frames = [b"\xff" * 6 + PEER + b"\x88\xb5" + bytes((number,)) * 46 for number in range(RING + 20)]
    rig.receive(frames[0])
    rig.wire.incoming.extend(frames[1:])
    rig.device.frame_arrived()
    found = [each.data for each in rig.collect()]
    rig.clock.advance(0)
    found += [each.data for each in rig.collect()]
    assert found == frames[1:]


descriptors = st.tuples(
    st.integers(14, 300),
    st.sampled_from((0, 0, 0, 1 << 16, 3 << 16, 1 << 26)),  # checksum insertion, CRC without padding
    st.sampled_from((0, 0, 0, 1 << 31)),
    st.sampled_from((0x000, 0x400)),  # where the frame begins: a group address or not
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(descriptors, max_size=RING - 1), max_size=3))
def test_transmitting(bursts: list[list[tuple[int, int, int, int]]]) -> None:
    results = []
    for rig in rigs[False]:
        rig.memory.write(TX_BUFFERS, b"\xff" * 6 + PEER + b"\x81\0\0\1\x88\xb5" + bytes(600))
        rig.memory.write(TX_BUFFERS + 0x400, MAC + PEER + b"\x88\xb5" + bytes(600))
        sent = []
        for burst in bursts:
            sent += rig.send(
                *(
                    (TX_BUFFERS + at, 0, size | options, OWN | FIRST | LAST | flags | size)
                    for size, flags, options, at in burst
                )
            )
            sent.append(bytes(rig.owned()))
        ring = rig.memory.read(rig._tx(0, 0), RING * 16)
        results.append((sent, ring, counters(rig), rig.device.interrupts.raised))
    assert results[0] == results[1]


def test_a_buffer_outside_guest_memory_ends_the_channel_after_the_frames_before_it() -> None:
    rig = XgbeRig().link().start()
    rig.memory.write(TX_BUFFERS, MAC + PEER + b"\x88\xb5" + bytes(60))
    good = (TX_BUFFERS, 0, 64, OWN | FIRST | LAST | 64)
    assert len(rig.send(good, good, (1 << 30, 0, 64, OWN | FIRST | LAST | 64))) == 2
    assert rig.device.counters.dma_errors == 1
    (words,) = struct.iter_unpack("<IIII", rig.memory.read(rig._tx(0, 2), 16))
    assert words[3] & OWN
