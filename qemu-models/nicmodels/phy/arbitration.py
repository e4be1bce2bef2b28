# SPDX-License-Identifier: MIT
"""The arbitration function of one end: IEEE 802.3 figure 73-11, on top of page detection (73.10.1).

It handles pages and link status; PMDs are handled in `nicmodels.phy.transceiver`. Variables have the standard's names
without `mr_` and `an_`, so `page_rx` is mr_page_rx.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nicmodels.phy.abilities import DETECTABLE, Abilities, Resolution, Technology, resolve
from nicmodels.phy.detection import PageDetector
from nicmodels.phy.event import Event, Kind
from nicmodels.phy.medium import Pages, Signal
from nicmodels.phy.page import (
    ACKNOWLEDGE,
    ECHO,
    ECHO_SHIFT,
    NONCE,
    NONCE_SHIFT,
    NULL_PAGE,
    TOGGLE,
    Codeword,
    nonces,
)
from nicmodels.phy.timers import PAGE, Timers

if TYPE_CHECKING:
    from nicmodels.clock import Timer
    from nicmodels.phy.timeline import Timeline

ACKNOWLEDGED_PAGES = 7
"""Pages transmitted after the other end's acknowledge (remaining_ack_cnt: 6 to 8)."""


class State(enum.Enum):
    """The states of figure 73-11. The value is the position in the figure, from 0."""

    AUTO_NEGOTIATION_ENABLE = 0
    TRANSMIT_DISABLE = 1
    ABILITY_DETECT = 2
    LINK_STATUS_CHECK = 3
    PARALLEL_DETECTION_FAULT = 4
    ACKNOWLEDGE_DETECT = 5
    COMPLETE_ACKNOWLEDGE = 6
    NEXT_PAGE_WAIT = 7
    AN_GOOD_CHECK = 8
    AN_GOOD = 9


class LinkControl(enum.Enum):
    """Arbitration's request to a technology's PMD and PCS (link_control, 73.9.1)."""

    DISABLE = "disable"
    SCAN_FOR_CARRIER = "scan for carrier"
    ENABLE = "enable"


_GOOD = (State.AN_GOOD_CHECK, State.AN_GOOD)


