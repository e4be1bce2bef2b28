# SPDX-License-Identifier: GPL-2.0-or-later
"""Which frames reach the stack: by unicast, multicast and broadcast address, and in promiscuous mode."""

from __future__ import annotations

import base64
import errno

import pytest
from plugfest.requirements.requirement import requirement

RX_MODE = "Documentation/networking/netdevices.rst, ndo_set_rx_mode; net/core/dev_addr_lists.c"
LOCAL = bytes.fromhex("88b5")
"""EtherType for local experiments (IEEE 802, clause 9.2.4): no host answers it."""
NEW_ADDRESS = "02:71:67:01:00:77"
"""An address that the DUT gets beside or in place of its own; every word of it is another."""
FOREIGN_ADDRESS = "02:70:66:00:00:99"
"""An address that nobody has."""
GROUP = "01:00:5e:7f:12:34"
OTHER_GROUP = "01:00:5e:01:02:03"
"""A group whose hash, by any of the usual choices of bits, is not that of `GROUP`."""
BROADCAST = "ff:ff:ff:ff:ff:ff"
MANY_GROUPS = 70
"""More groups than the exact filters of the NICs here have room for: e1000e 16, igb 24, virtio 64."""


class RxFilterProbe:
    """What comes to the guest's packet layer when frames are sent to addresses."""

    def __init__(self, guest, dut, remote, until, defer):
        self._agent = guest.agent
        self._remote = remote
        self._until = until
        self._own = dut.mac
        self._handle = self._agent.call("packet.open", ifname=dut.ifname, protocol=0x88B5)
        defer(self._agent.call, "handle.close", handle=self._handle)

    def arrive(self, *destinations, sentinel=None):
        """Send a frame to each address, then one that the DUT must take; return which of the former came.

        Frames on a wire keep their order within a flow, so what is not there when the last one is was not taken.
        """
        own = sentinel or self._own
        frames = [self._frame(address) for address in (*destinations, own)]
        self._remote.send(frames)
        found = []

        def all_there():
            for each in self._agent.call("packet.receive", packet=self._handle, count=len(frames), timeout=0.2):
                raw = base64.b64decode(each["frame"])
                found.append(raw[:6].hex(":"))
            return own in found

        self._until(all_there, what=f"the frame to {own} arrives", timeout=1)
        found.remove(own)
        return found

    def check(self, *destinations, come):
        """Expect that of frames to these addresses those in `come` arrive, once the device has taken in a change.

        Some drivers tell the device from a work queue, after the kernel's call has returned (include/linux/netdevice.h,
        ndo_set_rx_mode must not sleep).

        Raises:
            AssertionError: others arrive, or fewer.
        """
        seen = []

        def as_expected():
            seen[:] = self.arrive(*destinations)
            return seen == list(come)

        what = f"of frames to {', '.join(destinations)} there arrive: {', '.join(come) or 'none'}"
        self._until(as_expected, what=what, timeout=0.3)

    def _frame(self, address):
        macs = bytes.fromhex((address + self._remote.mac).replace(":", ""))
        return macs + LOCAL + bytes(range(46))


@pytest.fixture
def rx_filter_probe(guest, dut, remote, until, defer, settings):
    """Frames to addresses, and which of them the packet layer sees."""
    settings.ready()
    return RxFilterProbe(guest, dut, remote, until, defer)


@pytest.fixture
def join(guest, dut, defer):
    """``join(group, …)`` joins multicast groups until the test ends, or until the handle that it returns is closed."""

    def call(*groups):
        handle = guest.agent.call("membership.join", ifname=dut.ifname, groups=list(groups))
        defer(guest.agent.call, "handle.close", handle=handle)
        return handle

    return call


@requirement("SMOKE-FILTER-01", level="MUST", source=RX_MODE, falsified_by="rx.broadcast.ignored")
def test_broadcast(rx_filter_probe, step):
    """Frames to the broadcast address are received."""
    with step("Send a frame to the broadcast address"):
        rx_filter_probe.check(BROADCAST, come=[BROADCAST])


@requirement("SMOKE-FILTER-02", level="SHOULD", source=RX_MODE, falsified_by="rx.unicast.open")
def test_foreign_unicast(rx_filter_probe, step):
    """Frames to another host's address are not received: the device filters."""
    with step("Send a frame to an address that the interface does not have"):
        rx_filter_probe.check(FOREIGN_ADDRESS, come=[])


@requirement(
    "SMOKE-FILTER-03",
    level="MUST",
    source="include/uapi/linux/if.h, IFF_PROMISC",
    falsified_by=("rx.promiscuous.ignored", "program:settings.not-set"),
)
def test_promiscuous(rx_filter_probe, settings, dut, step):
    """In promiscuous mode all frames are received, whatever their address; afterwards no longer."""
    before = rx_filter_probe.arrive(FOREIGN_ADDRESS, OTHER_GROUP)
    with step("Turn promiscuous mode on, and send frames to addresses that the interface does not have"):
        settings.set_link(promisc=True)
        assert "promisc" in dut.link()["flags"]
        rx_filter_probe.check(FOREIGN_ADDRESS, OTHER_GROUP, come=[FOREIGN_ADDRESS, OTHER_GROUP])
    with step("Turn it off: such frames are treated as before"):
        settings.set_link(promisc=False)
        rx_filter_probe.check(FOREIGN_ADDRESS, OTHER_GROUP, come=before)


