# SPDX-License-Identifier: GPL-2.0-or-later
"""The link: what AUTOC offers, what becomes of it with different partners, and who is told."""

from __future__ import annotations

import frames
import pytest
from nicmodels.models.ixgbe.registers import general, interrupt, mac
from nicmodels.phy import Abilities
from rig import Rig

UP, SPEED, NEGOTIATED = 1 << 30, 28, 1 << 31
TEN, ONE = 3, 2
RESTART = 1 << 12
LSC = 1 << 20


SETTLED = 0.3
"""Seconds: break_link_timer, training, and once in 32 times the whole again because the nonces are equal (73.10.4)."""


def speed(rig: Rig) -> int | None:
    links = rig.read(mac.LINKS)
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
    rig = Rig(profile)
    rig.device.link.partner.set(abilities=Abilities.of(*partner))
    rig.clock.advance(SETTLED)
    assert speed(rig) == expected
    if expected is not None:
        assert rig.read(mac.LINKS) & NEGOTIATED
        assert rig.read(mac.LINKS2) & 1 << 6
        assert rig.read(mac.ANLP1) >> 16 & 0xF


def test_a_profile_whose_partner_does_not_negotiate() -> None:
    rig = Rig("detect")
    rig.clock.advance(SETTLED)
    assert speed(rig) == ONE
    assert not rig.read(mac.LINKS2) & 1 << 6, "found, not negotiated with"


def test_the_driver_restricts(rig: Rig) -> None:
    """Without KR support in AUTOC the link falls back: the SmartSpeed of drivers."""
    rig.write(mac.AUTOC, rig.read(mac.AUTOC) & ~(1 << 16) | RESTART)
    assert speed(rig) is None
    assert not rig.read(mac.AUTOC) & RESTART
    rig.clock.advance(SETTLED)
    assert speed(rig) == ONE


def test_pause_of_the_partner(rig: Rig) -> None:
    rig.device.link.partner.set(abilities=Abilities.of("10GBASE-KR", pause=True, asymmetric_pause=False))
    rig.clock.advance(SETTLED)
    assert rig.read(mac.ANLP1) & 0xC00 == 0x400
    rig.device.link.partner.set(abilities=Abilities.of("10GBASE-KR", pause=False, asymmetric_pause=True))
    rig.clock.advance(SETTLED)
    assert rig.read(mac.ANLP1) & 0xC00 == 0x800


def test_changes_interrupt(rig: Rig) -> None:
    rig.read(interrupt.EICR)
    rig.device.link.partner.set(up=False)
    rig.clock.advance(SETTLED)
    assert rig.read(interrupt.EICR) & LSC
    assert not rig.read(general.STATUS) & 1 << 7
    rig.device.link.partner.set(up=True)
    rig.clock.advance(SETTLED)
    assert rig.read(interrupt.EICR) & LSC
    assert rig.read(general.STATUS) & 1 << 7


def test_the_cause_is_set_when_the_link_is_seen_to_change(rig: Rig) -> None:
    """Without a turn of the loop in between: a restart takes the link down in the middle of the driver's write."""
    rig.read(interrupt.EICR)
    rig.write(mac.AUTOC, rig.read(mac.AUTOC) | RESTART)
    assert speed(rig) is None
    assert rig.read(interrupt.EICR) & LSC


def test_link_status_is_latched_low(rig: Rig) -> None:
    """Bit 7 of LINKS: up, and not down since the last read."""
    rig.read(mac.LINKS)
    assert rig.read(mac.LINKS) & 1 << 7
    rig.device.link.partner.set(up=False)
    rig.clock.advance(SETTLED)
    rig.device.link.partner.set(up=True)
    rig.clock.advance(SETTLED)
    links = rig.read(mac.LINKS)
    assert links & UP
    assert not links & 1 << 7
    assert rig.read(mac.LINKS) & 1 << 7


def test_nothing_passes_without_a_link(rig: Rig) -> None:
    """Received frames are lost; what is queued for transmission waits for the link."""
    rig.device.link.partner.set(up=False)
    rig.clock.advance(SETTLED)
    assert rig.receive(frames.tcp()) == []
    assert rig.transmit(frames.ethernet()) == []
    assert not rig.done()
    rig.device.link.partner.set(up=True)
    rig.clock.advance(SETTLED)
    assert rig.wire.sent == [frames.ethernet()]
    assert rig.done()


def test_the_transmitter_can_be_off(rig: Rig) -> None:
    rig.write(mac.AUTOC2, 1 << 30)
    rig.clock.advance(SETTLED)
    assert speed(rig) is None
    rig.write(mac.AUTOC2, 0)
    rig.clock.advance(SETTLED)
    assert speed(rig) == TEN


def test_the_link_can_be_forced(rig: Rig) -> None:
    rig.device.link.partner.set(up=False)
    rig.clock.advance(SETTLED)
    rig.write(mac.AUTOC, rig.read(mac.AUTOC) | 1)
    assert speed(rig) == TEN


def test_no_phy_answers_on_the_management_bus(rig: Rig) -> None:
    for address in range(32):
        rig.write(mac.MSCA, 1 << 30 | 3 << 26 | address << 21 | 1 << 16 | 2)
        assert not rig.read(mac.MSCA) & 1 << 30
        assert rig.read(mac.MSRWD) >> 16 == 0xFFFF


LMS = 13
FORCED = {0: "1000BASE-KX", 1: "10GBASE-KX4", 3: "10GBASE-KR"}
ANAS_GOOD = 9


