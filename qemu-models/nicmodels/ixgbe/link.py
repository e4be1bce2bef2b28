# SPDX-License-Identifier: MIT
"""The link: AUTOC sets up the local end, LINKS and its kin are views of what became of it.

Source: 82599 datasheet, section 3.7.4 (backplane auto-negotiation), 8.2.3.22 (AUTOC, LINKS, ANLP1, LINKS2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.ixgbe.interrupts import LSC
from nicmodels.ixgbe.registers import general, mac
from nicmodels.phy import Abilities, Resolution, Technology, VirtualPartner

if TYPE_CHECKING:
    from nicmodels.device import Host
    from nicmodels.ixgbe.interrupts import InterruptBlock
    from nicmodels.ixgbe.variants import Variant
    from nicmodels.registers import RegisterFile

NEGOTIATION = 0.02
"""Seconds; more than drivers wait in a mode that they pass through only to restart the negotiation."""
FLU = 1
RESTART_AN = 1 << 12
PB = 3 << 28
SYMMETRIC, ASYMMETRIC = 1 << 28, 1 << 29
FECA, FECR = 1 << 18, 1 << 17
TRANSMITTER_OFF = 7 << 28
LMS_1G, LMS_10G_PARALLEL, LMS_1G_AN, LMS_10G_SERIAL, LMS_BACKPLANE, LMS_BACKPLANE_1G, LMS_BACKPLANE_SGMII = (
    0,
    1,
    2,
    3,
    4,
    6,
    7,
)
SPEED_BITS = {10000: 3, 1000: 2}
LINK_UP, AN_COMPLETED, LINK_STATUS = 1 << 30, 1 << 31, 1 << 7
ALIGN_10G, SYNC_1G = 1 << 17, 1 << 18
AN_IDLE_STATE, AN_DETECT_STATE, AN_GOOD_STATE = 0, 1, 9
LOOPBACK = 1 << 15
TECHNOLOGY_SHIFT = 21


class _Report(NamedTuple):
    """What the registers say of the link."""

    up: bool
    speed: int
    negotiated: bool


class Link:
    """The local end of the link.

    Attributes:
        partner: the other end.
    """

    def __init__(self, file: RegisterFile, host: Host, interrupts: InterruptBlock, variant: Variant) -> None:
        self._file = file
        self._events = host.events
        self._interrupts = interrupts
        self._variant = variant
        self._stuck = host.faults["link.report.stuck"]
        self._wrong = host.faults["link.speed.wrong"]
        self._silent = host.faults["link.interrupt.lost"]
        self._last = _Report(up=False, speed=0, negotiated=False)
        self._stayed_up = False
        self._started = False
        self.partner = VirtualPartner(
            host.clock,
            abilities=Abilities.of(
                "10GBASE-KR", "10GBASE-KX4", "1000BASE-KX", pause=True, asymmetric_pause=True, fec=True
            ),
            delay=NEGOTIATION,
        )
        self.partner.subscribe(self._changed)
        file.on_write(mac.AUTOC, self._write_autoc)
        file.on_write(mac.AUTOC2, self._write_autoc2)
        file.on_read(mac.LINKS, self._read_links, peek=self._links)
        file.on_read(mac.LINKS2, self._links2, peek=self._links2)
        file.on_read(mac.ANLP1, self._anlp1, peek=self._anlp1)
        file.on_read(mac.ANLP2, self._anlp2, peek=self._anlp2)
        file.on_read(mac.PCS1GLSTA, self._pcs_status, peek=self._pcs_status)
        file.on_read(general.STATUS, self._status, peek=self._status)

    def reset(self) -> None:
        """A link reset: AUTOC and AUTOC2 come from the EEPROM, and negotiation starts."""
        self._file[mac.AUTOC] = self._variant.autoc
        self._file[mac.AUTOC2] = self._variant.autoc2
        self._start()

    @property
    def up(self) -> bool:
        """Whether frames can pass: the link is up, or forced up."""
        return self.partner.resolved is not None or bool(self._file[mac.AUTOC] & FLU)

    @property
    def speed(self) -> int:
        """Mbit/s; of a forced link the one its mode has; 0 while down."""
        resolved = self.partner.resolved
        if resolved is not None:
            return resolved.speed
        autoc = self._file[mac.AUTOC]
        if not autoc & FLU:
            return 0
        return 1000 if autoc >> 13 & 7 in (LMS_1G, LMS_1G_AN) else 10000

    def _start(self) -> None:
        self._started = True
        self.partner.local(self._abilities())

    def _abilities(self) -> Abilities | None:
        """What the local end offers by AUTOC; None when its transmitter is off."""
        if self._file[mac.AUTOC2] & TRANSMITTER_OFF:
            return None
        autoc = self._file[mac.AUTOC]
        mode = autoc >> 13 & 7
        if mode in (LMS_BACKPLANE, LMS_BACKPLANE_1G, LMS_BACKPLANE_SGMII):
            offered = {
                Technology.KX4_10G: autoc >> 31 & 1,
                Technology.KX_1000M: autoc >> 30 & 1,
                Technology.KR_10G: autoc >> 16 & 1,
            }
            return Abilities(
                frozenset(each for each, on in offered.items() if on),
                pause=bool(autoc & SYMMETRIC),
                asymmetric_pause=bool(autoc & ASYMMETRIC),
                fec=bool(autoc & FECA),
                fec_request=bool(autoc & FECR),
            )
        fixed = {LMS_10G_PARALLEL: Technology.KX4_10G, LMS_10G_SERIAL: Technology.KR_10G}
        return Abilities(frozenset({fixed.get(mode, Technology.KX_1000M)}), negotiates=False)

    def _changed(self, resolution: Resolution | None) -> None:
        details = {} if resolution is None else {"speed": resolution.speed, "technology": resolution.technology.label}
        self._events.add("link.up" if resolution is not None else "link.down", **details)
        if resolution is None:
            self._stayed_up = False
        if self._stuck.armed and self._stuck.fires():
            return
        if self._silent.armed and self._silent.fires():
            return
        self._interrupts.other(LSC)

    def _write_autoc(self, _index: int, value: int) -> None:
        self._file[mac.AUTOC] = value & ~RESTART_AN
        if value & RESTART_AN:
            self._start()

    def _write_autoc2(self, _index: int, value: int) -> None:
        before = self._file[mac.AUTOC2]
        self._file[mac.AUTOC2] = value
        if (before ^ value) & TRANSMITTER_OFF:
            self._start()

    def _report(self) -> _Report:
        if self._stuck.armed and self._stuck.fires():
            return self._last
        resolved = self.partner.resolved
        self._last = _Report(self.up, self.speed, resolved is not None and resolved.negotiated)
        return self._last

    def _links(self, _index: int = 0) -> int:
        report = self._report()
        if not report.up:
            return 0
        speed = report.speed
        if self._wrong.armed and self._wrong.fires():
            speed = 1000 if speed == 10000 else 10000
        value = LINK_UP | SPEED_BITS[speed] << 28 | (ALIGN_10G if speed == 10000 else SYNC_1G)
        if report.negotiated:
            value |= AN_COMPLETED
        return value | (LINK_STATUS if self._stayed_up else 0)

    def _read_links(self, index: int) -> int:
        """LINK_STATUS is latched low: it says that the link was up all the time since the last read."""
        value = self._links(index)
        self._stayed_up = bool(value & LINK_UP)
        return value

    def _links2(self, _index: int = 0) -> int:
        return 1 << 6 if self.partner.received is not None else 0

    def _anlp1(self, _index: int = 0) -> int:
        state = AN_IDLE_STATE if not self._started else AN_DETECT_STATE
        if self.partner.resolved is not None:
            state = AN_GOOD_STATE
        received = self.partner.received
        return state << 16 | (received.base_page() & 0xFFFF if received is not None else 0)

    def _anlp2(self, _index: int = 0) -> int:
        received = self.partner.received
        return received.base_page() >> 16 if received is not None else 0

    def _pcs_status(self, _index: int = 0) -> int:
        return 0x1_0011 if self.speed == 1000 else 0

    def _status(self, _index: int = 0) -> int:
        return self._file[general.STATUS] | (LINK_STATUS if self._report().up else 0)
