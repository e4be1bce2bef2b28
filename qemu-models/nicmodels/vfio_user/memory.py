# SPDX-License-Identifier: MIT
"""Guest memory by DMA address: the client's DMA_MAPs, mapped into this process if they come with a descriptor.

Source: QEMU, docs/interop/vfio-user.rst, VFIO_USER_DMA_MAP, _UNMAP, _READ, _WRITE.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Buffer = bytes | bytearray | memoryview

ADDRESS_LIMIT = 1 << 64
MOST_MAPPINGS = 65535
"""As many as Linux's VFIO allows by default (dma_entry_limit)."""


class DmaError(Exception):
    """A device's access to guest memory that the bus rejects.

    Attributes:
        iova: the first byte of the access.
        length: of the access, bytes.
    """

    def __init__(self, iova: int, length: int, reason: str) -> None:
        super().__init__(f"DMA of {length} bytes at {iova:#x}: {reason}")
        self.iova = iova
        self.length = length


class MappingExistsError(ValueError):
    """DMA_MAP over an existing mapping (EEXIST)."""


class MappingMissingError(LookupError):
    """DMA_UNMAP of a range that is not exactly one mapping (ENOENT)."""


class RemoteMemory(Protocol):
    """Guest memory accessed by messages, for mappings without a descriptor."""

    def dma_read(self, iova: int, length: int) -> bytes:
        """Read `length` bytes from the client; raises DmaError."""

    def dma_write(self, iova: int, data: Buffer) -> None:
        """Let the client write `data`; raises DmaError."""


class Mapping:
    """One DMA_MAP: `size` bytes at DMA address `iova`; `view` is None if the client sent no descriptor."""

    __slots__ = ("_mmap", "iova", "readable", "size", "view", "writable")

    def __init__(self, fd: int | None, offset: int, iova: int, size: int, *, readable: bool, writable: bool) -> None:
        self.iova = iova
        self.size = size
        self.readable = readable
        self.writable = writable
        self._mmap: mmap.mmap | None = None
        self.view: memoryview | None = None
        if fd is not None:
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            self._mmap = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=protection, offset=offset)
            self.view = memoryview(self._mmap)

    def release(self) -> bool:
        """Release the guest's pages now; returns whether the address range is free too.

        A model may still hold slices of `view`; Python then refuses to unmap. Their pages are replaced by private zero
        pages, so that such a slice can no longer read or write guest memory.
        """
        if self._mmap is None:
            return True
        if self.view is not None:
            self.view.release()
            self.view = None
            try:
                self._mmap.close()
            except BufferError:
                _replace_pages(self._mmap, self.size)
                return False
        else:
            try:
                self._mmap.close()
            except BufferError:
                return False
        self._mmap = None
        return True


