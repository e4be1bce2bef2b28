# SPDX-License-Identifier: GPL-2.0-or-later
"""Interrupt moderation to the microsecond, on a manual clock."""

from __future__ import annotations

import frames
import pytest
from ixgbe_harness import Harness
from nicmodels.models.ixgbe.registers import interrupt as r

UNIT = 2.048e-6
AUTO_MASK = 1 << 30
MULTIPLE = 1 << 4


@pytest.fixture
def moderated(harness: Harness) -> Harness:
    """Receive queue 0 on vector 2, transmit queue 0 on vector 3, everything unmasked, vector 2 at most every 100 units."""
    harness.write(r.GPIE, MULTIPLE)
    harness.write(r.IVAR, 0x82 | 0x83 << 8)
    harness.write(r.EIAC, 0xFFFF)
    harness.write(r.EIMS_EX, 0xFFFFFFFF)
    harness.write(r.EITR, 100 << 3 | 1 << 31, 2)
    return harness


def raised(harness: Harness, vector: int = 2) -> int:
    return harness.device.interrupts.raised[vector]


def test_the_first_is_immediate_and_the_next_waits(moderated: Harness) -> None:
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


def test_a_quiet_interval_costs_no_delay(moderated: Harness) -> None:
    moderated.receive(frames.tcp())
    moderated.clock.advance(200 * UNIT)
    moderated.receive(frames.tcp())
    assert raised(moderated) == 2


def test_vectors_are_moderated_alone(moderated: Harness) -> None:
    for _ in range(3):
        moderated.transmit(frames.ethernet())
    assert raised(moderated, 3) == 3


def test_masked_in_the_meantime(moderated: Harness) -> None:
    moderated.receive(frames.tcp())
    moderated.receive(frames.tcp())
    moderated.write(r.EIMC_EX, 1 << 2)
    moderated.clock.advance(1)
    assert raised(moderated) == 1
    moderated.write(r.EIMS_EX, 1 << 2)
    assert raised(moderated) == 2


def test_automatic_masking(moderated: Harness) -> None:
    """One interrupt, then none until the driver unmasks; a pending one is sent then."""
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


def test_a_reset_forgets_what_waits(moderated: Harness) -> None:
    moderated.receive(frames.tcp())
    moderated.receive(frames.tcp())
    moderated.device.interrupts.reset()
    moderated.clock.advance(1)
    assert raised(moderated) == 1


def test_vectors_above_sixteen(harness: Harness) -> None:
    harness.write(r.GPIE, MULTIPLE)
    harness.write(r.IVAR, 0x80 | 40)
    harness.write(r.EIMS_EX, 1 << 8, 1)
    harness.receive(frames.tcp())
    assert raised(harness, 40) == 1
    harness.write(r.EICS_EX, 1 << 8, 1)
    assert raised(harness, 40) == 2


def test_reading_causes_without_clearing(harness: Harness) -> None:
    """EICS reads as EICR but clears nothing, which drivers use to avoid an erratum."""
    harness.read(r.EICR)
    harness.write(r.EICS, 1 << 20)
    assert harness.read(r.EICS) & 1 << 20
    assert harness.read(r.EICS) & 1 << 20
    assert harness.read(r.EICR) & 1 << 20
    assert not harness.read(r.EICS) & 1 << 20
