# SPDX-License-Identifier: MIT
"""The AMD XGBE as a PCI device: configuration space, BARs, resets, control methods.

Source: Linux, drivers/net/ethernet/amd/xgbe, since no public datasheet has these registers; each module names the
documentation of its functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nicmodels.models.xgbe import fault_points
from nicmodels.models.xgbe.filters import Filters
from nicmodels.models.xgbe.flow_cache import NEUTRAL
from nicmodels.models.xgbe.i2c import I2cController
from nicmodels.models.xgbe.interrupts import CHANNEL, InterruptBlock
from nicmodels.models.xgbe.link import Link
from nicmodels.models.xgbe.mac import Mac
from nicmodels.models.xgbe.mmc import Counters
from nicmodels.models.xgbe.ptp import SystemTime
from nicmodels.models.xgbe.receive import Receiver
from nicmodels.models.xgbe.registers import BOARD, REGISTERS, dma, mac
from nicmodels.models.xgbe.registers import properties as xp
from nicmodels.models.xgbe.steering import Steering
from nicmodels.models.xgbe.transmit import Transmitter
from nicmodels.models.xgbe.variants import DEFAULT, VARIANTS
from nicmodels.models.xgbe.xpcs import BAR_SIZE, Xpcs
from nicmodels.nic.device import Host, Options
from nicmodels.nic.flow_control import FlowControl, Setting
from nicmodels.nic.nic import Nic, queue_state
from nicmodels.pci import Bar, BarKind, ConfigSpace, Msi, MsiX, PciExpress, PowerManagement, ResetCause
from nicmodels.phy import link_methods
from nicmodels.registers import RegisterFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AMD = 0x1022
REVISION = 0
CLASS_ETHERNET = 0x020000
REGISTER_BAR, XPCS_BAR, MSIX_BAR = 0, 1, 2
REGISTER_SIZE, MSIX_SIZE, MSIX_PENDING = 0x20000, 0x2000, 0x1000
SOFTWARE_RESET = 1
ADDRESS_VALID = 1 << 31
TRANSMIT_FLOW_CONTROL, RECEIVE_FLOW_CONTROL = 1 << 1, 1
QUANTUM = 512
"""Bit times of a PAUSE quantum (IEEE 802.3, 31B.2)."""


class Xgbe(Nic):
    """One port, in backplane mode.

    Raises:
        ValueError: a profile, MAC address or number of queues that this device does not support.
    """

    name: ClassVar[str] = "xgbe"
    fault_points = fault_points.ALL

    def __init__(self, host: Host, options: Options | None = None) -> None:
        options = options or Options()
        super().__init__(host, options, VARIANTS, DEFAULT)
        self.profile = variant = VARIANTS[self.variant]
        channels = variant.channels
        if options.queues not in (None, channels):
            raise ValueError(f"{options.queues} queues requested, but {self.variant} always has {channels}")
        self.config = _config_space(variant.device, CHANNEL + channels)
        self._file = RegisterFile(REGISTERS, host.clock.now)
        self.interrupts = InterruptBlock(self._file, host, channels)
        self.xpcs = Xpcs(self._file)
        self.counters = Counters(self._file, host, self.interrupts, channels)
        self.filters = Filters(self._file, host.faults, self.mac)
        self.steering = Steering(self._file, host.faults, self.filters, channels)
        self.time = SystemTime(self._file, host, self.interrupts)
        self.link = Link(self._file, host, self.interrupts, variant, came_up=self._link_came_up)
        self.receiver = Receiver(
            self._file,
            host,
            self.interrupts,
            self.counters,
            self.filters,
            self.steering,
            self.time,
            channels=channels,
            link_up=lambda: self.link.up,
            pause=self._pause,
        )
        self.transmitter = Transmitter(
            self._file,
            host,
            self.interrupts,
            self.counters,
            self.time,
            channels=channels,
            link_up=lambda: self.link.up,
            loop_back=self.receiver.loop_back,
        )
        self.core = Mac(
            self._file,
            self.interrupts,
            variant,
            lambda channel: (self.receiver.dma.state(channel), self.transmitter.state(channel)),
        )
        self.i2c = I2cController(self._file, self.interrupts)
        self.flow_control = FlowControl(
            self._file,
            host.faults,
            transmit=Setting(mac.QTFCR, TRANSMIT_FLOW_CONTROL, TRANSMIT_FLOW_CONTROL),
            receive=Setting(mac.RFCR, RECEIVE_FLOW_CONTROL, RECEIVE_FLOW_CONTROL),
        )
        self._incomplete = host.faults["device.reset.incomplete"]
        self._invalid_address = host.faults["device.eeprom.checksum"]
        self._file.on_write(dma.MR, self._write_mode)
        self._file.on_read(xp.MAC_ADDR_HI, self._address_high, peek=self._address_high)

    @property
    def registers(self) -> RegisterFile | None:
        """All registers: those of BAR 0, and those of the PCS behind the window of BAR 1."""
        return self._file

    def bar_read(self, bar: int, offset: int, size: int) -> int:
        """BAR 0: registers; BAR 1: the window to the PCS; BAR 2: MSI-X, which QEMU emulates."""
        if bar == REGISTER_BAR:
            return self._file.read(offset, size)
        return self.xpcs.read(offset, size) if bar == XPCS_BAR else 0

    def bar_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """BAR 0: registers; BAR 1: the window to the PCS."""
        if bar == REGISTER_BAR:
            if offset not in NEUTRAL or size != 4:
                self.receiver.flow_cache.flush()
            self._file.write(offset, value, size)
        elif bar == XPCS_BAR:
            with self.link.phy.timeline.instant():
                self.xpcs.write(offset, value, size)

    def frame_arrived(self) -> None:
        """The wire has frames."""
        self.receiver.arrived()

    def reset(self, cause: ResetCause) -> None:
        """Reset everything, including SerDes and PCS."""
        del cause
        self._file.reset()
        self.interrupts.power_on()
        variant = self.profile
        self._file[xp.PROP_0] = variant.property_0
        self._file[xp.PROP_1] = variant.property_1
        self._file[xp.PROP_2] = variant.property_2
        self._file[xp.MAC_ADDR_LO] = int.from_bytes(self.mac[:4], "little")
        self.xpcs.reset()
        self.i2c.reset()
        self._reset_core()
        self.link.reset()

    @property
    def account(self) -> Counters:
        """The device's own counts."""
        return self.counters

    @property
    def raised(self) -> list[int]:
        """How often each interrupt vector was signalled."""
        return self.interrupts.raised

    def queues(self) -> dict[str, list[dict[str, Any]]]:
        """The DMA channels."""
        return {
            "rx": [
                queue_state(channel.ring, enabled=channel.running, head=channel.head)
                for channel in self.receiver.dma.channels
            ],
            "tx": [queue_state(channel.ring, enabled=channel.running) for channel in self.transmitter.channels],
        }

    def control_methods(self) -> Mapping[str, Callable[..., Any]]:
        """`model.*` and `link.*`."""
        own = {"model.flow_control": self.flow_control.describe}
        return {**super().control_methods(), **own, **link_methods(self.link.partner, self.link.looks)}

    def _write_mode(self, _index: int, value: int) -> None:
        """SWR is self-clearing; a reset completes at once."""
        if value & SOFTWARE_RESET:
            self._software_reset()
        else:
            self.interrupts.write_mode(value)

    def _software_reset(self) -> None:
        """Reset MAC, MTL and DMA with all their registers; properties, I2C, PCS and SerDes keep their state."""
        self.count_reset("software")
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


def _config_space(device: int, vectors: int) -> ConfigSpace:
    """Three 32-bit memory BARs, MSI-X with a vector per interrupt line, MSI with one vector."""
    return ConfigSpace(
        vendor=AMD,
        device=device,
        revision=REVISION,
        class_code=CLASS_ETHERNET,
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
