# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest-memory map on its own."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.vfio_user.memory import DmaError, GuestMemory, MappingExistsError, MappingMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 4096


@pytest.fixture
def fd() -> Iterator[int]:
    descriptor = os.memfd_create("ram")
    os.ftruncate(descriptor, 16 * PAGE)
    yield descriptor
    os.close(descriptor)


def test_views_are_the_guests_own_bytes(fd: int) -> None:
    memory = GuestMemory()
    memory.map(fd, PAGE, 0x10000, PAGE)
    memory.view(0x10010, 4)[:] = b"here"
    assert os.pread(fd, 4, PAGE + 0x10) == b"here"
    os.pwrite(fd, b"back", PAGE + 0x20)
    assert memory.view(0x10020, 4) == b"back"
    assert memory.read(0x10020, 4) == b"back"


def test_view_stays_within_one_mapping(fd: int) -> None:
    memory = GuestMemory()
    memory.map(fd, 0, 0x10000, PAGE)
    memory.map(fd, 8 * PAGE, 0x10000 + PAGE, PAGE)
    with pytest.raises(DmaError, match="crosses the end"):
        memory.view(0x10000 + PAGE - 2, 4)
    memory.check(0x10000 + PAGE - 2, 4, writable=True)
    memory.write(0x10000 + PAGE - 2, b"abcd")
    assert memory.read(0x10000 + PAGE - 2, 4) == b"abcd"
    assert os.pread(fd, 2, 8 * PAGE) == b"cd"


@pytest.mark.parametrize(
    ("iova", "length"),
    [(0, 1), (0x10000 - 1, 2), (0x10000 + PAGE, 1), (1 << 64, 1), (0x10000, PAGE + 1), (0x10000, -1)],
)
def test_what_is_not_mapped_is_refused(fd: int, iova: int, length: int) -> None:
    memory = GuestMemory()
    memory.map(fd, 0, 0x10000, PAGE)
    for warm in (False, True):
        if warm:
            memory.view(0x10000, 4)  # so that the last mapping is remembered
        with pytest.raises(DmaError):
            memory.view(iova, length)
        if length > 0:
            with pytest.raises(DmaError):
                memory.read(iova, length)
            with pytest.raises(DmaError):
                memory.check(iova, length)
            with pytest.raises(DmaError):
                memory.write(iova, bytes(length))
    assert memory.errors > 0


def test_a_write_that_fails_writes_nothing(fd: int) -> None:
    memory = GuestMemory()
    memory.map(fd, 0, 0x10000, PAGE)
    with pytest.raises(DmaError):
        memory.write(0x10000 + PAGE - 4, b"12345678")
    assert memory.read(0x10000 + PAGE - 4, 4) == bytes(4)


