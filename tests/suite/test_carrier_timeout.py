# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the link tests wait for the carrier to go: never until the transmit watchdog, and no longer than a fast guest needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from plugfest.deadline import scaled

FIXTURES = Path(__file__).parents[2] / "conformance" / "link" / "conftest.py"


@pytest.mark.parametrize(
    ("speed", "seconds"), [(4.0, 1.5), (1.0, 1.5), (0.5, 2.0), (0.2, 3.5), (0.1, 4.0), (0.01, 4.0)]
)
def test_carrier_must_go_within_a_fixed_time_of_wall_time(speed: float, seconds: float) -> None:
    spec = importlib.util.spec_from_file_location("link_fixtures", FIXTURES)
    assert spec is not None
    assert spec.loader is not None
    fixtures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fixtures)
    assert scaled(fixtures.down_timeout(speed), speed) == pytest.approx(seconds)
