# SPDX-License-Identifier: MIT
"""The I2C controller: its enable handshake, and a bus without targets, because a backplane port has no module.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-i2c.c; drivers/i2c/busses/i2c-designware-core.h.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nicmodels.models.xgbe.interrupts import I2C
from nicmodels.models.xgbe.registers import i2c as r
from nicmodels.models.xgbe.registers import properties as xp

if TYPE_CHECKING:
    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.registers import Register, RegisterFile

EN = 1
RX_FULL, TX_EMPTY, TX_ABRT, STOP_DET = 1 << 2, 1 << 4, 1 << 6, 1 << 9
NO_ACKNOWLEDGE = 1
_ACTIVE, _BUSY = 1, 1 << 31


class I2cController:
    """The controller: every transfer is aborted, because no address is acknowledged."""

    def __init__(self, file: RegisterFile, interrupts: InterruptBlock) -> None:
        self._file = file
        self._interrupts = interrupts
        file.on_write(r.ENABLE, self._write_enable)
        file.on_write(r.DATA_CMD, self._write_command)
        file.on_write(r.INTR_MASK, self._write_mask)
        file.on_read(r.INTR_STAT, self._status, peek=self._status)
        file.on_read(r.CLR_INTR, lambda _index: self._clear(TX_ABRT | STOP_DET), peek=lambda _index: 0)
        file.on_read(r.CLR_TX_ABRT, lambda _index: self._clear(TX_ABRT), peek=lambda _index: 0)
        file.on_read(r.CLR_STOP_DET, lambda _index: self._clear(STOP_DET), peek=lambda _index: 0)
        for mutex in (xp.I2C_MUTEX, xp.MDIO_MUTEX):
            file.on_write(mutex, partial(self._write_mutex, mutex))

    def reset(self) -> None:
        """Clear the interrupt."""
        self._interrupts.level(I2C, active=False)

    def _write_enable(self, _index: int, value: int) -> None:
        """Takes effect at once; an abort has nothing to abort and is self-clearing."""
        self._file[r.ENABLE] = self._file[r.ENABLE_STATUS] = value & EN
        raw = self._file[r.RAW_INTR_STAT]
        self._file[r.RAW_INTR_STAT] = raw | TX_EMPTY if value & EN else 0
        self._changed()

    def _write_command(self, _index: int, _value: int) -> None:
        if self._file[r.ENABLE] & EN:
            self._file[r.TX_ABRT_SOURCE] = NO_ACKNOWLEDGE
            self._file[r.RAW_INTR_STAT] |= TX_ABRT | STOP_DET
            self._changed()

    def _write_mask(self, _index: int, value: int) -> None:
        self._file[r.INTR_MASK] = value
        self._changed()

    def _status(self, _index: int = 0) -> int:
        return self._file[r.RAW_INTR_STAT] & self._file[r.INTR_MASK]

    def _clear(self, bits: int) -> int:
        self._file[r.RAW_INTR_STAT] &= ~bits
        if bits & TX_ABRT:
            self._file[r.TX_ABRT_SOURCE] = 0
        self._changed()
        return 0

    def _write_mutex(self, mutex: Register, _index: int, value: int) -> None:
        """There is no other requester: a request is granted at once, by clearing BUSY."""
        self._file[mutex] = value & ~_BUSY if value & _ACTIVE else 0

    def _changed(self) -> None:
        self._interrupts.level(I2C, active=bool(self._status()))