def test_mappings_have_a_limit(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nicmodels.vfio_user.memory.MOST_MAPPINGS", 2)
    memory = GuestMemory()
    memory.map(None, 0, 0x10000, PAGE)
    memory.map(None, 0, 0x20000, PAGE)
    with pytest.raises(OSError, match="there are 2 mappings") as refused:
        memory.map(None, 0, 0x30000, PAGE)
    assert refused.value.errno == errno.ENOSPC
    memory.unmap(0x10000, PAGE)
    memory.map(None, 0, 0x30000, PAGE)


def test_memory_by_messages_is_checked_without_a_message() -> None:
    memory = GuestMemory()
    memory.map(None, 0, 0x10000, PAGE)
    memory.map(None, 0, 0x10000 + PAGE, PAGE, writable=False)
    memory.check(0x10000, PAGE, writable=True)
    memory.check(0x10000, 2 * PAGE)
    with pytest.raises(DmaError, match="read-only"):
        memory.check(0x10000, 2 * PAGE, writable=True)


def test_read_only(fd: int) -> None:
    memory = GuestMemory()
    memory.map(fd, 0, 0x10000, PAGE, writable=False)
    assert memory.view(0x10000, 4).readonly
    for _ in range(2):
        with pytest.raises(DmaError, match="read-only"):
            memory.write(0x10000, b"x")
        with pytest.raises(DmaError, match="read-only"):
            memory.view(0x10000, 4, writable=True)
        memory.view(0x10000, 4)


def test_bus_master_off_refuses_everything(fd: int) -> None:
    memory = GuestMemory()
    memory.map(fd, 0, 0x10000, PAGE)
    memory.view(0x10000, 4)
    memory.bus_master = False
    with pytest.raises(DmaError, match="bus mastering"):
        memory.view(0x10000, 4)
    with pytest.raises(DmaError, match="bus mastering"):
        memory.write(0x10000, b"x")
    memory.bus_master = True
    memory.write(0x10000, b"x")


def test_without_descriptor_and_without_client() -> None:
    memory = GuestMemory()
    memory.map(None, 0, 0x10000, PAGE)
    with pytest.raises(DmaError, match="messages only"):
        memory.view(0x10000, 4)
    with pytest.raises(DmaError, match="no client"):
        memory.read(0x10000, 4)


@pytest.mark.parametrize("writable", [True, False])
def test_a_view_that_is_still_held_does_not_keep_guest_memory(fd: int, writable: bool) -> None:
    memory = GuestMemory()
    os.pwrite(fd, b"secret", 0)
    memory.map(fd, 0, 0x10000, PAGE, writable=writable)
    held = memory.view(0x10000, 6)
    memory.unmap(0x10000, PAGE)
    assert held == bytes(6)
    if writable:
        held[:] = b"stale!"
    assert os.pread(fd, 6, 0) == b"secret"
    del held
    before = mapped_regions()
    memory.map(fd, 0, 0x10000, PAGE)  # releases what was held back
    memory.unmap(0x10000, PAGE)
    assert mapped_regions() <= before


def mapped_regions() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_map_and_unmap_leave_nothing(fd: int) -> None:
    memory = GuestMemory()
    descriptors, regions = open_descriptors(), mapped_regions()
    for _ in range(50):
        memory.map(fd, 0, 0, 4 * PAGE)
        memory.map(fd, 0, 1 << 32, 4 * PAGE, writable=False)
        memory.read(0, 8)
        memory.clear()
    assert open_descriptors() == descriptors
    assert mapped_regions() <= regions + 2


class Remote:
    """Memory by messages, for the property test: 16 pages from page 64 on."""

    def __init__(self) -> None:
        self.content = bytearray(16 * PAGE)

    def dma_read(self, iova: int, length: int) -> bytes:
        return bytes(self.content[iova - 64 * PAGE : iova - 64 * PAGE + length])

    def dma_write(self, iova: int, data: bytes | bytearray | memoryview) -> None:
        self.content[iova - 64 * PAGE : iova - 64 * PAGE + len(data)] = data


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("map", "unmap", "write", "read")),
            st.integers(0, 100),
            st.integers(1, 16),
            st.integers(0, PAGE - 1),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_behaves_as_a_table_of_pages(steps: list[tuple[str, int, int, int, bool]]) -> None:
    """Compare with a model of single pages: whether each is mapped and writable, and its bytes."""
    memory, remote = GuestMemory(), Remote()
    memory.remote = remote
    pages: dict[int, tuple[bytearray, bool]] = {}
    mappings: dict[tuple[int, int], None] = {}
    for number, (action, page, count, offset, flag) in enumerate(steps):
        touched = range(page, page + count)
        iova, size = page * PAGE, count * PAGE
        if action == "map":
            by_message = page >= 64 and page + count <= 80
            if any(each in pages for each in touched):
                with pytest.raises(MappingExistsError):
                    memory.map(None, 0, iova, size)
                continue
            if by_message:
                memory.map(None, 0, iova, size, flag)
            else:
                fd = os.memfd_create("pages")
                os.ftruncate(fd, size)
                memory.map(fd, 0, iova, size, flag)
                os.close(fd)
            for each in touched:
                start = (each - 64) * PAGE
                content = remote.content[start : start + PAGE] if by_message else bytearray(PAGE)
                pages[each] = (bytearray(content), flag)
            mappings[iova, size] = None
        elif action == "unmap":
            if (iova, size) not in mappings:
                with pytest.raises(MappingMissingError):
                    memory.unmap(iova, size)
                continue
            memory.unmap(iova, size)
            del mappings[iova, size]
            for each in touched:
                del pages[each]
        else:
            start, length = iova + offset, min(size, 3 * PAGE) - offset % 7
            span = range(start // PAGE, (start + length - 1) // PAGE + 1)
            allowed = all(each in pages and (action == "read" or pages[each][1]) for each in span)
            data = bytes((number + i) & 0xFF for i in range(length))
            if not allowed:
                with pytest.raises(DmaError):
                    memory.write(start, data) if action == "write" else memory.read(start, length)
                continue
            if action == "write":
                memory.write(start, data)
                for i, byte in enumerate(data):
                    pages[(start + i) // PAGE][0][(start + i) % PAGE] = byte
            flat = b"".join(bytes(pages[each][0]) for each in span)
            assert memory.read(start, length) == flat[start % PAGE : start % PAGE + length]
    memory.clear()
