# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of XDP share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest
from plugfest.dut.dut import Dut
from plugfest.dut.settings import Settings
from plugfest.frames.probe import ETHERNET, Probe, burst, frames_of
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, JUMBO_MTU, LONG_SIZES, PATIENCE, SIZES, check_same
from plugfest.xdp.af_xdp import CHUNKS, AfXdp, Mode, Received, Socket, receive_frames
from plugfest.xdp.programs import Program, Xdp

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote
    from plugfest.traffic.traffic import SentFrames, Traffic

Told = TypeVar("Told")


@pytest.fixture
def come(until: Until) -> Callable[[SentFrames, Sequence[bytes]], None]:
    """``come(seen, frames)`` waits until the wire has carried as many frames, or carries no more, and checks that it carried these."""

    def check(seen: SentFrames, frames: Sequence[bytes]) -> None:
        # What differs says more than that frames are too few.
        with suppress(AssertionError):
            while (known := len(seen.probes())) < len(frames):
                until(
                    lambda known=known: len(seen.probes()) > known,
                    what=f"more than {known} frames are on the wire",
                    timeout=PATIENCE,
                )
        check_same(seen.probes(), frames, "frames on the wire")

    return check


@pytest.fixture
def member(guest: Machine, dut: Dut, defer: Callable[..., None]) -> Callable[[int], None]:
    """``member(100)`` makes an interface for a VLAN on the one under test, so that the device takes its frames.

    It has no address: a host takes what is for any of its addresses, by whichever interface it comes.
    """

    def join(vlan: int) -> None:
        name = f"vlan{vlan}"
        guest.agent.call("link.add_vlan", ifname=dut.ifname, vlan=vlan, name=name)
        defer(guest.agent.call, "link.delete", ifname=name)
        guest.agent.call("link.set", ifname=name, up=True)

    return join


@pytest.fixture
def long_frames(dut: Dut, settings: Settings, remote: Remote, defer: Callable[..., None]) -> Callable[[], list[int]]:
    """``long_frames()`` sets the largest MTU up to 9000, at both ends of the wire; returns the lengths to send."""

    def enlarge() -> list[int]:
        mtu = min(dut.link()["max-mtu"], JUMBO_MTU)
        settings.set_link(mtu=mtu)
        defer(setattr, remote, "mtu", remote.mtu)
        remote.mtu = max(remote.mtu, mtu)
        return [size for size in LONG_SIZES if size <= mtu + ETHERNET]

    return enlarge


@pytest.fixture
def redirecting(native: Xdp, require: Callable[..., None]) -> Xdp:
    """XDP in native mode, of a driver that can redirect; skips where it does not advertise that."""
    require("xdp-act:redirect")
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
    remote: Remote
    change: Settings


@pytest.fixture
def second(
    guest: Machine,
    until: Until,
    defer: Callable[..., None],
    unobstructed: Callable[[Xdp, Dut, Settings], None],
) -> Second:
    """A second NIC; it stays until the guest is given up, so its tests want a fresh guest."""
    nic = guest.plug_second()
    dut = Dut(guest, nic.ifname)
    change = Settings(dut, until, defer, lambda: True)
    xdp = Xdp(guest.agent, nic.ifname, defer=defer, until=until, advertises=lambda _: None)
    change.ready()
    unobstructed(xdp, dut, change)
    return Second(dut, xdp, nic.remote, change)


@pytest.fixture
def target(native: Xdp, traffic: Traffic, require: Callable[..., None]) -> Xdp:
    """The DUT as one that others redirect to, which a driver may allow only while a program is attached: one that passes all is."""
    native.attach("xdp_pass")
    traffic.ready()
    require("xdp-act:ndo-xmit")
    return native


@pytest.fixture(params=("copy", "zero-copy"))
def mode(request: pytest.FixtureRequest, redirecting: Xdp, require: Callable[..., None]) -> Mode:  # noqa: ARG001 - native
    """Both modes of an AF_XDP socket; skips zero copy where the driver does not advertise it."""
    chosen: Mode = request.param
    if chosen == "zero-copy":
        require("xdp-act:xsk-zerocopy")
    return chosen


