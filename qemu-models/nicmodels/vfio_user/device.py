# SPDX-License-Identifier: MIT
"""What the server needs of the device that it serves; `nicmodels.nic.device.Device` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nicmodels.events import EventLog
    from nicmodels.failures import Failures
    from nicmodels.pci import Bar, ConfigSpace, ResetCause
    from nicmodels.vfio_user.interrupts import Interrupts
    from nicmodels.vfio_user.memory import GuestMemory


class DeviceHost(Protocol):
    """The parts of the host that a client's messages change."""

    @property
    def memory(self) -> GuestMemory:
        """Takes the client's DMA mappings."""

    @property
    def interrupts(self) -> Interrupts:
        """Takes the client's eventfds."""

    @property
    def events(self) -> EventLog:
        """Records connections and refused requests."""

    @property
    def failures(self) -> Failures:
        """Takes the exceptions of the device in a client's request."""


class PciDevice(Protocol):
    """A PCI device.

    `bar_read` and `bar_write` take plain ints and are looked up once per connection. Offsets are within the BAR; sizes
    are 1, 2, 4 or 8 bytes; values are little-endian unsigned integers.
    """

    config: ConfigSpace

    @property
    def host(self) -> DeviceHost:
        """The device's environment."""

    @property
    def bars(self) -> Mapping[int, Bar]:
        """The BARs by index."""

    def bar_read(self, bar: int, offset: int, size: int) -> int:
        """Read `size` bytes of a BAR."""

    def bar_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """Write `size` bytes of a BAR."""

    def restart(self, cause: ResetCause) -> None:
        """Reset the configuration space and the device."""

    def command_changed(self) -> None:
        """Apply the command register's bits."""

    def function_reset(self, *, from_d3hot: bool = False) -> None:
        """A function-level reset, or a return from D3hot, was written to the configuration space."""
