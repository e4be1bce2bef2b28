# SPDX-License-Identifier: MIT
"""A completion ring: its entries have a generation bit that flips when the ring wraps.

The driver polls while the device writes, and must not see an entry before it is complete. So the first entry of a batch
is written last, and its first half, which holds the generation bit, after its second half.

Source: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst (DQO traffic queues).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nicmodels.models.gve.dma_record import Direction, DmaRecord
    from nicmodels.vfio_user.memory import GuestMemory


class CompletionRing:
    """The ring of one queue.

    Args:
        memory: guest memory.
        record: the DMA record.
        base: DMA address.
        count: entries, a power of two.
        size: bytes per entry; entries of more than 8 bytes are written in two halves.

    Attributes:
        generation: the generation bit of the next entry: 1 in the first round, then alternating.
    """

    def __init__(self, memory: GuestMemory, record: DmaRecord, base: int, count: int, size: int) -> None:
        self.count = count
        self._memory = memory
        self._record = record
        self._base = base
        self._size = size
        self._head = 0
        self._noted = 0
        self.generation = 1
        self._entries = bytearray()

    @property
    def room(self) -> int:
        """Number of entries until the generation bit flips."""
        return self.count - self._noted

    @property
    def free(self) -> int:
        """Number of entries that can still be added to the next write, which has at most as many as the ring."""
        return self.count - len(self._entries) // self._size

    def note(self, entries: bytes | bytearray) -> None:
        """Add entries to the next write, at most `room`, all with the generation bit that `generation` is before the call.

        Raises:
            ValueError: more than `free`, which would be written beyond the ring's end.
        """
        if len(entries) > (self.count * self._size) - len(self._entries):
            raise ValueError(f"expected at most {self.free} completions; found {len(entries) // self._size}")
        self._entries += entries
        self._noted += len(entries) // self._size
        if self._noted == self.count:
            self._noted = 0
            self.generation ^= 1

    def write(self, queue: int, direction: Direction) -> bool:
        """Write the added entries; False if there are none.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        entries = self._entries
        if not entries:
            return False
        self._entries = bytearray()
        head, size, base = self._head, self._size, self._base
        number = len(entries) // size
        if self._record.on:
            for step in range(number):
                at = base + (head + step) % self.count * size
                self._record.add(queue, direction, "completion", at, size)
        at = base + head * size
        room = (self.count - head) * size
        if len(entries) > room:
            self._memory.write(base, entries[room:])
        if number > 1:
            self._memory.write(at + size, entries[size:room])
        half = size // 2 if size > 8 else 0
        if half:
            self._memory.write(at + half, entries[half:size])
        self._memory.write(at, entries[: half or size])
        self._head = (head + number) % self.count
        return True
