# SPDX-License-Identifier: MIT
"""The local end of the link: SerDes mode, auto-negotiation, training and PCS status put together.

Source: IEEE 802.3-2022, 45.2.1 (PMA), 45.2.3 (PCS), 45.2.7 (AN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.phy import Abilities, LinkPartner, Resolution
from nicmodels.xgbe.an73 import COMPLETE, INCOMPATIBLE, KR, KX, PAGE, AutoNegotiation
from nicmodels.xgbe.mailbox import Mailbox, Mode
from nicmodels.xgbe.registers import mmd as r

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.device import Host
    from nicmodels.registers import RegisterFile
    from nicmodels.xgbe.interrupts import InterruptBlock

NEGOTIATION = 0.02
LINKING = 0.005
LINK = 1 << 2
FRAME_LOCK = 1
SPEEDS = {Mode.KX: 1000, Mode.KR: 10000}


class Link:
    """The local end.

    Args:
        came_up: told when frames can pass again.

    Attributes:
        partner: the other end.
    """

    def __init__(
        self, file: RegisterFile, host: Host, interrupts: InterruptBlock, *, fec: bool, came_up: Callable[[], object]
    ) -> None:
        self._file = file
        self._host = host
        self._fec = fec
        self._came_up = came_up
        self._stuck = host.faults["link.report.stuck"]
        self._shown = False
        self._up = False
        self._stayed_up = False
        self._resolution: Resolution | None = None
        self.partner = LinkPartner(
            host.clock,
            abilities=Abilities.of(
                "10GBASE-KR", "10GBASE-KX4", "1000BASE-KX", pause=True, asymmetric_pause=True, fec=True
            ),
            delay=NEGOTIATION,
        )
        self.partner.subscribe(self._changed)
        self.negotiation = AutoNegotiation(file, host, interrupts, restart=self._restart)
        self.mailbox = Mailbox(file, host, changed=lambda _mode: self._restart(), receiver_reset=lambda: None)
        file.on_write(r.PMD_CTRL, self._write_training)
        file.on_read(r.PCS_STAT1, self._read_status, peek=self._status)

    def reset(self) -> None:
        """SerDes off, no negotiation."""
        self.mailbox.reset()
        self._file[r.FEC_ABILITY] = 3 if self._fec else 0
        self._down()
        self.partner.local(None)

    @property
    def up(self) -> bool:
        """Whether frames can pass."""
        return self._up

    @property
    def speed(self) -> int:
        """Mbit/s; 0 while down."""
        return SPEEDS.get(self.mailbox.mode, 0) if self._up else 0

    def _restart(self) -> None:
        self._down()
        mode = self.mailbox.mode
        if mode not in SPEEDS:
            self.partner.local(None)
        elif self.negotiation.enabled:
            self.partner.local(self.negotiation.abilities())
        else:
            self.partner.local(Abilities(frozenset({KR if mode is Mode.KR else KX}), negotiates=False))

    def _down(self) -> None:
        self._resolution = None
        if self._up:
            self._host.events.add("link.down")
        self._up = self._stayed_up = False

    def _changed(self, resolution: Resolution | None) -> None:
        if resolution is None:
            self._down()
            return
        self._resolution = resolution
        if not self.negotiation.enabled:
            self._link()
            return
        if resolution.negotiated:
            received = self.partner.received
            page = received.base_page() if received is not None else 0
            for index in range(3):
                self._file[r.AN_LPA, index] = page >> 16 * index & 0xFFFF
            self.negotiation.cause(PAGE)
        if resolution.technology is not KR:
            self._host.clock.call_later(LINKING, self._finish)

    def _write_training(self, _index: int, value: int) -> None:
        self._file[r.PMD_CTRL] = value & 2
        if value & 3 == 3:
            self._host.clock.call_later(LINKING, self._finish)

    def _finish(self) -> None:
        if self._resolution is None or self._up:
            return
        wanted = Mode.KR if self._resolution.technology is KR else Mode.KX
        if wanted is self.mailbox.mode:
            self._link()
            self.negotiation.cause(COMPLETE)
        else:
            self.negotiation.cause(INCOMPATIBLE)

    def _link(self) -> None:
        if not self._up:
            self._up = True
            self._host.events.add("link.up", speed=self.speed)
            self._came_up()

    def _status(self, _index: int = 0) -> int:
        if self._stuck.armed and self._stuck.fires():
            return LINK if self._shown else 0
        self._shown = self._up and self._stayed_up
        return LINK if self._shown else 0

    def _read_status(self, index: int) -> int:
        """The link bit is latched low: once down it reads as down until it has been read."""
        value = self._status(index)
        self._stayed_up = self._up
        return value
