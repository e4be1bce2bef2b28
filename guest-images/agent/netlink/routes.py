# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes by rtnetlink: those of one interface, kept as the kernel reports them, to be added again.

Source: include/uapi/linux/rtnetlink.h (struct rtmsg).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

from agent.netlink.attributes import walk
from agent.netlink.connection import NETLINK_ROUTE, Message, NetlinkError, shared
from agent.system.interface import interface_index

RTM_NEWROUTE = 24
RTM_GETROUTE = 26
RTMSG = 12
"""Bytes of struct rtmsg."""
RTA_DST, RTA_OIF, RTA_TABLE, RTA_MULTIPATH = 1, 4, 15, 9
RTA_CACHEINFO = 12
RT_TABLE_MAIN = 254
RTPROT_KERNEL, RTPROT_RA = 2, 9
"""Made by the kernel with an address, and by router advertisements: they come again by themselves."""
RTM_F_CLONED = 0x200
RTNH_F_SETTABLE = 0x02 | 0x04
"""PERVASIVE, ONLINK: the others are states."""
NEXTHOP = 8
"""Bytes of struct rtnexthop without its attributes."""


def outgoing_interfaces(body: bytes) -> Iterator[str]:
    """Yield the names of the interfaces that a route, the body of an RTM_NEWROUTE, sends by."""
    for number, payload in walk(body[RTMSG:]):
        indexes: list[int] = []
        if number == RTA_OIF:
            indexes = [int.from_bytes(payload[:4], "little")]
        elif number == RTA_MULTIPATH:
            at = 0
            while at + NEXTHOP <= len(payload):
                length, _, _, index = struct.unpack_from("=HBBi", payload, at)
                indexes.append(index)
                at += max(length, NEXTHOP)
        for index in indexes:
            try:
                yield socket.if_indextoname(index)
            except OSError:
                continue


def _dump() -> Iterator[Message]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            yield from shared(NETLINK_ROUTE).request(
                RTM_GETROUTE, struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0), dump=True
            )
        except NetlinkError as error:
            if error.errno != errno.EOPNOTSUPP:  # a kernel without IPv6
                raise


def _table(message: Message) -> int:
    found = message.body[4]
    for number, payload in walk(message.body[RTMSG:]):
        if number == RTA_TABLE:
            found = int.from_bytes(payload[:4], "little")
    return found


def _is_added(message: Message) -> bool:
    """Whether someone has added a route, rather than the kernel."""
    flags = struct.unpack_from("=I", message.body, 8)[0]
    return message.body[5] not in {RTPROT_KERNEL, RTPROT_RA} and not flags & RTM_F_CLONED


def default_interfaces() -> set[str]:
    """Return the interfaces that the default routes of the main table send by."""
    return {
        name
        for message in _dump()
        if message.body[1] == 0 and _table(message) == RT_TABLE_MAIN
        for name in outgoing_interfaces(message.body)
    }


def of_interface(ifname: str) -> list[str]:
    """Return the routes of all tables that send by an interface alone and that someone has added, sorted.

    Each is the kernel's message in hexadecimal digits, without the interface's index, which is another when its driver makes it anew, and
    without what the kernel counts or finds out.
    """
    return sorted(
        _with_index(message.body, 0).hex()
        for message in _dump()
        if _is_added(message) and [*outgoing_interfaces(message.body)] == [ifname]
    )


def of_several_hops(ifname: str) -> list[str]:
    """Return the destinations of routes with several next hops, of which one is by an interface, sorted."""
    found = []
    for message in _dump():
        names = [*outgoing_interfaces(message.body)]
        if len(names) > 1 and ifname in names and _is_added(message):
            family, length = message.body[0], message.body[1]
            target = dict(walk(message.body[RTMSG:])).get(RTA_DST)
            address = "default" if target is None else f"{socket.inet_ntop(family, target)}/{length}"
            found.append(f"{address} table {_table(message)}")
    return sorted(found)


def _with_index(body: bytes, index: int) -> bytes:
    flags = struct.unpack_from("=I", body, 8)[0] & RTNH_F_SETTABLE
    kept = body[:8] + struct.pack("=I", flags)
    for number, payload in walk(body[RTMSG:]):
        if number == RTA_CACHEINFO:
            continue
        data = struct.pack("=i", index) if number == RTA_OIF else payload
        kept += struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4)
    return kept


def add(ifname: str, route: str) -> None:
    """Add a route that `of_interface` has returned; one that is there is no error.

    Raises:
        NetlinkError: the kernel refused it.
    """
    body = _with_index(bytes.fromhex(route), interface_index(ifname))
    try:
        shared(NETLINK_ROUTE).request(RTM_NEWROUTE, body, create=True)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
