# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive address filter: unicast, multicast and broadcast addresses, promiscuous and all-multicast mode."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirements.requirement import requirement
from plugfest.traffic.reception import ReceptionProbe

RX_MODE = "Documentation/networking/netdevices.rst, ndo_set_rx_mode; net/core/dev_addr_lists.c"
NEW_ADDRESS = "02:71:67:01:00:77"
"""An address that the DUT gets in addition to or instead of its own; each of its 16-bit words differs."""
FOREIGN_ADDRESS = "02:70:66:00:00:99"
"""An address that no host has."""
GROUP = "01:00:5e:7f:12:34"
OTHER_GROUP = "01:00:5e:01:02:03"
"""A group whose hash differs from that of `GROUP` for all usual choices of address bits."""
BROADCAST = "ff:ff:ff:ff:ff:ff"
MANY_GROUPS = 70
"""More groups than the exact-match filters of these NICs hold: e1000e 16, igb 24, virtio 64."""


@pytest.fixture
def rx_filter_probe(guest, dut, remote, until, defer, settings):
    """Sends frames to addresses, and finds which of them the DUT receives."""
    settings.ready()
    return ReceptionProbe(guest, dut, remote, until, defer)


@pytest.fixture
def join(guest, dut, defer):
    """``join(group, …)`` joins multicast groups until the test ends or the handle that it returns is closed."""

    def call(*groups):
        handle = guest.agent.call("membership.join", ifname=dut.ifname, groups=list(groups))
        defer(guest.agent.call, "handle.close", handle=handle)
        return handle

    return call


@requirement("SMOKE-FILTER-01", level="MUST", source=RX_MODE, falsified_by="rx.broadcast.ignored")
def test_broadcast(rx_filter_probe, step):
    """The DUT receives frames to the broadcast address."""
    with step("Send a frame to the broadcast address: the DUT receives it"):
        rx_filter_probe.check(BROADCAST, expected=[BROADCAST])


@requirement("SMOKE-FILTER-02", level="SHOULD", source=RX_MODE, falsified_by="rx.unicast.open")
def test_foreign_unicast(rx_filter_probe, step):
    """The DUT does not receive frames to another host's address: the device filters them."""
    with step("Send a frame to an address that the interface does not have: the DUT does not receive it"):
        rx_filter_probe.check(FOREIGN_ADDRESS, expected=[])


@requirement(
    "SMOKE-FILTER-03",
    level="MUST",
    source="include/uapi/linux/if.h, IFF_PROMISC",
    falsified_by=("rx.promiscuous.ignored", "program:settings.not-set"),
)
def test_promiscuous(rx_filter_probe, settings, dut, step):
    """In promiscuous mode the DUT receives frames to all addresses; with the mode off again, it receives the same frames as before."""
    before = rx_filter_probe.received(FOREIGN_ADDRESS, OTHER_GROUP)
    with step(
        "Turn promiscuous mode on, and send frames to addresses that the interface does not have: the DUT receives them"
    ):
        settings.set_link(promisc=True)
        assert "promisc" in dut.link()["flags"]
        rx_filter_probe.check(FOREIGN_ADDRESS, OTHER_GROUP, expected=[FOREIGN_ADDRESS, OTHER_GROUP])
    with step("Turn it off: the DUT receives the same of these frames as before"):
        settings.set_link(promisc=False)
        rx_filter_probe.check(FOREIGN_ADDRESS, OTHER_GROUP, expected=before)


@requirement("SMOKE-FILTER-04", level="MUST", source=RX_MODE, falsified_by="rx.multicast.ignored")
def test_joined_group(rx_filter_probe, join, step):
    """The DUT receives frames to a multicast group that the interface has joined."""
    with step("Join a group, and send a frame to it: the DUT receives it"):
        join(GROUP)
        rx_filter_probe.check(GROUP, expected=[GROUP])


@requirement("SMOKE-FILTER-05", level="SHOULD", source=RX_MODE, falsified_by="rx.multicast.open")
def test_foreign_group(rx_filter_probe, join, guest, step):
    """The DUT does not receive frames to a multicast group that the interface has not joined or has left: the device filters them."""
    with step("Join a group, and send a frame to another: the DUT does not receive it"):
        membership = join(GROUP)
        rx_filter_probe.check(OTHER_GROUP, expected=[])
    with step("Leave the group, and send a frame to it: the DUT does not receive it"):
        guest.agent.call("handle.close", handle=membership)
        rx_filter_probe.check(GROUP, expected=[])


