# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive classification: which queue a flow goes to (``ethtool -N``). Methods ``flow_rules.*``.

Source: include/uapi/linux/ethtool.h (struct ethtool_rxnfc, struct ethtool_rx_flow_spec), ETHTOOL_SRXCLSRLINS.
"""

from __future__ import annotations

import array
import struct

from agent.ethtool.ethtool import ioctl
from agent.methods import exposed

INSERT = 0x32
DELETE = 0x31
COUNT = 0x2E
ANYWHERE = 0xFFFFFFFF
"""RX_CLS_LOC_ANY: the driver chooses the place."""
SPECIAL = 0x80000000
"""RX_CLS_LOC_SPECIAL: the driver takes such words."""

FLOWS = {("tcp", 4): 0x01, ("udp", 4): 0x02, ("tcp", 6): 0x05, ("udp", 6): 0x06}
PORT_AT = {4: 10, 6: 34}
"""Where the destination port stands in the specification of a flow of an IP version."""
UNION = 52
EXTENSION = 20
RULE_LOCATION = 16 + 4 + 2 * (UNION + EXTENSION) + 4 + 8
"""Where in struct ethtool_rxnfc the rule's place stands, the compiler's padding counted."""
SIZE = 192


def request(command: int, rule: bytes = b"") -> array.array[int]:
    """Return a struct ethtool_rxnfc with the rule's specification."""
    return array.array("B", (struct.pack("=IIQ", command, 0, 0) + rule).ljust(SIZE, b"\0"))


@exposed
def add(ifname: str, protocol: str, version: int, port: int, queue: int) -> int:
    """Send a protocol's (tcp, udp) frames to destination port `port` to a receive queue; returns the rule's place.

    Raises:
        OSError: the driver refused; EOPNOTSUPP where it has no rules.
    """
    fields, mask = bytearray(UNION), bytearray(UNION)
    at = PORT_AT[version]
    fields[at : at + 2] = port.to_bytes(2, "big")
    mask[at : at + 2] = b"\xff\xff"
    extension = bytes(EXTENSION)
    rule = struct.pack("=I", FLOWS[protocol, version]) + fields + extension + mask + extension
    buffer = request(INSERT, rule + bytes(4) + struct.pack("=QI", queue, place(ifname)))
    ioctl(ifname, buffer)
    return int(struct.unpack_from("=I", buffer.tobytes(), RULE_LOCATION)[0])


def place(ifname: str) -> int:
    """Return where to put the next rule: anywhere where the driver chooses itself, else behind those that there are."""
    buffer = request(COUNT)
    ioctl(ifname, buffer)
    raw = buffer.tobytes()
    table = struct.unpack_from("=Q", raw, 8)[0]
    if table & SPECIAL:
        return ANYWHERE
    return int(struct.unpack_from("=I", raw, RULE_LOCATION + 8)[0])


@exposed
def delete(ifname: str, location: int) -> None:
    """Remove a rule by its place."""
    rule = bytes(RULE_LOCATION - 16) + struct.pack("=I", location)
    ioctl(ifname, request(DELETE, rule))
