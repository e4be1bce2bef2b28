# SPDX-License-Identifier: GPL-2.0-or-later
"""An interface's settings, statistics and RSS table. Methods ``ethtool.*``.

By netlink where the kernel has it, because its errors carry the driver's text; by ioctl for the driver's statistics, the
self-test, and the RSS table, which older kernels cannot set by netlink.
Source: Documentation/networking/ethtool-netlink.rst, Documentation/netlink/specs/ethtool.yaml; include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import array
import struct
from typing import Any

from agent.ethtool.ioctl import ETH_SS_STATS, ETH_SS_TEST, ETHTOOL_GSTATS, ethtool_ioctl, strings
from agent.methods import exposed
from agent.netlink.attributes import FLAG, HEX, STRING, U8, U32, Array, Attributes
from agent.netlink.generic import Family

HEADER = Attributes({1: ("dev-index", U32), 2: ("dev-name", STRING), 3: ("flags", U32)})
BIT = Attributes({1: ("index", U32), 2: ("name", STRING), 3: ("value", FLAG)})
BITS = Attributes({1: ("bit", BIT)}, repeated=("bit",))
BITSET = Attributes(
    {
        1: ("nomask", FLAG),
        2: ("size", U32),
        3: ("bits", BITS),
        4: ("value", HEX),
        5: ("mask", HEX),
    }
)


def table(names: str, kind: Any = U32, **others: Any) -> Attributes:
    """Return attributes numbered from 1: the header, then `names`, of `kind` except where `others` names another type."""
    members: dict[int, tuple[str, Any]] = {1: ("header", HEADER)}
    for number, name in enumerate(names.split(), 2):
        members[number] = (name, others.get(name.replace("-", "_"), kind))
    return Attributes(members)


FEATURES = table("hw wanted active nochange", BITSET)
RINGS = table(
    "rx-max rx-mini-max rx-jumbo-max tx-max rx rx-mini rx-jumbo tx rx-buf-len tcp-data-split cqe-size tx-push rx-push"
    " tx-push-buf-len tx-push-buf-len-max hds-thresh hds-thresh-max",
    tcp_data_split=U8,
    tx_push=U8,
    rx_push=U8,
)
CHANNELS = table("rx-max tx-max other-max combined-max rx-count tx-count other-count combined-count")
COALESCE = table(
    "rx-usecs rx-max-frames rx-usecs-irq rx-max-frames-irq tx-usecs tx-max-frames tx-usecs-irq tx-max-frames-irq"
    " stats-block-usecs use-adaptive-rx use-adaptive-tx pkt-rate-low rx-usecs-low rx-max-frames-low tx-usecs-low"
    " tx-max-frames-low pkt-rate-high rx-usecs-high rx-max-frames-high tx-usecs-high tx-max-frames-high"
    " rate-sample-interval use-cqe-mode-tx use-cqe-mode-rx",
    use_adaptive_rx=U8,
    use_adaptive_tx=U8,
    use_cqe_mode_tx=U8,
    use_cqe_mode_rx=U8,
)
PAUSE = table("autoneg rx tx", U8)
LINKINFO = table("port phyaddr tp-mdix tp-mdix-ctrl transceiver", U8)
LINKMODES = table("autoneg ours peer speed duplex", U8, ours=BITSET, peer=BITSET, speed=U32)
LINKSTATE = table("link sqi sqi-max ext-state ext-substate ext-down-cnt", U8, sqi=U32, sqi_max=U32, ext_down_cnt=U32)
PRIVFLAGS = table("flags", BITSET)
RSS = table("context hfunc indir hkey input-xfrm", U32, indir=Array(U32), hkey=HEX)
FEC = table("modes auto active", U8, modes=BITSET, active=U32)
EEE = table(
    "modes-ours modes-peer active enabled tx-lpi-enabled tx-lpi-timer",
    U8,
    modes_ours=BITSET,
    modes_peer=BITSET,
    tx_lpi_timer=U32,
)
TSINFO = table("timestamping tx-types rx-filters phc-index", BITSET, phc_index=U32)

COMMANDS = {
    "linkinfo": (2, LINKINFO),
    "linkmodes": (4, LINKMODES),
    "linkstate": (6, LINKSTATE),
    "features": (11, FEATURES),
    "privflags": (13, PRIVFLAGS),
    "rings": (15, RINGS),
    "channels": (17, CHANNELS),
    "coalesce": (19, COALESCE),
    "pause": (21, PAUSE),
    "eee": (23, EEE),
    "tsinfo": (25, TSINFO),
    "fec": (29, FEC),
    "rss": (38, RSS),
}
"""Number of the GET message, and its attributes; SET is the next number."""
READ_ONLY = {"linkstate", "rss", "tsinfo"}
ETHTOOL = Family(
    "ethtool",
    {
        number: f"{what}-{verb}"
        for what, (get, _) in COMMANDS.items()
        for number, verb in ((get, "get"), (get + 1, "set"))
        if verb == "get" or what not in READ_ONLY
    },
)

ETHTOOL_TEST = 0x1A
ETHTOOL_GDRVINFO = 0x03
ETHTOOL_NWAY_RST = 0x09
ETHTOOL_GRXFH = 0x29
ETHTOOL_SRXFH = 0x2A
ETHTOOL_GRXRINGS = 0x2D
ETHTOOL_GRSSH = 0x46
ETHTOOL_SRSSH = 0x47
RXFH_SIZE = 24
"""Bytes of struct ethtool_rxfh without its table and key."""
ETH_RXFH_INDIR_NO_CHANGE = 0xFFFFFFFF


def bit_names(value: dict[str, Any]) -> list[str]:
    """Return the names of the bits that are set in a bitset, with a mask or without one."""
    bits = value.get("bits", {}).get("bit", [])
    return sorted(bit["name"] for bit in bits if value.get("nomask") or bit.get("value"))


def plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a reply without its header and unknown attributes, its bitsets as sorted lists of names."""
    return {
        name: bit_names(value) if isinstance(value, dict) and ("size" in value or "nomask" in value) else value
        for name, value in attributes.items()
        if name != "header" and not name.startswith("#")
    }