def set_mode(rig: Rig, mode: int, *, restart: bool = True) -> None:
    rig.write(mac.AUTOC, rig.read(mac.AUTOC) & ~(7 << LMS) | mode << LMS | RESTART * restart)


@pytest.mark.parametrize("mode", FORCED)
def test_forced_modes(rig: Rig, mode: int) -> None:
    """The mode's technology without negotiation, if the partner runs it too."""
    set_mode(rig, mode)
    rig.device.link.partner.control(abilities={"technologies": [FORCED[mode]], "negotiates": False})
    rig.clock.advance(0.01)
    assert speed(rig) == (ONE if mode == 0 else TEN)
    assert not rig.read(mac.LINKS) & NEGOTIATED
    assert rig.read(mac.ANLP1) >> 16 & 15 == ANAS_GOOD
    rig.device.link.partner.control(abilities={"technologies": ["40GBASE-KR4"], "negotiates": False})
    rig.clock.advance(1)
    assert speed(rig) is None
    assert rig.read(mac.ANLP1) >> 16 & 15


def test_a_mode_takes_effect_at_restart(rig: Rig) -> None:
    set_mode(rig, 0, restart=False)
    rig.clock.advance(SETTLED)
    assert speed(rig) == TEN
    set_mode(rig, 0)
    rig.clock.advance(0.01)
    assert speed(rig) is None


@pytest.mark.parametrize(("technology", "expected"), [("1000BASE-KX", ONE), ("10GBASE-KX4", TEN), ("10GBASE-KR", None)])
def test_parallel_detection(technology: str, expected: int | None) -> None:
    """Of a partner that does not negotiate (73.7.4.1): complete, but the partner is not able to."""
    rig = Rig("combo")
    rig.device.link.partner.control(abilities={"technologies": [technology], "negotiates": False})
    rig.clock.advance(SETTLED)
    assert speed(rig) == expected
    assert bool(rig.read(mac.LINKS) & NEGOTIATED) is (expected is not None)
    if expected is not None:
        assert not rig.read(mac.LINKS2) & 1 << 6


def test_the_pages_of_the_partner(rig: Rig) -> None:
    told = rig.device.link.partner.control(
        abilities={"technologies": ["10GBASE-KR", "25GBASE-KR/CR"], "fec": True, "remote_fault": True},
        next_pages=[{"message": 5, "data": 0x89ABCDEF}],
    )
    assert told["next_pages"]
    rig.clock.advance(SETTLED)
    base = rig.read(mac.ANLP1) & 0xFFFF | rig.read(mac.ANLP2) << 16
    assert base & 0xA01F == 1 | 1 << 13 | 1 << 15, "selector, RF, NP"
    assert base >> 21 & 0x7FFFFF == 1 << 2 | 1 << 10
    assert base >> 46 == 1
    following = rig.read(mac.ANLPNP1) | rig.read(mac.ANLPNP2) << 32
    assert following & ~(1 << 11 | 1 << 14) == 5 | 1 << 13 | 0x89ABCDEF << 16
    assert rig.read(mac.LINKS) & 0x60 == 0x60
    assert speed(rig) == TEN


@pytest.mark.parametrize("bits", [0, 1 << 28, 1 << 29, 1 << 27, 1 << 18, 1 << 17, 1 << 16, 1 << 30])
def test_what_the_partner_receives(rig: Rig, bits: int) -> None:
    """PB (28, 29), RF (27), FECA (18), FECR (17), KR (16), KX (30) of AUTOC in the base page."""
    keep = ~(7 << 27 | 7 << 16 | 3 << 30)
    rig.write(mac.AUTOC, rig.read(mac.AUTOC) & keep | bits | RESTART)
    rig.clock.advance(SETTLED)
    places = {28: 10, 29: 11, 27: 13, 18: 46, 17: 47, 16: 23, 30: 21}
    expected = 1 | sum(1 << place for bit, place in places.items() if bits >> bit & 1)
    received = int(rig.device.link.partner.describe()["received"]["base_page"], 16)
    assert received & ~(31 << 16) == expected


def test_fec_is_shown(rig: Rig) -> None:
    rig.device.link.partner.control(abilities={"technologies": ["10GBASE-KR"], "fec": True, "fec_request": True})
    rig.clock.advance(SETTLED)
    assert rig.read(mac.LINKS) & 1 << 23
    rig.device.link.partner.control(abilities=["10GBASE-KR"])
    rig.clock.advance(SETTLED)
    assert not rig.read(mac.LINKS) & 1 << 23


def test_time_to_link(rig: Rig) -> None:
    """break_link_timer (60 to 75 ms), pages, training: well under 100 ms."""
    rig.write(mac.AUTOC, rig.read(mac.AUTOC) | RESTART)
    rig.clock.advance(0.0599)
    assert speed(rig) is None
    rig.clock.advance(0.02)
    assert speed(rig) == TEN


def test_the_arbitration_state_is_that_of_the_figure(rig: Rig) -> None:
    assert rig.read(mac.ANLP1) >> 16 & 15 == ANAS_GOOD
    rig.write(mac.AUTOC, rig.read(mac.AUTOC) | RESTART)
    assert rig.read(mac.ANLP1) >> 16 & 15 == 1
    rig.device.link.partner.control(up=False)
    rig.clock.advance(0.07)
    assert rig.read(mac.ANLP1) >> 16 & 15 == 2
    assert rig.read(mac.LINKS) & 1 << 19, "the receiver is idle"
