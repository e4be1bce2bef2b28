# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptor rings: arithmetic, batches, and rings outside guest memory."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.rings import DescriptorRing, Posted, WriteBacks
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
    assert ring.fetch_words(limit) == [word for descriptor in fetched for word in descriptor]
    assert ring.head == head
    if fetched:
        assert ring.advance(len(fetched)) == (head + len(fetched)) % count


def test_writing_back(memory: GuestMemory) -> None:
    ring = DescriptorRing(memory, "<QQ")
    ring.setup(0x8000, 256)
    ring.write(3, b"\x01" * 16)
    assert memory.read(ring.address(3), 16) == b"\x01" * 16
    assert ring.count == 16


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(1, 16)), max_size=20))
def test_writing_back_many(memory: GuestMemory, rows: list[tuple[int, int]]) -> None:
    """Rows of descriptors, across the end of the ring, in any order: the last one of an index is the one that stays."""
    ring = DescriptorRing(memory, "<QQ")
    ring.setup(0x8000, 256)
    memory.write(0x8000, bytes(256))
    expected, written = [bytes(16)] * 16, WriteBacks()
    for step, (first, number) in enumerate(rows):
        descriptors = [bytes((step, at)) * 8 for at in range(number)]
        written.add_many(1, first, number, b"".join(descriptors), 16)
        for at, descriptor in enumerate(descriptors):
            expected[(first + at) % 16] = descriptor
    for runs in written.take().values():
        ring.write_runs(runs)
    assert [memory.read(ring.address(index), 16) for index in range(16)] == expected


def test_a_ring_outside_memory(memory: GuestMemory) -> None:
    ring = DescriptorRing(memory)
    ring.setup(1 << 40, 256)
    ring.tail = 4
    with pytest.raises(DmaError):
        ring.fetch(4)
    with pytest.raises(DmaError):
        ring.fetch_words(4)
    with pytest.raises(DmaError):
        ring.write(0, bytes(16))


def test_a_ring_without_length(memory: GuestMemory) -> None:
    ring = DescriptorRing(memory)
    ring.setup(BASE, 0)
    ring.tail = 5
    assert ring.available == 0
    assert ring.fetch(10) == ring.fetch_words(10) == []


def test_write_backs_of_a_burst_are_runs_by_queue() -> None:
    written = WriteBacks()
    written.add(1, 5, b"a")
    written.add_many(1, 6, 3, b"bcd", 8)
    written.add(1, 1, b"e")
    written.add_many(1, 11, 1, b"f", 8)
    written.add_many(0, 2, 2, b"xy", 8)
    written.add(0, 8, b"z")
    assert written.take() == {1: [(5, [b"a", b"bc"]), (0, [b"d", b"e"]), (3, [b"f"])], 0: [(2, [b"xy"]), (8, [b"z"])]}
    assert written.take() == {}
    written.add(1, 5, b"a")
    written.clear()
    written.add(1, 6, b"b")
    assert written.take() == {1: [(6, [b"b"])]}


def test_posted_descriptors_are_taken_in_order() -> None:
    posted = Posted(2)
    posted.extend([1, 2, 3, 4, 5, 6, 7, 8])
    assert (len(posted), posted.words[:2]) == (4, [1, 2])
    assert posted.take() == [1, 2]
    assert posted.take_many(2) == [3, 4, 5, 6]
    posted.extend([9, 10])
    assert posted.words == [7, 8, 9, 10]
    posted.clear()
    assert len(posted) == 0
    with pytest.raises(IndexError, match="no descriptor"):
        posted.take()
