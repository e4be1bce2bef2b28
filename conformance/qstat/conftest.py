# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of per-queue statistics share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.ledger import Ledger
from plugfest.traffic import Traffic
from plugfest.xdp import Xdp

if TYPE_CHECKING:
    from plugfest.dut import Dut
    from plugfest.faults import LocalFaults
    from plugfest.plugin.fixtures import Guest, Until
    from plugfest.wire import WireEnd


@pytest.fixture
def ledger(guest: Guest, faults: LocalFaults) -> Ledger:
    """The accounts of driver, device and wire."""
    return Ledger(guest.machine, faults)


@pytest.fixture
def counted(ledger: Ledger, unclaimed: Callable[..., NoReturn]) -> Ledger:
    """The accounts, where the driver has any by queue; skips where it has none."""
    if not ledger.queues():
        evidence = {
            "ethtool -S": [name for name, _ in ledger.ethtool()],
            "netdev qstats-get, scope queue": ledger.qstats(),
        }
        unclaimed("per-queue frame and byte counters", evidence=evidence)
    return ledger


@pytest.fixture
def traffic(guest: Guest, dut: Dut, wire: WireEnd, until: Until, defer: Callable[..., None]) -> Traffic:
    """Probes to the DUT, with UDP sockets that take them there, and back."""
    return Traffic(guest, dut, wire, until, defer)


@pytest.fixture
def native(
    guest: Guest, dut: Dut, faults: LocalFaults, defer: Callable[..., None], unclaimed: Callable[..., NoReturn]
) -> Xdp:
    """XDP in native mode; skips where the driver does not advertise it."""
    xdp = Xdp(guest.agent, dut.ifname, faults, defer)
    features = xdp.features()
    if "basic" not in features:
        unclaimed("native XDP (NETDEV_XDP_ACT_BASIC)", evidence={"netdev dev-get xdp-features": sorted(features)})
    return xdp
