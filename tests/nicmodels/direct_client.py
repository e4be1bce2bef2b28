# SPDX-License-Identifier: GPL-2.0-or-later
"""A model without a server: the minimal driver's calls end in the model's own methods, so that nothing else is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nicmodels.nic.device import Device
from nicmodels.pci import MsiX
from vfio_client import GuestRam

COMMAND = 0x04
MEMORY_AND_MASTER = 0x6


class DirectClient:
    """The methods of a vfio-user client that the minimal driver uses."""

    def __init__(self, device: Device, turn: Callable[[], object]) -> None:
        """Take a device that has been restarted, and what lets it do what is due."""
        self._device = device
        self._turn = turn

    def add_ram(self, iova: int, size: int) -> GuestRam:
        """Give the device memory."""
        ram = GuestRam(iova, size)
        self._device.host.memory.map(ram.fd, 0, iova, size)
        return ram

    def enable(self) -> None:
        """Memory decoding and bus mastering on."""
        self._device.config.write(COMMAND, MEMORY_AND_MASTER, 2)
        self._device.command_changed()

    def read(self, region: int, offset: int, size: int = 4) -> int:
        """Read a register; between two accesses of a CPU, time passes for the device."""
        self._turn()
        return self._device.bar_read(region, offset, size)

    def irq_info(self, _index: int) -> tuple[int, int]:
        """Flags (none) and the number of MSI-X vectors."""
        msix = self._device.config.capability(MsiX)
        return 0, 0 if msix is None else msix.vectors

    def read_bytes(self, region: int, offset: int, count: int) -> bytes:
        """Read bytes of a BAR."""
        self._turn()
        return self._device.bar_read(region, offset, count).to_bytes(count, "little")

    def write_bytes(self, region: int, offset: int, data: bytes) -> None:
        """Write bytes of a BAR."""
        self._device.bar_write(region, offset, int.from_bytes(data, "little"), len(data))

    def post(self, region: int, offset: int, value: int, size: int = 4) -> None:
        """Write a register."""
        self._device.bar_write(region, offset, value, size)

    def post_many(self, writes: Sequence[tuple[int, int, int]], size: int = 4) -> None:
        """Write registers."""
        for region, offset, value in writes:
            self._device.bar_write(region, offset, value, size)
