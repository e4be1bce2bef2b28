# SPDX-License-Identifier: GPL-2.0-or-later
"""The link: AUTOC's advertisement, its results with different partners, and interrupts."""

from __future__ import annotations

import frames
import pytest
from ixgbe_harness import Harness
from nicmodels.models.ixgbe.registers import general, interrupt, mac
from nicmodels.phy import Abilities

UP, SPEED, NEGOTIATED = 1 << 30, 28, 1 << 31
TEN, ONE = 3, 2
RESTART = 1 << 12
LSC = 1 << 20


SETTLED = 0.3
"""Seconds: break_link_timer, training, and in one of 32 cases all of it again because the nonces are equal (73.10.4)."""


def speed(harness: Harness) -> int | None:
    links = harness.read(mac.LINKS)
    return links >> SPEED & 3 if links & UP else None


@pytest.mark.parametrize(
    ("profile", "partner", "expected"),
    [
        ("kr", ("10GBASE-KR", "1000BASE-KX"), TEN),
        ("kr", ("10GBASE-KX4", "1000BASE-KX"), ONE),
        ("kr", ("10GBASE-KX4",), None),
        ("kx4", ("10GBASE-KX4", "10GBASE-KR"), TEN),
        ("kx4", ("10GBASE-KR", "1000BASE-KX"), ONE),
        ("combo", ("10GBASE-KR",), TEN),
        ("combo", ("10GBASE-KX4",), TEN),
        ("combo", ("1000BASE-KX",), ONE),
    ],
)
def test_the_best_common_technology(profile: str, partner: tuple[str, ...], expected: int | None) -> None:
    harness = Harness(profile)
    harness.device.link.partner.set(abilities=Abilities.of(*partner))
    harness.clock.advance(SETTLED)
    assert speed(harness) == expected
    if expected is not None:
        assert harness.read(mac.LINKS) & NEGOTIATED
        assert harness.read(mac.LINKS2) & 1 << 6
        assert harness.read(mac.ANLP1) >> 16 & 0xF


def test_a_profile_whose_partner_does_not_negotiate() -> None:
    harness = Harness("detect")
    harness.clock.advance(SETTLED)
    assert speed(harness) == ONE
    assert not harness.read(mac.LINKS2) & 1 << 6, "found, not negotiated with"


def test_the_driver_restricts(harness: Harness) -> None:
    """Without KR support in AUTOC the link falls back: the SmartSpeed of drivers."""
    harness.write(mac.AUTOC, harness.read(mac.AUTOC) & ~(1 << 16) | RESTART)
    assert speed(harness) is None
    assert not harness.read(mac.AUTOC) & RESTART
    harness.clock.advance(SETTLED)
    assert speed(harness) == ONE


def test_pause_of_the_partner(harness: Harness) -> None:
    harness.device.link.partner.set(abilities=Abilities.of("10GBASE-KR", pause=True, asymmetric_pause=False))
    harness.clock.advance(SETTLED)
    assert harness.read(mac.ANLP1) & 0xC00 == 0x400
    harness.device.link.partner.set(abilities=Abilities.of("10GBASE-KR", pause=False, asymmetric_pause=True))
    harness.clock.advance(SETTLED)
    assert harness.read(mac.ANLP1) & 0xC00 == 0x800


def test_changes_interrupt(harness: Harness) -> None:
    harness.read(interrupt.EICR)
    harness.device.link.partner.set(up=False)
    harness.clock.advance(SETTLED)
    assert harness.read(interrupt.EICR) & LSC
    assert not harness.read(general.STATUS) & 1 << 7
    harness.device.link.partner.set(up=True)
    harness.clock.advance(SETTLED)
    assert harness.read(interrupt.EICR) & LSC
    assert harness.read(general.STATUS) & 1 << 7


def test_the_cause_is_set_when_the_link_is_seen_to_change(harness: Harness) -> None:
    """A restart takes the link down during the driver's write, without a turn of the event loop."""
    harness.read(interrupt.EICR)
    harness.write(mac.AUTOC, harness.read(mac.AUTOC) | RESTART)
    assert speed(harness) is None
    assert harness.read(interrupt.EICR) & LSC


