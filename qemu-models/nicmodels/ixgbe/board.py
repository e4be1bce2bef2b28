# SPDX-License-Identifier: MIT
"""What surrounds the datapath: semaphores, MDIO, the free running and system timers.

Source: 82599 datasheet, sections 8.2.3.1 (FRTIMER, TCPTIMER), 8.2.3.4 (SWSM), 8.2.3.22 (MSCA), 8.2.3.26 (SYSTIM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.ixgbe.interrupts import TCP_TIMER
from nicmodels.ixgbe.registers.general import FRTIMER, SWSM, TCPTIMER
from nicmodels.ixgbe.registers.mac import MSCA, MSRWD
from nicmodels.ixgbe.registers.security import SYSTIMH, SYSTIML, TIMADJH, TIMADJL, TIMINCA

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.ixgbe.interrupts import InterruptBlock
    from nicmodels.reactor import Clock, Timer
    from nicmodels.registers import RegisterFile

SMBI = 1
KICK_START, COUNT_ENABLE, COUNT_FINISH, LOOP = 1 << 8, 1 << 9, 1 << 10, 1 << 11
MDI_COMMAND = 1 << 30
MDI_READ = 3
MDI_READ_INCREMENT = 2
NO_PHY = 0xFFFF
TIMER_PERIOD = {10000: 6.4e-9, 1000: 64e-9}


class Board:
    """Semaphores, MDIO without a PHY, timers."""

    def __init__(self, file: RegisterFile, clock: Clock, interrupts: InterruptBlock, speed: Callable[[], int]) -> None:
        self._file = file
        self._clock = clock
        self._interrupts = interrupts
        self._speed = speed
        self._timer: Timer | None = None
        self._time = 0
        self._since = clock.now()
        file.on_read(SWSM, self._read_swsm, peek=lambda _index: file[SWSM])
        file.on_write(MSCA, self._write_msca)
        file.on_write(TCPTIMER, self._write_tcp_timer)
        file.on_read(FRTIMER, self._read_timer, peek=self._read_timer)
        file.on_read(SYSTIML, self._read_low, peek=self._read_low)
        file.on_read(SYSTIMH, self._read_high, peek=self._read_high)
        file.on_write(SYSTIML, self._write_low)
        file.on_write(SYSTIMH, self._write_high)
        file.on_write(TIMINCA, self._write_increment)
        file.on_write(TIMADJH, self._adjust)

    def reset(self) -> None:
        """The system time stops at zero, and so does the TCP timer; semaphores stay."""
        self._stop()
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

    def _write_tcp_timer(self, _index: int, value: int) -> None:
        """The TCP timer: a duration in milliseconds, started by KS, paused while COUNT_EN is clear, ended by FINISH."""
        self._file[TCPTIMER] = value & ~(KICK_START | COUNT_FINISH)
        running = self._timer is not None
        if value & COUNT_FINISH:
            self._stop()
            self._interrupts.other(TCP_TIMER)
        elif not value & COUNT_ENABLE:
            self._stop()
        elif value & KICK_START or not running:
            self._start()

    def _start(self) -> None:
        self._stop()
        duration = self._file[TCPTIMER] & 0xFF
        if duration:
            self._timer = self._clock.call_later(duration * 1e-3, self._tcp_timer)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tcp_timer(self) -> None:
        self._timer = None
        self._interrupts.other(TCP_TIMER)
        if self._file[TCPTIMER] & LOOP:
            self._start()

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
