# SPDX-License-Identifier: MIT
"""The AMD XGBE as a PCI device: configuration space, BARs, resets, and what tests may ask.

Source: Linux, drivers/net/ethernet/amd/xgbe (no public datasheet has these registers); see the modules for what documents
what they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nicmodels.device import Device, Host, Options, ResetCause
from nicmodels.pci import Bar, BarKind, ConfigSpace, Msi, MsiX, PciExpress, PowerManagement
from nicmodels.registers import RegisterFile
from nicmodels.xgbe import fault_points
from nicmodels.xgbe.filters import Filters
from nicmodels.xgbe.i2c import I2cController
from nicmodels.xgbe.interrupts import CHANNEL, InterruptBlock
from nicmodels.xgbe.link import Link
from nicmodels.xgbe.mac import Mac
from nicmodels.xgbe.mmc import Counters
from nicmodels.xgbe.ptp import SystemTime
from nicmodels.xgbe.receive import Receiver
from nicmodels.xgbe.registers import BOARD, REGISTERS, dma
from nicmodels.xgbe.registers import properties as xp
from nicmodels.xgbe.steering import Steering
from nicmodels.xgbe.transmit import Transmitter
from nicmodels.xgbe.variants import DEFAULT, VARIANTS
from nicmodels.xgbe.xpcs import BAR_SIZE, Xpcs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = "1"
AMD = 0x1022
REVISION = 0
ETHERNET = 0x020000
REGISTER_BAR, XPCS_BAR, MSIX_BAR = 0, 1, 2
REGISTER_SIZE, MSIX_SIZE, MSIX_PENDING = 0x20000, 0x2000, 0x1000
DEFAULT_MAC = bytes.fromhex("027066000001")
SOFTWARE_RESET = 1
ADDRESS_VALID = 1 << 31
QUANTUM = 512
"""Bit times of a PAUSE quantum (IEEE 802.3, 31B.2)."""


class Xgbe(Device):
    """One port, in backplane mode.

    Raises:
        ValueError: the options ask for a profile, MAC address or number of queues that this device has not.
    """

    name: ClassVar[str] = "xgbe"
    fault_points = fault_points.ALL

    def __init__(self, host: Host, options: Options | None = None) -> None:
        super().__init__(host)
        options = options or Options()
        self.profile = options.profile or DEFAULT
        if self.profile not in VARIANTS:
            raise ValueError(f"unknown profile {self.profile!r}; there are: {', '.join(VARIANTS)}")
        self.mac = options.mac or DEFAULT_MAC
        if len(self.mac) != 6 or self.mac[0] & 1:
            raise ValueError(f"MAC address {self.mac.hex(':')} is not 6 bytes of a unicast address")
        self.variant = variant = VARIANTS[self.profile]
        channels = variant.channels
        if options.queues not in (None, channels):
            raise ValueError(f"{options.queues} queues asked for, but {self.profile} always has {channels}")
        self.config = _config_space(variant.device, CHANNEL + channels)
        self._file = RegisterFile(REGISTERS, host.clock.now)
        self.interrupts = InterruptBlock(self._file, host, channels)
        self.xpcs = Xpcs(self._file)
        self.counters = Counters(self._file, host, self.interrupts, channels)
        self.filters = Filters(self._file, host.faults)
        self.steering = Steering(self._file, host.faults, self.filters, channels)
        self.time = SystemTime(self._file, host, self.interrupts)
        self.link = Link(self._file, host, self.interrupts, fec=variant.fec, came_up=self._link_came_up)
        self.receiver = Receiver(
            self._file,
            host,
            self.interrupts,
            self.counters,
            self.filters,
            self.steering,
            self.time,
            channels=channels,
            hears=lambda: self.link.up,
            pause=self._pause,
        )
        self.transmitter = Transmitter(
            self._file,
            host,
            self.interrupts,
            self.counters,
            self.time,
            channels=channels,
            carries=lambda: self.link.up,
            loop_back=self.receiver.loop_back,
        )
        self.core = Mac(
            self._file,
            self.interrupts,
            variant,
            lambda channel: (self.receiver.state(channel), self.transmitter.state(channel)),
        )
        self.i2c = I2cController(self._file, self.interrupts)
        self._incomplete = host.faults["device.reset.incomplete"]
        self._invalid_address = host.faults["device.eeprom.checksum"]
        self._file.on_write(dma.MR, self._write_mode)
        self._file.on_read(xp.MAC_ADDR_HI, self._address_high, peek=self._address_high)

    @property
    def registers(self) -> RegisterFile | None:
        """All registers: those of BAR 0, and those of the PCS behind its window."""
        return self._file

    def bar_read(self, bar: int, offset: int, size: int) -> int:
        """BAR 0: registers; BAR 1: the window on the PCS; BAR 2 belongs to whoever emulates MSI-X."""
        if bar == REGISTER_BAR:
            return self._file.read(offset, size)
        return self.xpcs.read(offset, size) if bar == XPCS_BAR else 0

    def bar_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """BAR 0: registers; BAR 1: the window on the PCS."""
        if bar == REGISTER_BAR:
            self._file.write(offset, value, size)
        elif bar == XPCS_BAR:
            self.xpcs.write(offset, value, size)

    def frame_arrived(self) -> None:
        """The wire has frames."""
        self.receiver.arrived()

    def reset(self, cause: ResetCause) -> None:
        """Everything, SerDes and PCS too."""
        del cause
        self._file.reset()
        self.interrupts.power_on()
        variant = self.variant
        self._file[xp.PROP_0] = variant.property_0
        self._file[xp.PROP_1] = variant.property_1
        self._file[xp.PROP_2] = variant.property_2
        self._file[xp.MAC_ADDR_LO] = int.from_bytes(self.mac[:4], "little")
        self.xpcs.reset()
        self.i2c.reset()
        self._reset_core()
        self.link.reset()

    def control_methods(self) -> Mapping[str, Callable[..., Any]]:
        """`model.*` and `link.*`."""
        return {
            "model.describe": self._describe,
            "model.counters": self._counters,
            "model.queues": self._queues,
            "link.get": self.link.partner.describe,
            "link.set": self.link.partner.control,
        }

    def _write_mode(self, _index: int, value: int) -> None:
        """SWR clears itself; a reset takes no time here."""
        if value & SOFTWARE_RESET:
            self._software_reset()
        else:
            self.interrupts.write_mode(value)

    def _software_reset(self) -> None:
        """MAC, MTL and DMA with all their registers; properties, I2C, PCS and SerDes stay."""
        self.resets["software"] += 1
        self.host.events.add("reset", cause="software")
        if self._incomplete.armed and self._incomplete.fires():
            return
        self._file.reset(BOARD)
        self._reset_core()

    def _reset_core(self) -> None:
        self.interrupts.reset()
        self.transmitter.reset()
        self.receiver.reset()
        self.steering.reset()
        self.filters.reset()
        self.counters.reset()
        self.time.reset()
        self.core.reset()

    def _address_high(self, _index: int = 0) -> int:
        value = int.from_bytes(self.mac[4:], "little")
        if self._invalid_address.armed and self._invalid_address.fires():
            return value
        return value | ADDRESS_VALID

    def _link_came_up(self) -> None:
        self.transmitter.kick()

    def _pause(self, quanta: int) -> None:
        speed = self.link.speed
        if speed:
            self.transmitter.pause(quanta * QUANTUM / (speed * 1e6))

    def _describe(self) -> dict[str, Any]:
        channels = self.variant.channels
        return {
            "name": self.name,
            "version": VERSION,
            "profile": self.profile,
            "mac": self.mac.hex(":"),
            "pci": {"vendor": AMD, "device": self.config.device, "revision": REVISION},
            "queues": {"rx": channels, "tx": channels},
            "faults": [{"name": point.name, "text": point.text} for point in self.fault_points],
        }

    def _counters(self) -> dict[str, Any]:
        return {
            **self.counters.describe(),
            "interrupts": list(self.interrupts.raised),
            "resets": dict(self.resets),
            "unknown": {f"{offset:#x}": count for offset, count in self._file.unknown.items()},
            "dma_errors": self.counters.dma_errors,
        }

    def _queues(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "rx": [
                {
                    "enabled": channel.running,
                    "size": channel.ring.count,
                    "head": channel.posted[0][0] if channel.posted else channel.ring.head,
                    "tail": channel.ring.tail,
                }
                for channel in self.receiver.channels
            ],
            "tx": [
                {
                    "enabled": channel.running,
                    "size": channel.ring.count,
                    "head": channel.ring.head,
                    "tail": channel.ring.tail,
                }
                for channel in self.transmitter.channels
            ],
        }


def _config_space(device: int, vectors: int) -> ConfigSpace:
    """Three 32-bit memory BARs, MSI-X with a vector a line, MSI with one."""
    return ConfigSpace(
        vendor=AMD,
        device=device,
        revision=REVISION,
        class_code=ETHERNET,
        subsystem_vendor=AMD,
        subsystem=device,
        bars=(
            Bar(REGISTER_BAR, REGISTER_SIZE, BarKind.MEMORY_32),
            Bar(XPCS_BAR, BAR_SIZE, BarKind.MEMORY_32),
            Bar(MSIX_BAR, MSIX_SIZE, BarKind.MEMORY_32),
        ),
        capabilities=(
            PowerManagement(offset=0x48),
            PciExpress(link_speed=3, link_width=8, max_payload=1, offset=0x64),
            Msi(vectors=1, offset=0xA0),
            MsiX(vectors, MSIX_BAR, 0, MSIX_BAR, MSIX_PENDING, offset=0xC0),
        ),
    )
