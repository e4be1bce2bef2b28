# SPDX-License-Identifier: GPL-2.0-or-later
"""What the XDP tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.traffic import Traffic
from plugfest.xdp import Xdp

if TYPE_CHECKING:
    from plugfest.dut import Dut
    from plugfest.faults import LocalFaults
    from plugfest.plugin.fixtures import Guest, Until
    from plugfest.wire import WireEnd


@pytest.fixture
def xdp(guest: Guest, dut: Dut, faults: LocalFaults, defer: Callable[..., None]) -> Xdp:
    """XDP on the interface under test, in whatever mode."""
    return Xdp(guest.agent, dut.ifname, faults, defer)


@pytest.fixture
def native(xdp: Xdp, unclaimed: Callable[..., NoReturn]) -> Xdp:
    """XDP in native mode; skips where the driver does not advertise it."""
    features = xdp.features()
    if "basic" not in features:
        unclaimed("native XDP (NETDEV_XDP_ACT_BASIC)", evidence={"netdev dev-get xdp-features": sorted(features)})
    return xdp


@pytest.fixture
def traffic(guest: Guest, dut: Dut, wire: WireEnd, until: Until, defer: Callable[..., None]) -> Traffic:
    """Probes to the DUT, with UDP sockets that take them there."""
    return Traffic(guest, dut, wire, until, defer)
