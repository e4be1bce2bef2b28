# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of XDP share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.adjustment import Adjustment
from plugfest.af_xdp import CHUNKS, AfXdp, Mode, Socket
from plugfest.changes import Changes
from plugfest.dut import Dut
from plugfest.inlet import Inlet
from plugfest.pair import Pair
from plugfest.traffic import check_same
from plugfest.xdp import SOON, Program, Xdp

if TYPE_CHECKING:
    from plugfest.faults import LocalFaults
    from plugfest.plugin.fixtures import Guest, Until
    from plugfest.traffic import Sightings, Traffic
    from plugfest.wire import WireEnd


@pytest.fixture
def inlet(guest: Guest, dut: Dut, defer: Callable[..., None]) -> Callable[..., Inlet]:
    """``inlet()`` takes whole frames as they come out of the driver, or out of the interface that is named."""
    return lambda ifname=dut.ifname: Inlet(guest, ifname, defer)


@pytest.fixture
def come(until: Until) -> Callable[[Sightings, Sequence[bytes]], None]:
    """``come(seen, frames)`` waits until the wire has carried as many frames, and checks that it carried these."""

    def check(seen: Sightings, frames: Sequence[bytes]) -> None:
        until(lambda: len(seen.probes()) >= len(frames), what=f"{len(frames)} frames are on the wire", timeout=SOON)
        check_same(seen.probes(), frames, "frames on the wire")

    return check


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


@pytest.fixture
def af_xdp(guest: Guest, dut: Dut, faults: LocalFaults, until: Until, defer: Callable[..., None]) -> AfXdp:
    """AF_XDP on the interface under test."""
    return AfXdp(guest, dut.ifname, faults=faults, until=until, defer=defer)


@pytest.fixture(params=("copy", "zero-copy"))
def mode(request: pytest.FixtureRequest, redirecting: Xdp, unclaimed: Callable[..., NoReturn]) -> Mode:
    """Both modes of an AF_XDP socket; skips zero copy where the driver does not advertise it."""
    chosen: Mode = request.param
    features = redirecting.features()
    if chosen == "zero-copy" and "xsk-zerocopy" not in features:
        unclaimed("zero-copy AF_XDP", evidence={"netdev dev-get xdp-features": sorted(features)})
    return chosen


@pytest.fixture
def to_sockets(redirecting: Xdp) -> Program:
    """A program, attached in native mode, that gives test frames to the sockets in its map; without one they reach the stack."""
    return redirecting.attach("xdp_to_socket")


@pytest.fixture
def bound(
    af_xdp: AfXdp, to_sockets: Program, mode: Mode, traffic: Traffic, change: Changes
) -> Callable[..., list[Socket]]:
    """``bound()`` opens a socket for each receive queue, each with a umem of its own, posts buffers and waits for the link."""

    def bind(*, fill: int = CHUNKS // 2, offset: int = 0, wakeup: bool = True, **umem: int) -> list[Socket]:
        sockets = []
        for queue in range(traffic.queues()):
            socket = af_xdp.umem(to_sockets.maps["sockets"], **umem).open(queue, mode, wakeup=wakeup)
            if fill:
                socket.fill(fill, offset)
            socket.enter()
            sockets.append(socket)
        change.ready()
        return sockets

    return bind
