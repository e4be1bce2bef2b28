# SPDX-License-Identifier: MIT
"""The interrupt block: causes, masks, vector allocation, auto-mask, auto-clear and moderation.

Source: 82599 datasheet, section 7.3 (interrupts), 8.2.3.5 (registers).
With GPIE.MULTIPLE_MSIX each MSI-X vector is a cause of its own (64 of them; EICR and EIMS show the first 16) and the
other causes share the vector of IVAR_MISC. Without it the queues share causes 0 to 15, and all causes one interrupt.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nicmodels.models.ixgbe.registers import interrupt as r
from nicmodels.vfio_user.interrupts import InterruptMode

if TYPE_CHECKING:
    from nicmodels.clock import Timer
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

VECTORS = 64
QUEUES = 128
QUEUE_CAUSES = 0xFFFF
OTHER_CAUSES = 0x7FFF_0000
RX_MISS = 1 << 17
FLOW_DIRECTOR = 1 << 16
LSC = 1 << 20
TCP_TIMER = 1 << 30
CLEARED_WITH_OCD = 0x3FFF_0000
ITR_UNIT = 2.048e-6
ITR_INTERVAL = 0xFF8
MULTIPLE_MSIX, OCD, EIAME = 1 << 4, 1 << 5, 1 << 30


class InterruptBlock:
    """Turns causes into interrupts.

    Attributes:
        raised: how often each vector was signalled; INTx and MSI count as vector 0.
        rx_vector, tx_vector: by queue, the bit number that IVAR allocates, or None.
    """

    def __init__(self, file: RegisterFile, host: Host) -> None:
        self.raised = [0] * VECTORS
        self.rx_vector: list[int | None] = [None] * QUEUES
        self.tx_vector: list[int | None] = [None] * QUEUES
        self._file = file
        self._host = host
        self._clock = host.clock
        self._lost = host.faults["interrupt.vector.lost"]
        self._repeated = host.faults["interrupt.vector.repeated"]
        self._again = host.faults["link.interrupt.again"]
        self._timers: list[Timer | None] = [None] * VECTORS
        self._not_before = [0.0] * VECTORS
        self._interval = [0.0] * 129
        self.reset()
        file.on_read(r.EICR, self._read_eicr, peek=self._causes)
        file.on_write(r.EICR, self._write_eicr)
        # Reading EICS returns the causes without clearing them (Linux and DPDK rely on it, because of an erratum).
        file.on_read(r.EICS, self._causes, peek=self._causes)
        file.on_write(r.EICS, self._write_eics)
        file.on_read(r.EIMS, self._read_eims, peek=self._read_eims)
        file.on_write(r.EIMS, self._write_eims)
        file.on_read(r.EIMC, self._read_eims, peek=self._read_eims)
        file.on_write(r.EIMC, self._write_eimc)
        file.on_write(r.EIAM, self._write_eiam)
        file.on_write(r.EIAM_EX, self._write_eiam_ex)
        file.on_read(r.EICS_EX, self._read_eics_ex, peek=self._read_eics_ex)
        file.on_write(r.EICS_EX, lambda index, value: self._set(value << 32 * index, 0))
        file.on_read(r.EIMS_EX, self._read_eims_ex, peek=self._read_eims_ex)
        file.on_write(r.EIMS_EX, lambda index, value: self._enable(value << 32 * index, 0))
        file.on_read(r.EIMC_EX, self._read_eims_ex, peek=self._read_eims_ex)
        file.on_write(r.EIMC_EX, self._write_eimc_ex)
        file.on_write(r.IVAR, self._write_ivar)
        file.on_write(r.EITR, self._write_eitr)
        file.on_write(r.GPIE, self._write_gpie)

    def reset(self) -> None:
        """Clear all causes, mask everything, turn moderation off."""
        self._queue_causes = 0
        self._other_causes = 0
        self._queue_mask = 0
        self._other_mask = 0
        self._auto_mask = 0
        self._multiple = False
        for vector, timer in enumerate(self._timers):
            if timer is not None:
                timer.cancel()
                self._timers[vector] = None
        self._not_before = [0.0] * VECTORS
        self._interval = [0.0] * 129
        self.rx_vector[:] = self.tx_vector[:] = [None] * QUEUES
        self._host.interrupts.intx(False)

    def receive(self, queue: int) -> None:
        """Descriptors of a receive queue were written back."""
        vector = self.rx_vector[queue]
        if vector is not None:
            self._set(1 << vector, 0)

    def transmit(self, queue: int) -> None:
        """Descriptors of a transmit queue were written back."""
        vector = self.tx_vector[queue]
        if vector is not None:
            self._set(1 << vector, 0)

    def other(self, cause: int) -> None:
        """Set another cause, given as its bit in EICR."""
        self._set(0, cause)

    # Causes and masks

    def _set(self, queues: int, others: int) -> None:
        self._queue_causes |= queues
        self._other_causes |= others
        self._check(queues & self._queue_mask, others & self._other_mask)

    def _enable(self, queues: int, others: int) -> None:
        new_queues = queues & ~self._queue_mask
        new_others = others & ~self._other_mask
        self._queue_mask |= queues
        self._other_mask |= others & OTHER_CAUSES
        self._check(new_queues & self._queue_causes, new_others & self._other_causes)

    def _check(self, queues: int, others: int) -> None:
        """Interrupt for causes that just became both set and unmasked."""
        if not self._multiple:
            self._update_single(bool(queues or others))
            return
        while queues:
            low = queues & -queues
            self._fire(low.bit_length() - 1)
            queues ^= low
        if others:
            for vector in {self._other_vector(1 << bit) for bit in range(16, 31) if others >> bit & 1}:
                if vector is not None:
                    self._fire(vector)

    def _other_vector(self, cause: int) -> int | None:
        misc = self._file[r.IVAR_MISC]
        if cause != TCP_TIMER:
            misc >>= 8
        return misc & 0x3F if misc & 0x80 else None

    def _due(self, vector: int) -> bool:
        """Whether the vector has an unmasked cause."""
        if self._queue_causes & self._queue_mask & 1 << vector:
            return True
        others = self._other_causes & self._other_mask
        return any(self._other_vector(cause) == vector for cause in (others & TCP_TIMER, others & ~TCP_TIMER) if cause)

    def _fire(self, vector: int) -> None:
        """Signal the vector now, or at the end of its interval."""
        if self._timers[vector] is not None:
            return
        interval = self._interval[vector]
        if interval:
            now = self._clock.now()
            wait = self._not_before[vector] - now
            if wait > 0:
                self._timers[vector] = self._clock.call_later(wait, partial(self._expired, vector))
                return
            self._not_before[vector] = now + interval
        self._assert(vector)

    def _expired(self, vector: int) -> None:
        self._timers[vector] = None
        if not self._multiple:
            self._update_single(True)
        elif self._due(vector):
            self._not_before[vector] = self._clock.now() + self._interval[vector]
            self._assert(vector)

    def _assert(self, vector: int) -> None:
        """Send the message, then auto-clear and auto-mask."""
        bit = 1 << vector
        others = self._other_causes & self._other_mask
        mine = 0
        if others:
            for cause in (others & TCP_TIMER, others & ~TCP_TIMER):
                if cause and self._other_vector(cause) == vector:
                    mine |= cause
        auto_clear = self._file[r.EIAC]
        if vector >= 16 or auto_clear & bit:
            self._queue_causes &= ~bit
        self._other_causes &= ~(mine & auto_clear)
        if self._file[r.GPIE] & EIAME:
            self._queue_mask &= ~(bit & self._auto_mask)
            self._other_mask &= ~(mine & self._file[r.EIAM])
        self._signal(vector)

    def _signal(self, vector: int) -> None:
        if self._lost.armed and self._lost.fires(vector=vector):
            return
        interrupts = self._host.interrupts
        mode = interrupts.mode if not self._multiple else InterruptMode.MSIX
        for _ in range(2 if self._repeated.armed and self._repeated.fires(vector=vector) else 1):
            self.raised[vector] += 1
            if mode is InterruptMode.MSIX:
                interrupts.msix(vector)
            else:
                interrupts.msi()

    def _update_single(self, edge: bool) -> None:
        """One interrupt for all causes: INTx follows the level, MSI and MSI-X are sent for each new cause."""
        active = self._queue_causes & self._queue_mask or self._other_causes & self._other_mask
        interrupts = self._host.interrupts
        if not active:
            if interrupts.level:
                interrupts.intx(False)
            return
        if not edge or self._timers[0] is not None or (interrupts.level and interrupts.mode is InterruptMode.INTX):
            return
        now = self._clock.now()
        wait = self._not_before[0] - now
        if wait > 0:
            self._timers[0] = self._clock.call_later(wait, partial(self._expired, 0))
            return
        self._not_before[0] = now + self._interval[0]
        if interrupts.mode is not InterruptMode.INTX:
            self._signal(0)
        elif not (self._lost.armed and self._lost.fires(vector=0)):
            self.raised[0] += 1
            interrupts.intx(True)

    # Registers

    def _causes(self, _index: int = 0) -> int:
        return self._queue_causes & QUEUE_CAUSES | self._other_causes

    def _clear(self, causes: int) -> None:
        again = causes & self._other_causes & LSC and self._again.armed
        self._queue_causes &= ~(causes & QUEUE_CAUSES)
        self._other_causes &= ~causes
        if not self._file[r.GPIE] & EIAME:
            automatic = self._file[r.EIAM]
            self._queue_mask &= ~(automatic & causes & QUEUE_CAUSES)
            self._other_mask &= ~(automatic & causes)
        if not self._multiple:
            self._update_single(False)
        if again and (self._multiple or self._host.interrupts.mode is not InterruptMode.INTX):
            vector = self._other_vector(LSC) if self._multiple else 0
            if vector is not None and self._again.fires():
                self._signal(vector)

    def _read_eicr(self, _index: int) -> int:
        value = self._causes()
        self._clear(CLEARED_WITH_OCD if self._file[r.GPIE] & OCD else 0xFFFF_FFFF)
        return value

    def _write_eicr(self, _index: int, value: int) -> None:
        self._clear(value)

    def _write_eics(self, _index: int, value: int) -> None:
        if not self._file[r.GPIE] & EIAME:
            automatic = self._file[r.EIAM] & value
            self._queue_mask |= automatic & QUEUE_CAUSES
            self._other_mask |= automatic & OTHER_CAUSES
        self._set(value & QUEUE_CAUSES, value & OTHER_CAUSES)

    def _read_eims(self, _index: int = 0) -> int:
        return self._queue_mask & QUEUE_CAUSES | self._other_mask

    def _write_eims(self, _index: int, value: int) -> None:
        self._enable(value & QUEUE_CAUSES, value & OTHER_CAUSES)

    def _write_eimc(self, _index: int, value: int) -> None:
        self._queue_mask &= ~(value & QUEUE_CAUSES)
        self._other_mask &= ~value
        if not self._multiple:
            self._update_single(False)

    def _write_eimc_ex(self, index: int, value: int) -> None:
        self._queue_mask &= ~(value << 32 * index)
        if not self._multiple:
            self._update_single(False)

    def _read_eims_ex(self, index: int) -> int:
        return self._queue_mask >> 32 * index & 0xFFFF_FFFF

    def _read_eics_ex(self, index: int) -> int:
        return self._queue_causes >> 32 * index & 0xFFFF_FFFF

    def _write_eiam(self, _index: int, value: int) -> None:
        self._file[r.EIAM] = value
        self._auto_mask = self._auto_mask & ~QUEUE_CAUSES | value & QUEUE_CAUSES
        self._file[r.EIAM_EX, 0] = self._auto_mask & 0xFFFF_FFFF

    def _write_eiam_ex(self, index: int, value: int) -> None:
        self._auto_mask = self._auto_mask & ~(0xFFFF_FFFF << 32 * index) | value << 32 * index
        self._file[r.EIAM_EX, index] = value
        self._file[r.EIAM] = self._file[r.EIAM] & ~QUEUE_CAUSES | self._auto_mask & QUEUE_CAUSES

    def _write_ivar(self, index: int, value: int) -> None:
        self._file[r.IVAR, index] = value
        for position, table, queue in (
            (0, self.rx_vector, 2 * index),
            (8, self.tx_vector, 2 * index),
            (16, self.rx_vector, 2 * index + 1),
            (24, self.tx_vector, 2 * index + 1),
        ):
            entry = value >> position & 0xFF
            table[queue] = entry & (0x3F if self._multiple else 0xF) if entry & 0x80 else None

    def _write_gpie(self, _index: int, value: int) -> None:
        self._file[r.GPIE] = value
        multiple = bool(value & MULTIPLE_MSIX)
        if multiple != self._multiple:
            self._multiple = multiple
            for index in range(QUEUES // 2):
                self._write_ivar(index, self._file[r.IVAR, index])

    def _write_eitr(self, index: int, value: int) -> None:
        """Without CNT_WDIS a write sets the counter too; here the written counter restarts the running interval."""
        self._file[r.EITR, index] = value & 0x7FFF_FFF8
        self._interval[index] = (value & ITR_INTERVAL) / 8 * ITR_UNIT
        if index < VECTORS and not value >> 31:
            self._not_before[index] = self._clock.now() + (value >> 21 & 0x7F) * ITR_UNIT
