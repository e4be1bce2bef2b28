# SPDX-License-Identifier: GPL-2.0-or-later
"""The link: what AUTOC offers, what becomes of it with different partners, and who is told."""

from __future__ import annotations

import frames
import pytest
from nicmodels.ixgbe.registers import general, interrupt, mac
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
