# SPDX-License-Identifier: GPL-2.0-or-later
"""PTP event messages as Ethernet frames, and which of them a filter of the kernel's covers.

Source: IEEE 1588-2019, 13.3 (header), 13.6 (Sync, Delay_Req), 13.9 and 13.10 (Pdelay), Annexes C to E (UDP and Ethernet);
IEEE 1588-2002, 8.2 (version 1); include/uapi/linux/net_tstamp.h (enum hwtstamp_rx_filters).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from plugfest.frames.probe import Ends, around

SYNC, DELAY_REQUEST, PDELAY_REQUEST, PDELAY_RESPONSE = range(4)
EVENTS = (SYNC, DELAY_REQUEST, PDELAY_REQUEST, PDELAY_RESPONSE)
NAMES = ("Sync", "Delay_Req", "Pdelay_Req", "Pdelay_Resp")
LENGTHS = {SYNC: 44, DELAY_REQUEST: 44, PDELAY_REQUEST: 54, PDELAY_RESPONSE: 54}
EVENT_PORT = 319
ETHERTYPE = 0x88F7
VERSION_1_LENGTH = 124
"""Bytes of a Sync or Delay_Req of version 1."""
_CONTROLS = {SYNC: 0, DELAY_REQUEST: 1}
"""The control field by message, all that version 1 has of it."""
_ETHERNET, _UDP = "Ethernet", {4: "UDP over IPv4", 6: "UDP over IPv6"}
_COVERED = {"event": EVENTS, "sync": (SYNC,), "delay-req": (DELAY_REQUEST,)}


class EventMessage(NamedTuple):
    """A PTP event message in a frame.

    Attributes:
        name: for people.
        frame: all bytes without FCS.
    """

    name: str
    frame: bytes


def _version_2(message: int, sequence: int) -> bytes:
    """A message of version 2.1, of clock 0x02…01, port 1, domain 0, with a timestamp of zero."""
    length = LENGTHS[message]
    head = bytes((message, 0x12)) + length.to_bytes(2, "big") + bytes(16)
    identity = bytes.fromhex("020000fffe000001") + (1).to_bytes(2, "big")
    control = _CONTROLS.get(message, 5)
    return (head + identity + sequence.to_bytes(2, "big") + bytes((control, 0x7F))).ljust(length, b"\0")


def _version_1(message: int, sequence: int) -> bytes:
    """A message of version 1: subdomain _DFLT, of an Ethernet clock."""
    head = bytes((0, 1, 0, 1)) + b"_DFLT".ljust(16, b"\0") + bytes((1, 1))
    identity = bytes.fromhex("020000000001") + (1).to_bytes(2, "big")
    return (head + identity + sequence.to_bytes(2, "big") + bytes((_CONTROLS[message],))).ljust(VERSION_1_LENGTH, b"\0")


def over_ethernet(ends: Ends, message: int, sequence: int) -> EventMessage:
    """A message of version 2 right in an Ethernet frame, to the receiver's own address."""
    macs = bytes.fromhex((ends.destination_mac + ends.source_mac).replace(":", ""))
    frame = macs + ETHERTYPE.to_bytes(2, "big") + _version_2(message, sequence)
    return EventMessage(f"{NAMES[message]} over {_ETHERNET}", frame)


def over_udp(ends: Ends, message: int, sequence: int, version: int, ptp: int = 2) -> EventMessage:
    """A message of PTP's version `ptp` in UDP over IP's `version`, to the event port."""
    payload = (_version_2 if ptp == 2 else _version_1)(message, sequence)
    frame = around(ends, version, sequence % 16, payload, sequence, EVENT_PORT)
    return EventMessage(f"{NAMES[message]} of PTPv{ptp} over {_UDP[version]}", frame)


def covered(name: str, ends: Ends, sequence: int = 1) -> Iterator[EventMessage]:
    """Make one message of each kind that a filter covers.

    Args:
        name: as ``ptpv2-l4-sync``; ``all`` and ``some`` count as ``ptpv2-event``, and none is made for what is not PTP's.
        ends: addresses.
        sequence: number of the first.
    """
    if name in ("all", "some"):
        name = "ptpv2-event"
    protocol, _, rest = name.partition("-")
    layer, _, kind = rest.partition("-") if rest[:1] == "l" else ("", "", rest)
    if kind not in _COVERED:
        return
    for message in _COVERED[kind]:
        if protocol == "ptpv1":
            if message in _CONTROLS:
                for version in (4, 6):
                    yield over_udp(ends, message, sequence, version, 1)
                    sequence += 1
            continue
        if layer != "l4":
            yield over_ethernet(ends, message, sequence)
            sequence += 1
        if layer != "l2":
            for version in (4, 6):
                yield over_udp(ends, message, sequence, version)
                sequence += 1
