# SPDX-License-Identifier: MIT
"""The link: AUTOC configures the local end; LINKS, LINKS2 and ANLP1 report the result.

Source: 82599 datasheet, section 3.7.4 (backplane auto-negotiation), 8.2.3.22 (AUTOC, LINKS, ANLP1, LINKS2).
Negotiation (IEEE 802.3, clause 73) and training (clause 72) are in `nicmodels.phy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.models.ixgbe.interrupts import LSC
from nicmodels.models.ixgbe.registers import general, mac
from nicmodels.phy import Abilities, Kind, LocalSegment, Looks, State, Technology
from nicmodels.phy.page import SELECTOR_FIELD, Codeword

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.ixgbe.interrupts import InterruptBlock
    from nicmodels.models.ixgbe.variants import Variant
    from nicmodels.nic.device import Host
    from nicmodels.phy import Event
    from nicmodels.registers import RegisterFile

FLU = 1
SELECTOR_SHIFT = 2
RESTART_AN = 1 << 12
REMOTE_FAULT = 1 << 27
SYMMETRIC, ASYMMETRIC = 1 << 28, 1 << 29
FECA, FECR = 1 << 18, 1 << 17
TRANSMITTER_OFF = 7 << 28
LMS_1G, LMS_10G_PARALLEL, LMS_1G_AN, LMS_10G_SERIAL = 0, 1, 2, 3
LMS_BACKPLANE, LMS_BACKPLANE_1G, LMS_BACKPLANE_SGMII = 4, 6, 7
NEGOTIATING = (LMS_BACKPLANE, LMS_BACKPLANE_1G, LMS_BACKPLANE_SGMII)
FORCED = {LMS_10G_PARALLEL: Technology.KX4_10G, LMS_10G_SERIAL: Technology.KR_10G}
"""The technologies of modes without negotiation; the other modes are 1 Gb/s."""
SPEED_BITS = {10000: 3, 1000: 2}
LINK_UP, AN_COMPLETED, LINK_STATUS = 1 << 30, 1 << 31, 1 << 7
PAGE_RECEIVED, NEXT_PAGE_RECEIVED, RECEIVER_IDLE = 1 << 6, 1 << 5, 1 << 19
ALIGN_10G, SYNC_1G = 1 << 17, 1 << 18
PCS_1G, XGXS, FEC, SERIAL_10G = 1 << 21, 1 << 22, 1 << 23, 1 << 24
ENABLED = {Technology.KX_1000M: PCS_1G, Technology.KX4_10G: XGXS, Technology.KR_10G: SERIAL_10G}
AN_SUPPORTED = 1 << 6
PAUSE = 1 << 10
LATE = 0.05
"""Seconds of delay of the fault link.interrupt.late."""
PCS_LINK_OK, PCS_SYNC_OK = 1, 1 << 4


class _Report(NamedTuple):
    """The link state that the registers report."""

    up: bool
    speed: int


class Link:
    """The local end of the link.

    Args:
        changed: called at the instant when the link goes up or down.
        came_up: called when frames can pass again.

    Attributes:
        phy: the local transceiver.
        partner: the other end.
        looks: counts the driver's reads of LINKS.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        variant: Variant,
        *,
        changed: Callable[[], object],
        came_up: Callable[[], object],
    ) -> None:
        self._file = file
        self._clock = host.clock
        self._events = host.events
        self._interrupts = interrupts
        self._variant = variant
        self._changed = changed
        self._stuck = host.faults["link.report.stuck"]
        self._wrong = host.faults["link.speed.wrong"]
        self._wrong_pause = host.faults["link.pause.wrong"]
        self._late = host.faults["link.interrupt.late"]
        self._silent = host.faults["link.interrupt.lost"]
        self._last = _Report(up=False, speed=0)
        self._stayed_up = False
        self.looks = Looks()
        segment = host.link_segment or LocalSegment(host.clock, variant.partner)
        self.phy = segment.attach()
        self.partner = segment.partner
        self.phy.observer = self._event
        self.phy.subscribe(lambda event: came_up() if event.kind is Kind.LINK_UP else None)
        self._hook(file)

    def _hook(self, file: RegisterFile) -> None:
        file.on_write(mac.AUTOC, self._write_autoc)
        file.on_write(mac.AUTOC2, self._write_autoc2)
        file.on_read(mac.LINKS, self._read_links, peek=self._links)
        for register, view in {
            mac.LINKS2: self._links2,
            mac.ANLP1: self._anlp1,
            mac.ANLP2: self._anlp2,
            mac.ANLPNP1: self._anlpnp1,
            mac.ANLPNP2: self._anlpnp2,
            mac.PCS1GLSTA: self._pcs_status,
            general.STATUS: self._status,
        }.items():
            file.on_read(register, view, peek=view)

    def reset(self) -> None:
        """A link reset: load AUTOC and AUTOC2 from the EEPROM, and start negotiation."""
        self._file[mac.AUTOC] = self._variant.autoc
        self._file[mac.AUTOC2] = self._variant.autoc2
        self.phy.power(not self._variant.autoc2 & TRANSMITTER_OFF)
        self._start()

    @property
    def up(self) -> bool:
        """Whether frames can pass: the link is up, or forced up."""
        return self.phy.link is not None or bool(self._file[mac.AUTOC] & FLU)

    @property
    def speed(self) -> int:
        """Mbit/s; for a link that is forced up that of its mode; 0 while down."""
        if self.phy.link is not None:
            return self.phy.link.speed
        autoc = self._file[mac.AUTOC]
        if not autoc & FLU:
            return 0
        return 1000 if autoc >> 13 & 7 in (LMS_1G, LMS_1G_AN) else 10000

    # Configuration

    def _start(self) -> None:
        """Restart_AN: apply the mode of AUTOC, and restart the link in it."""
        autoc, arbitration = self._file[mac.AUTOC], self.phy.arbitration
        mode = autoc >> 13 & 7
        self.phy.force(None)
        if mode not in NEGOTIATING:
            arbitration.enable(False)
            self.phy.force(FORCED.get(mode, Technology.KX_1000M))
            return
        arbitration.advertise(self._base_page(autoc))
        if arbitration.enabled:
            arbitration.restart()
        arbitration.enable(True)

    @staticmethod
    def _base_page(autoc: int) -> Codeword:
        """The local end's base page, by AUTOC."""
        advertised = {
            Technology.KX4_10G: autoc >> 31 & 1,
            Technology.KX_1000M: autoc >> 30 & 1,
            Technology.KR_10G: autoc >> 16 & 1,
        }
        abilities = Abilities(
            frozenset(each for each, on in advertised.items() if on),
            pause=bool(autoc & SYMMETRIC),
            asymmetric_pause=bool(autoc & ASYMMETRIC),
            fec=bool(autoc & FECA),
            fec_request=bool(autoc & FECR),
            remote_fault=bool(autoc & REMOTE_FAULT),
        )
        return Codeword(abilities.base_page()).replaced(SELECTOR_FIELD, autoc >> SELECTOR_SHIFT)

    def _write_autoc(self, _index: int, value: int) -> None:
        self._file[mac.AUTOC] = value & ~RESTART_AN
        if value & RESTART_AN:
            self._start()

    def _write_autoc2(self, _index: int, value: int) -> None:
        self._file[mac.AUTOC2] = value
        self.phy.power(not value & TRANSMITTER_OFF)

    # Events

    def _event(self, event: Event) -> None:
        """Runs at the event's instant, so that a driver that reads the changed link finds the cause set."""
        if event.kind is Kind.LINK_UP:
            self._events.add("link.up", **event.details)
        elif event.kind is Kind.LINK_DOWN:
            self._events.add("link.down")
            self._stayed_up = False
        else:
            return
        self.looks.changed()
        self._changed()
        if self._stuck.armed and self._stuck.fires():
            return
        if self._silent.armed and self._silent.fires():
            return
        if self._late.armed and self._late.fires():
            self._clock.call_later(LATE, lambda: self._interrupts.other(LSC))
            return
        self._interrupts.other(LSC)

    # Status registers

    def _report(self) -> _Report:
        if not (self._stuck.armed and self._stuck.fires()):
            self._last = _Report(self.up, self.speed)
        return self._last

    def _links(self, _index: int = 0) -> int:
        arbitration = self.phy.arbitration
        value = 0
        if arbitration.enabled:
            value |= AN_COMPLETED if arbitration.complete else 0
            value |= RECEIVER_IDLE if arbitration.receive_idle else 0
            value |= PAGE_RECEIVED if arbitration.lp_base_page is not None else 0
            value |= NEXT_PAGE_RECEIVED if arbitration.lp_next_page is not None else 0
        report = self._report()
        if not report.up:
            return value
        speed = report.speed
        if self._wrong.armed and self._wrong.fires():
            speed = 1000 if speed == 10000 else 10000
        value |= LINK_UP | SPEED_BITS[speed] << 28 | (ALIGN_10G if speed == 10000 else SYNC_1G)
        if self.phy.link is not None:
            value |= ENABLED[self.phy.link.technology] | (FEC if self.phy.link.fec else 0)
        return value | (LINK_STATUS if self._stayed_up else 0)

    def _read_links(self, index: int) -> int:
        """LINK_STATUS is latched low: it is set if the link was up since the last read."""
        self.looks.looked()
        value = self._links(index)
        self._stayed_up = bool(value & LINK_UP)
        return value

    def _links2(self, _index: int = 0) -> int:
        return AN_SUPPORTED if self.phy.arbitration.lp_autoneg_able else 0

    def _anlp1(self, _index: int = 0) -> int:
        page = self.phy.arbitration.lp_base_page or 0
        if page and self._wrong_pause.armed and self._wrong_pause.fires():
            page ^= PAUSE
        return self._arbitration_state() << 16 | page & 0xFFFF

    def _arbitration_state(self) -> int:
        """ANAS: the arbitration state; 0 is "auto-negotiation enable".

        In a mode without negotiation it shows whether the link is up. It is not 0 then, since the vendor's drivers reset
        the link's pipeline by writing Restart_AN with a mode that does not negotiate, and wait until ANAS is not 0.
        """
        if self.phy.arbitration.enabled:
            state = self.phy.arbitration.state
        else:
            state = State.AN_GOOD if self.phy.link is not None else State.TRANSMIT_DISABLE
        return int(state.value)

    def _anlp2(self, _index: int = 0) -> int:
        return (self.phy.arbitration.lp_base_page or 0) >> 16

    def _anlpnp1(self, _index: int = 0) -> int:
        return (self.phy.arbitration.lp_next_page or 0) & 0xFFFF_FFFF

    def _anlpnp2(self, _index: int = 0) -> int:
        return (self.phy.arbitration.lp_next_page or 0) >> 32

    def _pcs_status(self, _index: int = 0) -> int:
        return 0x1_0000 | PCS_SYNC_OK | PCS_LINK_OK if self.speed == 1000 else 0

    def _status(self, _index: int = 0) -> int:
        return self._file[general.STATUS] | (LINK_STATUS if self._report().up else 0)
