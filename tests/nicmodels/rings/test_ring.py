# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptor rings: arithmetic, batches, and rings outside guest memory."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.rings import DescriptorRing, WriteBacks
from nicmodels.vfio_user.memory import DmaError, GuestMemory

BASE = 0x1000


@pytest.fixture(scope="module")
def memory() -> GuestMemory:
    memory = GuestMemory()
    fd = os.memfd_create("ring")
    os.ftruncate(fd, 1 << 16)
    memory.map(fd, 0, 0, 1 << 16)
    os.close(fd)
    for index in range(64):
        memory.write(BASE + 16 * index, struct.pack("<QQ", index, ~index & (1 << 64) - 1))
    return memory


@given(count=st.integers(1, 64), head=st.integers(0, 63), tail=st.integers(0, 63), limit=st.integers(0, 80))
def test_fetching_wraps(memory: GuestMemory, count: int, head: int, tail: int, limit: int) -> None:
    """The device owns the descriptors from head to tail, across the end of the ring."""
    ring = DescriptorRing(memory)
    ring.setup(BASE, 16 * count)
    ring.head, ring.tail = head, tail
    owned = []
    if head < count and tail < count:
        at = head
        while at != tail:
            owned.append(at)
            at = (at + 1) % count
    assert ring.available == len(owned)
    fetched = ring.fetch(limit)
    assert [index for index, _ in fetched] == owned[:limit]
    assert ring.head == head
    if fetched:
        assert ring.advance(len(fetched)) == (head + len(fetched)) % count


def test_writing_back(memory: GuestMemory) -> None:
    ring = DescriptorRing(memory, "<QQ")
    ring.setup(0x8000, 256)
    ring.write(3, b"\x01" * 16)
    assert memory.read(ring.address(3), 16) == b"\x01" * 16
    assert ring.count == 16


@given(st.lists(st.integers(0, 15), max_size=20))
def test_writing_back_many(memory: GuestMemory, indices: list[int]) -> None:
    """In any order: those in a row are written at once, and the last one of an index is the one that stays."""
    ring = DescriptorRing(memory, "<QQ")
    ring.setup(0x8000, 256)
    memory.write(0x8000, bytes(256))
    written = [bytes((number + 1,)) * 16 for number in range(len(indices))]
    ring.write_runs(indices, written)
    expected = dict(zip(indices, written, strict=True))
    assert [memory.read(ring.address(index), 16) for index in range(16)] == [
        expected.get(index, bytes(16)) for index in range(16)
    ]


def test_a_ring_outside_memory(memory: GuestMemory) -> None:
    ring = DescriptorRing(memory)
    ring.setup(1 << 40, 256)
    ring.tail = 4
    with pytest.raises(DmaError):
        ring.fetch(4)
    with pytest.raises(DmaError):
        ring.write(0, bytes(16))


def test_a_ring_without_length(memory: GuestMemory) -> None:
    ring = DescriptorRing(memory)
    ring.setup(BASE, 0)
    ring.tail = 5
    assert ring.available == 0
    assert ring.fetch(10) == []


def test_write_backs_of_a_burst_wrap_and_stay_in_order() -> None:
    written = WriteBacks()
    written.add(1, 5, b"a")
    written.add_many(1, [6, 7, 9], [b"b", b"c", b"e"], 8)
    written.add_many(0, [2, 3], [b"x", b"y"], 8)
    written.add_many(0, [8], [b"z"], 0)
    assert written.take() == {1: ([5, 6, 7, 1], [b"a", b"b", b"c", b"e"]), 0: ([2, 3, 8], [b"x", b"y", b"z"])}
    assert written.take() == {}
    written.add(1, 5, b"a")
    written.clear()
    assert written.take() == {}
