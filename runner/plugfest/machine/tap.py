# SPDX-License-Identifier: GPL-2.0-or-later
"""The tap that is the wire: made in the run's network namespace, and quiet unless someone sends."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from plugfest.errors import InfrastructureError

NAME = "wire0"
MAC = "02:70:66:00:00:fe"
IPV4, IPV4_PREFIX = "198.18.0.1", 16
IPV6, IPV6_PREFIX = "2001:db8::1", 64
DUT_IPV4, DUT_IPV6 = "198.18.0.2", "2001:db8::2"
"""Out of the networks for benchmarks of network devices (RFC 2544, C.2.2) and for documentation (RFC 3849)."""

_QUEUE = 10_000
"""Frames that wait for a slow reader before the tap drops any: a burst of a test."""

_QUIET = {
    "accept_dad": 0,
    "accept_ra": 0,
    "addr_gen_mode": 1,  # no link-local address, so no duplicate address detection and no report of its group
    "autoconf": 0,
    "dad_transmits": 0,
    # A multi-queue tap counts as changed when a device opens or closes a queue of it, and the kernel then tells its groups
    # anew. The first report goes at once; those that follow come when the run is long over (milliseconds).
    "mldv2_unsolicited_report_interval": 86_400_000,
    "router_solicitations": 0,
}


class Tap:
    """A persistent tap with the wire end's addresses; a model or QEMU opens it by its name.

    Attributes:
        name: of the interface.
        index: its number.
    """

    def __init__(self, name: str = NAME, *, several_queues: bool = False, addresses: bool = True) -> None:
        """Make it.

        Args:
            name: of the interface.
            several_queues: whoever opens it must open it as a multi-queue one, any number of times (IFF_MULTI_QUEUE,
                Documentation/networking/tuntap.rst); packet sockets see the frames of all queues.
            addresses: give it the wire end's; a second wire of the same networks has none.

        Raises:
            InfrastructureError: the kernel refused.
        """
        self.name = name
        self._route = IPRoute()
        try:
            flags = {"no_pi": 0, "one_queue": 0, "vnet_hdr": 0, "tun_excl": 0, "multi_queue": int(several_queues)}
            # pyroute2 makes it by TUNSETIFF and leaves it persistent, with no vnet header; who opens it may ask for one.
            self._route.link("add", ifname=name, kind="tuntap", mode="tap", ifr=flags)
            self.index: int = self._route.link_lookup(ifname=name)[0]
            for setting, value in _QUIET.items():
                path = Path("/proc/sys/net/ipv6/conf", name, setting)
                with suppress(FileNotFoundError):  # a host without IPv6
                    path.write_text(str(value))
            self._route.link("set", index=self.index, address=MAC, txqlen=_QUEUE)
            self._route.link("set", index=self.index, state="up")
            if addresses:
                self._route.addr("add", index=self.index, address=IPV4, prefixlen=IPV4_PREFIX)
                self._route.addr(
                    "add", index=self.index, address=IPV6, prefixlen=IPV6_PREFIX, flags=0x02
                )  # IFA_F_NODAD
        except (NetlinkError, OSError) as error:
            self.close()
            raise InfrastructureError(
                f"expected to make the tap {name}, found: {error}; "
                "run inside a namespace of your own (plugfest run does), as root or in a user namespace"
            ) from error

    @property
    def mtu(self) -> int:
        """Octets of payload that the wire end's stack sends in one frame."""
        return int(self._route.get_links(self.index)[0].get_attr("IFLA_MTU"))

    @mtu.setter
    def mtu(self, octets: int) -> None:
        self._route.link("set", index=self.index, mtu=octets)

    @property
    def carrier(self) -> bool:
        """Whether anybody has the tap open."""
        return bool(self._route.get_links(self.index)[0].get_attr("IFLA_CARRIER"))

    def forget_neighbours(self) -> None:
        """Forget the addresses that were resolved, so that the next packet asks again."""
        for neighbour in self._route.get_neighbours(ifindex=self.index):
            with suppress(NetlinkError):  # it may go by itself meanwhile
                self._route.neigh("del", ifindex=self.index, dst=neighbour.get_attr("NDA_DST"))

    def close(self) -> None:
        """Remove the tap. Idempotent."""
        with suppress(NetlinkError, OSError, IndexError):
            for index in self._route.link_lookup(ifname=self.name):
                self._route.link("del", index=index)
        self._route.close()
