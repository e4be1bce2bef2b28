# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures shared by the XDP tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from plugfest.dut.dut import Dut
from plugfest.dut.settings import Settings
from plugfest.frames.probe import ETHERNET
from plugfest.traffic.traffic import JUMBO_MTU, LONG_SIZES, LOSS_TIMEOUT, check_same
from plugfest.xdp.programs import Xdp

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote
    from plugfest.traffic.traffic import SentFrames, Traffic


@pytest.fixture
def check_on_wire(until: Until) -> Callable[[SentFrames, Sequence[bytes]], None]:
    """``check_on_wire(seen, frames)`` waits until the wire has carried `frames` and checks that it carried exactly these, unchanged."""

    def check(seen: SentFrames, frames: Sequence[bytes]) -> None:
        # check_same() below reports what differs, which is more useful than a timeout.
        with suppress(AssertionError):
            while (known := len(seen.frames())) < len(frames):
                until(
                    lambda known=known: seen.reached(known + 1),
                    what=f"more than {known} frames are on the wire",
                    timeout=LOSS_TIMEOUT,
                )
        check_same(seen.frames(), frames, "frames on the wire")

    return check


@pytest.fixture
def add_vlan_interface(settings: Settings) -> Callable[[int], str]:
    """``add_vlan_interface(100)`` adds a VLAN interface on top of the DUT, so that the device accepts frames of that VLAN.

    The VLAN interface gets no address: a host accepts packets to any of its addresses on any of its interfaces.
    """
    return settings.add_vlan


@pytest.fixture
def set_jumbo_mtu(dut: Dut, settings: Settings, remote: Remote, defer: Callable[..., None]) -> Callable[[], list[int]]:
    """``set_jumbo_mtu()`` sets the largest supported MTU, up to 9000, on both ends of the wire; returns the frame sizes to send."""

    def set_mtu() -> list[int]:
        mtu = min(dut.link()["max-mtu"], JUMBO_MTU)
        settings.set_link(mtu=mtu)
        defer(setattr, remote, "mtu", remote.mtu)
        remote.mtu = max(remote.mtu, mtu)
        return [size for size in LONG_SIZES if size <= mtu + ETHERNET]

    return set_mtu


@pytest.fixture
def native_redirect(native: Xdp, require: Callable[..., None]) -> Xdp:
    """XDP in native mode; skips where the driver does not advertise redirect."""
    require("xdp-act:redirect")
    return native


@dataclass(frozen=True)
class SecondDut:
    """A second NIC of the driver under test.

    Attributes:
        dut: its interface.
        xdp: XDP on this interface, with no program attached and nothing that prevents one.
        remote: the remote end of its wire.
        settings: of this interface.
    """

    dut: Dut
    xdp: Xdp
    remote: Remote
    settings: Settings


@pytest.fixture
def second_nic(
    guest: Machine,
    until: Until,
    defer: Callable[..., None],
    unobstructed: Callable[[Xdp, Dut, Settings], None],
) -> SecondDut:
    """A second NIC. It stays until the guest is replaced, so tests that use it need a fresh guest."""
    nic = guest.plug_second()
    dut = Dut(guest, nic.ifname)
    settings = Settings(dut, until, defer, lambda: True)
    xdp = Xdp(guest.agent, nic.ifname, defer=defer, until=until, advertises=lambda _: None)
    settings.ready()
    unobstructed(xdp, dut, settings)
    return SecondDut(dut, xdp, nic.remote, settings)


@pytest.fixture
def redirect_target(native: Xdp, traffic: Traffic, require: Callable[..., None]) -> Xdp:
    """The DUT as a redirect target. A driver may allow that only while a program is attached, so xdp_pass is attached."""
    native.attach("xdp_pass")
    traffic.ready()
    require("xdp-act:ndo-xmit")
    return native


@pytest.fixture
def queues_reached_by_rss(native: Xdp, traffic: Traffic, dut: Dut, guest: Machine) -> set[int]:
    """The receive queues that test frames in all flows reach. Request this fixture before a program is attached.

    With an emulated device these are the queues in the RSS indirection table, or all queues if there is no table. With real hardware they
    are the queues on which a generic program sees the frames: whether the device obeys its table is QSTAT-STEER-01's to test, and QEMU's
    vmxnet3 does not.
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