@exposed
def get(ifname: str, what: str) -> dict[str, Any]:
    """Return one of features, rings, channels, coalesce, pause, linkinfo, linkmodes, linkstate, privflags, eee, tsinfo, fec, rss.

    The names are those of Documentation/netlink/specs/ethtool.yaml. A bitset is the sorted list of the names that are set;
    those of features are hw (changeable), wanted, active and nochange. For linkmodes, supported and advertised replace ours.

    Raises:
        NetlinkError: EOPNOTSUPP, the driver does not support it.
    """
    command, attributes = COMMANDS[what]
    request = attributes.encode({"header": {"dev-name": ifname}})
    found = plain(ETHTOOL.call(command, request, attributes)[0])
    if what == "linkmodes":
        # In this bitset the mask has the supported modes, the value the advertised ones.
        raw = ETHTOOL.call(command, request, attributes)[0]
        found["supported"] = sorted(bit["name"] for bit in raw.get("ours", {}).get("bits", {}).get("bit", []))
        found["advertised"] = found.pop("ours", [])
        found["peer"] = found.get("peer", [])
    return found


@exposed
def set(ifname: str, what: str, settings: dict[str, Any]) -> None:  # noqa: A001 - the verb
    """Change settings by the names that `get` returns; features and privflags by ``{"rx-gro": false}``.

    Raises:
        NetlinkError: the kernel or the driver refused; errno and the extended error text.
    """
    if what in READ_ONLY:
        raise ValueError(f"{what} cannot be set by netlink here")
    command, attributes = COMMANDS[what]
    request: dict[str, Any] = {"header": {"dev-name": ifname}}
    if what in {"features", "privflags"}:
        bits = [{"name": name, "value": bool(value)} for name, value in settings.items()]
        request["wanted" if what == "features" else "flags"] = {"bits": {"bit": bits}}
    elif what == "linkmodes" and "advertised" in settings:
        bits = [{"name": name, "value": True} for name in settings["advertised"]]
        request |= {name: value for name, value in settings.items() if name != "advertised"}
        request["ours"] = {"nomask": True, "bits": {"bit": bits}}
    elif what == "eee" and "modes-ours" in settings:
        bits = [{"name": name, "value": True} for name in settings["modes-ours"]]
        request |= settings | {"modes-ours": {"nomask": True, "bits": {"bit": bits}}}
    else:
        request |= settings
    # encode() leaves False out, which is right for flags; a number given as false is a zero.
    numeric = {name: int(value) if isinstance(value, bool) else value for name, value in request.items()}
    ETHTOOL.call(command + 1, attributes.encode(numeric), attributes)


def values(ifname: str, size: int) -> list[int]:
    """Return the values of the driver's statistics."""
    buffer = array.array("B", struct.pack("=II", ETHTOOL_GSTATS, size) + bytes(size * 8))
    ethtool_ioctl(ifname, buffer)
    return list(struct.unpack(f"={size}Q", buffer.tobytes()[8:]))


@exposed
def stats(ifname: str) -> dict[str, int]:
    """Return the driver's statistics (``ethtool -S``) by name; of a name that occurs twice the last value."""
    names = strings(ifname, ETH_SS_STATS)
    return dict(zip(names, values(ifname, len(names)), strict=True))


