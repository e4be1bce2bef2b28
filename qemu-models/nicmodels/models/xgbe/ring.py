# SPDX-License-Identifier: MIT
"""This DMA's ring: 16-byte descriptors with an owner bit; base and tail are addresses.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.3: the DMA reads descriptors from the current one up to, but not including,
the tail, while it owns them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.rings import DescriptorRing

if TYPE_CHECKING:
    from nicmodels.vfio_user.memory import GuestMemory

SIZE = 16
OWN_BYTE = 0x80
"""The owner bit is the highest of a descriptor's last byte."""
_KIND = bytes(byte & 0x70 for byte in range(256))
"""Of the highest byte of a descriptor: context, first, last."""


def doublewords(low: int, high: int) -> tuple[int, int, int, int]:
    """The four doublewords of a descriptor's two quadwords."""
    return low & 0xFFFF_FFFF, low >> 32, high & 0xFFFF_FFFF, high >> 32


class OwnedRing(DescriptorRing):
    """A descriptor ring that ends at the tail, or at the first descriptor that the DMA does not own."""

    __slots__ = ()

    def __init__(self, memory: GuestMemory) -> None:
        super().__init__(memory, "<QQ")

    @property
    def available(self) -> int:
        """Number of descriptors before the tail; a tail just after the ring is never reached."""
        head, tail, count = self.head, self.tail, self.count
        if head >= count or tail > count:
            return 0
        if tail == count:
            return count
        return tail - head if tail >= head else count - head + tail

    def place_tail(self, address: int) -> None:
        """Set the tail by the low half of its address; an address outside the ring leaves no descriptors."""
        offset = address - self.base & 0xFFFF_FFFF
        self.tail = offset // SIZE if not offset % SIZE and offset // SIZE <= self.count else self.count + 1

    def release(self, number: int) -> None:
        """Clear the owner bits of `number` descriptors from head on, and what else their last doubleword has but their kind.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        head, more = self.head, max(self.head + number - self.count, 0)
        for first, length in ((head, number - more), (0, more)):
            if length:
                data = bytearray(self._memory.read(self.address(first), length * SIZE))
                data[12::SIZE] = data[13::SIZE] = data[14::SIZE] = bytes(length)
                data[15::SIZE] = data[15::SIZE].translate(_KIND)
                self.write(first, data)

    def owned(self, limit: int) -> list[tuple[int, ...]]:
        """Up to `limit` descriptors from head on that the DMA owns, in order, each as two quadwords.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        return list(self._layout.iter_unpack(self._owned(limit)))

    def owned_words(self, limit: int) -> list[int]:
        """Like `owned`, but as one list of quadwords.

        Raises:
            DmaError: the ring is not in guest memory.
        """
        return memoryview(self._owned(limit)).cast("Q").tolist()

    def _owned(self, limit: int) -> bytes:
        data = self._read(limit)
        owners = data[SIZE - 1 :: SIZE]
        if owners and min(owners) < OWN_BYTE:
            data = data[: SIZE * next(number for number, owner in enumerate(owners) if owner < OWN_BYTE)]
        return data