def test_link_status_is_latched_low(harness: Harness) -> None:
    """Bit 7 of LINKS: up, and not down since the last read."""
    harness.read(mac.LINKS)
    assert harness.read(mac.LINKS) & 1 << 7
    harness.device.link.partner.set(up=False)
    harness.clock.advance(SETTLED)
    harness.device.link.partner.set(up=True)
    harness.clock.advance(SETTLED)
    links = harness.read(mac.LINKS)
    assert links & UP
    assert not links & 1 << 7
    assert harness.read(mac.LINKS) & 1 << 7


def test_looks_count_from_the_last_change_of_the_link(harness: Harness) -> None:
    looks, changes = (harness.device.control_methods()[name] for name in ("link.looks", "link.changes"))
    harness.read(mac.LINKS)
    assert looks() >= 1
    before = changes()
    harness.device.link.partner.set(up=False)
    harness.clock.advance(SETTLED)
    assert looks() == 0
    harness.read(mac.AUTOC)
    harness.read(mac.LINKS)
    harness.read(mac.LINKS)
    assert looks() == 2
    assert changes() == before + 1
    harness.device.link.partner.set(up=True)
    harness.clock.advance(SETTLED)
    assert looks() == 0
    assert changes() == before + 2


def test_nothing_passes_without_a_link(harness: Harness) -> None:
    """Received frames are dropped; queued frames wait for the link."""
    harness.device.link.partner.set(up=False)
    harness.clock.advance(SETTLED)
    assert harness.receive(frames.tcp()) == []
    assert harness.transmit(frames.ethernet()) == []
    assert not harness.done()
    harness.device.link.partner.set(up=True)
    harness.clock.advance(SETTLED)
    assert harness.wire.sent == [frames.ethernet()]
    assert harness.done()


def test_the_transmitter_can_be_off(harness: Harness) -> None:
    harness.write(mac.AUTOC2, 1 << 30)
    harness.clock.advance(SETTLED)
    assert speed(harness) is None
    harness.write(mac.AUTOC2, 0)
    harness.clock.advance(SETTLED)
    assert speed(harness) == TEN


def test_the_link_can_be_forced(harness: Harness) -> None:
    harness.device.link.partner.set(up=False)
    harness.clock.advance(SETTLED)
    harness.write(mac.AUTOC, harness.read(mac.AUTOC) | 1)
    assert speed(harness) == TEN


def test_no_phy_answers_on_the_management_bus(harness: Harness) -> None:
    for address in range(32):
        harness.write(mac.MSCA, 1 << 30 | 3 << 26 | address << 21 | 1 << 16 | 2)
        assert not harness.read(mac.MSCA) & 1 << 30
        assert harness.read(mac.MSRWD) >> 16 == 0xFFFF


LMS = 13
FORCED = {0: "1000BASE-KX", 1: "10GBASE-KX4", 3: "10GBASE-KR"}
ANAS_GOOD = 9


def set_mode(harness: Harness, mode: int, *, restart: bool = True) -> None:
    harness.write(mac.AUTOC, harness.read(mac.AUTOC) & ~(7 << LMS) | mode << LMS | RESTART * restart)


@pytest.mark.parametrize("mode", FORCED)
def test_forced_modes(harness: Harness, mode: int) -> None:
    """The mode's technology without negotiation, if the partner runs it too."""
    set_mode(harness, mode)
    harness.device.link.partner.control(abilities={"technologies": [FORCED[mode]], "negotiates": False})
    harness.clock.advance(0.01)
    assert speed(harness) == (ONE if mode == 0 else TEN)
    assert not harness.read(mac.LINKS) & NEGOTIATED
    assert harness.read(mac.ANLP1) >> 16 & 15 == ANAS_GOOD
    harness.device.link.partner.control(abilities={"technologies": ["40GBASE-KR4"], "negotiates": False})
    harness.clock.advance(1)
    assert speed(harness) is None
    assert harness.read(mac.ANLP1) >> 16 & 15


def test_a_mode_takes_effect_at_restart(harness: Harness) -> None:
    set_mode(harness, 0, restart=False)
    harness.clock.advance(SETTLED)
    assert speed(harness) == TEN
    set_mode(harness, 0)
    harness.clock.advance(0.01)
    assert speed(harness) is None


