# SPDX-License-Identifier: MIT
"""A ring of fixed-size descriptors: base, size, head and tail, with batched reads and writes.

The device owns the descriptors from head up to, but not including, tail; head equal to tail means none.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.rings.write_backs import Run
    from nicmodels.vfio_user.memory import GuestMemory


class DescriptorRing:
    """A descriptor ring.

    Args:
        memory: holds the descriptors.
        layout: of one descriptor, such as `<QQ` (see `struct`).

    Attributes:
        base: DMA address of descriptor 0.
        count: number of descriptors.
        head: the next descriptor that the device processes.
        tail: the first descriptor that the device does not own.
    """

    __slots__ = ("_layout", "_memory", "base", "count", "head", "size", "tail")

    def __init__(self, memory: GuestMemory, layout: str = "<QQ") -> None:
        self._memory = memory
        self._layout = struct.Struct(layout)
        self.size = self._layout.size
        self.base = 0
        self.count = 0
        self.head = 0
        self.tail = 0

    def setup(self, base: int, length: int) -> None:
        """Place the ring: `length` bytes at `base`; head and tail start at 0."""
        self.base = base
        self.count = length // self.size
        self.head = self.tail = 0

    @property
    def available(self) -> int:
        """How many descriptors the device owns; 0 while head or tail is outside the ring."""
        head, tail, count = self.head, self.tail, self.count
        if head >= count or tail >= count:
            return 0
        return tail - head if tail >= head else count - head + tail

    def address(self, index: int) -> int:
        """DMA address of a descriptor."""
        return self.base + index * self.size

    def fetch(self, limit: int) -> list[tuple[int, ...]]:
        """Read up to `limit` descriptors from head on, unpacked, in order; head does not move.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        return list(self._layout.iter_unpack(self._read(limit)))

    def fetch_words(self, limit: int) -> list[int]:
        """Like `fetch`, but as one list of quadwords, eight bytes each, whatever the layout.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        return memoryview(self._read(limit)).cast("Q").tolist()

    def _read(self, limit: int) -> bytes:
        """The bytes of up to `limit` descriptors from head on."""
        number = min(self.available, limit)
        if not number:
            return b""
        size = self.size
        first = min(number, self.count - self.head)
        data = self._memory.read(self.base + self.head * size, first * size)
        if number > first:
            data += self._memory.read(self.base, (number - first) * size)
        return data

    def back(self, number: int) -> int:
        """The descriptor that is `number` before head; head itself while the ring has no length."""
        return (self.head - number) % self.count if self.count else self.head

    def advance(self, number: int) -> int:
        """Move head on by `number` descriptors; returns the new head."""
        head = self.head + number
        if head >= self.count:
            head -= self.count
        self.head = head
        return head

    def write(self, index: int, data: bytes | bytearray) -> None:
        """Write one descriptor back, or several in a row.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        self._memory.write(self.base + index * self.size, data)

    def write_runs(self, runs: Sequence[Run]) -> None:
        """Write descriptors back, in order; those of a run at once.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        for first, parts in runs:
            self.write(first, b"".join(parts))