@requirement("SMOKE-FILTER-04", level="MUST", source=RX_MODE, falsified_by="rx.multicast.ignored")
def test_joined_group(rx_filter_probe, join, step):
    """Frames to a multicast group that the interface has joined are received."""
    with step("Join a group, and send a frame to it"):
        join(GROUP)
        rx_filter_probe.check(GROUP, come=[GROUP])


@requirement("SMOKE-FILTER-05", level="SHOULD", source=RX_MODE, falsified_by="rx.multicast.open")
def test_foreign_group(rx_filter_probe, join, guest, step):
    """Frames to a multicast group that was not joined, or was left, are not received: the device filters."""
    with step("Join a group, and send a frame to another"):
        membership = join(GROUP)
        rx_filter_probe.check(OTHER_GROUP, come=[])
    with step("Leave the group, and send a frame to it"):
        guest.agent.call("handle.close", handle=membership)
        rx_filter_probe.check(GROUP, come=[])


@requirement(
    "SMOKE-FILTER-06",
    level="MUST",
    source="include/uapi/linux/if.h, IFF_ALLMULTI",
    falsified_by=("rx.frame.dropped", "program:settings.not-set"),
)
def test_all_multicast(rx_filter_probe, settings, dut, step):
    """With IFF_ALLMULTI frames to every group are received; afterwards no longer."""
    before = rx_filter_probe.arrive(OTHER_GROUP, GROUP)
    with step("Turn all-multicast mode on, and send frames to groups that were not joined"):
        settings.set_link(allmulti=True)
        assert "allmulti" in dut.link()["flags"]
        rx_filter_probe.check(OTHER_GROUP, GROUP, come=[OTHER_GROUP, GROUP])
    with step("Turn it off: such frames are treated as before"):
        settings.set_link(allmulti=False)
        rx_filter_probe.check(OTHER_GROUP, GROUP, come=before)


@requirement("SMOKE-FILTER-07", level="MUST", source=RX_MODE, falsified_by="rx.multicast.ignored")
def test_many_groups(rx_filter_probe, join, step):
    """More groups can be joined than a filter has room for: frames to each of them are received."""
    groups = [f"01:00:5e:40:00:{number:02x}" for number in range(MANY_GROUPS)]
    with step(f"Join {MANY_GROUPS} groups"):
        join(*groups)
    with step("Frames to the first, the last and some between are received"):
        some = [*groups[::30], groups[-1]]
        rx_filter_probe.check(*some, come=some)


@requirement(
    "SMOKE-FILTER-08",
    level="MUST",
    source="include/linux/netdevice.h, dev_uc_add; man bridge(8), fdb add … self",
    falsified_by="device.register.stuck",
)
def test_second_address(rx_filter_probe, run, dut, step, defer):
    """Frames to a further unicast address of the interface are received, and those to its own still are."""
    with step("Add a unicast address to the interface's list, and send frames to it"):
        run("bridge", "fdb", "add", NEW_ADDRESS, "dev", dut.ifname, "self")
        defer(run, "bridge", "fdb", "del", NEW_ADDRESS, "dev", dut.ifname, "self")
        rx_filter_probe.check(NEW_ADDRESS, NEW_ADDRESS, come=[NEW_ADDRESS, NEW_ADDRESS])


@requirement(
    "SMOKE-MAC-01",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_set_mac_address",
    falsified_by=("device.register.stuck", "program:settings.not-set"),
)
def test_change_address(rx_filter_probe, settings, dut, remote, peer, until, defer, step, skip_unsupported):
    """The hardware address can be changed: the DUT then sends from the new one, and takes frames to it."""
    defer(remote.tap.forget_neighbours)
    with step("Change the address; the interface may have to be down for it"):
        change_address(settings, dut, skip_unsupported)
        assert dut.mac == NEW_ADDRESS
    with step("Frames to the new address are received"):
        assert rx_filter_probe.arrive(NEW_ADDRESS, sentinel=BROADCAST) == [NEW_ADDRESS]
    with step("What the DUT sends comes from the new address"):
        remote.tap.forget_neighbours()
        with remote.capture() as seen:
            peer.check_echo(4, 56)
            until(lambda: seen.received(background=False), what="the answer is on the wire")
        assert {frame[6:12].hex(":") for frame in seen.received()} == {NEW_ADDRESS}


@requirement(
    "SMOKE-MAC-02",
    level="SHOULD",
    source="Documentation/networking/netdevices.rst, ndo_set_mac_address",
    falsified_by=("rx.unicast.open",),
)
def test_old_address(rx_filter_probe, settings, dut, step, skip_unsupported):
    """After a change of the hardware address, frames to the old one are not received: the device filters."""
    old = dut.mac
    with step("Change the address; the interface may have to be down for it"):
        change_address(settings, dut, skip_unsupported)
    with step("Send a frame to the old address"):
        assert rx_filter_probe.arrive(old, sentinel=NEW_ADDRESS) == []


def change_address(settings, dut, skip_unsupported):
    """Change the address, with the interface up if the driver allows, else down meanwhile."""
    error = settings.try_set_link(address=NEW_ADDRESS)
    if error is not None and error.errno == errno.EOPNOTSUPP:
        skip_unsupported("a change of the hardware address", evidence=str(error))
    if error is not None:
        settings.set_link(up=False)
        settings.set_link(address=NEW_ADDRESS)
        dut.set_link(up=True)
        settings.ready()
