# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device filters by: VLANs, unicast and multicast addresses, promiscuous and all-multicast mode; and its own address.

Sources: Documentation/networking/netdevices.rst, ndo_set_rx_mode, ndo_set_mac_address; include/linux/netdevice.h, ndo_vlan_rx_add_vid.
"""

from __future__ import annotations

import errno
from typing import Any

from plugfest.dut.operations import NotOfferedError
from plugfest.persistence.setting import EFFECT_TIMEOUT, Setting

VLAN, OTHER_VLAN = 100, 101
VLAN_FILTER = "rx-vlan-filter"
NEW_ADDRESS = "02:71:67:01:00:77"
FOREIGN_ADDRESS = "02:70:66:00:00:99"
GROUP = "01:00:5e:7f:12:34"
OTHER_GROUP = "01:00:5e:01:02:03"
BROADCAST = "ff:ff:ff:ff:ff:ff"


class VlanFilter(Setting):
    """A VLAN passes the device's filter, another does not."""

    name = "VLAN filter"

    def set(self) -> None:
        """Turn the filter on, and create an interface for a VLAN."""
        features = self.instruments.dut.features()
        if VLAN_FILTER not in features.active | features.free:
            raise NotOfferedError(f"{VLAN_FILTER}: off [fixed]")
        if VLAN_FILTER not in features.active:
            self.instruments.settings.set_features({VLAN_FILTER: True})
        self.instruments.settings.add_vlan(VLAN)

    def reported(self) -> Any:
        """Whether the filter is on."""
        return {VLAN_FILTER: VLAN_FILTER in self.instruments.dut.features().active}

    def observed(self) -> Any:
        """Which of two VLANs pass."""
        return {"VLANs received": self.instruments.reception.vlans(OTHER_VLAN, VLAN)}

    def shows(self, observed: Any) -> bool:
        """The one with an interface, and no other."""
        return bool(observed["VLANs received"] == [VLAN])


class _Addresses(Setting):
    """The device receives frames to certain addresses.

    Attributes:
        others: to which it need not.
        wanted: to which it must.
    """

    others: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()

    def check_absent(self) -> None:
        """See that it does not receive them already, as a device does that filters nothing.

        Raises:
            NotOfferedError: it does.
        """
        already: list[str] = []

        def absent() -> bool:
            already[:] = self.instruments.reception.received(*self.wanted)
            return not already

        try:
            # What another test has undone may still be in effect: a driver may program its device from a work item.
            self.instruments.until(absent, what="frames are filtered out", timeout=EFFECT_TIMEOUT)
        except AssertionError:
            raise NotOfferedError(f"frames to {', '.join(already)} are received without it") from None

    def observed(self) -> Any:
        """Which of the addresses it receives."""
        return {"addresses received": self.instruments.reception.received(*self.others, *self.wanted)}

    def shows(self, observed: Any) -> bool:
        """Those that it must receive."""
        return set(self.wanted) <= set(observed["addresses received"])


class UnicastList(_Addresses):
    """A second unicast address."""

    name = "unicast list"
    others, wanted = (FOREIGN_ADDRESS,), (NEW_ADDRESS,)

    def set(self) -> None:
        """Add it."""
        self.check_absent()
        entry = (NEW_ADDRESS, "dev", self.instruments.ifname, "self")
        self.instruments.run("bridge", "fdb", "add", *entry)
        self.instruments.defer(self.instruments.run, "bridge", "fdb", "del", *entry)

    def reported(self) -> Any:
        """Whether it is in the list."""
        return {
            NEW_ADDRESS: NEW_ADDRESS in self.instruments.run("bridge", "fdb", "show", "dev", self.instruments.ifname)
        }


class MulticastList(_Addresses):
    """A group that the interface has joined."""

    name = "multicast list"
    others, wanted = (OTHER_GROUP,), (GROUP,)

    def set(self) -> None:
        """Join it."""
        self.check_absent()
        handle = self.instruments.agent.call("membership.join", ifname=self.instruments.ifname, groups=[GROUP])
        self.instruments.defer(self.instruments.agent.call, "handle.close", handle=handle)

    def reported(self) -> Any:
        """Whether it is in the list."""
        return {GROUP: GROUP in self.instruments.run("ip", "maddress", "show", "dev", self.instruments.ifname)}


class _Mode(_Addresses):
    """A mode of the receive filter.

    Attributes:
        flag: of the interface.
    """

    flag: str

    def set(self) -> None:
        """Turn it on."""
        self.check_absent()
        self.instruments.settings.set_link(**{self.flag: True})

    def reported(self) -> Any:
        """Whether it is on."""
        return {self.flag: self.flag in self.instruments.dut.link()["flags"]}


class Promiscuous(_Mode):
    """Frames to all addresses."""

    name, flag = "promiscuous mode", "promisc"
    wanted = (FOREIGN_ADDRESS, OTHER_GROUP)


class AllMulticast(_Mode):
    """Frames to all groups."""

    name, flag = "all-multicast mode", "allmulti"
    others, wanted = (FOREIGN_ADDRESS,), (OTHER_GROUP,)


class HardwareAddress(Setting):
    """Another address of the interface's own."""

    name = "hardware address"

    def set(self) -> None:
        """Set it, with the interface down if the driver requires that."""
        instruments = self.instruments
        self._old = instruments.dut.mac
        instruments.defer(instruments.remote.tap.forget_neighbours)
        error = instruments.settings.try_set_link(address=NEW_ADDRESS)
        if error is not None and error.errno == errno.EOPNOTSUPP:
            raise NotOfferedError(str(error))
        if error is not None:
            instruments.settings.set_link(up=False)
            instruments.settings.set_link(address=NEW_ADDRESS)
            instruments.dut.set_link(up=True)
        instruments.remote.tap.forget_neighbours()

    def reported(self) -> Any:
        """The address."""
        return self.instruments.dut.mac

    def observed(self) -> Any:
        """Which of the old and the new address it receives."""
        return {
            "addresses received": self.instruments.reception.received(self._old, NEW_ADDRESS, sentinel=BROADCAST),
        }

    def shows(self, observed: Any) -> bool:
        """The new one."""
        return NEW_ADDRESS in observed["addresses received"]
