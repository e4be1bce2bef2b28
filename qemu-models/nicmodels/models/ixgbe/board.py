# SPDX-License-Identifier: MIT
"""Around the datapath: semaphores, MDIO, the free-running timer and the TCP timer.

Source: 82599 datasheet, sections 8.2.3.1 (FRTIMER, TCPTIMER), 8.2.3.4 (SWSM), 8.2.3.22 (MSCA).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.ixgbe.interrupts import TCP_TIMER
from nicmodels.models.ixgbe.registers.general import FRTIMER, SWSM, TCPTIMER
from nicmodels.models.ixgbe.registers.mac import MSCA, MSRWD

if TYPE_CHECKING:
    from nicmodels.clock import Clock, Timer
    from nicmodels.models.ixgbe.interrupts import InterruptBlock
    from nicmodels.registers import RegisterFile

SMBI = 1
KICK_START, COUNT_ENABLE, COUNT_FINISH, LOOP = 1 << 8, 1 << 9, 1 << 10, 1 << 11
MDI_COMMAND = 1 << 30
MDI_READ = 3
MDI_READ_INCREMENT = 2
NO_PHY = 0xFFFF


class Board:
    """Semaphores, MDIO without a PHY, timers."""

    def __init__(self, file: RegisterFile, clock: Clock, interrupts: InterruptBlock) -> None:
        self._file = file
        self._clock = clock
        self._interrupts = interrupts
        self._timer: Timer | None = None
        file.on_read(SWSM, self._read_swsm, peek=lambda _index: file[SWSM])
        file.on_write(MSCA, self._write_msca)
        file.on_write(TCPTIMER, self._write_tcp_timer)
        file.on_read(FRTIMER, self._read_timer, peek=self._read_timer)

    def reset(self) -> None:
        """Stop the TCP timer; semaphores keep their state."""
        self._stop()

    def _read_swsm(self, _index: int) -> int:
        """Reading acquires the driver semaphore: the reader that reads SMBI as zero has it."""
        value = self._file[SWSM]
        self._file[SWSM] = value | SMBI
        return value

    def _write_msca(self, _index: int, value: int) -> None:
        """MDIO completes at once; no PHY answers on a backplane board, so the pulled-up bus reads as ones."""
        if value & MDI_COMMAND:
            if value >> 26 & 3 in (MDI_READ, MDI_READ_INCREMENT):
                self._file[MSRWD] = NO_PHY << 16 | self._file[MSRWD] & 0xFFFF
            value &= ~MDI_COMMAND
        self._file[MSCA] = value

    def _write_tcp_timer(self, _index: int, value: int) -> None:
        """The TCP timer: a duration in milliseconds; KS starts it, COUNT_EN clear pauses it, FINISH ends it."""
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
