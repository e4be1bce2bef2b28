# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces by rtnetlink: state, settings, statistics, addresses, XDP programs, notifications. Methods ``link.*``.

Source: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h; Documentation/networking/operstates.rst.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

from agent import handle
from agent.bpf.objects import Program
from agent.methods import exposed
from agent.netlink.attributes import (
    HEX,
    MAC,
    NLA_F_NESTED,
    S32,
    STRING,
    U8,
    U16,
    U32,
    Attributes,
    Bits,
    Choice,
    attribute,
    walk,
)
from agent.netlink.connection import NETLINK_ROUTE, Message, Monitor, shared
from agent.system.interface import interface_index

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTNLGRP_LINK = 1

IFF_NAMES = (
    "up",
    "broadcast",
    "debug",
    "loopback",
    "pointtopoint",
    "notrailers",
    "running",
    "noarp",
    "promisc",
    "allmulti",
    "master",
    "slave",
    "multicast",
    "portsel",
    "automedia",
    "dynamic",
    "lower-up",
    "dormant",
    "echo",
)
IFF_UP = 1
IFF_PROMISC = 1 << 8
IFF_ALLMULTI = 1 << 9

XDP_MODES = {"native": 1 << 2, "generic": 1 << 1, "offload": 1 << 3, "any": 0}
XDP_FLAGS_UPDATE_IF_NOEXIST = 1 << 0
XDP_FLAGS_REPLACE = 1 << 4
VETH_INFO_PEER = 1

STATS64 = (
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "collisions",
    "rx_length_errors",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_aborted_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_window_errors",
    "rx_compressed",
    "tx_compressed",
    "rx_nohandler",
    "rx_otherhost_dropped",
)


