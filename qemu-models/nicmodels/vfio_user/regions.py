# SPDX-License-Identifier: MIT
"""The regions of a device as a client accesses them: BARs, configuration space, MSI-X tables.

A region has a size, a reader and a writer. Both take `(region, offset, ...)`, so that those of a BAR are the device's
own bound methods, without a call in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.pci import MsiX
from nicmodels.vfio_user.protocol import REGION_CONFIG, REGION_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.vfio_user.device import PciDevice

    Reader = Callable[[int, int, int], int]
    Writer = Callable[[int, int, int, int], None]


class TableShadow:
    """MSI-X table and pending bits of one BAR, as plain memory; other accesses to the BAR go to the device.

    QEMU emulates the table. A client that does not can still read back what it wrote.
    """

    def __init__(self, device: PciDevice, ranges: list[tuple[int, int]]) -> None:
        self._device = device
        self._ranges = [(start, start + size, bytearray(size)) for start, size in ranges]

    def read(self, bar: int, offset: int, size: int) -> int:
        """Read from the table, or else from the device."""
        for start, end, memory in self._ranges:
            if start <= offset and offset + size <= end:
                return int.from_bytes(memory[offset - start : offset - start + size], "little")
        return self._device.bar_read(bar, offset, size)

    def write(self, bar: int, offset: int, value: int, size: int) -> None:
        """Write to the table, or else to the device."""
        for start, end, memory in self._ranges:
            if start <= offset and offset + size <= end:
                memory[offset - start : offset - start + size] = value.to_bytes(size, "little")
                return
        self._device.bar_write(bar, offset, value, size)


class Regions:
    """All regions of a device.

    Attributes:
        sizes: bytes of each region, 0 where there is none.
        readers: `reader(region, offset, size) -> int` of each region.
        writers: `writer(region, offset, value, size)` of each region.
    """

    def __init__(self, device: PciDevice) -> None:
        config = device.config
        self.device = device
        self.sizes = [0] * REGION_COUNT
        self.readers: list[Reader] = [device.bar_read] * REGION_COUNT
        self.writers: list[Writer] = [device.bar_write] * REGION_COUNT
        for index, bar in device.bars.items():
            self.sizes[index] = bar.size
        self.sizes[REGION_CONFIG] = 4096
        self.readers[REGION_CONFIG] = lambda _region, offset, size: config.read(offset, size)
        self.writers[REGION_CONFIG] = lambda _region, offset, value, size: config.write(offset, value, size)
        msix = config.capability(MsiX)
        if msix is not None:
            for bar_index in {msix.table_bar, msix.pba_bar}:
                places = (
                    (msix.table_bar, msix.table_offset, msix.table_size),
                    (msix.pba_bar, msix.pba_offset, msix.pba_size),
                )
                shadow = TableShadow(device, [(start, size) for index, start, size in places if index == bar_index])
                self.readers[bar_index] = shadow.read
                self.writers[bar_index] = shadow.write

    def read(self, region: int, offset: int, count: int) -> bytes:
        """Read any number of bytes, in the largest aligned accesses of at most 8 bytes; the caller checks the range."""
        reader = self.readers[region]
        if count in (1, 2, 4, 8):
            return reader(region, offset, count).to_bytes(count, "little")
        parts = []
        for at, size in _accesses(offset, count):
            parts.append(reader(region, at, size).to_bytes(size, "little"))
        return b"".join(parts)

    def write(self, region: int, offset: int, data: memoryview) -> None:
        """Write any number of bytes, as `read` reads them."""
        writer = self.writers[region]
        if len(data) in (1, 2, 4, 8):
            writer(region, offset, int.from_bytes(data, "little"), len(data))
            return
        for at, size in _accesses(offset, len(data)):
            writer(region, at, int.from_bytes(data[at - offset : at - offset + size], "little"), size)


def _accesses(offset: int, count: int) -> list[tuple[int, int]]:
    accesses = []
    end = offset + count
    while offset < end:
        size = 8
        while offset % size or offset + size > end:
            size //= 2
        accesses.append((offset, size))
        offset += size
    return accesses
