# SPDX-License-Identifier: GPL-2.0-or-later
"""What the smoke tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from plugfest.traffic.both_ways import Crossing
from plugfest.traffic.packet_sender import Outlet
from plugfest.traffic.traffic import Traffic

if TYPE_CHECKING:
    from plugfest.machine.wire import WireEnd
    from plugfest.plugin.fixtures import Guest, Until


@pytest.fixture
def crossing_after(guest: Guest, wire: WireEnd, until: Until, defer: Callable[..., None]) -> Callable[[], Crossing]:
    """Makes a `Crossing` when called, for tests that first take the guest or the interface away."""

    def make() -> Crossing:
        dut = guest.machine.dut
        traffic = Traffic(guest, dut, wire, until, defer)
        return Crossing(traffic, Outlet(guest.agent, dut.ifname, defer), until)

    return make
