# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that hosts send unasked, so that no test mistakes them for what it is after.

ARP (RFC 826), neighbour and router discovery (RFC 4861), multicast listener discovery (RFC 2710, RFC 3810), IGMP (RFC 3376),
LLDP and the other link-local protocols of IEEE 802.1.
"""

from __future__ import annotations

_ARP, _IPV4, _IPV6, _LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC
_VLAN = (0x8100, 0x88A8)
_IGMP, _HOP_BY_HOP, _ICMPV6 = 2, 0, 58
_DISCOVERY = frozenset((130, 131, 132, 133, 134, 135, 136, 137, 143))
"""ICMPv6 types: listener query, report, done; router solicitation, advertisement; neighbour the same; redirect; MLDv2 report."""


def is_background(frame: bytes) -> bool:
    """Return whether a frame, with or without VLAN tags, is background traffic."""
    if frame[:5] == b"\x01\x80\xc2\x00\x00":  # IEEE 802.1Q, table 8-1: never forwarded
        return True
    at = 12
    kind = int.from_bytes(frame[at : at + 2], "big")
    while kind in _VLAN:
        at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
    network = frame[at + 2 :]
    if kind in (_ARP, _LLDP):
        return True
    if kind == _IPV4 and len(network) >= 20:
        return network[9] == _IGMP
    if kind != _IPV6 or len(network) < 41:
        return False
    following, at = network[6], 40
    if following == _HOP_BY_HOP and len(network) > 48:  # listener reports carry a router alert
        following, at = network[40], 40 + 8 * (network[41] + 1)
    return following == _ICMPV6 and len(network) > at and network[at] in _DISCOVERY
