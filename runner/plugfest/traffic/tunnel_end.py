# SPDX-License-Identifier: GPL-2.0-or-later
"""The DUT's end of a tunnel, whose other end is no host: a test makes the frames that come from there."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from plugfest.frames.probe import Ends
from plugfest.frames.tunnel import NO_ADDRESS, Tunnel, repeated_identifications
from plugfest.machine.tap import DUT_IPV4, DUT_IPV6
from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.traffic import NOBODY

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.dut.settings import Settings
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote

NAME = "tunnel0"
INNER_NETWORKS = {4: "198.19.0.0/16", 6: "2001:db8:0:1::/64"}
"""The other half of the network for benchmarks (RFC 2544, C.2.2), and more of that for documentation (RFC 3849)."""
INNER_DUT, INNER_NOBODY = 2, 250
"""Host parts of the inner addresses of the DUT, and of no host."""
_OTHER_MAC = "02:70:66:00:01:fe"
_DUT = {4: DUT_IPV4, 6: DUT_IPV6}
_ETHERNET = 14


class TunnelEnd:
    """An interface of a tunnel in the guest.

    Attributes:
        tunnel: which.
        ifname: its name.
        mtu: bytes of IP packet that it carries.
        ends: addresses of inner frames to the DUT.
        ends_back: addresses of inner frames from it to no host.
        sender: sends on it.
    """

    def __init__(
        self, guest: Machine, dut: Dut, remote: Remote, settings: Settings, tunnel: Tunnel, defer: Callable[..., None]
    ) -> None:
        """Create the interface with an address of each IP version that the tunnel carries.

        Raises:
            KernelLacksError: the kernel has no such tunnels.
        """
        self.tunnel = tunnel
        self.ifname = NAME
        self._macs = (dut.mac, remote.mac)
        self._local, self._remote = _DUT[tunnel.outer], NOBODY[tunnel.outer]
        self._longest = dut.mtu + _ETHERNET
        settings.add_neighbour(self._remote, remote.mac)
        settings.add_tunnel(tunnel.arguments(self._local, self._remote, dut.ifname), NAME)
        link = guest.agent.call("link.get", ifname=NAME)
        self.mtu = int(link["mtu"])
        own, other = (link["address"], _OTHER_MAC) if tunnel.ethernet else (NO_ADDRESS, NO_ADDRESS)
        mine = {version: _host(version, INNER_DUT) for version in tunnel.versions}
        for version, address in mine.items():
            length = ipaddress.ip_network(INNER_NETWORKS[version]).prefixlen
            guest.agent.call("link.add_address", ifname=NAME, address=f"{address}/{length}")
        self.ends = Ends(own, other, mine, INNER_NETWORKS)
        nobody = {version: _host(version, INNER_NOBODY) for version in tunnel.versions}
        self.ends_back = Ends(other, own, nobody, INNER_NETWORKS)
        self.sender = PacketSender(guest, NAME, defer)

    def encapsulate(self, inner: Sequence[bytes], *, bad: bool = False) -> list[bytes]:
        """Return the frames that carry inner ones to the DUT.

        Args:
            inner: Ethernet frames.
            bad: make the outer checksum wrong.
        """
        addresses = (self._remote, self._local)
        return [
            self.tunnel.encapsulate(each, self._macs, addresses, identification=number, bad=bad)
            for number, each in enumerate(inner, 1)
        ]

    def check_outer(self, frames: Sequence[bytes]) -> None:
        """Expect that the outer headers of frames from the DUT are right, and that none of the frames is longer than its MTU.

        Raises:
            AssertionError: they are not.
        """
        different: list[str] = []
        for number, frame in enumerate(frames, 1):
            wrong = self.tunnel.problems(frame, (self._local, self._remote))
            if len(frame) > self._longest:
                wrong.append(f"{len(frame)} bytes, the MTU allows {self._longest}")
            if wrong:
                different.append(f"frame {number} of {len(frames)}: {'; '.join(wrong)}")
        more = f"; and {len(different) - 4} more frames" if len(different) > 4 else ""
        assert not different, f"{'; '.join(different[:4])}{more}"
        repeated = repeated_identifications(frames)
        assert not repeated, f"outer: several frames without DF have the identifications {repeated[:8]}"


def _host(version: int, number: int) -> str:
    return str(ipaddress.ip_network(INNER_NETWORKS[version]).network_address + number)