@requirement(
    "SMOKE-FILTER-06",
    level="MUST",
    source="include/uapi/linux/if.h, IFF_ALLMULTI",
    falsified_by=("rx.frame.dropped", "program:settings.not-set"),
)
def test_all_multicast(rx_filter_probe, settings, dut, step):
    """In all-multicast mode the DUT receives frames to all groups; with the mode off again, it receives the same frames as before."""
    before = rx_filter_probe.received(OTHER_GROUP, GROUP)
    with step(
        "Turn all-multicast mode on, and send frames to groups that the interface has not joined: the DUT receives them"
    ):
        settings.set_link(allmulti=True)
        assert "allmulti" in dut.link()["flags"]
        rx_filter_probe.check(OTHER_GROUP, GROUP, expected=[OTHER_GROUP, GROUP])
    with step("Turn it off: the DUT receives the same of these frames as before"):
        settings.set_link(allmulti=False)
        rx_filter_probe.check(OTHER_GROUP, GROUP, expected=before)


@requirement("SMOKE-FILTER-07", level="MUST", source=RX_MODE, falsified_by="rx.multicast.ignored")
def test_many_groups(rx_filter_probe, join, step):
    """The DUT receives frames to each joined multicast group, even if these are more than the device's filter holds."""
    groups = [f"01:00:5e:40:00:{number:02x}" for number in range(MANY_GROUPS)]
    with step(f"Join {MANY_GROUPS} groups"):
        join(*groups)
    with step("Send frames to the first, the last and some groups in between: the DUT receives them"):
        some = [*groups[::30], groups[-1]]
        rx_filter_probe.check(*some, expected=some)


@requirement(
    "SMOKE-FILTER-08",
    level="MUST",
    source="include/linux/netdevice.h, dev_uc_add; man bridge(8), fdb add … self",
    falsified_by="device.register.stuck",
)
def test_second_address(rx_filter_probe, run, dut, step, defer):
    """The DUT receives frames to a second unicast address of the interface, and still receives those to its own."""
    with step("Add a unicast address to the interface's list, and send frames to it: the DUT receives them"):
        run("bridge", "fdb", "add", NEW_ADDRESS, "dev", dut.ifname, "self")
        defer(run, "bridge", "fdb", "del", NEW_ADDRESS, "dev", dut.ifname, "self")
        rx_filter_probe.check(NEW_ADDRESS, NEW_ADDRESS, expected=[NEW_ADDRESS, NEW_ADDRESS])


@requirement(
    "SMOKE-MAC-01",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_set_mac_address",
    falsified_by=("device.register.stuck", "program:settings.not-set"),
)
def test_change_address(rx_filter_probe, settings, dut, remote, peer, until, defer, step, skip_unsupported):
    """After a change of the hardware address, the DUT sends from the new address and receives frames to it."""
    defer(remote.tap.forget_neighbours)
    with step("Change the hardware address, with the interface down if the driver requires that"):
        change_address(settings, dut, skip_unsupported)
        assert dut.mac == NEW_ADDRESS
    with step("Send a frame to the new address: the DUT receives it"):
        assert rx_filter_probe.received(NEW_ADDRESS, sentinel=BROADCAST) == [NEW_ADDRESS]
    with step("The DUT sends an echo reply from the new address"):
        remote.tap.forget_neighbours()
        with remote.capture() as seen:
            peer.check_echo(4, 56)
            until(lambda: seen.received(background=False), what="the reply is on the wire")
        assert {frame[6:12].hex(":") for frame in seen.received()} == {NEW_ADDRESS}


@requirement(
    "SMOKE-MAC-02",
    level="SHOULD",
    source="Documentation/networking/netdevices.rst, ndo_set_mac_address",
    falsified_by=("rx.unicast.open",),
)
def test_old_address(rx_filter_probe, settings, dut, step, skip_unsupported):
    """After a change of the hardware address, the DUT does not receive frames to the old one: the device filters them."""
    old = dut.mac
    with step("Change the hardware address, with the interface down if the driver requires that"):
        change_address(settings, dut, skip_unsupported)
    with step("Send a frame to the old address: the DUT does not receive it"):
        assert rx_filter_probe.received(old, sentinel=NEW_ADDRESS) == []


def change_address(settings, dut, skip_unsupported):
    """Change the hardware address with the interface up if the driver accepts that, else with the interface down."""
    error = settings.try_set_link(address=NEW_ADDRESS)
    if error is not None and error.errno == errno.EOPNOTSUPP:
        skip_unsupported("a change of the hardware address", evidence=str(error))
    if error is not None:
        settings.set_link(up=False)
        settings.set_link(address=NEW_ADDRESS)
        dut.set_link(up=True)
        settings.ready()
