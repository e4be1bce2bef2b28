# SPDX-License-Identifier: GPL-2.0-or-later
"""What belongs to an interface and goes with it: addresses, permanent neighbours, alternative names, queueing disciplines.

Addresses and neighbours are kept as the kernel reports them, in hexadecimal digits, without the interface's index, which is another when
its driver makes it anew, and without what the kernel counts or finds out. Source: include/uapi/linux/if_addr.h, neighbour.h,
rtnetlink.h (struct tcmsg), if_link.h (IFLA_PROP_LIST).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

from agent.netlink.attributes import NLA_F_NESTED, attribute, walk
from agent.netlink.connection import NETLINK_ROUTE, NetlinkError, shared
from agent.netlink.link import RTM_GETADDR, RTM_GETLINK, RTM_NEWADDR, header
from agent.system.interface import interface_index

IFADDRMSG = struct.Struct("=BBBBi")
IFA_CACHEINFO, IFA_FLAGS = 6, 8
IFA_KEPT = {1, 2, 3, 4, 7, 9, 11}
"""IFA_ADDRESS, LOCAL, LABEL, BROADCAST, MULTICAST, RT_PRIORITY, PROTO."""
IFA_F_SETTABLE = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400
"""NODAD, OPTIMISTIC, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN: the others are states."""
FOR_EVER = 0xFFFFFFFF
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NDMSG = struct.Struct("=BBHiHBB")
NUD_PERMANENT = 0x80
NDA_KEPT = {1, 2, 12, 15}
"""NDA_DST, LLADDR, PROTOCOL, FLAGS_EXT."""
RTM_GETQDISC = 38
TCMSG = struct.Struct("=BBHiIII")
TCA_KIND, TCA_OPTIONS = 1, 2
IFINFOMSG = 16
IFLA_PROP_LIST, IFLA_ALT_IFNAME = 52, 53
RTM_NEWLINKPROP = 108


def _of(kind: int, body: bytes, index: int, form: struct.Struct) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Yield the header and the attributes of each message of a dump that is of one interface."""
    for message in shared(NETLINK_ROUTE).request(kind, body, dump=True):
        head = form.unpack_from(message.body)
        where = head[4] if form is IFADDRMSG else head[3]
        if where == index:
            yield head, message.body[form.size :]


def _kept(attributes: bytes, numbers: set[int]) -> bytes:
    return b"".join(attribute(number, payload) for number, payload in walk(attributes) if number in numbers)


def _add(kind: int, body: bytes) -> None:
    try:
        shared(NETLINK_ROUTE).request(kind, body, create=True)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise


def addresses(ifname: str) -> tuple[list[str], list[str]]:
    """Return the addresses that last for ever, and those of IPv4 that a DHCP client has for a time.

    Link-local ones of IPv6 are the kernel's own, and those of IPv6 that last for a time come again by router advertisements.
    """
    index = interface_index(ifname)
    lasting: dict[int, list[str]] = {socket.AF_INET: [], socket.AF_INET6: []}
    leased = []
    for (family, length, short_flags, scope, _), attributes in _of(
        RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, index), index, IFADDRMSG
    ):
        found = dict(walk(attributes))
        if family not in lasting or (family == socket.AF_INET6 and found[1].startswith(b"\xfe\x80")):
            continue
        preferred, valid = struct.unpack_from("=II", found.get(IFA_CACHEINFO, b"\xff" * 8))
        if valid != FOR_EVER:
            if family == socket.AF_INET:
                leased.append(f"{socket.inet_ntop(family, found[2])}/{length}")
            continue
        flags = int.from_bytes(found.get(IFA_FLAGS, bytes([short_flags])), "little") & IFA_F_SETTABLE
        body = IFADDRMSG.pack(family, length, flags & 0xFF, scope, 0) + _kept(attributes, IFA_KEPT)
        body += attribute(IFA_FLAGS, struct.pack("=I", flags))
        body += attribute(IFA_CACHEINFO, struct.pack("=IIII", preferred, valid, 0, 0))
        lasting[family].append(body.hex())
    # Of IPv4 the first is the source address: their order is a setting.
    return lasting[socket.AF_INET] + sorted(lasting[socket.AF_INET6]), sorted(leased)


def add_address(ifname: str, address: str) -> None:
    """Add an address that `addresses` has returned; one that is there is no error.

    Raises:
        NetlinkError: the kernel refused it.
    """
    body = bytes.fromhex(address)
    head = IFADDRMSG.unpack_from(body)
    _add(RTM_NEWADDR, IFADDRMSG.pack(*head[:4], interface_index(ifname)) + body[IFADDRMSG.size :])


def neighbours(ifname: str) -> list[str]:
    """Return the permanent neighbours, sorted."""
    index = interface_index(ifname)
    return sorted(
        (NDMSG.pack(family, 0, 0, 0, NUD_PERMANENT, head[5], head[6]) + _kept(attributes, NDA_KEPT)).hex()
        for family in (socket.AF_INET, socket.AF_INET6)
        for head, attributes in _of(RTM_GETNEIGH, NDMSG.pack(family, 0, 0, 0, 0, 0, 0), index, NDMSG)
        if head[4] & NUD_PERMANENT
    )


def add_neighbour(ifname: str, neighbour: str) -> None:
    """Add a neighbour that `neighbours` has returned; one that is there is no error.

    Raises:
        NetlinkError: the kernel refused it.
    """
    body = bytes.fromhex(neighbour)
    head = NDMSG.unpack_from(body)
    _add(RTM_NEWNEIGH, NDMSG.pack(*head[:3], interface_index(ifname), *head[4:]) + body[NDMSG.size :])


def alternative_names(ifname: str) -> list[str]:
    """Return the interface's alternative names, sorted."""
    (message,) = shared(NETLINK_ROUTE).request(RTM_GETLINK, header(index=interface_index(ifname)))
    return sorted(
        name.rstrip(b"\0").decode()
        for number, properties in walk(message.body[IFINFOMSG:])
        if number == IFLA_PROP_LIST
        for kind, name in walk(properties)
        if kind == IFLA_ALT_IFNAME
    )


def add_alternative_name(ifname: str, name: str) -> None:
    """Give the interface an alternative name; one that it has is no error.

    Raises:
        NetlinkError: the kernel refused it.
    """
    properties = attribute(IFLA_ALT_IFNAME, name.encode() + b"\0")
    body = header(index=interface_index(ifname)) + attribute(IFLA_PROP_LIST | NLA_F_NESTED, properties)
    _add(RTM_NEWLINKPROP, body)


def queueing_disciplines(ifname: str) -> list[str]:
    """Return the queueing disciplines, clsact among them, as ``KIND HANDLE PARENT OPTIONS``, sorted."""
    index = interface_index(ifname)
    lines = []
    for head, attributes in _of(RTM_GETQDISC, TCMSG.pack(0, 0, 0, index, 0, 0, 0), index, TCMSG):
        found = dict(walk(attributes))
        kind = found[TCA_KIND].rstrip(b"\0").decode()
        lines.append(f"{kind} {head[4]:x} {head[5]:x} {found.get(TCA_OPTIONS, b'').hex()}".rstrip())
    return sorted(lines)
