# SPDX-License-Identifier: MIT
"""The auto-negotiation registers of MMD 7 and their interrupt, on top of `nicmodels.phy.Arbitration`.

Source: IEEE 802.3-2022, 45.2.7; the interrupt registers are the vendor's: Linux, xgbe-mdio.c (writing a zero clears).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.interrupts import AN
from nicmodels.models.xgbe.registers import mmd as r
from nicmodels.phy import Codeword, Kind, Technology

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.nic.device import Host
    from nicmodels.phy import Event, Transceiver
    from nicmodels.registers import RegisterFile

ENABLE, RESTART, RESET = 1 << 12, 1 << 9, 1 << 15
COMPLETE, INCOMPATIBLE, PAGE = 1, 2, 4
CAUSES = {Kind.COMPLETE: COMPLETE, Kind.INCOMPATIBLE_LINK: INCOMPATIBLE, Kind.PAGE_RECEIVED: PAGE}
LP_ABLE, LINK, ABLE, REMOTE_FAULT, COMPLETED, PAGE_RECEIVED, PARALLEL_FAULT = (
    1 << bit for bit in (0, 2, 3, 4, 5, 6, 9)
)
NEGOTIATED = {Technology.KX_1000M: 1 << 1, Technology.KX4_10G: 1 << 2, Technology.KR_10G: 1 << 3}
FEC_NEGOTIATED = 1 << 4
PAUSE, FEC = 1 << 10, 3 << 14
LATE = 0.6
"""Seconds: longer than a driver waits for the exchange of pages."""
WITHHELD = 0.05
"""Seconds: much less than link_fail_inhibit_timer, which keeps running."""
KX, KR = "1000BASE-KX", "10GBASE-KR"


class AutoNegotiation:
    """The registers of MMD 7.

    Args:
        phy: the local end.
        changed: called after the driver enabled, disabled or restarted negotiation.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        phy: Transceiver,
        *,
        changed: Callable[[], object],
    ) -> None:
        self._file = file
        self._clock = host.clock
        self._interrupts = interrupts
        self._phy = phy
        self._arbitration = phy.arbitration
        self._changed = changed
        faults = host.faults
        self._lost = faults["an.interrupt.lost"]
        self._withheld = faults["an.interrupt.late"]
        self._again = faults["an.interrupt.again"]
        self._not_again = faults["an.reissue.lost"]
        self._late = faults["an.page.late"]
        self._stale = faults["an.page.stale"]
        self._never = faults["an.complete.lost"]
        self._wrong = faults["link.speed.wrong"]
        self._wrong_pause = faults["link.pause.wrong"]
        self._wrong_fec = faults["link.fec.wrong"]
        self._shown = Codeword(0)
        self._latched = 0
        self._link_stayed = False
        file.on_write(r.AN_CTRL, self._write_control)
        file.on_write(r.AN_ADVERTISE, self._write_advertisement)
        file.on_write(r.AN_XNP, self._write_next_page)
        file.on_read(r.AN_LPA, self._partner_page, peek=self._partner_page)
        file.on_read(r.AN_LPX, self._partner_next_page, peek=self._partner_next_page)
        file.on_read(r.AN_STAT, self._read_status, peek=self._status)
        file.on_read(r.AN_BACKPLANE, self._backplane, peek=self._backplane)
        file.on_write(r.AN_INT, self._write_causes)
        file.on_write(r.AN_INTMASK, self._write_mask)
        interrupts.gate(AN, self._may_send)

    def reset(self) -> None:
        """Disable negotiation, and clear the status."""
        self._latched = 0
        self._link_stayed = False
        self._shown = Codeword(0)
        self._arbitration.enable(False)

    @property
    def enabled(self) -> bool:
        """AN_CTRL.ENABLE."""
        return bool(self._file[r.AN_CTRL] & ENABLE)

    def event(self, event: Event) -> None:
        """Handle an event of the local transceiver."""
        cause = CAUSES.get(event.kind)
        if event.kind is Kind.PAGE_RECEIVED:
            if event.details["base"] and not (self._stale.armed and self._stale.fires()):
                self._shown = Codeword(int(event.details["page"], 16))
            self._latched |= PAGE_RECEIVED
            if self._late.armed and self._late.fires():
                self._clock.call_later(LATE, lambda: self._cause(PAGE))
                return
        elif event.kind is Kind.PARALLEL_DETECTION_FAULT:
            self._latched |= PARALLEL_FAULT
        elif event.kind is Kind.LINK_DOWN:
            self._link_stayed = False
        if event.kind is Kind.COMPLETE and self._never.armed and self._never.fires():
            return
        if cause is not None and self.enabled:
            self._cause(cause)

    # The interrupt

    def _cause(self, bits: int) -> None:
        self._file[r.AN_INT] |= bits
        self._update()

    def _may_send(self, again: bool) -> bool:
        if not again and self._withheld.armed and self._withheld.fires():
            self._clock.call_later(WITHHELD, lambda: self._interrupts.reissue(AN))
            return False
        fault = self._not_again if again else self._lost
        return not (fault.armed and fault.fires())

    def _write_causes(self, _index: int, value: int) -> None:
        cleared = self._file[r.AN_INT] & ~value
        self._file[r.AN_INT] &= value
        self._update()
        if cleared and self._again.armed:
            self._interrupts.repeat(AN, self._again)

    def _write_mask(self, _index: int, value: int) -> None:
        self._file[r.AN_INTMASK] = value & 7
        self._update()

    def _update(self) -> None:
        self._interrupts.level(AN, active=bool(self._file[r.AN_INT] & self._file[r.AN_INTMASK]))

    # Registers

    def _write_control(self, _index: int, value: int) -> None:
        self._file[r.AN_CTRL] = value & ~(RESTART | RESET)
        enable = bool(value & ENABLE)
        if enable != self._arbitration.enabled:
            self._arbitration.enable(enable)
        elif value & RESTART:
            self._arbitration.restart()
        else:
            return
        self._link_stayed = False
        self._changed()

    def _write_advertisement(self, index: int, value: int) -> None:
        self._file[r.AN_ADVERTISE, index] = value & 0xFFFF
        self._arbitration.advertise(Codeword.of_words(*(self._file[r.AN_ADVERTISE, each] for each in range(3))))

    def _write_next_page(self, index: int, value: int) -> None:
        """A write to the first word loads all three (45.2.7.8)."""
        self._file[r.AN_XNP, index] = value & 0xFFFF
        if index == 0:
            self._arbitration.load_next_page(Codeword.of_words(*(self._file[r.AN_XNP, each] for each in range(3))))

    def _partner_page(self, index: int = 0) -> int:
        page = self._shown
        if self._arbitration.lp_base_page is None and not self._stale.armed:
            page = Codeword(0)
        word = page.words[index]
        if index == 1 and word & 0xA0 and self._wrong.armed and self._wrong.fires():
            word ^= 0xA0 if word & 0xA0 != 0xA0 else 0x80
        if index == 0 and page and self._wrong_pause.armed and self._wrong_pause.fires():
            word ^= PAUSE
        if index == 2 and page and self._wrong_fec.armed and self._wrong_fec.fires():
            word ^= FEC
        return word

    def _partner_next_page(self, index: int = 0) -> int:
        page = self._arbitration.lp_next_page
        return 0 if page is None else page.words[index]

    def _status(self, _index: int = 0) -> int:
        arbitration = self._arbitration
        value = ABLE | self._latched
        if arbitration.lp_autoneg_able:
            value |= LP_ABLE
        if arbitration.complete:
            value |= COMPLETED
        if arbitration.lp_base_page is not None and arbitration.lp_base_page.remote_fault:
            value |= REMOTE_FAULT
        if self._link_stayed and self._phy.link is not None:
            value |= LINK
        return value

    def _read_status(self, index: int) -> int:
        """Page received and parallel detection fault are latched high, the link low; reading releases the latches."""
        value = self._status(index)
        self._latched = 0
        self._link_stayed = self._phy.link is not None
        return value

    def _backplane(self, _index: int = 0) -> int:
        value = 1
        resolution = self._arbitration.resolution
        if self._arbitration.complete and resolution is not None:
            value |= NEGOTIATED.get(resolution.technology, 0) | (FEC_NEGOTIATED if resolution.fec else 0)
        return value
