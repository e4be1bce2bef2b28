# SPDX-License-Identifier: GPL-2.0-or-later
"""Memberships of an interface in multicast groups of the link layer. Methods ``membership.*``.

Source: packet(7), PACKET_ADD_MEMBERSHIP; include/uapi/linux/if_packet.h (struct packet_mreq).
"""

from __future__ import annotations

import socket
import struct

from agent import handle
from agent.methods import exposed

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_MULTICAST = 0


@exposed
def join(ifname: str, groups: list[str]) -> int:
    """Join the groups of multicast addresses as ``01:00:5e:00:00:01``; closing the returned handle leaves them."""
    member = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    index = socket.if_nametoindex(ifname)
    for group in groups:
        request = struct.pack("=IHH8s", index, PACKET_MR_MULTICAST, 6, bytes.fromhex(group.replace(":", "")))
        member.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
    return handle.keep(member)