class Arbitration:
    """The arbitration function of one end.

    Args:
        timeline: the medium's.
        drive: called at each entry into a state that changes what is transmitted or the link control, with the page to
            transmit from now on; None when arbitration transmits none.
        notify: called with each `Event`, as it happens (inside the timeline).
        timers: their durations.
        seed: of the nonces; the two ends of a medium must have different ones.
        null_pages: answer the other end's next pages with null pages if management loads none.

    Attributes:
        state: the current state of figure 73-11.
        page_rx: a page was received since the last entry into NEXT_PAGE_WAIT or the start.
        complete: mr_autoneg_complete.
        parallel_detection_fault: the last parallel detection did not find exactly one lasting link.
        lp_autoneg_able: the other end sends pages.
        lp_base_page: the last base page received; None before.
        lp_next_page: the last next page received; None before.
        base_page: the last page received is a base page.
        resolution: in AN_GOOD_CHECK and AN_GOOD the resolved link; None if no technology is common.
        incompatible: whether the local settings rule out a technology (incompatible_link).
    """

    def __init__(
        self,
        timeline: Timeline,
        *,
        drive: Callable[[Codeword | None], object],
        notify: Callable[[Event], object] = lambda _event: None,
        timers: Timers | None = None,
        seed: int | str | None = None,
        null_pages: bool = True,
    ) -> None:
        self.timers = timers or Timers()
        self.null_pages = null_pages
        self.state = State.AUTO_NEGOTIATION_ENABLE
        self.page_rx = False
        self.complete = False
        self.parallel_detection_fault = False
        self.lp_autoneg_able = False
        self.lp_base_page: Codeword | None = None
        self.lp_next_page: Codeword | None = None
        self.base_page = True
        self.resolution: Resolution | None = None
        self.incompatible: Callable[[Technology], bool] = lambda _technology: False
        self._timeline = timeline
        self._drive = drive
        self._notify = notify
        self._nonces: Iterator[int] = nonces(seed)
        self._detector = PageDetector(timeline, self._evaluate, self.timers)
        self._enabled = False
        self._advertised = Codeword(0)
        self._loaded: Codeword | None = None
        self._transmitted: Codeword | None = None
        self._sent = Codeword(0)
        self._matched = Codeword(0)
        self._toggle_transmit = False
        self._toggle_receive = False
        self._more = False
        self._links: set[Technology] = set()
        self._timer: Timer | None = None
        self._expired = False
        self._evaluating = False

    # --- management ---------------------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """mr_autoneg_enable."""
        return self._enabled

    def enable(self, on: bool) -> None:
        """Write mr_autoneg_enable; while it is off, management may force the link."""
        self._timeline.settle()
        if on != self._enabled:
            self._enabled = on
            self._begin()

    def restart(self) -> None:
        """mr_restart_negotiation; ignored while negotiation is disabled."""
        self._timeline.settle()
        if self._enabled:
            self._begin()

    def advertise(self, page: int) -> None:
        """Write mr_adv_ability: a base page; arbitration fills in the Ack bit and both nonces.

        The page is transmitted from the next entry into ABILITY_DETECT on, as the standard requires.
        """
        self._timeline.settle()
        self._advertised = Codeword(page).replaced(ACKNOWLEDGE | ECHO | NONCE, 0)

    def load_next_page(self, page: int) -> None:
        """Write mr_np_tx and set mr_next_page_loaded; arbitration fills in Ack and toggle."""
        self._timeline.settle()
        self._loaded = Codeword(page).replaced(ACKNOWLEDGE | TOGGLE, 0)
        self._evaluate()

    @property
    def next_page_loaded(self) -> bool:
        """mr_next_page_loaded."""
        return self._loaded is not None

    @property
    def receive_idle(self) -> bool:
        """an_receive_idle: no pages are received."""
        return self._detector.idle

    @property
    def next_page_wanted(self) -> bool:
        """COMPLETE_ACKNOWLEDGE waits for management to load a next page, because one end has more pages."""
        return self.state is State.COMPLETE_ACKNOWLEDGE and self._more and self._loaded is None

    @property
    def advertised(self) -> Codeword:
        """mr_adv_ability."""
        return self._advertised

    # --- PMA and PMD --------------------------------------------------------------------------------------------------

    def receive(self, signal: Signal) -> None:
        """A new signal arrives from the other end; an event of the timeline."""
        self._detector.receive(signal.codeword if isinstance(signal, Pages) else None)
        self._evaluate()

    def link_status(self, technology: Technology, *, ok: bool) -> None:
        """PMA_LINK.indication of a technology: OK, or FAIL."""
        if ok != (technology in self._links):
            (self._links.add if ok else self._links.discard)(technology)
            self._evaluate()

    def link_control(self, technology: Technology) -> LinkControl:
        """PMA_LINK.request of a technology."""
        if self.state in (State.ABILITY_DETECT, State.LINK_STATUS_CHECK) and technology in self._scanned():
            return LinkControl.SCAN_FOR_CARRIER
        if technology is self.selected:
            return LinkControl.ENABLE
        return LinkControl.DISABLE

    @property
    def selected(self) -> Technology | None:
        """The resolved technology, whose PMD runs now."""
        if self.state not in _GOOD or self.resolution is None:
            return None
        return self.resolution.technology

    @property
    def transmitted(self) -> Codeword | None:
        """The transmitted page; None if none is."""
        return self._transmitted

    # --- the diagram --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._evaluating = True  # a listener of this entry must not take the next transition
        try:
            self._enter(State.AUTO_NEGOTIATION_ENABLE)
        finally:
            self._evaluating = False
        self._evaluate()

    def _evaluate(self) -> None:
        """Take transitions until none is due."""
        if self._evaluating:
            return
        self._evaluating = True
        try:
            while (target := self._next()) is not None:
                self._enter(target)
        finally:
            self._evaluating = False

    def _next(self) -> State | None:
        """The transition that is due; None if none is."""
        detector = self._detector
        match self.state:
            case State.AUTO_NEGOTIATION_ENABLE:
                return State.TRANSMIT_DISABLE if self._enabled else None
            case State.TRANSMIT_DISABLE:
                return State.ABILITY_DETECT if self._expired else None
            case State.ABILITY_DETECT:
                page = detector.ability_match
                if page is not None:
                    equal = self._transmitted is not None and page.nonce == self._transmitted.nonce
                    return State.TRANSMIT_DISABLE if equal else State.ACKNOWLEDGE_DETECT
                return State.LINK_STATUS_CHECK if detector.idle and self._links & self._scanned() else None
            case State.LINK_STATUS_CHECK:
                if not self._expired:
                    return None
                return State.AN_GOOD_CHECK if self._single_link() else State.PARALLEL_DETECTION_FAULT
            case State.PARALLEL_DETECTION_FAULT:
                return State.TRANSMIT_DISABLE
            case State.ACKNOWLEDGE_DETECT:
                if detector.idle:
                    return State.TRANSMIT_DISABLE
                page = detector.acknowledge_match
                if page is None:
                    return None
                return State.COMPLETE_ACKNOWLEDGE if self._consistent(page) else State.TRANSMIT_DISABLE
            case State.COMPLETE_ACKNOWLEDGE:
                if not self._expired:
                    return None
                if not self._more:
                    return State.AN_GOOD_CHECK
                return State.NEXT_PAGE_WAIT if self._loaded is not None else None
            case State.NEXT_PAGE_WAIT:
                if detector.idle:
                    return State.TRANSMIT_DISABLE
                page = detector.ability_match
                return State.ACKNOWLEDGE_DETECT if page and page.toggle != self._toggle_receive else None
            case State.AN_GOOD_CHECK:
                if self.resolution is not None and self.resolution.technology in self._links:
                    return State.AN_GOOD
                return State.TRANSMIT_DISABLE if self._expired or self._ruled_out() else None
            case State.AN_GOOD:
                up = self.resolution is not None and self.resolution.technology in self._links
                return None if up else State.TRANSMIT_DISABLE

    def _enter(self, state: State) -> None:
        """Run a state's actions."""
        before, self.state = self.state, state
        self._stop_timer()
        match state:
            case State.AUTO_NEGOTIATION_ENABLE:
                self.page_rx = self.complete = self.parallel_detection_fault = self.lp_autoneg_able = False
                self.lp_base_page = self.lp_next_page = self._loaded = self.resolution = None
                self._transmit(None)
            case State.TRANSMIT_DISABLE:
                self.page_rx = self.complete = False
                self._loaded = self.resolution = None
                self._transmit(None)
                self._start_timer(self.timers.break_link)
            case State.ABILITY_DETECT:
                self.base_page = True
                self._detector.restart()
                page = self._advertised.replaced(NONCE, next(self._nonces) << NONCE_SHIFT)
                self._toggle_transmit = not page.toggle
                self._transmit(page)
            case State.LINK_STATUS_CHECK:
                self._transmit(None)
                self._start_timer(self.timers.autoneg_wait)
            case State.PARALLEL_DETECTION_FAULT:
                self.parallel_detection_fault = True
            case State.ACKNOWLEDGE_DETECT:
                self.lp_autoneg_able = True
                assert self._detector.ability_match is not None
                assert self._transmitted is not None
                self._matched = self._detector.ability_match
                page = self._transmitted.replaced(ACKNOWLEDGE, ACKNOWLEDGE)
                if self.base_page:
                    page = page.replaced(ECHO, self._matched.nonce << ECHO_SHIFT)
                self._transmit(page)
            case State.COMPLETE_ACKNOWLEDGE:
                self._accept_page()
                self._start_timer(ACKNOWLEDGED_PAGES * PAGE)
            case State.NEXT_PAGE_WAIT:
                assert self._loaded is not None
                self.page_rx = self.base_page = False
                self._transmit(self._loaded.replaced(TOGGLE, TOGGLE * self._toggle_transmit))
                self._toggle_transmit = not self._toggle_transmit
                self._loaded = None
            case State.AN_GOOD_CHECK:
                self._resolve(parallel=before is State.LINK_STATUS_CHECK)
                self._transmit(None)
                technology = self.resolution.technology if self.resolution is not None else None
                self._start_timer(self.timers.inhibit(technology))
            case State.AN_GOOD:
                self.complete = True
        self._notify_event(Kind.STATE, state=state.name, before=before.name)
        self._notify_entry(state)

    def _notify_entry(self, state: State) -> None:
        if state is State.COMPLETE_ACKNOWLEDGE:
            page = self.lp_base_page if self.base_page else self.lp_next_page
            assert page is not None
            self._notify_event(Kind.PAGE_RECEIVED, page=str(page), base=self.base_page)
        elif state is State.PARALLEL_DETECTION_FAULT:
            self._notify_event(Kind.PARALLEL_DETECTION_FAULT)
        elif state is State.AN_GOOD:
            self._notify_event(Kind.COMPLETE)
        elif state is State.AN_GOOD_CHECK and self._ruled_out():
            self._notify_event(Kind.INCOMPATIBLE_LINK)

    def _accept_page(self) -> None:
        page, transmitted = self._matched, self._transmitted
        assert transmitted is not None
        if self.base_page:
            self.lp_base_page = page
        else:
            self.lp_next_page = page
        self.page_rx = True
        self._toggle_receive = page.toggle
        self._more = page.next_page or transmitted.next_page
        if self._more and self._loaded is None and self.null_pages:
            self._loaded = NULL_PAGE

    def _consistent(self, acknowledged: Codeword) -> bool:
        """consistency_match, and of a base page ack_nonce_match too."""
        mask = ~(ACKNOWLEDGE | (ECHO if self.base_page else 0))
        if acknowledged & mask != self._matched & mask:
            return False
        assert self._transmitted is not None
        return not self.base_page or acknowledged.echoed_nonce == self._transmitted.nonce

    def _scanned(self) -> frozenset[Technology]:
        return DETECTABLE & Abilities.from_base_page(self._advertised).technologies

    def _single_link(self) -> bool:
        return len(self._links & self._scanned()) == 1

    def _ruled_out(self) -> bool:
        return self.resolution is not None and self.incompatible(self.resolution.technology)

    def _resolve(self, *, parallel: bool) -> None:
        if parallel:
            self.lp_autoneg_able = False
            self.lp_base_page = self.lp_next_page = None
            (technology,) = self._links & self._scanned()
            self.resolution = Resolution(technology, negotiated=False)
        else:
            assert self.lp_base_page is not None
            partner = Abilities.from_base_page(self.lp_base_page)
            self.resolution = resolve(Abilities.from_base_page(self._sent), partner)

    def _transmit(self, page: Codeword | None) -> None:
        self._transmitted = page
        if page is not None and self.base_page:
            self._sent = page
        self._drive(page)

    def _start_timer(self, seconds: float) -> None:
        self._timer = self._timeline.call_later(seconds, self._timed_out)

    def _stop_timer(self) -> None:
        self._expired = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        self._expired = True
        self._evaluate()

    def _notify_event(self, kind: Kind, **details: object) -> None:
        self._notify(Event(kind, self._timeline.now(), details))
