# SPDX-License-Identifier: GPL-2.0-or-later
"""What ethtool(8) shows and sets, without a process a time. Methods ``ethtool.*``.

Netlink where the kernel offers it (its errors carry the driver's words), the older ioctl for the driver's own
statistics, the self-test and the RSS table, which netlink cannot set in older kernels.
Source: Documentation/networking/ethtool-netlink.rst, include/uapi/linux/ethtool.h and ethtool_netlink_generated.h.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import Any

from agent.methods import exposed
from agent.netlink.attributes import FLAG, HEX, STRING, U8, U32, Array, Attributes, Family

ETHTOOL = Family("ethtool")
SIOCETHTOOL = 0x8946

HEADER = Attributes({1: ("dev-index", U32), 2: ("dev-name", STRING), 3: ("flags", U32)})
BIT = Attributes({1: ("index", U32), 2: ("name", STRING), 3: ("value", FLAG)})
BITSET = Attributes(
    {
        1: ("nomask", FLAG),
        2: ("size", U32),
        3: ("bits", Attributes({1: ("bit", BIT)}, repeated=("bit",))),
        4: ("value", HEX),
        5: ("mask", HEX),
    }
)


def table(names: str, kind: Any = U32, **others: Any) -> Attributes:
    """Return attributes numbered from 1: the header, then `names` of `kind` unless `others` says another."""
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
    "tsinfo": (25, TSINFO),
    "fec": (29, FEC),
    "rss": (38, RSS),
}
"""The number of the GET message; SET is the next one."""
READ_ONLY = {"linkstate", "rss", "tsinfo"}

ETHTOOL_GSTRINGS = 0x1B
ETHTOOL_GSTATS = 0x1D
ETHTOOL_TEST = 0x1A
ETHTOOL_GDRVINFO = 0x03
ETHTOOL_GSSET_INFO = 0x37
ETHTOOL_NWAY_RST = 0x09
ETHTOOL_GRXFH = 0x29
ETHTOOL_SRXFH = 0x2A
ETHTOOL_GRXRINGS = 0x2D
ETHTOOL_GRSSH = 0x46
ETHTOOL_SRSSH = 0x47
ETH_SS_TEST = 0
ETH_SS_STATS = 1
ETH_GSTRING_LEN = 32
RXFH_SIZE = 24
"""struct ethtool_rxfh without its table and key."""
ETH_RXFH_INDIR_NO_CHANGE = 0xFFFFFFFF


def bit_names(value: dict[str, Any]) -> list[str]:
    """Return the names of the bits of a bitset that came without mask, or of those set in one with."""
    bits = value.get("bits", {}).get("bit", [])
    return sorted(bit["name"] for bit in bits if value.get("nomask") or bit.get("value"))


def plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without header and unknown attributes, its bitsets as sorted lists of names."""
    return {
        name: bit_names(value) if isinstance(value, dict) and ("size" in value or "nomask" in value) else value
        for name, value in attributes.items()
        if name != "header" and not name.startswith("#")
    }


@exposed
def get(ifname: str, what: str) -> dict[str, Any]:
    """Return one of features, rings, channels, coalesce, pause, linkinfo, linkmodes, linkstate, privflags, tsinfo, fec, rss.

    Names are those of Documentation/netlink/specs/ethtool.yaml; bitsets come as sorted lists of the names that are set.
    For features these are hw (can be changed), wanted, active, nochange. EOPNOTSUPP where the driver has none.
    """
    command, attributes = COMMANDS[what]
    request = attributes.encode({"header": {"dev-name": ifname}})
    found = plain(ETHTOOL.call(command, request, attributes)[0])
    if what == "linkmodes":
        # A bitset with a mask says: mask = supported, value = advertised.
        raw = ETHTOOL.call(command, request, attributes)[0]
        found["supported"] = sorted(bit["name"] for bit in raw.get("ours", {}).get("bits", {}).get("bit", []))
        found["advertised"] = found.pop("ours", [])
        found["peer"] = found.get("peer", [])
    return found


