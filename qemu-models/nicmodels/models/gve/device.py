# SPDX-License-Identifier: MIT
"""Google's gVNIC as a PCI device: configuration space, BARs, resets, control methods.

Sources: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst and
drivers/net/ethernet/google/gve/gve_register.h, gve_adminq.c: there is no public specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nicmodels.models.gve import doorbells, fault_points
from nicmodels.models.gve import registers as r
from nicmodels.models.gve.accounting import Accounting
from nicmodels.models.gve.admin_commands import AdminCommands
from nicmodels.models.gve.adminq import PAGE, AdminQueue
from nicmodels.models.gve.dma_record import DmaRecord
from nicmodels.models.gve.doorbells import Doorbells
from nicmodels.models.gve.flow_rules import FlowRules
from nicmodels.models.gve.interrupts import NotificationBlocks
from nicmodels.models.gve.link import Link
from nicmodels.models.gve.page_lists import PageLists
from nicmodels.models.gve.profiles import DEFAULT, VARIANTS, Profile
from nicmodels.models.gve.receive import Receiver
from nicmodels.models.gve.resources import Resources
from nicmodels.models.gve.rss import ReceiveScaling
from nicmodels.models.gve.statistics import Statistics
from nicmodels.models.gve.transmit import Transmitter
from nicmodels.nic.device import Host, Options
from nicmodels.nic.nic import Nic
from nicmodels.pci import Bar, BarKind, ConfigSpace, MsiX, PciExpress, PowerManagement, ResetCause
from nicmodels.registers import RegisterFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GOOGLE, GVNIC, SUBSYSTEM = 0x1AE0, 0x0042, 0x0058
CLASS_ETHERNET = 0x020000
REGISTER_BAR, MSIX_BAR, DOORBELL_BAR = 0, 1, 2
NAME_LIMIT = 64


class Gve(Nic):
    """One gVNIC.

    Raises:
        ValueError: a profile, MAC address or number of queues that this device does not support.
    """

    name: ClassVar[str] = "gve"
    fault_points = fault_points.ALL

    def __init__(self, host: Host, options: Options | None = None, profile: Profile | None = None) -> None:
        options = options or Options()
        super().__init__(host, options, VARIANTS, DEFAULT)
        self.profile = profile or VARIANTS[self.variant]
        self.default_queues = options.queues or self.profile.default_queues
        if not 1 <= self.default_queues <= self.profile.max_rx:
            raise ValueError(f"{options.queues} queues requested, but the device has {self.profile.max_rx}")
        self.config = _config_space(self.profile)
        self.record = DmaRecord(host.clock.now)
        self.accounting = Accounting(host.violations, self.profile.max_rx, self.profile.max_tx)
        self.doorbells = Doorbells(self.profile, self.accounting)
        self.blocks = NotificationBlocks(host, self.profile.vectors)
        self.link = Link(host, self.blocks.manage)
        self.statistics = Statistics(host, self.profile, self._rx_present)
        self.scaling = ReceiveScaling(host.memory, self.profile.max_rx)
        self.rules = FlowRules(self.profile.flow_rules, self.profile.max_rx)
        self.page_lists = PageLists(host.memory, self.profile.registered_pages)
        self.transmitter = Transmitter(host, self.profile, self.link, self.statistics, self.blocks)
        self.receiver = Receiver(
            host, self.profile, self.mac, self.link, self.statistics, self.blocks, self.scaling, self.rules
        )
        self.resources = Resources(
            host=host,
            profile=self.profile,
            mac=self.mac,
            default_queues=self.default_queues,
            accounting=self.accounting,
            record=self.record,
            doorbells=self.doorbells,
            blocks=self.blocks,
            link=self.link,
            statistics=self.statistics,
            scaling=self.scaling,
            rules=self.rules,
            page_lists=self.page_lists,
            transmitter=self.transmitter,
            receiver=self.receiver,
        )
        self._commands = AdminCommands(self.resources)
        self._file = RegisterFile(r.REGISTERS, host.clock.now)
        self._adminq = AdminQueue(self._file, host, self.accounting, self._commands.execute)
        self._incomplete = host.faults["device.reset.incomplete"]
        self._requests = 0
        self._is_reset = True
        self._driver_name = ""
        self._file.on_read(r.DEVICE_STATUS, self._read_status, peek=self._status)
        self._file.on_write(r.DRIVER_STATUS, self._write_driver_status)
        self._file.on_write(r.ADMINQ_PFN, self._write_pfn)
        self._file.on_write(r.DRIVER_VERSION, self._write_version)

    @property
    def registers(self) -> RegisterFile | None:
        """The register file of BAR 0."""
        return self._file

    def bar_read(self, bar: int, offset: int, size: int) -> int:
        """BAR 0: registers; BAR 2: doorbells read as 0; BAR 1: MSI-X, which QEMU emulates."""
        if bar != REGISTER_BAR:
            return 0
        if size == 8:
            return self.bar_read(bar, offset, 4) | self.bar_read(bar, offset + 4, 4) << 32
        return r.swapped(self._file.read(r.native(offset, size), size), size)

    def bar_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """BAR 0: registers; BAR 2: doorbells."""
        if bar == DOORBELL_BAR:
            self.doorbells.write(offset, value, size)
        elif bar == REGISTER_BAR:
            if size == 8:
                self.bar_write(bar, offset, value & 0xFFFF_FFFF, 4)
                self.bar_write(bar, offset + 4, value >> 32, 4)
            else:
                self._file.write(r.native(offset, size), r.swapped(value, size), size)

    def frame_arrived(self) -> None:
        """The wire has frames."""
        self.receiver.arrived()

    def reset(self, cause: ResetCause) -> None:
        """Reset everything; power-on also starts the link."""
        self._reset_device(complete=True)
        self._file.reset()
        self._file[r.MAX_TX_QUEUES] = self.profile.max_tx
        self._file[r.MAX_RX_QUEUES] = self.profile.max_rx
        if cause is ResetCause.POWER_ON:
            self.link.start()

    @property
    def account(self) -> Statistics:
        """The device's own counts."""
        return self.statistics

    @property
    def raised(self) -> list[int]:
        """How often each interrupt vector was signalled."""
        return self.blocks.raised

    def queues(self) -> dict[str, list[dict[str, Any]]]:
        """All queues that the device supports; those that do not exist are disabled."""
        none = {"enabled": False, "size": 0, "head": 0, "tail": 0}
        return {
            "rx": [none if queue is None else queue.describe() for queue in self.receiver.queues],
            "tx": [none if queue is None else queue.describe() for queue in self.transmitter.queues],
        }

    def control_methods(self) -> Mapping[str, Callable[..., Any]]:
        """`model.*`, `link.*`, `dma.*` and `device.reset`."""
        return {
            **super().control_methods(),
            "device.reset": self._request_reset,
            "dma.read": self.record.read,
            "dma.start": self.record.start,
            "dma.stop": self.record.stop,
            "link.get": self.link.partner.describe,
            "link.set": self.link.partner.control,
            "link.looks": self.link.looks.read,
            "link.changes": self.link.looks.read_changes,
            "model.blocks": self.blocks.describe,
            "model.clock": self._read_clock,
            "model.accounting": self.accounting.describe,
        }

    def _read_clock(self) -> dict[str, int | None]:
        """The NIC clock in nanoseconds, by which packets are timestamped; None if the device has none."""
        return {"now": int(self.host.clock.now() * 1e9) if self.profile.timestamps else None}

    # Registers

    def _status(self, _index: int = 0) -> int:
        status = self._requests
        if self.link.reported_up:
            status |= r.STATUS_LINK
        if self._is_reset:
            status |= r.STATUS_IS_RESET
        return status

    def _read_status(self, index: int) -> int:
        self.link.looks.looked()
        return self._status(index)

    def _write_driver_status(self, _index: int, value: int) -> None:
        self._file[r.DRIVER_STATUS] = value
        if value & r.DRIVER_RESET:
            self._driver_reset()
        elif value & r.DRIVER_RUN and self.profile.revision >= 1:
            file = self._file
            base = file[r.ADMINQ_BASE_HIGH] << 32 | file[r.ADMINQ_BASE_LOW]
            self._start(base, file[r.ADMINQ_LENGTH] >> 16)

    def _write_pfn(self, _index: int, value: int) -> None:
        """A page number places the admin queue, on later revisions too; 0 releases it and resets the device.

        Source: gve_adminq_alloc of Linux 6.1 and of FreeBSD (sys/dev/gve/gve_adminq.c) ask for no revision and know no other
        way; that of Linux 6.12 uses it on revision 0 only.
        """
        self._file[r.ADMINQ_PFN] = value
        if value:
            self._start(value * PAGE, PAGE)
        else:
            self._driver_reset()

    def _write_version(self, _index: int, value: int) -> None:
        character = chr(value & 0xFF)
        if character == "\n":
            self.host.events.add("driver", version=self._driver_name)
            self._driver_name = ""
        elif len(self._driver_name) < NAME_LIMIT:
            self._driver_name += character

    def _start(self, base: int, length: int) -> None:
        self._is_reset = False
        self._adminq.place(base, length)

    def _driver_reset(self) -> None:
        """The driver resets the device: all resources are released, including the admin queue."""
        self.count_reset("driver")
        self._reset_device(complete=not (self._incomplete.armed and self._incomplete.fires()))

    def _reset_device(self, *, complete: bool) -> None:
        if complete:
            self.receiver.reset()
            self.transmitter.reset()
            self.page_lists.reset()
            self._commands.reset()
            self.resources.release()
            self.rules.reset()
        self._adminq.release()
        self._requests = 0
        self._is_reset = True

    # Control methods

    def _request_reset(self) -> dict[str, int]:
        """Let the device request a reset from the driver, as it does for maintenance."""
        if self._is_reset:
            raise ValueError("the device is in reset: no driver runs it")
        self._requests |= r.STATUS_RESET
        self.host.events.add("reset.request")
        self.blocks.manage()
        return {"status": self._status()}

    def _rx_present(self) -> list[int]:
        return list(self.receiver.present())


def _config_space(profile: Profile) -> ConfigSpace:
    vectors = profile.vectors
    table = 16 * vectors
    pending = (table + 0xFFF) & ~0xFFF
    size = 1 << (pending + 8 * (-(-vectors // 64)) - 1).bit_length()
    return ConfigSpace(
        vendor=GOOGLE,
        device=GVNIC,
        revision=profile.revision,
        class_code=CLASS_ETHERNET,
        subsystem_vendor=GOOGLE,
        subsystem=SUBSYSTEM,
        bars=(
            Bar(REGISTER_BAR, 4096, BarKind.MEMORY_32),
            Bar(MSIX_BAR, size, BarKind.MEMORY_32),
            Bar(DOORBELL_BAR, doorbells.SIZE, BarKind.MEMORY_32),
        ),
        capabilities=(
            PowerManagement(offset=0x40),
            MsiX(vectors, MSIX_BAR, 0, MSIX_BAR, pending, offset=0x50),
            PciExpress(link_speed=3, link_width=16, offset=0x60),
        ),
    )