class GuestMemory:
    """All mappings of a client.

    Attributes:
        remote: serves mappings without a descriptor; set by the server while a client is connected.
        errors: how many accesses raised `DmaError`.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._mappings: list[Mapping] = []
        self._held: list[Mapping] = []
        self._bus_master = True
        self.remote: RemoteMemory | None = None
        self.errors = 0
        self._forget_last()

    @property
    def bus_master(self) -> bool:
        """Command register bit 2: while false, every access raises `DmaError`."""
        return self._bus_master

    @bus_master.setter
    def bus_master(self, enabled: bool) -> None:
        self._bus_master = enabled
        self._forget_last()

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self._mappings)

    def __len__(self) -> int:
        return len(self._mappings)

    def map(
        self, fd: int | None, offset: int, iova: int, size: int, writable: bool = True, *, readable: bool = True
    ) -> None:
        """Make `size` bytes of `fd` from `offset` on available at `iova`; the caller keeps `fd` and may close it.

        Raises:
            ValueError: the size is zero, the range wraps, is not page-aligned or is longer than the file.
            MappingExistsError: the range overlaps a mapping.
            OSError: mmap failed, or there are `MOST_MAPPINGS` mappings (ENOSPC).
        """
        if size <= 0 or iova < 0 or offset < 0 or iova + size > ADDRESS_LIMIT:
            raise ValueError(f"cannot map {size:#x} bytes at {iova:#x}: not a range of 64-bit addresses")
        if len(self._mappings) >= MOST_MAPPINGS:
            raise OSError(errno.ENOSPC, f"there are {MOST_MAPPINGS} mappings")
        at = bisect_right(self._starts, iova)
        if at and iova < self._starts[at - 1] + self._mappings[at - 1].size:
            raise MappingExistsError(f"{iova:#x} is mapped already")
        if at < len(self._starts) and iova + size > self._starts[at]:
            raise MappingExistsError(f"{self._starts[at]:#x} is mapped already")
        if fd is not None:
            if (offset | iova | size) % mmap.PAGESIZE:
                raise ValueError(f"cannot map {size:#x} bytes at {iova:#x} from offset {offset:#x}: not page-aligned")
            # Beyond the end of the file a mapping raises SIGBUS, which would end the server.
            available = os.fstat(fd).st_size
            if offset + size > available:
                raise ValueError(f"cannot map {offset:#x}+{size:#x}: the file has {available:#x} bytes")
        mapping = Mapping(fd, offset, iova, size, readable=readable, writable=writable)
        self._starts.insert(at, iova)
        self._mappings.insert(at, mapping)
        self._release_held()

    def unmap(self, iova: int, size: int) -> None:
        """Remove the mapping of exactly this range.

        Raises:
            MappingMissingError: no such mapping.
        """
        at = bisect_right(self._starts, iova) - 1
        if at < 0 or self._starts[at] != iova or self._mappings[at].size != size:
            raise MappingMissingError(f"no mapping of {size:#x} bytes at {iova:#x}")
        mapping = self._mappings.pop(at)
        del self._starts[at]
        self._forget_last()
        if not mapping.release():
            self._held.append(mapping)
        self._release_held()

    def clear(self) -> None:
        """Remove all mappings."""
        for mapping in list(self._mappings):
            self.unmap(mapping.iova, mapping.size)

    def view(self, iova: int, length: int, writable: bool = False) -> memoryview:
        """A view of guest memory within one mapping; read-only if the mapping is.

        Do not keep a view beyond the current call: after an unmap it reads as zeros. Pass `writable` before writing, so
        that a read-only mapping is rejected here.

        Raises:
            DmaError: the range is not in one mapping, has no descriptor or is read-only, or bus mastering is off.
        """
        start = iova - self._last_start
        if 0 <= start <= self._last_size - length and (self._last_writable or not writable) and length >= 0:
            return self._last_view[start : start + length]
        mapping = self._find(iova, length, write=writable)
        if iova + length > mapping.iova + mapping.size:
            raise self._refuse(iova, length, "crosses the end of a mapping; use read or write")
        if mapping.view is None:
            raise self._refuse(iova, length, "the client shares this range by messages only; use read or write")
        self._remember(mapping)
        start = iova - mapping.iova
        return mapping.view[start : start + length]

    def check(self, iova: int, length: int, writable: bool = False) -> None:
        """Check that a range is guest memory, whatever mappings it is in, and whether or not they have a descriptor.

        Raises:
            DmaError: some of it is not mapped, or read-only, or bus mastering is off.
        """
        end = iova + length
        while iova < end:
            mapping = self._find(iova, end - iova, write=writable)
            iova = mapping.iova + mapping.size

    def window(self) -> tuple[int, int, memoryview]:
        """The writable mapping that was accessed last, for loops that access it often: DMA address, size in bytes, view.

        Use it only within the current call, and only for `address <= start <= address + size - length`; other accesses go
        through the methods of this class. The size is -1 if there is no such mapping.
        """
        if not self._last_writable:
            return 0, -1, self._last_view
        return self._last_start, self._last_size, self._last_view

    def gather(self, pieces: Sequence[tuple[int, int]]) -> list[Buffer]:
        """The bytes of a scattered packet: views where guest memory is mapped here, copies where it is not.

        Args:
            pieces: DMA address and length in bytes of each piece; empty pieces are left out.

        Raises:
            DmaError: some of a piece is not mapped or not readable, or bus mastering is off.
        """
        base, size, whole = self._last_start, self._last_size, self._last_view
        found: list[Buffer] = []
        for address, length in pieces:
            start = address - base
            if not 0 <= start <= size - length or not length:
                break
            found.append(whole[start : start + length])
        else:
            return found
        try:
            return [self.view(address, length) for address, length in pieces if length]
        except DmaError:
            # A piece lies across two mappings, or its mapping came without a descriptor.
            return [self.read(address, length) for address, length in pieces if length]

    def read(self, iova: int, length: int) -> bytes:
        """Copy `length` bytes out of guest memory, across mappings, and by messages if necessary.

        Raises:
            DmaError: some of the range is not mapped or not readable, or bus mastering is off.
        """
        start = iova - self._last_start
        if 0 <= start <= self._last_size - length and length >= 0:
            return bytes(self._last_view[start : start + length])
        parts = []
        while length > 0:
            mapping = self._find(iova, length, write=False)
            start = iova - mapping.iova
            count = min(length, mapping.size - start)
            if mapping.view is not None:
                parts.append(bytes(mapping.view[start : start + count]))
                self._remember(mapping)
            elif self.remote is not None:
                parts.append(self.remote.dma_read(iova, count))
            else:
                raise self._refuse(iova, length, "no client is connected")
            iova += count
            length -= count
        return b"".join(parts)

    def write(self, iova: int, data: Buffer) -> None:
        """Copy `data` into guest memory, across mappings, and by messages if necessary.

        Raises:
            DmaError: some of the range is not mapped or not writable, or bus mastering is off. Nothing is written then.
        """
        length = len(data)
        start = iova - self._last_start
        if 0 <= start <= self._last_size - length and self._last_writable:
            self._last_view[start : start + length] = data
            return
        pieces = []
        at = iova
        while at < iova + length:
            mapping = self._find(at, iova + length - at, write=True)
            count = min(iova + length - at, mapping.iova + mapping.size - at)
            pieces.append((mapping, at, count))
            at += count
        source = memoryview(data)
        for mapping, at, count in pieces:
            piece = source[at - iova : at - iova + count]
            if mapping.view is not None:
                start = at - mapping.iova
                mapping.view[start : start + count] = piece
                self._remember(mapping)
            elif self.remote is not None:
                self.remote.dma_write(at, piece)
            else:
                raise self._refuse(iova, length, "no client is connected")

    def _find(self, iova: int, length: int, *, write: bool) -> Mapping:
        """The mapping that holds the first byte."""
        if not self._bus_master:
            raise self._refuse(iova, length, "bus mastering is off")
        if length < 0:
            raise self._refuse(iova, length, "negative length")
        at = bisect_right(self._starts, iova) - 1
        if at < 0 or iova >= self._starts[at] + self._mappings[at].size:
            raise self._refuse(iova, length, "not mapped")
        mapping = self._mappings[at]
        if write and not mapping.writable:
            raise self._refuse(iova, length, "read-only")
        if not write and not mapping.readable:
            raise self._refuse(iova, length, "not readable")
        return mapping

    def _refuse(self, iova: int, length: int, reason: str) -> DmaError:
        self.errors += 1
        return DmaError(iova, length, reason)

    def _remember(self, mapping: Mapping) -> None:
        if mapping.view is not None and mapping.readable:
            self._last_start = mapping.iova
            self._last_size = mapping.size
            self._last_view = mapping.view
            self._last_writable = mapping.writable

    def _forget_last(self) -> None:
        self._last_start = 0
        self._last_size = -1  # no access fits, not even an empty one
        self._last_view = memoryview(b"")
        self._last_writable = False

    def _release_held(self) -> None:
        self._held = [mapping for mapping in self._held if not mapping.release()]


class _PyBuffer(ctypes.Structure):
    """CPython's Py_buffer (Include/cpython/object.h), for the address of a read-only mapping."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_MAP_NORESERVE = 0x4000
_MAP_FIXED = 0x10  # <asm-generic/mman-common.h>; the mmap module has neither
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)


def _replace_pages(mapped: mmap.mmap, size: int) -> None:
    """Replace `mapped` by private zero pages, so that a view of it no longer reaches guest memory."""
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(mapped), ctypes.byref(buffer), 0)
    try:
        protection = mmap.PROT_READ | (0 if buffer.readonly else mmap.PROT_WRITE)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
        if _libc.mmap(buffer.buf, size, protection, flags, -1, 0) != buffer.buf:
            error = ctypes.get_errno()
            raise OSError(error, f"cannot unmap {size:#x} bytes of guest memory: {os.strerror(error)}")
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