@pytest.fixture
def spread(native: Xdp, traffic: Traffic, dut: Dut, guest: Machine) -> set[int]:
    """The receive queues that test frames in all flows reach; to be asked for before a program is attached.

    Those that the RSS table names, all where there is none. Of a device that is not ours: those by which a generic program sees them
    come. Whether such a device obeys its table is QSTAT-STEER-01's, and QEMU's vmxnet3 does not.
    """
    if guest.model:
        rss = dut.rss()
        return set(rss.table) if rss else set(range(traffic.queues()))
    probes = traffic.probes()
    program = native.attach("xdp_pass", mode="generic")
    traffic.send(probes)
    traffic.received(probes)
    native.detach("generic")
    traffic.discard()
    return set(native.seen(program))


@pytest.fixture
def check_each_fed(spread: set[int]) -> Callable[[Sequence[Socket], Sequence[Received]], None]:
    """``check_each_fed(sockets, found)``: among the buffers that came are some of every socket whose queue test frames reach."""

    def check(sockets: Sequence[Socket], found: Sequence[Received]) -> None:
        fed = {each.queue for each in found}
        without = sorted({socket.queue for socket in sockets} & spread - fed)
        assert not without, f"no frame came to the sockets of queues {without}, all to those of {sorted(fed)}"

    return check


@pytest.fixture
def to_sockets(redirecting: Xdp, spread: set[int]) -> Program:  # noqa: ARG001 - before a program is attached
    """A program, attached in native mode, that gives test frames to the sockets in its map; without one they reach the stack."""
    return redirecting.attach("xdp_redirect_xsk")


@pytest.fixture
def bound(
    af_xdp: AfXdp, to_sockets: Program, mode: Mode, traffic: Traffic, settings: Settings
) -> Callable[..., list[Socket]]:
    """``bound()`` opens a socket for each receive queue, each with a umem of its own, posts buffers and waits for the link."""

    def bind(
        *, fill: int = CHUNKS // 2, offset: int = 0, wakeup: bool = True, bind_flags: int = 0, **umem: int
    ) -> list[Socket]:
        sockets = []
        for queue in range(traffic.queues()):
            socket = af_xdp.umem(to_sockets.maps["sockets"], **umem).open(queue, mode, wakeup=wakeup, flags=bind_flags)
            if fill:
                socket.fill(fill, offset)
            socket.enter()
            sockets.append(socket)
        settings.ready()
        return sockets

    return bind


@pytest.fixture
def receives(
    traffic: Traffic, check_each_fed: Callable[[Sequence[Socket], Sequence[Received]], None], until: Until
) -> Callable[[Sequence[Socket]], list[Received]]:
    """``receives(sockets)``: each test frame comes to one of them once and unchanged, and some to each; returns the buffers."""

    def check(sockets: Sequence[Socket]) -> list[Received]:
        probes = traffic.probes()
        traffic.send(probes)
        found = receive_frames(sockets, set(frames_of(probes)), until)
        check_same([each.data for each in found], frames_of(probes), "frames that came to the sockets")
        check_each_fed(sockets, found)
        assert all(each.options == 0 for each in found), "a frame is said to go on in another buffer"
        assert traffic.nothing_received(), "the stack received a frame that a socket had"
        return found

    return check


@pytest.fixture
def sends(traffic: Traffic, come: Callable[[SentFrames, Sequence[bytes]], None]) -> Callable[[Sequence[Socket]], None]:
    """``sends(sockets)``: each frame of each of them is on the wire once and unchanged, and completed once.

    Left out are sockets of queues that the driver has for receiving alone.
    """

    def check(sockets: Sequence[Socket]) -> None:
        sockets = [socket for socket in sockets if socket.queue < traffic.queues("tx")]
        sent: list[bytes] = []
        with traffic.capture_sent() as seen:
            for number, socket in enumerate(sockets):
                first = number * FLOWS_PER_QUEUE * 2 * len(SIZES)
                frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES, first=first))
                socket.send(frames)
                sent += frames
            come(seen, sent)

    return check


@pytest.fixture
def leaves(
    traffic: Traffic, come: Callable[[SentFrames, Sequence[bytes]], None]
) -> Callable[[Callable[[], Told], Sequence[bytes]], Told]:
    """``leaves(send, wanted)``: exactly these frames are on the wire, once each, when `send` has sent; returns what that returned."""

    def check(send: Callable[[], Told], wanted: Sequence[bytes]) -> Told:
        with traffic.capture_sent() as seen:
            told = send()
            come(seen, wanted)
        return told

    return check


@pytest.fixture
def probes(traffic: Traffic) -> dict[int, list[Probe]]:
    """Probes from the interface under test, of every size, by IP version."""
    return {
        version: burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES, versions=(version,), first=100 * version)
        for version in (4, 6)
    }