class Stats64:
    """struct rtnl_link_stats64: 64-bit counters in a fixed order; newer kernels append some."""

    def decode(self, data: bytes) -> dict[str, int]:
        """Return the counters by their names in if_link.h."""
        return dict(zip(STATS64, struct.unpack(f"={len(data) // 8}Q", data[: len(data) // 8 * 8]), strict=False))

    def encode(self, value: Any) -> bytes:
        """Not supported: the kernel takes no statistics."""
        raise NotImplementedError


XDP = Attributes(
    {
        1: ("fd", S32),
        2: ("attached", Choice(("none", "native", "generic", "offload", "multi"), size=1)),
        3: ("flags", U32),
        4: ("prog-id", U32),
        5: ("native-prog-id", U32),
        6: ("generic-prog-id", U32),
        7: ("offload-prog-id", U32),
        8: ("expected-fd", S32),
    }
)
VLAN_DATA = Attributes({1: ("id", U16), 2: ("flags", HEX), 5: ("protocol", HEX)})
LINKINFO = Attributes({1: ("kind", STRING), 2: ("data", VLAN_DATA)})
LINK = Attributes(
    {
        1: ("address", MAC),
        2: ("broadcast", MAC),
        3: ("ifname", STRING),
        4: ("mtu", U32),
        5: ("link", U32),
        6: ("qdisc", STRING),
        13: ("txqlen", U32),
        16: (
            "operstate",
            Choice(("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"), size=1),
        ),
        18: ("linkinfo", LINKINFO),
        19: ("net-ns-pid", U32),
        23: ("stats64", Stats64()),
        30: ("promiscuity", U32),
        31: ("num-tx-queues", U32),
        32: ("num-rx-queues", U32),
        33: ("carrier", U8),
        35: ("carrier-changes", U32),
        40: ("gso-max-segs", U32),
        41: ("gso-max-size", U32),
        43: ("xdp", XDP),
        44: (
            "event",
            Choice(
                ("none", "reboot", "features", "bonding-failover", "notify-peers", "igmp-resend", "bonding-options")
            ),
        ),
        47: ("carrier-up-count", U32),
        48: ("carrier-down-count", U32),
        50: ("min-mtu", U32),
        51: ("max-mtu", U32),
        54: ("perm-address", MAC),
        56: ("parent-dev-name", STRING),
        57: ("parent-dev-bus-name", STRING),
        59: ("tso-max-size", U32),
        60: ("tso-max-segs", U32),
        61: ("allmulti", U32),
    }
)
"""IFLA_*, without what tests do not need."""

ADDRESS = Attributes({1: ("address", HEX), 2: ("local", HEX), 3: ("label", STRING), 8: ("flags", U32)})
READ_INTERVAL = 0.05
"""Seconds between two looks at an interface that is waited for."""
RTF_LOCAL = 1 << 31
IF_INET6, IPV6_ROUTE = Path("/proc/net/if_inet6"), Path("/proc/net/ipv6_route")
IFA_F_NODAD = 0x02
IFA_F_TENTATIVE = 0x40


def header(family: int = 0, index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """Return a struct ifinfomsg."""
    return struct.pack("=BBHiII", family, 0, 0, index, flags, change)


def decoded(message: Message) -> dict[str, Any]:
    """Return an RTM_NEWLINK or RTM_DELLINK as a flat dictionary, without unknown attributes."""
    _, _, _, index, flags, _ = struct.unpack_from("=BBHiII", message.body)
    # Most of a message is what tests do not need, such as the statistics of IPv6.
    known = {}
    for number, payload in walk(message.body[16:]):
        if number in LINK.members:
            name, kind = LINK.members[number]
            known[name] = kind.decode(payload)
    names = Bits(IFF_NAMES, 4).decode(flags.to_bytes(4, "little"))
    return {"ifindex": index, "flags": names, **known}


@exposed
def get(ifname: str) -> dict[str, Any]:
    """Return the interface: ifindex, flags, driver (null where it has none), and the attributes by their names in `LINK`."""
    body = header(index=interface_index(ifname))
    found = decoded(shared(NETLINK_ROUTE).request(RTM_GETLINK, body)[0])
    try:
        found["driver"] = os.readlink(f"/sys/class/net/{ifname}/device/driver").rpartition("/")[2]  # noqa: PTH115 - a fifth of its time
    except OSError:
        found["driver"] = None
    return found


@exposed
def list_all() -> list[str]:
    """Return the names of all interfaces."""
    return [name for _, name in socket.if_nameindex()]


@exposed
def stats64(ifname: str) -> dict[str, int]:
    """Return struct rtnl_link_stats64 by the names of its members."""
    stats: dict[str, int] = get(ifname)["stats64"]
    return stats


@exposed
def set(  # noqa: A001 - the name of the netlink verb
    ifname: str,
    up: bool | None = None,
    mtu: int | None = None,
    address: str | None = None,
    promisc: bool | None = None,
    allmulti: bool | None = None,
    name: str | None = None,
    txqlen: int | None = None,
    netns_pid: int | None = None,
) -> None:
    """Change the given settings in one request.

    With `netns_pid` the interface moves to the network namespace of that process.

    Raises:
        NetlinkError: the kernel or the driver refused; errno and the extended error text.
    """
    flags = change = 0
    for bit, wanted in ((IFF_UP, up), (IFF_PROMISC, promisc), (IFF_ALLMULTI, allmulti)):
        if wanted is not None:
            change |= bit
            flags |= bit if wanted else 0
    body = header(index=interface_index(ifname), flags=flags, change=change)
    body += LINK.encode({"mtu": mtu, "address": address, "ifname": name, "txqlen": txqlen, "net-ns-pid": netns_pid})
    shared(NETLINK_ROUTE).request(RTM_NEWLINK, body)


@exposed
def add_vlan(ifname: str, vlan: int, name: str, protocol: int = 0x8100) -> None:
    """Create the VLAN interface `name` on top of `ifname`."""
    data = {"id": vlan, "protocol": struct.pack(">H", protocol).hex()}
    attributes = {
        "link": interface_index(ifname),
        "ifname": name,
        "linkinfo": {"kind": "vlan", "data": data},
    }
    shared(NETLINK_ROUTE).request(RTM_NEWLINK, header() + LINK.encode(attributes), create=True)


@exposed
def add_pair(name: str, peer: str) -> None:
    """Create the veth pair `name` and `peer`."""
    there = attribute(VETH_INFO_PEER | NLA_F_NESTED, header() + LINK.encode({"ifname": peer}))
    info = LINKINFO.encode({"kind": "veth"}) + attribute(LINKINFO.numbers["data"] | NLA_F_NESTED, there)
    body = header() + LINK.encode({"ifname": name}) + attribute(LINK.numbers["linkinfo"] | NLA_F_NESTED, info)
    shared(NETLINK_ROUTE).request(RTM_NEWLINK, body, create=True)


@exposed
def delete(ifname: str) -> None:
    """Delete a virtual interface."""
    shared(NETLINK_ROUTE).request(RTM_DELLINK, header(index=interface_index(ifname)))


def address_body(ifname: str, address: str) -> bytes:
    """Return a struct ifaddrmsg and the attributes for `address` as ``192.0.2.2/24``."""
    interface = ipaddress.ip_interface(address)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    # Duplicate address detection keeps an IPv6 address unusable for a second or more.
    flags = IFA_F_NODAD if interface.version == 6 else 0
    packed = interface.ip.packed.hex()
    head = struct.pack("=BBBBi", family, interface.network.prefixlen, flags, 0, interface_index(ifname))
    return head + ADDRESS.encode({"local": packed, "address": packed})


@exposed
def add_address(ifname: str, address: str) -> None:
    """Add an address as ``192.0.2.2/24``; an IPv6 address works at once, without duplicate address detection."""
    shared(NETLINK_ROUTE).request(RTM_NEWADDR, address_body(ifname, address), create=True)


@exposed
def delete_address(ifname: str, address: str) -> None:
    """Delete an address as ``192.0.2.2/24``."""
    shared(NETLINK_ROUTE).request(RTM_DELADDR, address_body(ifname, address))


@exposed
def addresses(ifname: str) -> list[dict[str, Any]]:
    """Return the addresses: ``{"address": "192.0.2.2/24", "tentative": false}`` each."""
    index = interface_index(ifname)
    found = []
    body = struct.pack("=BBBBi", 0, 0, 0, 0, index)
    for message in shared(NETLINK_ROUTE).request(RTM_GETADDR, body, dump=True):
        _, prefix, short_flags, _, where = struct.unpack_from("=BBBBi", message.body)
        if where != index:
            continue
        attributes = ADDRESS.decode(message.body[8:])
        ip = ipaddress.ip_address(bytes.fromhex(attributes.get("local") or attributes["address"]))
        flags = attributes.get("flags", short_flags)
        found.append({"address": f"{ip}/{prefix}", "tentative": bool(flags & IFA_F_TENTATIVE)})
    return found


@exposed
def xdp_attach(
    ifname: str,
    program: int | None,
    mode: str = "native",
    expected: int | None = None,
    if_none: bool = False,
) -> None:
    """Attach a loaded program, or detach with `program` null.

    Args:
        ifname: the interface.
        program: handle of the program (`bpf.load`), or null.
        mode: native, generic, offload, or any (the kernel chooses).
        expected: handle of the program that must be attached already (XDP_FLAGS_REPLACE).
        if_none: fail with EBUSY where a program is attached already (XDP_FLAGS_UPDATE_IF_NOEXIST).

    Raises:
        NetlinkError: the kernel or the driver refused; errno and the extended error text.
    """
    flags = XDP_MODES[mode] | (XDP_FLAGS_UPDATE_IF_NOEXIST if if_none else 0)
    attributes: dict[str, Any] = {"fd": -1 if program is None else handle.get(program, Program).fd}
    if expected is not None:
        flags |= XDP_FLAGS_REPLACE
        attributes["expected-fd"] = handle.get(expected, Program).fd
    attributes["flags"] = flags
    body = header(index=interface_index(ifname)) + LINK.encode({"xdp": attributes})
    shared(NETLINK_ROUTE).request(RTM_NEWLINK, body)


@exposed
def xdp(ifname: str) -> dict[str, Any]:
    """Return the attached program: ``{"attached": "native", "prog-id": 7, …}``; ``{"attached": "none"}`` without one."""
    found: dict[str, Any] = get(ifname).get("xdp", {"attached": "none"})
    return found


def has_local_routes(ifname: str) -> bool:
    """Whether each IPv6 address that was added here has its local route: without it the kernel drops what is sent to the address.

    A work item of the kernel adds it some time after the address was added, or the interface set up (net/ipv6/addrconf.c); nothing
    else shows that. Addresses of IPv4 have theirs at once.
    """
    addresses = (line.split() for line in IF_INET6.read_text().splitlines())
    added = {address for address, *_, flags, name in addresses if name == ifname and int(flags, 16) & IFA_F_NODAD}
    routes = (line.split() for line in IPV6_ROUTE.read_text().splitlines())
    local = {target for target, length, *_, flags, _ in routes if length == "80" and int(flags, 16) & RTF_LOCAL}
    return added <= local


@exposed
def wait(ifname: str, wanted: dict[str, list[Any]], timeout: float) -> dict[str, Any]:
    """Wait until each attribute has one of its wanted values; returns the interface then, or as it is after `timeout` seconds.

    Where ``local-routes`` is wanted it is returned, too: whether the kernel accepts what is sent to the interface's addresses.

    The kernel's notifications end the wait. Of a carrier that went off they come up to a second late (net/core/link_watch.c), so the
    interface is read every `READ_INTERVAL`, too.
    """
    end = time.monotonic() + timeout
    changes = Monitor(NETLINK_ROUTE, RTNLGRP_LINK)
    try:
        while True:
            found = get(ifname)
            if "local-routes" in wanted:
                found["local-routes"] = has_local_routes(ifname)
            left = end - time.monotonic()
            if left <= 0 or all(found.get(name) in values for name, values in wanted.items()):
                return found
            changes.read(min(left, READ_INTERVAL))
    finally:
        changes.close()


@exposed
def monitor_open() -> int:
    """Subscribe to link notifications; returns a handle. The kernel queues them until they are read."""
    return handle.keep(Monitor(NETLINK_ROUTE, RTNLGRP_LINK))


@exposed
def monitor_read(monitor: int, ifname: str | None = None, timeout: float = 0) -> list[dict[str, Any]]:
    """Return the link notifications since the last read; where there are none, wait up to `timeout` seconds for the first.

    Each has the attributes that `link.get` returns, and type (new or del).

    Raises:
        OSError: ENOBUFS, notifications were lost.
    """
    end = time.monotonic() + timeout
    source = handle.get(monitor, Monitor)
    found: list[dict[str, Any]] = []
    while True:
        received = source.read(0 if found else max(0.0, end - time.monotonic()))
        if not received:
            return found
        for message in received:
            if message.type in {RTM_NEWLINK, RTM_DELLINK}:
                event = decoded(message)
                if ifname in {None, event.get("ifname")}:
                    found.append({"type": "new" if message.type == RTM_NEWLINK else "del", **event})
