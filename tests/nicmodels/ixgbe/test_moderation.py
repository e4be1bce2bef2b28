# SPDX-License-Identifier: GPL-2.0-or-later
"""Interrupt moderation to the microsecond, on a clock that is turned by hand."""

from __future__ import annotations

import frames
import pytest
from nicmodels.models.ixgbe.registers import interrupt as r
from rig import Rig

UNIT = 2.048e-6
AUTO_MASK = 1 << 30
MULTIPLE = 1 << 4


@pytest.fixture
def moderated(rig: Rig) -> Rig:
    """Receive queue 0 on vector 2, transmit queue 0 on vector 3, everything unmasked, vector 2 at most every 100 units."""
    rig.write(r.GPIE, MULTIPLE)
    rig.write(r.IVAR, 0x82 | 0x83 << 8)
    rig.write(r.EIAC, 0xFFFF)
    rig.write(r.EIMS_EX, 0xFFFFFFFF)
    rig.write(r.EITR, 100 << 3 | 1 << 31, 2)
    return rig


def raised(rig: Rig, vector: int = 2) -> int:
    return rig.device.interrupts.raised[vector]


def test_the_first_is_immediate_and_the_next_waits(moderated: Rig) -> None:
    moderated.receive(frames.tcp())
    assert raised(moderated) == 1
    moderated.receive(frames.tcp())
    moderated.receive(frames.tcp())
    assert raised(moderated) == 1
    moderated.clock.advance(99 * UNIT)
    assert raised(moderated) == 1
    moderated.clock.advance(1.1 * UNIT)
    assert raised(moderated) == 2
    moderated.clock.advance(1)
    assert raised(moderated) == 2


def test_a_quiet_interval_costs_no_delay(moderated: Rig) -> None:
    moderated.receive(frames.tcp())
    moderated.clock.advance(200 * UNIT)
    moderated.receive(frames.tcp())
    assert raised(moderated) == 2


def test_vectors_are_moderated_alone(moderated: Rig) -> None:
    for _ in range(3):
        moderated.transmit(frames.ethernet())
    assert raised(moderated, 3) == 3


def test_masked_in_the_meantime(moderated: Rig) -> None:
    moderated.receive(frames.tcp())
    moderated.receive(frames.tcp())
    moderated.write(r.EIMC_EX, 1 << 2)
    moderated.clock.advance(1)
    assert raised(moderated) == 1
    moderated.write(r.EIMS_EX, 1 << 2)
    assert raised(moderated) == 2


def test_automatic_masking(moderated: Rig) -> None:
    """One interrupt, then none until the driver unmasks; what came in between fires then."""
    moderated.write(r.GPIE, MULTIPLE | AUTO_MASK)
    moderated.write(r.EIAM_EX, 0xFFFFFFFF)
    moderated.write(r.EITR, 1 << 31, 2)
    for _ in range(3):
        moderated.receive(frames.tcp())
    assert raised(moderated) == 1
    assert not moderated.read(r.EIMS_EX) & 1 << 2
    moderated.write(r.EIMS_EX, 1 << 2)
    assert raised(moderated) == 2
    moderated.write(r.EIMS_EX, 1 << 2)
    assert raised(moderated) == 2


def test_a_reset_forgets_what_waits(moderated: Rig) -> None:
    moderated.receive(frames.tcp())
    moderated.receive(frames.tcp())
    moderated.device.interrupts.reset()
    moderated.clock.advance(1)
    assert raised(moderated) == 1


def test_vectors_above_sixteen(rig: Rig) -> None:
    rig.write(r.GPIE, MULTIPLE)
    rig.write(r.IVAR, 0x80 | 40)
    rig.write(r.EIMS_EX, 1 << 8, 1)
    rig.receive(frames.tcp())
    assert raised(rig, 40) == 1
    rig.write(r.EICS_EX, 1 << 8, 1)
    assert raised(rig, 40) == 2


def test_reading_causes_without_clearing(rig: Rig) -> None:
    """EICS reads as EICR does but clears nothing: what drivers use against an erratum."""
    rig.read(r.EICR)
    rig.write(r.EICS, 1 << 20)
    assert rig.read(r.EICS) & 1 << 20
    assert rig.read(r.EICS) & 1 << 20
    assert rig.read(r.EICR) & 1 << 20
    assert not rig.read(r.EICS) & 1 << 20
