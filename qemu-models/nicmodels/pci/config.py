# SPDX-License-Identifier: MIT
"""The configuration space of an endpoint: type 0 header, capability lists, and the effects of writes.

Source: PCI Local Bus 3.0, 6.1 and 6.2; PCI Express base specification 3.0, 6.6.2 (function-level reset) and 7.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from nicmodels.pci.capabilities import INITIATE_FLR, MsiX, PciExpress, PowerManagement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nicmodels.pci.bar import Bar
    from nicmodels.pci.capabilities import Capability
    from nicmodels.pci.extended import ExtendedCapability

    Some = TypeVar("Some")

SIZE = 4096
COMMAND = 0x04
STATUS = 0x06
CACHE_LINE = 0x0C
BAR_0 = 0x10
SUBSYSTEM = 0x2C
CAPABILITY_POINTER = 0x34
INTERRUPT_LINE = 0x3C
INTERRUPT_PIN = 0x3D
FIRST_CAPABILITY = 0x40
FIRST_EXTENDED = 0x100

COMMAND_IO = 1 << 0
COMMAND_MEMORY = 1 << 1
COMMAND_BUS_MASTER = 1 << 2
COMMAND_PARITY = 1 << 6
COMMAND_SERR = 1 << 8
COMMAND_INTX_DISABLE = 1 << 10
COMMAND_WRITABLE = (
    COMMAND_IO | COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_DISABLE
)
STATUS_INTERRUPT = 1 << 3
STATUS_CAPABILITIES = 1 << 4
STATUS_CLEARABLE = 0xF900
D3HOT = 3


class ConfigListener(Protocol):
    """Acts on software's writes; `nicmodels.nic.device.Device` implements it."""

    def command_changed(self) -> None:
        """The command register changed."""

    def function_reset(self, *, from_d3hot: bool = False) -> None:
        """Software requested a function-level reset, or moved the device from D3hot to D0 with a reset."""


