# SPDX-License-Identifier: GPL-2.0-or-later
"""The flow cache changes nothing: descriptors and counters are the same as on the slow path."""

from __future__ import annotations

import frames
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ixgbe_harness import IXSM, MAC, RING, TSE, TXSM, Harness, context, registers_of
from nicmodels.ethernet import ETH_FCS_LEN
from nicmodels.models.ixgbe.registers import BLOCKS, filters, receive, statistics
from test_faults import seeded


def tcp(flags: tuple[str, ...], payload: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """TCP of three flows, to the device and to another address, with `payload` bytes."""
    return st.builds(
        frames.tcp,
        sport=st.sampled_from((1000, 1001, 1002)),
        sequence=st.integers(0, 2**32 - 1),
        flags=st.sampled_from(flags),
        payload=payload.map(bytes),
        version=st.sampled_from((4, 6)),
        to=st.sampled_from((MAC, bytes.fromhex("020000000099"))),
        options=st.booleans(),
    )


segments = tcp(("A", "PA", "S", "FA", "RA"), st.integers(0, 1400))
others = st.one_of(
    st.builds(frames.udp, payload=st.integers(0, 1400).map(bytes)),
    st.builds(frames.ethernet, size=st.integers(0, 1500), vlan=st.sampled_from((None, 5))),
    st.builds(frames.ethernet, size=st.integers(0, 100), vlan=st.none()),
    st.builds(frames.udp, payload=st.integers(0, 30).map(bytes)),
    st.binary(min_size=14, max_size=100).map(lambda data: MAC + data),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A segment with one byte changed, or its end cut off or padded."""
    frame = bytearray(draw(segments))
    position = draw(st.integers(0, len(frame) - 1))
    frame[position] ^= draw(st.integers(0, 255))
    end = draw(st.integers(-20, 20))
    return bytes(frame[:end] if end < 0 else frame + bytes(end))


bursts = st.lists(st.lists(st.one_of(segments, segments, segments, others, damaged()), max_size=6), max_size=6)


def setup(harness: Harness) -> None:
    harness.write(filters.MRQC, 1 | 0x33 << 16)
    for index in range(10):
        harness.write(filters.RSSRK, 0x9E3779B9 * (index + 1) & 0xFFFFFFFF, index)
    for index in range(32):
        harness.write(filters.RETA, 0x01000100, index)
    harness.write(receive.RXDCTL, 1 << 25 | 1 << 30)


cached, uncached = Harness().start(), Harness().start()
for each in (cached, uncached):
    setup(each)
# Armed for a queue that does not exist: it never fires, and keeps all frames on the slow path.
uncached.arm("rx.frame.truncated", queue=99)


@settings(max_examples=60, deadline=None)
@given(bursts)
def test_receiving_is_the_same(bursts: list[list[bytes]]) -> None:
    for burst in bursts:
        assert cached.receive(*burst) == uncached.receive(*burst)
    counters = [register for register in BLOCKS["statistics"] if register.name not in ("RQSMR", "TQSM")]
    assert registers_of(cached, counters) == registers_of(uncached, counters)
    assert cached.device.statistics.describe() == uncached.device.statistics.describe()
    assert not len(uncached.device.receiver.flow_cache)


def test_segments_that_wait_for_descriptors(harness: Harness) -> None:
    """They stay in order, and use the filters of the time when they are delivered."""
    segments = [frames.tcp(sequence=536 * number, payload=bytes((number,)) * 536) for number in range(RING + 20)]
    harness.receive(segments[0])
    harness.wire.incoming.extend(segments[1:])
    harness.device.frame_arrived()
    first = harness.collect()
    assert len(first) == RING - 1
    harness.write(filters.MRQC, 0)  # flushes the cache
    rest = harness.receive()
    assert [each.data for each in (*first, *rest)] == segments[1:]
    assert all(each.status & 0xC000_0000 == 0 and each.status & 0x20 for each in (*first, *rest))
    assert harness.device.statistics.rx[0].frames == len(segments)


def test_the_cache_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness().start()
    harness.receive(frames.tcp())

    def fail(*_arguments: object, **_keywords: object) -> None:
        raise AssertionError("a segment of a cached flow took the slow path")

    monkeypatch.setattr(harness.device.receiver, "_take", fail)
    assert [each.data for each in harness.receive(frames.tcp(sequence=2))] == [frames.tcp(sequence=2)]


@pytest.mark.parametrize(
    ("register", "value"),
    [(filters.FCTRL, 0), (filters.RAH, 0), (receive.RXDCTL, 0), (receive.RXCTRL, 0), (filters.RAL, 1)],
)
def test_configuration_ends_it(harness: Harness, register: object, value: int) -> None:
    """A register write applies to the next segment of a cached flow."""
    assert len(harness.receive(frames.tcp())) == 1
    harness.write(register, value)
    assert len(harness.receive(frames.tcp(sequence=2))) == (1 if register is filters.FCTRL else 0)


def test_a_wrong_checksum_in_a_known_flow(harness: Harness) -> None:
    harness.receive(frames.tcp())
    frame = frames.tcp(sequence=2)
    (received,) = harness.receive(frame[:-1] + b"\xff")
    assert received.status & 1 << 30


@pytest.mark.parametrize("command", [0, TSE])
@pytest.mark.parametrize("size", [1, 10, 400, 401, 1200])
def test_transmitting_counts_what_leaves(harness: Harness, command: int, size: int) -> None:
    frame = seeded(bytes(size), segmented=bool(command))
    sent = harness.transmit(frame, context(mss=400), command=command, options=TXSM | (IXSM if command else 0))
    assert harness.done()
    assert len(sent) == (-(-size // 400) if command else 1)
    total = sum(map(len, sent))
    account = harness.device.statistics.tx[0]
    assert (account.frames, account.bytes) == (1, len(frame))
    assert (account.segments, account.segment_bytes) == (len(sent), total)
    assert harness.read(statistics.GPTC) == len(sent)
    assert harness.read(statistics.GOTCL) == total + ETH_FCS_LEN * len(sent)
