# SPDX-License-Identifier: GPL-2.0-or-later
"""The tap that is the wire: created in the run's network namespace, and silent until a test sends."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_SETNEIGHTBL
from pyroute2.netlink.rtnl.ndtmsg import ndtmsg

from plugfest.errors import InfrastructureError

NAME = "wire0"
MAC = "02:70:66:00:00:fe"
IPV4, IPV4_PREFIX = "198.18.0.1", 16
IPV6, IPV6_PREFIX = "2001:db8::1", 64
DUT_IPV4, DUT_IPV6 = "198.18.0.2", "2001:db8::2"
"""Out of the networks for benchmarks of network devices (RFC 2544, C.2.2) and for documentation (RFC 3849)."""

_QUEUE = 10_000
"""Frames that the tap queues for a slow reader before it drops any: more than a test's burst."""

_QUIET = {
    "accept_dad": 0,
    "accept_ra": 0,
    "addr_gen_mode": 1,  # no link-local address, so no duplicate address detection and no report of its group
    "autoconf": 0,
    "dad_transmits": 0,
    # When a device opens or closes a queue of a multi-queue tap, the kernel reports its multicast groups again. It sends the first
    # report at once; this interval, in milliseconds, delays the others until after the run.
    "mldv2_unsolicited_report_interval": 86_400_000,
    "router_solicitations": 0,
}

_NEIGHBOUR_TABLES = {socket.AF_INET: "arp_cache", socket.AF_INET6: "ndisc_cache"}
_NEVER = 86_400_000
"""Milliseconds, a day: longer than any run."""


class Tap:
    """A persistent tap with the remote host's addresses; a model or QEMU opens it by name.

    Attributes:
        name: name of the interface.
        index: its ifindex.
    """

    def __init__(self, name: str = NAME, *, multi_queue: bool = False, addresses: bool = True) -> None:
        """Create it.

        Args:
            name: name of the interface.
            multi_queue: the device opens it with IFF_MULTI_QUEUE, once per queue (Documentation/networking/tuntap.rst); packet
                sockets see the frames of all queues.
            addresses: give it the remote host's addresses; a second wire on the same networks has none.

        Raises:
            InfrastructureError: the kernel returned an error.
        """
        self.name = name
        self._route = IPRoute()
        try:
            flags = {"no_pi": 0, "one_queue": 0, "vnet_hdr": 0, "tun_excl": 0, "multi_queue": int(multi_queue)}
            # pyroute2 creates it with TUNSETIFF, persistent and without a vnet header.
            self._route.link("add", ifname=name, kind="tuntap", mode="tap", ifr=flags)
            self.index: int = self._route.link_lookup(ifname=name)[0]
            for setting, value in _QUIET.items():
                path = Path("/proc/sys/net/ipv6/conf", name, setting)
                with suppress(FileNotFoundError):  # a host without IPv6
                    path.write_text(str(value))
            self._keep_neighbours()
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
                f"expected to create the tap {name}, found: {error}; "
                "run it in a new network namespace (as plugfest run does), as root or in a user namespace"
            ) from error

    def _keep_neighbours(self) -> None:
        """Never probe a known neighbour again: a probe is a frame that no test expects.

        By netlink, since a kernel may not show the sysctls to a user namespace (net/core/neighbour.c, neigh_sysctl_register).
        """
        for family, table in _NEIGHBOUR_TABLES.items():
            settings = [
                ("NDTPA_IFINDEX", self.index),
                ("NDTPA_BASE_REACHABLE_TIME", _NEVER),
                ("NDTPA_DELAY_PROBE_TIME", _NEVER),
            ]
            request = ndtmsg()
            request["header"]["type"] = RTM_SETNEIGHTBL
            request["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK
            request["family"] = family
            request["attrs"] = [("NDTA_NAME", table), ("NDTA_PARMS", {"attrs": settings})]
            list(self._route.nlm_request_batch([request]))

    @property
    def mtu(self) -> int:
        """The tap's MTU: bytes of payload in a frame that the remote host's stack sends."""
        return int(self._route.get_links(self.index)[0].get_attr("IFLA_MTU"))

    @mtu.setter
    def mtu(self, size: int) -> None:
        self._route.link("set", index=self.index, mtu=size)

    @property
    def carrier(self) -> bool:
        """Whether a process has the tap open."""
        return bool(self._route.get_links(self.index)[0].get_attr("IFLA_CARRIER"))

    def forget_neighbours(self) -> None:
        """Flush the neighbour table, so that the next packet resolves its address again."""
        for neighbour in self._route.get_neighbours(ifindex=self.index):
            with suppress(NetlinkError):  # the entry may have expired meanwhile
                self._route.neigh("del", ifindex=self.index, dst=neighbour.get_attr("NDA_DST"))

    def close(self) -> None:
        """Remove the tap. Idempotent."""
        with suppress(NetlinkError, OSError, IndexError):
            for index in self._route.link_lookup(ifname=self.name):
                self._route.link("del", index=index)
        self._route.close()
