# SPDX-License-Identifier: GPL-2.0-or-later
"""With arbitrary writes and frames the device keeps working: it counts errors, and raises no exception."""

from __future__ import annotations

import xgbe_harness as x
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.pci import ResetCause
from xgbe_harness import XgbeRig

WORD = st.integers(0, 0xFFFF_FFFF)
OFFSET = st.one_of(
    st.integers(0, 0x1FFFF),
    st.sampled_from(range(0x3000, 0x3900, 4)),
    st.sampled_from(range(0, 0xE00, 4)),
    st.sampled_from(range(0x1000, 0x1900, 4)),
    st.sampled_from(range(0x1D000, 0x1D090, 4)),
)
ACCESS = st.tuples(st.sampled_from("rw"), st.sampled_from((0, 1)), OFFSET, WORD, st.sampled_from((1, 2, 4, 8)))


@settings(max_examples=40, deadline=None)
@given(st.lists(ACCESS, max_size=40), st.lists(st.binary(min_size=1, max_size=200), max_size=3))
def test_any_access(accesses: list[tuple[str, int, int, int, int]], frames: list[bytes]) -> None:
    harness = _looped()
    for kind, bar, offset, value, size in accesses:
        at = offset & (0xFFFF if bar else 0x1FFFF) & ~(size - 1)
        if kind == "r":
            assert 0 <= harness.device.bar_read(bar, at, size) < 1 << 8 * size
        else:
            harness.device.bar_write(bar, at, value & (1 << 8 * size) - 1, size)
    harness.wire.incoming.extend(frames)
    harness.device.frame_arrived()
    harness.clock.advance(0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORD, WORD, WORD, WORD), min_size=1, max_size=12))
def test_any_transmit_descriptor(descriptors: list[tuple[int, int, int, int]]) -> None:
    harness = _looped()
    harness.send(*((low % x.RAM if low & 1 else low, 0, *rest) for low, _, *rest in descriptors))
    harness.clock.advance(0.01)
    harness.collect()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORD, WORD, WORD, WORD), min_size=1, max_size=12), st.integers(0, 0x3FFF))
def test_any_receive_descriptor(descriptors: list[tuple[int, int, int, int]], size: int) -> None:
    harness = _looped()
    harness.write(x.CH_RCR, size << 1 | 1)
    for number, words in enumerate(descriptors):
        harness.memory.write(harness._rx(0, number), b"".join(word.to_bytes(4, "little") for word in words))
    harness.transmit(x.MAC + bytes(1000))
    harness.clock.advance(0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=0, max_size=300), min_size=1, max_size=8), WORD, WORD)
def test_any_frame(frames: list[bytes], filters: int, tags: int) -> None:
    harness = _looped()
    harness.write(x.MAC_PFR, filters | 1)
    harness.write(x.MAC_VLANTR, tags)
    harness.write(x.MAC_TSCR, 0xFF01)
    for frame in frames:
        harness.device.receiver.loop_back(x.MAC + frame)
    harness.clock.advance(0.01)


def test_addresses_that_are_not_there(harness: XgbeRig) -> None:
    """A bus error stops the channel, is counted and reported by FBE; the others continue."""
    harness.send((0xDEAD0000, 0, 60, x.OWN | x.FIRST | x.LAST))
    assert harness.read(x.CH_SR) & 1 << 12
    assert not harness.read(x.CH_TCR) & 1
    assert harness.device.control_methods()["model.counters"]()["dma_errors"] == 1
    assert harness.transmit(bytes(60), channel=1)


_RIGS: list[XgbeRig] = []


def _looped() -> XgbeRig:
    """A started device in MAC loopback, which needs no link; the same one each time, after a reset."""
    if not _RIGS:
        _RIGS.append(XgbeRig())
    harness = _RIGS[0]
    harness.device.restart(ResetCause.CLIENT)
    harness.slot.memory.bus_master = True
    harness.wire.incoming.clear()
    harness.wire.sent.clear()
    harness.start()
    harness.write(x.MAC_RCR, harness.read(x.MAC_RCR) | 1 << 10)
    return harness