@exposed
def set(ifname: str, what: str, settings: dict[str, Any]) -> None:  # noqa: A001 - the verb
    """Change settings under the names that `get` returns; features and privflags by ``{"rx-gro": false}``.

    Raises:
        NetlinkError: refused; errno and the kernel's or the driver's words.
    """
    if what in READ_ONLY:
        raise ValueError(f"{what} has no netlink SET here")
    command, attributes = COMMANDS[what]
    request: dict[str, Any] = {"header": {"dev-name": ifname}}
    if what in {"features", "privflags"}:
        bits = {"bits": {"bit": [{"name": name, "value": bool(value)} for name, value in settings.items()]}}
        request["wanted" if what == "features" else "flags"] = bits
    elif what == "linkmodes" and "advertised" in settings:
        bits = [{"name": name, "value": True} for name in settings["advertised"]]
        request |= {name: value for name, value in settings.items() if name != "advertised"}
        request["ours"] = {"nomask": True, "bits": {"bit": bits}}
    else:
        request |= settings
    # encode() leaves False out, which suits flags; numbers given as false are zeros.
    numeric = {name: int(value) if isinstance(value, bool) else value for name, value in request.items()}
    ETHTOOL.call(command + 1, attributes.encode(numeric), attributes)


def ioctl(ifname: str, buffer: array.array[int]) -> None:
    """Hand an ethtool command structure to the driver, in place.

    Raises:
        OSError: the driver or the kernel refused.
    """
    address, _ = buffer.buffer_info()
    request = struct.pack("16sQ16x", ifname.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def string_set_size(ifname: str, string_set: int) -> int:
    """Return how many strings the driver has in `string_set`."""
    buffer = array.array("B", struct.pack("=IIQI", ETHTOOL_GSSET_INFO, 0, 1 << string_set, 0))
    ioctl(ifname, buffer)
    _, _, mask, size = struct.unpack("=IIQI", buffer)
    return int(size) if mask else 0


def strings(ifname: str, string_set: int) -> list[str]:
    """Return the names in `string_set`."""
    size = string_set_size(ifname, string_set)
    buffer = array.array("B", struct.pack("=III", ETHTOOL_GSTRINGS, string_set, size) + bytes(size * ETH_GSTRING_LEN))
    ioctl(ifname, buffer)
    raw = buffer.tobytes()[12:]
    return [
        raw[at : at + ETH_GSTRING_LEN].partition(b"\0")[0].decode(errors="replace")
        for at in range(0, size * ETH_GSTRING_LEN, ETH_GSTRING_LEN)
    ]


def values(ifname: str, size: int) -> list[int]:
    """Return the driver's statistics without their names."""
    buffer = array.array("B", struct.pack("=II", ETHTOOL_GSTATS, size) + bytes(size * 8))
    ioctl(ifname, buffer)
    return list(struct.unpack(f"={size}Q", buffer.tobytes()[8:]))


@exposed
def stats(ifname: str) -> dict[str, int]:
    """Return the driver's own statistics (``ethtool -S``) by name; a name that comes twice keeps the last value."""
    return dict(stats_list(ifname))  # type: ignore[arg-type]


@exposed
def stats_list(ifname: str) -> list[list[Any]]:
    """Return the driver's own statistics as ``[name, value]`` in the driver's order, doubled names and all."""
    names = strings(ifname, ETH_SS_STATS)
    return [list(pair) for pair in zip(names, values(ifname, len(names)), strict=True)]


@exposed
def driver_info(ifname: str) -> dict[str, str]:
    """Return driver, version, fw-version and bus-info (``ethtool -i``)."""
    buffer = array.array("B", struct.pack("=I", ETHTOOL_GDRVINFO) + bytes(192))
    ioctl(ifname, buffer)
    raw = buffer.tobytes()[4:]
    fields = {"driver": raw[:32], "version": raw[32:64], "fw-version": raw[64:96], "bus-info": raw[96:128]}
    return {name: value.partition(b"\0")[0].decode(errors="replace") for name, value in fields.items()}


@exposed
def self_test(ifname: str, offline: bool = True) -> dict[str, Any]:
    """Run the driver's self-test (``ethtool -t``); returns passed and results, a number by name, 0 being good."""
    names = strings(ifname, ETH_SS_TEST)
    buffer = array.array("B", struct.pack("=IIII", ETHTOOL_TEST, int(offline), 0, len(names)) + bytes(len(names) * 8))
    ioctl(ifname, buffer)
    raw = buffer.tobytes()
    flags = struct.unpack_from("=I", raw, 4)[0]
    results = struct.unpack_from(f"={len(names)}Q", raw, 16)
    return {"passed": not flags & 2, "results": dict(zip(names, results, strict=True))}


@exposed
def restart_negotiation(ifname: str) -> None:
    """Restart autonegotiation (``ethtool -r``)."""
    ioctl(ifname, array.array("B", struct.pack("=I", ETHTOOL_NWAY_RST)))


def rss_sizes(ifname: str) -> tuple[int, int]:
    """Return the sizes of the indirection table and of the key."""
    buffer = array.array("B", struct.pack("=IIII", ETHTOOL_GRSSH, 0, 0, 0) + bytes(8))
    ioctl(ifname, buffer)
    _, _, table_size, key_size = struct.unpack_from("=IIII", buffer)
    return table_size, key_size


@exposed
def rss(ifname: str) -> dict[str, Any]:
    """Return the receive hash: ``{"indir": [queue…], "hkey": hex, "hfunc": bits, "rings": n}``."""
    table_size, key_size = rss_sizes(ifname)
    head = struct.pack("=IIII", ETHTOOL_GRSSH, 0, table_size, key_size)
    buffer = array.array("B", head + bytes(8 + table_size * 4 + key_size))
    ioctl(ifname, buffer)
    raw = buffer.tobytes()
    rings = array.array("B", struct.pack("=I", ETHTOOL_GRXRINGS) + bytes(188))
    ioctl(ifname, rings)
    return {
        "indir": list(struct.unpack_from(f"={table_size}I", raw, RXFH_SIZE)),
        "hkey": raw[RXFH_SIZE + table_size * 4 :][:key_size].hex(),
        "hfunc": raw[16],
        "rings": struct.unpack_from("=Q", rings.tobytes(), 8)[0],
    }


@exposed
def set_rss(ifname: str, indir: list[int] | None = None, hkey: str | None = None) -> None:
    """Set the indirection table, the key, or both; an empty `indir` asks for the driver's default."""
    table_size = ETH_RXFH_INDIR_NO_CHANGE if indir is None else len(indir)
    key = bytes.fromhex(hkey or "")
    head = struct.pack("=IIII", ETHTOOL_SRSSH, 0, table_size, len(key)).ljust(RXFH_SIZE, b"\0")
    body = b"".join(struct.pack("=I", queue) for queue in indir or [])
    ioctl(ifname, array.array("B", head + body + key))


@exposed
def hash_fields(ifname: str, flow: int) -> int:
    """Return which header fields enter the hash of a flow type: TCP v4 1, UDP v4 2, TCP v6 5, UDP v6 6."""
    buffer = array.array("B", struct.pack("=IIQ", ETHTOOL_GRXFH, flow, 0) + bytes(176))
    ioctl(ifname, buffer)
    return int(struct.unpack_from("=Q", buffer.tobytes(), 8)[0])


@exposed
def set_hash_fields(ifname: str, flow: int, fields: int) -> None:
    """Set which header fields enter the hash of `flow`: RXH_IP_SRC 0x10, IP_DST 0x20, L4_B_0_1 0x40, L4_B_2_3 0x80."""
    ioctl(ifname, array.array("B", struct.pack("=IIQ", ETHTOOL_SRXFH, flow, fields) + bytes(176)))
