# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive classification rules, which steer a flow to a queue (``ethtool -N``). Methods ``flow_rules.*``.

Source: include/uapi/linux/ethtool.h (struct ethtool_rxnfc, struct ethtool_rx_flow_spec), ETHTOOL_SRXCLSRLINS.
"""

from __future__ import annotations

import array
import struct

from agent.ethtool.ioctl import ethtool_ioctl
from agent.methods import exposed

INSERT = 0x32
DELETE = 0x31
COUNT = 0x2E
READ, READ_ALL = 0x2F, 0x30
ANYWHERE = 0xFFFFFFFF
"""RX_CLS_LOC_ANY: the driver chooses the location."""
SPECIAL = 0x80000000
"""RX_CLS_LOC_SPECIAL: the driver supports such locations."""

FLOWS = {("tcp", 4): 0x01, ("udp", 4): 0x02, ("tcp", 6): 0x05, ("udp", 6): 0x06}
PORT_AT = {4: 10, 6: 34}
"""Offset of the destination port in union ethtool_flow_union, by IP version."""
UNION = 52
EXTENSION = 20
RULE_LOCATION = 16 + 4 + 2 * (UNION + EXTENSION) + 4 + 8
"""Offset of the rule's location in struct ethtool_rxnfc, with the compiler's padding."""
SIZE_OF_RULE_AND_HEAD = RULE_LOCATION + 8
"""Offset of the number of rules in struct ethtool_rxnfc, behind the rule."""
SIZE = 192


def request(command: int, rule: bytes = b"") -> array.array[int]:
    """Return a struct ethtool_rxnfc with the rule's struct ethtool_rx_flow_spec."""
    return array.array("B", (struct.pack("=IIQ", command, 0, 0) + rule).ljust(SIZE, b"\0"))


@exposed
def add(ifname: str, protocol: str, version: int, port: int, queue: int) -> int:
    """Steer frames of a protocol (tcp, udp) and IP version to destination port `port` to a receive queue; returns the location.

    Raises:
        OSError: the driver refused; EOPNOTSUPP where it has no rules.
    """
    fields, mask = bytearray(UNION), bytearray(UNION)
    at = PORT_AT[version]
    fields[at : at + 2] = port.to_bytes(2, "big")
    mask[at : at + 2] = b"\xff\xff"
    extension = bytes(EXTENSION)
    rule = struct.pack("=I", FLOWS[protocol, version]) + fields + extension + mask + extension
    buffer = request(INSERT, rule + bytes(4) + struct.pack("=QI", queue, free_location(ifname)))
    ethtool_ioctl(ifname, buffer)
    return int(struct.unpack_from("=I", buffer.tobytes(), RULE_LOCATION)[0])


def free_location(ifname: str) -> int:
    """Return a location for a new rule: any, where the driver chooses it itself, or the one behind the existing rules."""
    buffer = request(COUNT)
    ethtool_ioctl(ifname, buffer)
    raw = buffer.tobytes()
    table = struct.unpack_from("=Q", raw, 8)[0]
    if table & SPECIAL:
        return ANYWHERE
    return int(struct.unpack_from("=I", raw, RULE_LOCATION + 8)[0])


@exposed
def delete(ifname: str, location: int) -> None:
    """Delete the rule at a location."""
    rule = bytes(RULE_LOCATION - 16) + struct.pack("=I", location)
    ethtool_ioctl(ifname, request(DELETE, rule))


def list_raw(ifname: str) -> list[str]:
    """Return the rules, each as the driver's struct ethtool_rx_flow_spec in hexadecimal digits, by location.

    Raises:
        OSError: the driver has no rules.
    """
    counted = request(COUNT)
    ethtool_ioctl(ifname, counted)
    count = struct.unpack_from("=I", counted.tobytes(), SIZE_OF_RULE_AND_HEAD)[0]
    listing = array.array("B", bytes(SIZE + 4 * count))
    struct.pack_into("=I", listing, 0, READ_ALL)
    struct.pack_into("=I", listing, SIZE_OF_RULE_AND_HEAD, count)
    ethtool_ioctl(ifname, listing)
    locations = struct.unpack_from(f"={count}I", listing.tobytes(), SIZE_OF_RULE_AND_HEAD + 4)
    found = []
    for location in sorted(locations):
        one = request(READ, bytes(RULE_LOCATION - 16) + struct.pack("=I", location))
        ethtool_ioctl(ifname, one)
        found.append(one.tobytes()[16:SIZE_OF_RULE_AND_HEAD].hex())
    return found


def add_raw(ifname: str, rule: str) -> None:
    """Add a rule that `list_raw` has returned, at its location.

    Raises:
        OSError: the driver refused.
    """
    ethtool_ioctl(ifname, request(INSERT, bytes.fromhex(rule)))
