# SPDX-License-Identifier: MIT
"""What surrounds the datapath: semaphores, MDIO, the free running and system timers.

Source: 82599 datasheet, sections 8.2.3.1 (FRTIMER), 8.2.3.4 (SWSM, SW_FW_SYNC), 8.2.3.22 (MSCA), 8.2.3.26 (SYSTIM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.ixgbe.registers.general import FRTIMER, SWSM
from nicmodels.ixgbe.registers.mac import MSCA, MSRWD
from nicmodels.ixgbe.registers.security import SYSTIMH, SYSTIML, TIMADJH, TIMADJL, TIMINCA

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.reactor import Clock
    from nicmodels.registers import RegisterFile

SMBI = 1
MDI_COMMAND = 1 << 30
MDI_READ = 3
MDI_READ_INCREMENT = 2
NO_PHY = 0xFFFF
TIMER_PERIOD = {10000: 6.4e-9, 1000: 64e-9}


class Board:
    """Semaphores, MDIO without a PHY, timers."""

    def __init__(self, file: RegisterFile, clock: Clock, speed: Callable[[], int]) -> None:
        self._file = file
        self._clock = clock
        self._speed = speed
        self._time = 0
        self._since = clock.now()
        file.on_read(SWSM, self._read_swsm, peek=lambda _index: file[SWSM])
        file.on_write(MSCA, self._write_msca)
        file.on_read(FRTIMER, self._read_timer, peek=self._read_timer)
        file.on_read(SYSTIML, self._read_low, peek=self._read_low)
        file.on_read(SYSTIMH, self._read_high, peek=self._read_high)
        file.on_write(SYSTIML, self._write_low)
        file.on_write(SYSTIMH, self._write_high)
        file.on_write(TIMINCA, self._write_increment)
        file.on_write(TIMADJH, self._adjust)

    def reset(self) -> None:
        """The system time stops at zero; semaphores stay."""
        self._time = 0
        self._since = self._clock.now()

    def _read_swsm(self, _index: int) -> int:
        """Reading takes the driver semaphore: who reads SMBI as zero has it."""
        value = self._file[SWSM]
        self._file[SWSM] = value | SMBI
        return value

    def _write_msca(self, _index: int, value: int) -> None:
        """MDIO completes at once; no PHY answers on a backplane board, so the bus reads as pulled up."""
        if value & MDI_COMMAND:
            if value >> 26 & 3 in (MDI_READ, MDI_READ_INCREMENT):
                self._file[MSRWD] = NO_PHY << 16 | self._file[MSRWD] & 0xFFFF
            value &= ~MDI_COMMAND
        self._file[MSCA] = value

    def _read_timer(self, _index: int) -> int:
        return int(self._clock.now() * 1e6) & 0xFFFF_FFFF

    def _now(self) -> int:
        increment = self._file[TIMINCA]
        period = TIMER_PERIOD.get(self._speed(), 6.4e-9) * (increment >> 24 or 1)
        elapsed = int((self._clock.now() - self._since) / period)
        return self._time + elapsed * (increment & 0xFF_FFFF) & (1 << 64) - 1

    def _read_low(self, _index: int) -> int:
        return self._now() & 0xFFFF_FFFF

    def _read_high(self, _index: int) -> int:
        return self._now() >> 32

    def _set(self, value: int) -> None:
        self._time = value
        self._since = self._clock.now()

    def _write_low(self, _index: int, value: int) -> None:
        self._set(self._now() >> 32 << 32 | value)

    def _write_high(self, _index: int, value: int) -> None:
        self._set(self._now() & 0xFFFF_FFFF | value << 32)

    def _write_increment(self, _index: int, value: int) -> None:
        self._set(self._now())
        self._file[TIMINCA] = value

    def _adjust(self, _index: int, value: int) -> None:
        """Writing TIMADJH adds the offset in TIMADJL and TIMADJH; bit 31 is its sign."""
        offset = (value & 0x7FFF_FFFF) << 32 | self._file[TIMADJL]
        self._set(self._now() - offset if value >> 31 else self._now() + offset)
        self._file[TIMADJH] = value
