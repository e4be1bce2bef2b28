# SPDX-License-Identifier: GPL-2.0-or-later
"""IEEE 802.3 figure 73-11, transition by transition, on one end; the test controls signals, link status and management.

Written from the figure, not from the implementation: the transitions of each state by stimulus, and the effects of each
state on the transmitted signal, link_control and the variables that management reads.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from nicmodels.clock import ManualClock
from nicmodels.phy import Arbitration, Carrier, LinkControl, Pages, Technology, Timeline, Timers
from nicmodels.phy.medium import SILENCE
from nicmodels.phy.page import Codeword
from nicmodels.phy.timers import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

KX, KX4, KR = Technology.KX_1000M, Technology.KX4_10G, Technology.KR_10G
SELECTOR, KX_BIT, KX4_BIT, KR_BIT = 1, 1 << 21, 1 << 22, 1 << 23
ACK, NP, TOGGLE, ASM_DIR = 1 << 14, 1 << 15, 1 << 11, 1 << 11
NULL = 0x2001
PAGE = 339.2e-9
TIMERS = Timers()


class End:
    """The end under test.

    Args:
        more: it has next pages.
        theirs: the other end has next pages.
        offers: bits of its base page.
        partner: bits of the other end's base page.
    """

    def __init__(
        self,
        *,
        more: bool = False,
        theirs: bool = False,
        offers: int = KX_BIT | KX4_BIT | KR_BIT,
        partner: int = KR_BIT,
    ) -> None:
        self.clock = ManualClock()
        self.page: Codeword | None = None
        self.states: list[str] = []
        self.theirs = SELECTOR | partner | NP * theirs
        self.arbitration = Arbitration(
            Timeline(self.clock),
            drive=self._drive,
            notify=lambda event: self.states.append(event.details["state"]) if "state" in event.details else None,
            seed="diagram",
            null_pages=False,
        )
        self.arbitration.advertise(SELECTOR | offers | NP * more)

    def _drive(self, page: Codeword | None) -> None:
        self.page = page

    @property
    def state(self) -> str:
        return self.arbitration.state.name

    def since(self, action: Callable[[End], object]) -> list[str]:
        """The states that an action leads through."""
        before = len(self.states)
        action(self)
        return self.states[before:]

    # Stimuli

    def enable(self) -> None:
        self.arbitration.enable(True)

    def disable(self) -> None:
        self.arbitration.enable(False)

    def restart(self) -> None:
        self.arbitration.restart()

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def break_link(self) -> None:
        self.wait(TIMERS.break_link)

    def pages(self, page: int, count: float = 3) -> None:
        """Receive `count` DME pages: three and the start of the next one make a match."""
        self.arbitration.receive(Pages(Codeword(page)))
        self.wait(count * PAGE + 1e-9)

    def silence(self) -> None:
        self.arbitration.receive(SILENCE)
        self.wait(BOUNDS["page_test_max"].most)

    def other_nonce(self) -> int:
        assert self.page is not None
        return self.page.nonce ^ 1

    def ability(self) -> None:
        """Their base page."""
        self.pages(self.theirs | self.other_nonce() << 16)

    def equal_nonce(self) -> None:
        self.pages(self.theirs | self.page.nonce << 16)

    def acknowledged(self, *, echo: int = 0, change: int = 0) -> None:
        """Their base page with Ack; `echo` and `change` corrupt the echoed nonce and other bits."""
        page = self.theirs | self.other_nonce() << 16 | ACK | (self.page.nonce ^ echo) << 5
        self.pages(page ^ change)

    def finished(self) -> None:
        """ack_finished: the remaining 6 to 8 pages are out."""
        self.wait(8 * PAGE + 1e-9)

    def load(self, page: int = NULL) -> None:
        self.arbitration.load_next_page(page)

    def next_page(self, page: int = NULL | TOGGLE) -> None:
        self.pages(page)

    def status(self, *technologies: Technology) -> None:
        for technology in (KX, KX4, KR):
            self.arbitration.link_status(technology, ok=technology in technologies)


def to_transmit_disable(end: End) -> None:
    end.enable()


def to_ability_detect(end: End) -> None:
    to_transmit_disable(end)
    end.break_link()


def to_link_status_check(end: End) -> None:
    to_ability_detect(end)
    end.arbitration.receive(Carrier(KX))
    end.status(KX)


def to_acknowledge_detect(end: End) -> None:
    to_ability_detect(end)
    end.ability()


def to_complete_acknowledge(end: End) -> None:
    to_acknowledge_detect(end)
    end.acknowledged()


def to_next_page_wait(end: End) -> None:
    end.theirs |= NP
    to_complete_acknowledge(end)
    end.load()
    end.finished()


def to_good_check(end: End) -> None:
    to_complete_acknowledge(end)
    end.finished()


def to_good(end: End) -> None:
    to_good_check(end)
    end.status(KR)


WAYS = {
    "AUTO_NEGOTIATION_ENABLE": lambda _end: None,
    "TRANSMIT_DISABLE": to_transmit_disable,
    "ABILITY_DETECT": to_ability_detect,
    "LINK_STATUS_CHECK": to_link_status_check,
    "ACKNOWLEDGE_DETECT": to_acknowledge_detect,
    "COMPLETE_ACKNOWLEDGE": to_complete_acknowledge,
    "NEXT_PAGE_WAIT": to_next_page_wait,
    "AN_GOOD_CHECK": to_good_check,
    "AN_GOOD": to_good,
}
"""How a state is reached; PARALLEL_DETECTION_FAULT is left as it is entered."""


def at(state: str, **options: object) -> End:
    end = End(**options)
    WAYS[state](end)
    assert end.state == state
    return end


TRANSITIONS = [
    ("AUTO_NEGOTIATION_ENABLE", "mr_autoneg_enable", End.enable, ["AUTO_NEGOTIATION_ENABLE", "TRANSMIT_DISABLE"]),
    ("TRANSMIT_DISABLE", "break_link_timer_done", End.break_link, ["ABILITY_DETECT"]),
    ("ABILITY_DETECT", "ability_match, no nonce_match", End.ability, ["ACKNOWLEDGE_DETECT"]),
    ("ABILITY_DETECT", "ability_match, nonce_match", End.equal_nonce, ["TRANSMIT_DISABLE"]),
    ("ABILITY_DETECT", "link_status[KX] = OK", lambda end: end.status(KX), ["LINK_STATUS_CHECK"]),
    ("ABILITY_DETECT", "link_status[KX4] = OK", lambda end: end.status(KX4), ["LINK_STATUS_CHECK"]),
    (
        "LINK_STATUS_CHECK",
        "autoneg_wait_timer_done, single_link_ready",
        lambda end: end.wait(TIMERS.autoneg_wait),
        ["AN_GOOD_CHECK", "AN_GOOD"],
    ),
    (
        "LINK_STATUS_CHECK",
        "autoneg_wait_timer_done, no link",
        lambda end: (end.status(), end.wait(TIMERS.autoneg_wait)),
        ["PARALLEL_DETECTION_FAULT", "TRANSMIT_DISABLE"],
    ),
    (
        "LINK_STATUS_CHECK",
        "autoneg_wait_timer_done, two links",
        lambda end: (end.status(KX, KX4), end.wait(TIMERS.autoneg_wait)),
        ["PARALLEL_DETECTION_FAULT", "TRANSMIT_DISABLE"],
    ),
    ("ACKNOWLEDGE_DETECT", "acknowledge_match, all matches", End.acknowledged, ["COMPLETE_ACKNOWLEDGE"]),
    (
        "ACKNOWLEDGE_DETECT",
        "no ack_nonce_match",
        lambda end: end.acknowledged(echo=2),
        ["TRANSMIT_DISABLE"],
    ),
    (
        "ACKNOWLEDGE_DETECT",
        "no consistency_match",
        lambda end: end.acknowledged(change=KX_BIT),
        ["TRANSMIT_DISABLE"],
    ),
    ("ACKNOWLEDGE_DETECT", "an_receive_idle", End.silence, ["TRANSMIT_DISABLE"]),
    ("COMPLETE_ACKNOWLEDGE", "ack_finished, no next page", End.finished, ["AN_GOOD_CHECK"]),
    ("NEXT_PAGE_WAIT", "ability_match, toggled", End.next_page, ["ACKNOWLEDGE_DETECT"]),
    ("NEXT_PAGE_WAIT", "an_receive_idle", End.silence, ["TRANSMIT_DISABLE"]),
    ("AN_GOOD_CHECK", "link_status[HCD] = OK", lambda end: end.status(KR), ["AN_GOOD"]),
    (
        "AN_GOOD_CHECK",
        "link_fail_inhibit_timer_done",
        lambda end: end.wait(TIMERS.link_fail_inhibit),
        ["TRANSMIT_DISABLE"],
    ),
    ("AN_GOOD", "link_status[HCD] = FAIL", End.status, ["TRANSMIT_DISABLE"]),
]


@pytest.mark.parametrize(
    ("state", "stimulus", "leads"),
    [pytest.param(state, do, leads, id=f"{state}: {name}") for state, name, do, leads in TRANSITIONS],
)
def test_transition(state: str, stimulus: Callable[[End], object], leads: list[str]) -> None:
    assert at(state).since(stimulus) == leads


@pytest.mark.parametrize("state", WAYS)
def test_restart_from_anywhere(state: str) -> None:
    """mr_restart_negotiation is ignored while negotiation is disabled."""
    leads = at(state).since(End.restart)
    assert leads == ([] if state == "AUTO_NEGOTIATION_ENABLE" else ["AUTO_NEGOTIATION_ENABLE", "TRANSMIT_DISABLE"])


@pytest.mark.parametrize("state", list(WAYS)[1:])
def test_disabled_from_anywhere(state: str) -> None:
    end = at(state)
    assert end.since(End.disable) == ["AUTO_NEGOTIATION_ENABLE"]
    assert end.since(lambda end: end.wait(5)) == []


STAYS = [
    ("AUTO_NEGOTIATION_ENABLE", "time", lambda end: end.wait(5)),
    ("TRANSMIT_DISABLE", "a page", lambda end: end.pages(SELECTOR | KR_BIT | 7 << 16)),
    ("TRANSMIT_DISABLE", "a link", lambda end: end.status(KX)),
    ("TRANSMIT_DISABLE", "almost break_link_timer", lambda end: end.wait(TIMERS.break_link - 1e-6)),
    ("ABILITY_DETECT", "silence", lambda end: end.wait(5)),
    ("ABILITY_DETECT", "two pages", lambda end: end.pages(end.theirs | end.other_nonce() << 16, 2)),
    ("ABILITY_DETECT", "10GBASE-KR, which parallel detection does not find", lambda end: end.status(KR)),
    ("LINK_STATUS_CHECK", "almost autoneg_wait_timer", lambda end: end.wait(TIMERS.autoneg_wait - 1e-6)),
    ("LINK_STATUS_CHECK", "a link that comes and goes", lambda end: (end.status(), end.status(KX))),
    ("ACKNOWLEDGE_DETECT", "no acknowledge, for ever", lambda end: end.wait(5)),
    ("ACKNOWLEDGE_DETECT", "two acknowledges", lambda end: end.pages(end.theirs | end.other_nonce() << 16 | ACK, 2)),
    ("COMPLETE_ACKNOWLEDGE", "five pages more", lambda end: end.wait(5 * PAGE)),
    ("NEXT_PAGE_WAIT", "a page not toggled", lambda end: end.next_page(NULL)),
    ("NEXT_PAGE_WAIT", "pages as before, for ever", lambda end: end.wait(5)),
    ("AN_GOOD_CHECK", "another technology's link", lambda end: end.status(KX)),
    ("AN_GOOD_CHECK", "almost link_fail_inhibit_timer", lambda end: end.wait(TIMERS.link_fail_inhibit - 1e-5)),
    ("AN_GOOD", "time", lambda end: end.wait(5)),
    ("AN_GOOD", "another technology's link too", lambda end: end.status(KR, KX)),
    ("AN_GOOD", "pages", lambda end: end.pages(SELECTOR | KR_BIT | 7 << 16)),
]


@pytest.mark.parametrize(
    ("state", "stimulus"), [pytest.param(state, do, id=f"{state}: {name}") for state, name, do in STAYS]
)
def test_stays(state: str, stimulus: Callable[[End], object]) -> None:
    assert at(state).since(stimulus) == []


def test_parallel_detection_waits_for_the_line_to_be_idle() -> None:
    """Pages have priority over a carrier: link_status matters only with an_receive_idle."""
    end = at("ABILITY_DETECT")
    end.arbitration.receive(Pages(Codeword(end.theirs | end.other_nonce() << 16)))
    assert end.since(lambda end: end.status(KX)) == []
    assert end.since(lambda end: end.wait(4 * PAGE)) == ["ACKNOWLEDGE_DETECT"]


def test_only_what_is_advertised_is_detected() -> None:
    end = at("ABILITY_DETECT", offers=KX4_BIT | KR_BIT)
    assert end.since(lambda end: end.status(KX)) == []
    assert end.arbitration.link_control(KX) is LinkControl.DISABLE


# --- next pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "theirs"), [(True, False), (False, True), (True, True)])
def test_next_pages_if_either_end_has_one(more: bool, theirs: bool) -> None:
    """COMPLETE ACKNOWLEDGE waits for management to load one, with no way out but that (and restart)."""
    end = at("COMPLETE_ACKNOWLEDGE", more=more, theirs=theirs)
    assert end.since(End.finished) == []
    assert end.since(End.silence) == []
    assert end.since(lambda end: end.wait(5)) == []
    assert end.arbitration.next_page_wanted
    end.pages(end.theirs | end.other_nonce() << 16 | ACK)
    assert end.since(End.load) == ["NEXT_PAGE_WAIT"]
    assert not end.arbitration.next_page_loaded


def test_a_page_that_is_loaded_early_waits_for_ack_finished() -> None:
    end = at("COMPLETE_ACKNOWLEDGE", theirs=True)
    assert end.since(End.load) == []
    assert end.since(End.finished) == ["NEXT_PAGE_WAIT"]


def test_the_last_next_page_ends_it() -> None:
    end = at("NEXT_PAGE_WAIT")
    assert end.since(End.next_page) == ["ACKNOWLEDGE_DETECT"]
    assert end.page & (ACK | 0x3E0) == ACK, "a next page has no echoed nonce"
    assert end.since(lambda end: end.pages(NULL | TOGGLE | ACK)) == ["COMPLETE_ACKNOWLEDGE"]
    assert end.since(End.finished) == ["AN_GOOD_CHECK"]
    assert end.arbitration.lp_next_page & 0x27FF == NULL


def test_a_next_page_that_changes_under_acknowledge_starts_over() -> None:
    end = at("NEXT_PAGE_WAIT")
    end.next_page()
    assert end.since(lambda end: end.pages((NULL | TOGGLE | ACK) + 1)) == ["TRANSMIT_DISABLE"]


@pytest.mark.parametrize("asymmetric", [0, ASM_DIR])
def test_toggle_starts_from_d11_of_the_base_page(asymmetric: int) -> None:
    """The first next page has the inverse of D11 (C1) of the own base page, each further one of the page before."""
    end = End(more=True, theirs=True)
    end.arbitration.advertise(SELECTOR | KR_BIT | NP | asymmetric)
    to_next_page_wait(end)
    assert bool(end.page & TOGGLE) is not bool(asymmetric)
    first = bool(end.page & TOGGLE)
    theirs = NULL | NP | TOGGLE
    end.next_page(theirs)
    end.pages(theirs | ACK)
    end.load()
    end.finished()
    assert bool(end.page & TOGGLE) is not first


# --- actions of the states -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", WAYS)
def test_what_is_transmitted(state: str) -> None:
    end = at(state)
    pages = {"ABILITY_DETECT", "ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE", "NEXT_PAGE_WAIT"}
    assert (end.page is not None) is (state in pages)
    if end.page is not None:
        assert bool(end.page & ACK) is (state in {"ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE"})
    if state == "ABILITY_DETECT":
        assert end.page.echoed_nonce == 0
    if state == "ACKNOWLEDGE_DETECT":
        assert end.page.echoed_nonce == end.page.nonce ^ 1


@pytest.mark.parametrize("state", WAYS)
def test_what_management_reads(state: str) -> None:
    arbitration = at(state).arbitration
    assert arbitration.complete is (state == "AN_GOOD")
    assert arbitration.page_rx is (state in {"COMPLETE_ACKNOWLEDGE", "AN_GOOD_CHECK", "AN_GOOD"})
    exchanged = {"ACKNOWLEDGE_DETECT", "COMPLETE_ACKNOWLEDGE", "NEXT_PAGE_WAIT", "AN_GOOD_CHECK", "AN_GOOD"}
    assert arbitration.lp_autoneg_able is (state in exchanged)


@pytest.mark.parametrize("state", WAYS)
def test_link_control(state: str) -> None:
    control = {technology: at(state).arbitration.link_control(technology) for technology in (KX, KX4, KR)}
    off, scan, on = LinkControl.DISABLE, LinkControl.SCAN_FOR_CARRIER, LinkControl.ENABLE
    expected = {KX: off, KX4: off, KR: off}
    if state in {"ABILITY_DETECT", "LINK_STATUS_CHECK"}:
        expected = {KX: scan, KX4: scan, KR: off}
    elif state in {"AN_GOOD_CHECK", "AN_GOOD"}:
        expected[KR] = on
    assert control == expected


def test_incompatible_link() -> None:
    end = at("COMPLETE_ACKNOWLEDGE")
    end.arbitration.incompatible = lambda technology: technology is KR
    assert end.since(End.finished) == ["AN_GOOD_CHECK", "TRANSMIT_DISABLE"]


def test_no_common_technology() -> None:
    """HCD is NULL: no link can come, so link_fail_inhibit_timer ends it."""
    end = at("AN_GOOD_CHECK", offers=KX_BIT, partner=KR_BIT)
    assert {end.arbitration.link_control(technology) for technology in (KX, KX4, KR)} == {LinkControl.DISABLE}
    assert end.since(lambda end: end.status(KX, KX4, KR)) == []
    assert end.since(lambda end: end.wait(0.51)) == ["TRANSMIT_DISABLE"]


def test_parallel_detection_fault_is_kept_until_restart() -> None:
    end = at("LINK_STATUS_CHECK")
    end.status()
    end.wait(TIMERS.autoneg_wait)
    end.break_link()
    assert end.arbitration.parallel_detection_fault
    end.restart()
    assert not end.arbitration.parallel_detection_fault


def test_a_new_nonce_at_each_ability_detect() -> None:
    """Pseudorandom: over 200 entries each of the 32 values occurs, none much more often than expected."""
    end = at("ABILITY_DETECT")
    seen = [end.page.nonce]
    for _ in range(640):
        end.restart()
        end.break_link()
        seen.append(end.page.nonce)
    assert set(seen) == set(range(32))
    assert max(seen.count(nonce) for nonce in range(32)) < 60


def test_an_advertisement_goes_out_at_the_next_ability_detect() -> None:
    end = at("ABILITY_DETECT")
    end.arbitration.advertise(SELECTOR | KX_BIT)
    assert end.page & KR_BIT
    end.restart()
    end.break_link()
    assert end.page & (KX_BIT | KR_BIT) == KX_BIT


# --- timers -----------------------------------------------------------------------------------------------------------

# Table 73-7, seconds; and what PHYs of 50 and 100 Gb/s a lane have instead (IEEE 802.3cd, 802.3ck).
TABLE = {
    "break_link": (0.060, 0.075),
    "autoneg_wait": (0.025, 0.050),
    "link_fail_inhibit": (0.500, 0.510),
    "link_fail_inhibit_kx": (0.040, 0.050),
    "link_fail_inhibit_pam4": (3.1, 3.2),
    "link_fail_inhibit_pam4_100g": (12.3, 12.4),
    "page_test_max": (350e-9, 375e-9),
}


def test_timers_are_within_their_bounds() -> None:
    assert {each.name for each in dataclasses.fields(Timers)} == set(TABLE) == set(BOUNDS)
    for name, (least, most) in TABLE.items():
        assert BOUNDS[name] == (least, most)
        assert least <= getattr(TIMERS, name) <= most


@pytest.mark.parametrize("technology", list(Technology))
def test_link_fail_inhibit_of_each_technology(technology: Technology) -> None:
    end = at("AN_GOOD_CHECK", offers=1 << 21 + technology.bit, partner=1 << 21 + technology.bit)
    name = "link_fail_inhibit"
    if technology.label in ("1000BASE-KX", "10GBASE-KX4", "2.5GBASE-KX", "5GBASE-KR"):
        name += "_kx"
    elif technology.label in ("50GBASE-KR/CR", "100GBASE-KR2/CR2", "200GBASE-KR4/CR4"):
        name += "_pam4"
    elif technology.label in ("100GBASE-KR1/CR1", "200GBASE-KR2/CR2", "400GBASE-KR4/CR4"):
        name += "_pam4_100g"
    least, most = TABLE[name]
    assert end.since(lambda end: end.wait(least - 1e-4)) == []
    assert end.since(lambda end: end.wait(most - least + 1e-4)) == ["TRANSMIT_DISABLE"]
