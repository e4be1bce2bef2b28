# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of XDP share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.adjustment import Adjustment
from plugfest.changes import Changes
from plugfest.dut import Dut
from plugfest.inlet import Inlet
from plugfest.pair import Pair
from plugfest.xdp import Xdp

if TYPE_CHECKING:
    from plugfest.faults import LocalFaults
    from plugfest.plugin.fixtures import Guest, Until
    from plugfest.traffic import Traffic
    from plugfest.wire import WireEnd


@pytest.fixture
def inlet(guest: Guest, dut: Dut, defer: Callable[..., None]) -> Callable[..., Inlet]:
    """``inlet()`` takes whole frames as they come out of the driver, or out of the interface that is named."""
    return lambda ifname=dut.ifname: Inlet(guest, ifname, defer)


@pytest.fixture
def adjustment(native: Xdp, faults: LocalFaults) -> Adjustment:
    """The program that moves the ends of frames as it is told, to be attached in native mode."""
    return Adjustment(native, faults)


@pytest.fixture
def pair(guest: Guest, faults: LocalFaults, defer: Callable[..., None], until: Until) -> Pair:
    """Two interfaces of the guest that are the ends of one wire."""
    return Pair(guest, faults, defer, until)


@pytest.fixture
def redirecting(native: Xdp, unclaimed: Callable[..., NoReturn]) -> Xdp:
    """XDP in native mode, of a driver that can redirect; skips where it does not advertise that."""
    features = native.features()
    if "redirect" not in features:
        unclaimed("XDP_REDIRECT", evidence={"netdev dev-get xdp-features": sorted(features)})
    return native


@dataclass(frozen=True)
class Second:
    """A second NIC of the driver under test.

    Attributes:
        dut: its interface.
        xdp: XDP on that; nothing is attached, and nothing is in the way of a program.
        wire: the other end of its wire.
        change: changes of it.
    """

    dut: Dut
    xdp: Xdp
    wire: WireEnd
    change: Changes


@pytest.fixture
def second(
    guest: Guest,
    faults: LocalFaults,
    until: Until,
    defer: Callable[..., None],
    unobstructed: Callable[[Xdp, Dut, Changes], None],
) -> Second:
    """A second NIC; it stays until the guest is given up, so its tests want a fresh guest."""
    nic = guest.machine.plug_second()
    dut = Dut(guest.machine, nic.ifname)
    change = Changes(dut, until, defer, lambda: True)
    xdp = Xdp(guest.agent, nic.ifname, faults=faults, defer=defer, until=until, advertises=lambda _: None)
    change.ready()
    unobstructed(xdp, dut, change)
    return Second(dut, xdp, nic.wire, change)


@pytest.fixture
def target(native: Xdp, traffic: Traffic, unclaimed: Callable[..., NoReturn]) -> Xdp:
    """The DUT as one that others redirect to, which a driver may allow only while a program is attached: one that passes all is."""
    native.attach("xdp_pass")
    traffic.ready()
    features = native.features()
    if "ndo-xmit" not in features:
        unclaimed("frames of other interfaces (NDO_XMIT)", evidence={"netdev dev-get xdp-features": sorted(features)})
    return native
