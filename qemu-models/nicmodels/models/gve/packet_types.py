# SPDX-License-Identifier: MIT
"""Packet types: the ten bits of a DQO receive completion, and their map (get_ptype_map).

Source: Linux, drivers/net/ethernet/google/gve/gve_adminq.h (gve_l3_type, gve_l4_type, gve_ptype_map). The device
chooses the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.offload.headers import SCTP, TCP, UDP

if TYPE_CHECKING:
    from nicmodels.offload.headers import Headers

COUNT = 1024
L3_UNKNOWN, L3_OTHER, L3_IPV4, L3_IPV6 = range(4)
L4_UNKNOWN, L4_OTHER, L4_TCP, L4_UDP, L4_ICMP, L4_SCTP = range(6)
_ICMP, _ICMPV6 = 1, 58
_L3 = {0: L3_UNKNOWN, 4: L3_IPV4, 6: L3_IPV6}
_L4 = {TCP: L4_TCP, UDP: L4_UDP, SCTP: L4_SCTP}


def packet_type(headers: Headers) -> int:
    """The type of a packet; fragments have no known upper layer."""
    version = headers.version
    if not version:
        return 0
    if headers.fragment:
        upper = L4_UNKNOWN
    elif headers.l4:
        upper = _L4[headers.l4]
    else:
        upper = L4_ICMP if headers.protocol == (_ICMP if version == 4 else _ICMPV6) else L4_OTHER
    return _L3[version] << 3 | upper


def table() -> bytes:
    """The answer to get_ptype_map: two bytes per type."""
    entries = bytearray(2 * COUNT)
    for l3 in (L3_IPV4, L3_IPV6):
        for l4 in (L4_UNKNOWN, L4_OTHER, L4_TCP, L4_UDP, L4_ICMP, L4_SCTP):
            entries[2 * (l3 << 3 | l4) : 2 * (l3 << 3 | l4) + 2] = (l3, l4)
    return bytes(entries)