@pytest.mark.parametrize(("technology", "expected"), [("1000BASE-KX", ONE), ("10GBASE-KX4", TEN), ("10GBASE-KR", None)])
def test_parallel_detection(technology: str, expected: int | None) -> None:
    """With a partner that does not negotiate (73.7.4.1) negotiation completes, and the partner is not able to."""
    harness = Harness("combo")
    harness.device.link.partner.control(abilities={"technologies": [technology], "negotiates": False})
    harness.clock.advance(SETTLED)
    assert speed(harness) == expected
    assert bool(harness.read(mac.LINKS) & NEGOTIATED) is (expected is not None)
    if expected is not None:
        assert not harness.read(mac.LINKS2) & 1 << 6


def test_the_pages_of_the_partner(harness: Harness) -> None:
    state = harness.device.link.partner.control(
        abilities={"technologies": ["10GBASE-KR", "25GBASE-KR/CR"], "fec": True, "remote_fault": True},
        next_pages=[{"message": 5, "data": 0x89ABCDEF}],
    )
    assert state["next_pages"]
    harness.clock.advance(SETTLED)
    base = harness.read(mac.ANLP1) & 0xFFFF | harness.read(mac.ANLP2) << 16
    assert base & 0xA01F == 1 | 1 << 13 | 1 << 15, "selector, RF, NP"
    assert base >> 21 & 0x7FFFFF == 1 << 2 | 1 << 10
    assert base >> 46 == 1
    following = harness.read(mac.ANLPNP1) | harness.read(mac.ANLPNP2) << 32
    assert following & ~(1 << 11 | 1 << 14) == 5 | 1 << 13 | 0x89ABCDEF << 16
    assert harness.read(mac.LINKS) & 0x60 == 0x60
    assert speed(harness) == TEN


@pytest.mark.parametrize("bits", [0, 1 << 28, 1 << 29, 1 << 27, 1 << 18, 1 << 17, 1 << 16, 1 << 30])
def test_what_the_partner_receives(harness: Harness, bits: int) -> None:
    """PB (28, 29), RF (27), FECA (18), FECR (17), KR (16), KX (30) of AUTOC in the base page."""
    keep = ~(7 << 27 | 7 << 16 | 3 << 30)
    harness.write(mac.AUTOC, harness.read(mac.AUTOC) & keep | bits | RESTART)
    harness.clock.advance(SETTLED)
    places = {28: 10, 29: 11, 27: 13, 18: 46, 17: 47, 16: 23, 30: 21}
    expected = 1 | sum(1 << place for bit, place in places.items() if bits >> bit & 1)
    received = int(harness.device.link.partner.describe()["received"]["base_page"], 16)
    assert received & ~(31 << 16) == expected


def test_fec_is_shown(harness: Harness) -> None:
    harness.device.link.partner.control(abilities={"technologies": ["10GBASE-KR"], "fec": True, "fec_request": True})
    harness.clock.advance(SETTLED)
    assert harness.read(mac.LINKS) & 1 << 23
    harness.device.link.partner.control(abilities=["10GBASE-KR"])
    harness.clock.advance(SETTLED)
    assert not harness.read(mac.LINKS) & 1 << 23


def test_time_to_link(harness: Harness) -> None:
    """break_link_timer (60 to 75 ms), pages, training: well under 100 ms."""
    harness.write(mac.AUTOC, harness.read(mac.AUTOC) | RESTART)
    harness.clock.advance(0.0599)
    assert speed(harness) is None
    harness.clock.advance(0.02)
    assert speed(harness) == TEN


def test_the_arbitration_state_is_that_of_the_figure(harness: Harness) -> None:
    assert harness.read(mac.ANLP1) >> 16 & 15 == ANAS_GOOD
    harness.write(mac.AUTOC, harness.read(mac.AUTOC) | RESTART)
    assert harness.read(mac.ANLP1) >> 16 & 15 == 1
    harness.device.link.partner.control(up=False)
    harness.clock.advance(0.07)
    assert harness.read(mac.ANLP1) >> 16 & 15 == 2
    assert harness.read(mac.LINKS) & 1 << 19, "the receiver is idle"
