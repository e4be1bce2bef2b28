# SPDX-License-Identifier: MIT
"""The Intel 82599 as a PCI device: configuration space, BARs, resets, control methods.

Source: Intel 82599 10 GbE Controller Datasheet (331520), chapters 4 (initialization), 8 (registers), 9 (PCIe).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nicmodels.models.ixgbe import fault_points, registers
from nicmodels.models.ixgbe.board import Board
from nicmodels.models.ixgbe.eeprom import Eeprom, image
from nicmodels.models.ixgbe.filters import ReceiveFilters
from nicmodels.models.ixgbe.flow_cache import NEUTRAL
from nicmodels.models.ixgbe.flow_director import FlowDirector
from nicmodels.models.ixgbe.interrupts import InterruptBlock
from nicmodels.models.ixgbe.link import Link
from nicmodels.models.ixgbe.ptp import SystemTime
from nicmodels.models.ixgbe.receive import Receiver
from nicmodels.models.ixgbe.registers import MEMORIES, REGISTERS, STICKY, general, mac, receive
from nicmodels.models.ixgbe.statistics import Statistics
from nicmodels.models.ixgbe.steering import Steering
from nicmodels.models.ixgbe.transmit import Transmitter
from nicmodels.models.ixgbe.variants import DEFAULT, VARIANTS
from nicmodels.nic.device import Host, Options
from nicmodels.nic.flow_control import FlowControl, Setting
from nicmodels.nic.nic import Nic, queue_state
from nicmodels.pci import (
    AdvancedErrorReporting,
    Bar,
    BarKind,
    ConfigSpace,
    DeviceSerialNumber,
    Msi,
    MsiX,
    PciExpress,
    PowerManagement,
    ResetCause,
    VitalProductData,
)
from nicmodels.phy import link_methods
from nicmodels.registers import RegisterFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTEL = 0x8086
SUBSYSTEM = 0x000C
REVISION = 1
CLASS_ETHERNET = 0x020000
REGISTER_BAR, IO_BAR, MSIX_BAR = 0, 2, 4
VECTORS = 64
QUEUES = 128
MASTER_DISABLE, LINK_RESET, SOFTWARE_RESET = 1 << 2, 1 << 3, 1 << 26
MASTER_ENABLED = 1 << 19
DRIVER_LOADED = 1 << 28
TFCE, TFCE_802_3X, RFCE = 3 << 3, 1 << 3, 1 << 3


class Ixgbe(Nic):
    """One port of an 82599.

    Raises:
        ValueError: a profile, MAC address or number of queues that this chip does not support.
    """

    name: ClassVar[str] = "ixgbe"
    fault_points = fault_points.ALL

    def __init__(self, host: Host, options: Options | None = None) -> None:
        options = options or Options()
        super().__init__(host, options, VARIANTS, DEFAULT)
        if options.queues not in (None, QUEUES):
            raise ValueError(f"{options.queues} queues requested, but the 82599 always has {QUEUES}")
        variant = VARIANTS[self.variant]
        self.config = _config_space(variant.device, self.mac)
        self._file = RegisterFile(REGISTERS, host.clock.now)
        self._io_address = 0
        faults = host.faults
        self.interrupts = InterruptBlock(self._file, host)
        self.time = SystemTime(self._file, host, lambda: self.link.speed)
        self.link = Link(
            self._file, host, self.interrupts, variant, changed=self.time.link_changed, came_up=self._came_up
        )
        self.board = Board(self._file, host.clock, self.interrupts)
        self.eeprom = Eeprom(self._file, image(variant, self.mac), faults["device.eeprom.checksum"])
        self.statistics = Statistics(self._file, faults)
        self.filters = ReceiveFilters(self._file, faults)
        self.flow_director = FlowDirector(self._file, faults)
        self.steering = Steering(self._file, faults, self.filters, self.flow_director)
        self.receiver = Receiver(
            self._file, host, self.interrupts, self.statistics, self.link, self.filters, self.steering, self.time
        )
        self.transmitter = Transmitter(
            self._file, host, self.interrupts, self.statistics, self.link, self.time, self.receiver.loop_back
        )
        self.flow_control = FlowControl(
            self._file,
            faults,
            transmit=Setting(receive.FCCFG, TFCE, TFCE_802_3X),
            receive=Setting(mac.MFLCN, RFCE, RFCE),
        )
        self._incomplete = faults["device.reset.incomplete"]
        self._file.on_write(general.CTRL, self._write_ctrl)

    @property
    def registers(self) -> RegisterFile | None:
        """The register file of BAR 0."""
        return self._file

    def bar_read(self, bar: int, offset: int, size: int) -> int:
        """BAR 0: registers; BAR 2: the I/O window to them; BAR 4: MSI-X, which QEMU emulates."""
        if bar == REGISTER_BAR:
            return self._file.read(offset, size)
        if bar == IO_BAR:
            if offset >= 4:
                return self._file.read(self._io_address, size)
            return self._io_address >> 8 * offset & (1 << 8 * size) - 1
        return 0

    def bar_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """BAR 0: registers; BAR 2: IOADDR and IODATA (datasheet 9.2.3.4)."""
        if bar == REGISTER_BAR:
            if offset not in NEUTRAL or size != 4:
                self.receiver.flow_cache.flush()
            self._file.write(offset, value, size)
        elif bar == IO_BAR:
            if offset < 4:
                self._io_address = value & 0x7FFFC
            else:
                self.receiver.flow_cache.flush()
                self._file.write(self._io_address, value, size)

    def frame_arrived(self) -> None:
        """The wire has frames."""
        self.receiver.arrived()

    def reset(self, cause: ResetCause) -> None:
        """Reset everything, including the link; FLR and D3hot keep wake-up logic and tables in memories (4.2.1, 4.2.3)."""
        keep = MEMORIES | STICKY if cause in (ResetCause.FLR, ResetCause.D3HOT) else frozenset()
        self._file.reset(keep)
        self._reset_port()
        self.link.reset()

    @property
    def account(self) -> Statistics:
        """The device's own counts."""
        return self.statistics

    @property
    def raised(self) -> list[int]:
        """How often each interrupt vector was signalled."""
        return self.interrupts.raised

    def queues(self) -> dict[str, list[dict[str, Any]]]:
        """All 128 queues of each direction."""
        return {
            "rx": [queue_state(queue.ring, enabled=queue.enabled, head=queue.head) for queue in self.receiver.queues],
            "tx": [queue_state(queue.ring, enabled=queue.enabled) for queue in self.transmitter.queues],
        }

    def control_methods(self) -> Mapping[str, Callable[..., Any]]:
        """`model.*` and `link.*`."""
        own = {"model.flow_control": self.flow_control.describe}
        return {**super().control_methods(), **own, **link_methods(self.link.partner, self.link.looks)}

    def _write_ctrl(self, _index: int, value: int) -> None:
        """RST and LRST are self-clearing; a reset completes at once (datasheet 8.2.3.1.1)."""
        self._file[general.CTRL] = value & MASTER_DISABLE
        status = self._file[general.STATUS]
        self._file[general.STATUS] = status & ~MASTER_ENABLED if value & MASTER_DISABLE else status | MASTER_ENABLED
        if value & LINK_RESET:
            self._software_reset(with_link=True)
        elif value & SOFTWARE_RESET:
            self._software_reset(with_link=False)

    def _software_reset(self, *, with_link: bool) -> None:
        """Reset all but memories, wake-up and semaphores; MAC and link only for a link reset (datasheet 4.2.1)."""
        self.count_reset("link" if with_link else "software")
        if self._incomplete.armed and self._incomplete.fires():
            return
        keep = MEMORIES | STICKY
        if not with_link:
            keep |= frozenset(registers.BLOCKS["mac"]) - {mac.HLREG0, mac.MAXFRS, mac.MFLCN}
        self._file.reset(keep)
        self._reset_port()
        if with_link:
            self.link.reset()

    def _reset_port(self) -> None:
        """Reset all blocks but the link."""
        self.interrupts.reset()
        self.transmitter.reset()
        self.receiver.reset()
        self.flow_director.reset()
        self.steering.reset()
        self.filters.reset(self.mac)
        self.board.reset()
        self.time.reset()
        self._file[general.CTRL_EXT] = self._file[general.CTRL_EXT] & ~DRIVER_LOADED

    def _came_up(self) -> None:
        self.transmitter.kick()


def _config_space(device: int, address: bytes) -> ConfigSpace:
    """The configuration space (datasheet 9.3): drivers read MSI-X control at 0x72 and link status at 0xB2 by number."""
    return ConfigSpace(
        vendor=INTEL,
        device=device,
        revision=REVISION,
        class_code=CLASS_ETHERNET,
        subsystem_vendor=INTEL,
        subsystem=SUBSYSTEM,
        bars=(
            Bar(REGISTER_BAR, 512 << 10, BarKind.MEMORY_64_PREFETCHABLE),
            Bar(IO_BAR, 32, BarKind.IO),
            Bar(MSIX_BAR, 16 << 10, BarKind.MEMORY_64_PREFETCHABLE),
        ),
        capabilities=(
            PowerManagement(offset=0x40),
            Msi(vectors=1, maskable=True, offset=0x50),
            MsiX(VECTORS, MSIX_BAR, 0, MSIX_BAR, 0x2000, offset=0x70),
            PciExpress(link_speed=2, link_width=8, max_payload=2, completion_timeout_ranges=0xF, offset=0xA0),
            VitalProductData(offset=0xE0),
        ),
        extended=(AdvancedErrorReporting(offset=0x100), DeviceSerialNumber.from_mac(address, offset=0x140)),
    )