class ConfigSpace:
    """4096 bytes of configuration space.

    Args:
        vendor, device, revision, class_code (24 bits), subsystem_vendor, subsystem: the ids.
        bars: at most one per index.
        capabilities, extended: in list order.
        interrupt_pin: 1 to 4 for INTA to INTD, 0 for none.

    Attributes:
        bars: by index.
        listener: called for writes with effects outside the configuration space.

    Raises:
        ValueError: BARs or capabilities overlap, MSI-X points outside its BAR, or an offset is not a multiple of 4.
    """

    def __init__(
        self,
        *,
        vendor: int,
        device: int,
        class_code: int,
        revision: int = 0,
        subsystem_vendor: int = 0,
        subsystem: int = 0,
        bars: Iterable[Bar] = (),
        capabilities: Iterable[Capability] = (),
        extended: Iterable[ExtendedCapability] = (),
        interrupt_pin: int = 1,
    ) -> None:
        self.vendor, self.device, self.revision, self.class_code = vendor, device, revision, class_code
        self.subsystem_vendor, self.subsystem = subsystem_vendor, subsystem
        self.interrupt_pin = interrupt_pin
        self.capabilities = tuple(capabilities)
        self.extended = tuple(extended)
        self.listener: ConfigListener | None = None
        self._offsets: dict[int, int] = {}
        self._reset_bytes = bytearray(SIZE)
        self._writable = bytearray(SIZE)
        self._clearable = bytearray(SIZE)
        self._put(0, vendor.to_bytes(2, "little") + device.to_bytes(2, "little"))
        self._put(
            COMMAND, bytes(4), COMMAND_WRITABLE.to_bytes(4, "little"), (STATUS_CLEARABLE << 16).to_bytes(4, "little")
        )
        self._put(8, (class_code << 8 | revision).to_bytes(4, "little"))
        self._put(CACHE_LINE, b"\0", b"\xff")
        self._put(SUBSYSTEM, subsystem_vendor.to_bytes(2, "little") + subsystem.to_bytes(2, "little"))
        self._put(INTERRUPT_LINE, bytes((0, interrupt_pin)), b"\xff\0")
        self.bars: Mapping[int, Bar] = self._place_bars(bars)
        self._place_capabilities()
        self._place_extended()
        self._check_msix()
        self._bytes = bytearray(self._reset_bytes)

    def capability(self, kind: type[Some]) -> Some | None:
        """The capability of that class, from either list."""
        for each in (*self.capabilities, *self.extended):
            if isinstance(each, kind):
                return each
        return None

    def offset(self, capability: Capability | ExtendedCapability) -> int:
        """The offset of a capability."""
        return self._offsets[id(capability)]

    def read(self, offset: int, size: int) -> int:
        """Read 1, 2, 4 or 8 bytes; zeros beyond the end."""
        return int.from_bytes(self._bytes[offset : offset + size], "little")

    def read_bytes(self, offset: int, count: int) -> bytes:
        """Read any number of bytes."""
        return bytes(self._bytes[offset : offset + count])

    def write(self, offset: int, value: int, size: int) -> None:
        """Software's write of 1, 2, 4 or 8 bytes."""
        self.write_bytes(offset, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def write_bytes(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Software's write: writable bits change, ones clear status bits, and the effects follow."""
        command, state = self.command, self._power_state()
        flr = self._asks_for_flr(offset, data)
        for position, value in enumerate(data, offset):
            if position >= SIZE:
                break
            writable = self._writable[position]
            kept = self._bytes[position] & ~writable & ~(self._clearable[position] & value)
            self._bytes[position] = kept | (value & writable)
        if self.listener is None:
            return
        if flr:
            self.listener.function_reset()
        elif state == D3HOT and self._power_state() == 0 and self._resets_on_wake():
            self.listener.function_reset(from_d3hot=True)
        elif self.command != command:
            self.listener.command_changed()

    def set(self, offset: int, value: int, size: int) -> None:
        """The device's own change, such as an error or link status: every bit is written, without effects."""
        self._bytes[offset : offset + size] = value.to_bytes(size, "little")

    def show_interrupt(self, asserted: bool) -> None:
        """Show in the status register whether the function asserts INTx; INTx disable does not change that (PCI 3.0, 6.2.3)."""
        self._bytes[STATUS] = self._bytes[STATUS] & ~STATUS_INTERRUPT | (STATUS_INTERRUPT if asserted else 0)

    def reset(self) -> None:
        """All registers as after power-on."""
        self._bytes[:] = self._reset_bytes

    @property
    def command(self) -> int:
        """The command register."""
        return self._bytes[COMMAND] | self._bytes[COMMAND + 1] << 8

    @property
    def bus_master(self) -> bool:
        """Whether the device may access memory and send MSI and MSI-X."""
        return bool(self.command & COMMAND_BUS_MASTER)

    @property
    def memory_enabled(self) -> bool:
        """Whether the device answers memory accesses."""
        return bool(self.command & COMMAND_MEMORY)

    @property
    def intx_disabled(self) -> bool:
        """Whether INTx must not be asserted."""
        return bool(self.command & COMMAND_INTX_DISABLE)

    @property
    def msix_enabled(self) -> bool:
        """MSI-X enable, as software wrote it."""
        msix = self.capability(MsiX)
        return msix is not None and bool(self.read(self.offset(msix) + 2, 2) & 0x8000)

    def _put(self, offset: int, value: bytes, writable: bytes = b"", clearable: bytes = b"") -> None:
        self._reset_bytes[offset : offset + len(value)] = value
        self._writable[offset : offset + len(writable)] = writable
        self._clearable[offset : offset + len(clearable)] = clearable

    def _place_bars(self, bars: Iterable[Bar]) -> dict[int, Bar]:
        placed: dict[int, Bar] = {}
        taken: set[int] = set()
        for bar in bars:
            slots = {bar.index, bar.index + 1} if bar.kind.is_64 else {bar.index}
            if taken & slots:
                raise ValueError(f"BAR {bar.index} overlaps another")
            taken |= slots
            placed[bar.index] = bar
            width = 4 * len(slots)
            type_bits = 0b11 if bar.kind.value & 1 else 0b1111
            writable = (1 << 8 * width) - bar.size & ~type_bits
            self._put(
                BAR_0 + 4 * bar.index, bar.kind.value.to_bytes(width, "little"), writable.to_bytes(width, "little")
            )
        return placed

    def _place_capabilities(self) -> None:
        link, free = CAPABILITY_POINTER, FIRST_CAPABILITY
        if self.capabilities:
            self._reset_bytes[STATUS] |= STATUS_CAPABILITIES
        used: dict[int, Capability] = {}
        for capability in self.capabilities:
            at = free if capability.offset is None else capability.offset
            body = capability.body()
            self._claim(used, capability, at, 2 + len(body), FIRST_CAPABILITY, FIRST_EXTENDED)
            self._reset_bytes[link] = at
            self._put(at, bytes((capability.id, 0)))
            self._put(at + 2, body, capability.writable(), capability.write_one_to_clear())
            link, free = at + 1, at + 2 + len(body) + 3 & ~3

    def _place_extended(self) -> None:
        free, previous = FIRST_EXTENDED, 0
        used: dict[int, ExtendedCapability] = {}
        for capability in self.extended:
            at = free if capability.offset is None else capability.offset
            if not previous and at != FIRST_EXTENDED:
                raise ValueError(f"the first extended capability must be at {FIRST_EXTENDED:#x}, not at {at:#x}")
            body = capability.body()
            self._claim(used, capability, at, 4 + len(body), FIRST_EXTENDED, SIZE)
            self._put(at, (capability.id | capability.version << 16).to_bytes(4, "little"))
            self._put(at + 4, body, capability.writable(), capability.write_one_to_clear())
            if previous:
                header = int.from_bytes(self._reset_bytes[previous : previous + 4], "little")
                self._put(previous, (header | at << 20).to_bytes(4, "little"))
            previous, free = at, at + 4 + len(body) + 3 & ~3

    def _claim(self, used: dict[int, Some], capability: Some, at: int, length: int, low: int, high: int) -> None:
        if at % 4 or at < low or at + length > high:
            raise ValueError(f"{type(capability).__name__} at {at:#x}: not a dword from {low:#x} to {high:#x}")
        for position in range(at, at + length):
            if position in used:
                raise ValueError(f"{type(capability).__name__} at {at:#x} overlaps {type(used[position]).__name__}")
            used[position] = capability
        self._offsets[id(capability)] = at

    def _check_msix(self) -> None:
        msix = self.capability(MsiX)
        if msix is None:
            return
        places = ((msix.table_bar, msix.table_offset, msix.table_size), (msix.pba_bar, msix.pba_offset, msix.pba_size))
        for index, offset, size in places:
            bar = self.bars.get(index)
            if bar is None or offset + size > bar.size:
                raise ValueError(f"MSI-X needs {size} bytes at {offset:#x} of BAR {index}, which is not there")

    def _asks_for_flr(self, offset: int, data: bytes | bytearray | memoryview) -> bool:
        express = self.capability(PciExpress)
        if express is None or not express.flr:
            return False
        high_byte = self.offset(express) + PciExpress.DEVICE_CONTROL + 1
        return offset <= high_byte < offset + len(data) and bool(data[high_byte - offset] & INITIATE_FLR >> 8)

    def _power_state(self) -> int:
        power = self.capability(PowerManagement)
        return 0 if power is None else self._bytes[self.offset(power) + 4] & 3

    def _resets_on_wake(self) -> bool:
        power = self.capability(PowerManagement)
        return power is not None and not power.no_soft_reset
