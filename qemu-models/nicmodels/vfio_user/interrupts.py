# SPDX-License-Identifier: MIT
"""Interrupts of a PCI device: INTx, MSI, MSI-X, signalled through the client's eventfds.

Source: QEMU, docs/interop/vfio-user.rst, VFIO_USER_DEVICE_SET_IRQS; <linux/vfio.h> for the index numbers.
"""

from __future__ import annotations

import contextlib
import enum
import os
from collections import Counter
from typing import TYPE_CHECKING

from nicmodels.vfio_user.protocol import IrqAction

if TYPE_CHECKING:
    from collections.abc import Callable


class IrqIndex(enum.IntEnum):
    """Interrupt types, VFIO_PCI_*_IRQ_INDEX."""

    INTX = 0
    MSI = 1
    MSIX = 2
    ERR = 3
    REQ = 4


class InterruptMode(enum.Enum):
    """Which interrupts the client has enabled."""

    INTX = "intx"
    MSI = "msi"
    MSIX = "msix"


class IrqType:
    """The vectors of one interrupt type.

    Attributes:
        count: how many vectors the device has.
        triggers: an eventfd per vector, None where the client set none.
        masked: masked vectors; only INTx and MSI can be masked here (QEMU masks MSI-X by its own table).
        pending: vectors that fired while masked.
        signalled: how often each vector was signalled.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.triggers: list[int | None] = [None] * count
        self.masked = [False] * count
        self.pending = [False] * count
        self.signalled = [0] * count
        self.mask_events: dict[int, int] = {}
        self.unmask_events: dict[int, int] = {}

    def set_trigger(self, vector: int, fd: int | None) -> None:
        """Set or clear the vector's eventfd, which this object then owns."""
        old = self.triggers[vector]
        self.triggers[vector] = fd
        if old is not None:
            os.close(old)

    def set_event(self, events: dict[int, int], vector: int, fd: int | None) -> None:
        """Set or clear the vector's eventfd for masking or unmasking."""
        old = events.pop(vector, None)
        if old is not None:
            os.close(old)
        if fd is not None:
            events[vector] = fd

    def clear(self) -> None:
        """Drop the client's settings and close its eventfds."""
        for vector in range(self.count):
            self.set_trigger(vector, None)
            self.masked[vector] = False
            self.pending[vector] = False
        for events in (self.mask_events, self.unmask_events):
            for vector in list(events):
                self.set_event(events, vector, None)


def _signal(fd: int) -> None:
    # The counter is full, so the client wakes up anyway.
    with contextlib.suppress(BlockingIOError):
        os.eventfd_write(fd, 1)


class Interrupts:
    """The interrupts of a device.

    Attributes:
        bus_master: command register bit 2; MSI and MSI-X are memory writes and need it.
        intx_disabled: command register bit 10.
        lost: interrupts of vectors that the client had not enabled, by `(mode, vector)`.
        level_changed: called with the INTx level, each time that the device drives it.
    """

    def __init__(self, msix: int = 0, msi: int = 0, intx: int = 1) -> None:
        self.types = {
            IrqIndex.INTX: IrqType(intx),
            IrqIndex.MSI: IrqType(msi),
            IrqIndex.MSIX: IrqType(msix),
            IrqIndex.ERR: IrqType(1),
            IrqIndex.REQ: IrqType(1),
        }
        self.bus_master = True
        self.intx_disabled = False
        self.lost: Counter[tuple[str, int]] = Counter()
        self.level_changed: Callable[[bool], object] = bool
        self._level = False

    def resize(self, msix: int, msi: int, intx: int) -> None:
        """Set the number of vectors, as in the device's capabilities; the server does so before any client connects."""
        for index, count in ((IrqIndex.MSIX, msix), (IrqIndex.MSI, msi), (IrqIndex.INTX, intx)):
            if self.types[index].count != count:
                self.types[index].clear()
                self.types[index] = IrqType(count)

    @property
    def mode(self) -> InterruptMode:
        """The mode that the client enabled last: MSI-X or MSI if one of their vectors has an eventfd, else INTx."""
        if any(fd is not None for fd in self.types[IrqIndex.MSIX].triggers):
            return InterruptMode.MSIX
        if any(fd is not None for fd in self.types[IrqIndex.MSI].triggers):
            return InterruptMode.MSI
        return InterruptMode.INTX

    @property
    def level(self) -> bool:
        """The INTx line as the device drives it."""
        return self._level

    def msix(self, vector: int) -> None:
        """Raise an MSI-X vector; lost and counted if the client has not enabled it or bus mastering is off."""
        irq = self.types[IrqIndex.MSIX]
        fd = irq.triggers[vector] if vector < irq.count else None
        if fd is None or not self.bus_master:
            self.lost["msix", vector] += 1
            return
        irq.signalled[vector] += 1
        _signal(fd)

    def msi(self, vector: int = 0) -> None:
        """Raise an MSI vector; kept pending while masked, lost if the client has not enabled it."""
        irq = self.types[IrqIndex.MSI]
        if vector < irq.count and irq.masked[vector]:
            irq.pending[vector] = True
            return
        fd = irq.triggers[vector] if vector < irq.count else None
        if fd is None or not self.bus_master:
            self.lost["msi", vector] += 1
            return
        irq.signalled[vector] += 1
        _signal(fd)

    def intx(self, level: bool) -> None:
        """Drive the INTx line. It is signalled once, then masked until the client unmasks it (VFIO's automask)."""
        self._level = level
        self.level_changed(level)
        self.update_intx()

    def update_intx(self) -> None:
        """Signal INTx if the line is up, enabled and not masked."""
        irq = self.types[IrqIndex.INTX]
        if not self._level or self.intx_disabled or irq.count == 0 or irq.masked[0]:
            return
        fd = irq.triggers[0]
        if fd is None:
            self.lost["intx", 0] += 1
            return
        irq.masked[0] = True
        irq.signalled[0] += 1
        _signal(fd)

    def trigger(self, index: IrqIndex, vector: int) -> None:
        """Signal a vector at the client's request (DATA_NONE or DATA_BOOL with ACTION_TRIGGER)."""
        irq = self.types[index]
        fd = irq.triggers[vector]
        if fd is not None:
            irq.signalled[vector] += 1
            _signal(fd)

    def set_eventfd(self, index: IrqIndex, action: IrqAction, vector: int, fd: int | None) -> None:
        """Set a vector's eventfd for triggering, masking or unmasking; None clears it."""
        irq = self.types[index]
        if action is IrqAction.MASK:
            irq.set_event(irq.mask_events, vector, fd)
        elif action is IrqAction.UNMASK:
            irq.set_event(irq.unmask_events, vector, fd)
        else:
            irq.set_trigger(vector, fd)
            if index is IrqIndex.INTX:
                irq.masked[vector] = False
                self.update_intx()

    def mask(self, index: IrqIndex, vector: int) -> None:
        """Mask a vector."""
        irq = self.types[index]
        irq.masked[vector] = True
        if vector in irq.mask_events:
            _signal(irq.mask_events[vector])

    def unmask(self, index: IrqIndex, vector: int) -> None:
        """Unmask a vector; a pending interrupt is signalled."""
        irq = self.types[index]
        irq.masked[vector] = False
        if vector in irq.unmask_events:
            _signal(irq.unmask_events[vector])
        if index is IrqIndex.INTX:
            self.update_intx()
        elif irq.pending[vector]:
            irq.pending[vector] = False
            self.msi(vector)

    def clear(self) -> None:
        """Close the client's eventfds; the device's INTx level stays."""
        for irq in self.types.values():
            irq.clear()