@exposed
def stats_list(ifname: str) -> list[list[Any]]:
    """Return the driver's statistics as ``[name, value]`` in the driver's order, duplicate names included."""
    names = strings(ifname, ETH_SS_STATS)
    return [list(pair) for pair in zip(names, values(ifname, len(names)), strict=True)]


@exposed
def driver_info(ifname: str) -> dict[str, str]:
    """Return driver, version, fw-version and bus-info (``ethtool -i``)."""
    buffer = array.array("B", struct.pack("=I", ETHTOOL_GDRVINFO) + bytes(192))
    ethtool_ioctl(ifname, buffer)
    raw = buffer.tobytes()[4:]
    fields = {"driver": raw[:32], "version": raw[32:64], "fw-version": raw[64:96], "bus-info": raw[96:128]}
    return {name: value.partition(b"\0")[0].decode(errors="replace") for name, value in fields.items()}


@exposed
def self_test(ifname: str, offline: bool = True) -> dict[str, Any]:
    """Run the driver's self-test (``ethtool -t``); returns passed, and results by name, 0 where the test passed."""
    names = strings(ifname, ETH_SS_TEST)
    buffer = array.array("B", struct.pack("=IIII", ETHTOOL_TEST, int(offline), 0, len(names)) + bytes(len(names) * 8))
    ethtool_ioctl(ifname, buffer)
    raw = buffer.tobytes()
    flags = struct.unpack_from("=I", raw, 4)[0]
    results = struct.unpack_from(f"={len(names)}Q", raw, 16)
    return {"passed": not flags & 2, "results": dict(zip(names, results, strict=True))}


@exposed
def restart_negotiation(ifname: str) -> None:
    """Restart autonegotiation (``ethtool -r``)."""
    ethtool_ioctl(ifname, array.array("B", struct.pack("=I", ETHTOOL_NWAY_RST)))


def rss_sizes(ifname: str) -> tuple[int, int]:
    """Return the sizes of the indirection table (entries) and of the key (bytes)."""
    buffer = array.array("B", struct.pack("=IIII", ETHTOOL_GRSSH, 0, 0, 0) + bytes(8))
    ethtool_ioctl(ifname, buffer)
    _, _, table_size, key_size = struct.unpack_from("=IIII", buffer)
    return table_size, key_size


@exposed
def rss(ifname: str) -> dict[str, Any]:
    """Return the RSS settings: indir (a list of queues), hkey (hexadecimal), hfunc (ETH_RSS_HASH_*), rings (their number)."""
    table_size, key_size = rss_sizes(ifname)
    head = struct.pack("=IIII", ETHTOOL_GRSSH, 0, table_size, key_size)
    buffer = array.array("B", head + bytes(8 + table_size * 4 + key_size))
    ethtool_ioctl(ifname, buffer)
    raw = buffer.tobytes()
    rings = array.array("B", struct.pack("=I", ETHTOOL_GRXRINGS) + bytes(188))
    ethtool_ioctl(ifname, rings)
    return {
        "indir": list(struct.unpack_from(f"={table_size}I", raw, RXFH_SIZE)),
        "hkey": raw[RXFH_SIZE + table_size * 4 :][:key_size].hex(),
        "hfunc": raw[16],
        "rings": struct.unpack_from("=Q", rings.tobytes(), 8)[0],
    }


@exposed
def set_rss(ifname: str, indir: list[int] | None = None, hkey: str | None = None) -> None:
    """Set the indirection table, the key, or both; an empty `indir` restores the driver's default table."""
    table_size = ETH_RXFH_INDIR_NO_CHANGE if indir is None else len(indir)
    key = bytes.fromhex(hkey or "")
    head = struct.pack("=IIII", ETHTOOL_SRSSH, 0, table_size, len(key)).ljust(RXFH_SIZE, b"\0")
    body = b"".join(struct.pack("=I", queue) for queue in indir or [])
    ethtool_ioctl(ifname, array.array("B", head + body + key))


@exposed
def hash_fields(ifname: str, flow: int) -> int:
    """Return the header fields in the hash of a flow type (TCP over IPv4 1, UDP over IPv4 2, over IPv6 5 and 6): RXH_*."""
    buffer = array.array("B", struct.pack("=IIQ", ETHTOOL_GRXFH, flow, 0) + bytes(176))
    ethtool_ioctl(ifname, buffer)
    return int(struct.unpack_from("=Q", buffer.tobytes(), 8)[0])


@exposed
def set_hash_fields(ifname: str, flow: int, fields: int) -> None:
    """Set the header fields in the hash of a flow type: RXH_IP_SRC 0x10, IP_DST 0x20, L4_B_0_1 0x40, L4_B_2_3 0x80."""
    ethtool_ioctl(ifname, array.array("B", struct.pack("=IIQ", ETHTOOL_SRXFH, flow, fields) + bytes(176)))
