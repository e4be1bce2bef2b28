# SPDX-License-Identifier: MIT
"""Auto-negotiation as the registers of MMD 7 show it, and its interrupt.

Source: IEEE 802.3-2022, 45.2.7; the interrupt registers are the vendor's: Linux, xgbe-mdio.c (a written zero clears).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.phy import Abilities, Technology
from nicmodels.xgbe.interrupts import AN
from nicmodels.xgbe.registers import mmd as r

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.device import Host
    from nicmodels.registers import RegisterFile
    from nicmodels.xgbe.interrupts import InterruptBlock

ENABLE, RESTART = 1 << 12, 1 << 9
COMPLETE, INCOMPATIBLE, PAGE = 1, 2, 4
CAUSES = {COMPLETE: "complete", INCOMPATIBLE: "incompatible", PAGE: "page"}


class AutoNegotiation:
    """The registers of MMD 7."""

    def __init__(
        self, file: RegisterFile, host: Host, interrupts: InterruptBlock, *, restart: Callable[[], object]
    ) -> None:
        self._file = file
        self._interrupts = interrupts
        self._restart = restart
        self._lost = host.faults["an.interrupt.lost"]
        file.on_write(r.AN_CTRL, self._write_control)
        file.on_write(r.AN_INT, self._write_causes)
        file.on_write(r.AN_INTMASK, self._write_mask)
        interrupts.gate(AN, lambda: not (self._lost.armed and self._lost.fires()))

    @property
    def enabled(self) -> bool:
        """AN_CTRL.ENABLE."""
        return bool(self._file[r.AN_CTRL] & ENABLE)

    def abilities(self) -> Abilities:
        """The base page that is to be sent."""
        page = sum(self._file[r.AN_ADVERTISE, index] << 16 * index for index in range(3))
        return Abilities.from_base_page(page)

    def cause(self, bits: int) -> None:
        """Set causes of the interrupt."""
        self._file[r.AN_INT] |= bits
        self._update()

    def _write_control(self, _index: int, value: int) -> None:
        before = self.enabled
        self._file[r.AN_CTRL] = value & ~RESTART
        if value & RESTART or before != self.enabled:
            self._restart()

    def _write_causes(self, _index: int, value: int) -> None:
        self._file[r.AN_INT] &= value
        self._update()

    def _write_mask(self, _index: int, value: int) -> None:
        self._file[r.AN_INTMASK] = value & 7
        self._update()

    def _update(self) -> None:
        self._interrupts.level(AN, active=bool(self._file[r.AN_INT] & self._file[r.AN_INTMASK]))


KX, KR = Technology.KX_1000M, Technology.KR_10G
