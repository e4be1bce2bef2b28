# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the link tests wait for the carrier to go: not until the transmit watchdog fires, on any guest."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from plugfest.deadline import scaled

WATCHDOG = 5.0
"""Seconds that a queue may stand still: include/linux/netdevice.h, ``watchdog_timeo``, 5 * HZ unless the driver sets it."""
FIXTURES = Path(__file__).parents[2] / "conformance" / "link" / "conftest.py"


@pytest.mark.parametrize("speed", [4.0, 1.0, 0.2, 0.01])
def test_carrier_must_go_within_a_fixed_time_of_wall_time(speed: float) -> None:
    spec = importlib.util.spec_from_file_location("link_fixtures", FIXTURES)
    assert spec is not None
    assert spec.loader is not None
    fixtures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fixtures)
    assert scaled(fixtures.down_timeout(speed), speed) == pytest.approx(fixtures.DOWN_TIMEOUT)
    assert fixtures.DOWN_TIMEOUT < WATCHDOG
