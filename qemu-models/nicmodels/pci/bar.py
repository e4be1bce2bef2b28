# SPDX-License-Identifier: MIT
"""Base address registers (PCI Local Bus 3.0, 6.2.5)."""

from __future__ import annotations

import enum
import mmap
from dataclasses import dataclass


class BarKind(enum.Enum):
    """The type bits of a BAR."""

    IO = 0b0001
    MEMORY_32 = 0b0000
    MEMORY_64 = 0b0100
    MEMORY_64_PREFETCHABLE = 0b1100

    @property
    def is_64(self) -> bool:
        """Whether the BAR takes two slots."""
        return self in (BarKind.MEMORY_64, BarKind.MEMORY_64_PREFETCHABLE)


@dataclass(frozen=True)
class MmapArea:
    """A part of a BAR that the guest maps; the model does not see the accesses.

    Attributes:
        offset: within the BAR, page-aligned.
        size: bytes, a multiple of the page.
    """

    offset: int
    size: int


@dataclass(frozen=True)
class Bar:
    """A BAR.

    Attributes:
        index: 0 to 5; a 64-bit BAR also takes the next.
        size: bytes, a power of two.
        kind: I/O, 32-bit or 64-bit memory.
        mmap_areas: parts that the guest may map; their memory is a file descriptor.
        mmap_fd: shared memory of `size` bytes behind `mmap_areas`.

    Raises:
        ValueError: an invalid index, size or area.
    """

    index: int
    size: int
    kind: BarKind = BarKind.MEMORY_32
    mmap_areas: tuple[MmapArea, ...] = ()
    mmap_fd: int | None = None

    def __post_init__(self) -> None:
        last = 4 if self.kind.is_64 else 5
        least = 4 if self.kind is BarKind.IO else 16
        if not 0 <= self.index <= last:
            raise ValueError(f"BAR {self.index}: a BAR of this kind has an index from 0 to {last}")
        if self.size < least or self.size & (self.size - 1):
            raise ValueError(f"BAR {self.index}: size {self.size:#x} is not a power of two from {least} on")
        if self.mmap_areas and self.mmap_fd is None:
            raise ValueError(f"BAR {self.index}: areas to map need a file descriptor")
        for area in self.mmap_areas:
            if (area.offset | area.size) % mmap.PAGESIZE or area.offset + area.size > self.size or area.size <= 0:
                raise ValueError(f"BAR {self.index}: area {area.offset:#x}+{area.size:#x} is not whole pages inside it")
