# SPDX-License-Identifier: GPL-2.0-or-later
"""Variants of plain frames: IPv4 options, IPv6 extension headers, fragments, padding, a wrong checksum or none.

A plain frame is one of `plugfest.frames.probe`: Ethernet, IPv4 or IPv6 without options, UDP or TCP.

Source: RFC 791, 3.1 and 3.2; RFC 2113 (router alert); RFC 8200, 4.2 to 4.6; RFC 768; IEEE 802.3, clause 3.2.8 (padding).
"""

from __future__ import annotations

import struct

from plugfest.frames.dissect import TCP, Dissected, dissect
from plugfest.frames.probe import internet_checksum

ROUTER_ALERT = bytes.fromhex("94040000")
NOP = b"\x01"
HOP_BY_HOP, FRAGMENT, DESTINATION_OPTIONS = 0, 44, 60
_ETHERNET = 14
_MORE_FRAGMENTS = 0x2000


def with_options(frame: bytes) -> bytes:
    """Return the frame with 8 bytes of IPv4 options, or with two IPv6 extension headers: hop-by-hop and destination options."""
    found = dissect(frame)
    head = found.ip[: found.header]
    if found.version == 4:
        return _ipv4(frame, head, found.transport, NOP * 4 + ROUTER_ALERT)
    padding = bytes((1, 4, 0, 0, 0, 0))  # PadN over the rest of the header
    extensions = bytes((DESTINATION_OPTIONS, 0)) + padding + bytes((found.protocol, 0)) + padding
    return _ipv6(frame, head, HOP_BY_HOP, extensions + found.transport)


def with_padding(frame: bytes, length: int) -> bytes:
    """Return the frame with `length` bytes behind the IP packet, none of them zero."""
    return frame + bytes(0xA5 ^ (at & 0x5A) for at in range(length))


def without_checksum(frame: bytes) -> bytes:
    """Return the frame with a UDP checksum of 0: none over IPv4, and not allowed over IPv6."""
    at = _checksum_at(frame, dissect(frame))
    return frame[:at] + bytes(2) + frame[at + 2 :]


def with_bad_checksum(frame: bytes) -> bytes:
    """Return the frame with a TCP or UDP checksum that is off by one: neither 0 nor right."""
    found = dissect(frame)
    at = _checksum_at(frame, found)
    return frame[:at] + off_by_one(found.checksum).to_bytes(2, "big") + frame[at + 2 :]


def off_by_one(checksum: int) -> int:
    """Return another checksum: neither 0, which would be none, nor 0xffff for a 0, which is equivalent."""
    return checksum + 1 if checksum < 0xFFFE else checksum - 1


def _checksum_at(frame: bytes, found: Dissected) -> int:
    return len(frame) - len(found.trailer) - len(found.transport) + (16 if found.protocol == TCP else 6)


def in_fragments(frame: bytes, size: int, identification: int) -> list[bytes]:
    """Return the fragments of a frame, in order.

    Args:
        frame: of any length.
        size: bytes of transport header and payload in each fragment but the last, a multiple of 8.
        identification: of the datagram.

    Raises:
        ValueError: the size is no multiple of 8.
    """
    if size % 8 or size < 8:
        raise ValueError(f"expected a fragment size that is a multiple of 8, found {size}")
    found = dissect(frame)
    return [_fragment(frame, found, at, size, identification) for at in range(0, len(found.transport), size)]


def _fragment(frame: bytes, found: Dissected, at: int, size: int, identification: int) -> bytes:
    head = found.ip[: found.header]
    piece = found.transport[at : at + size]
    more = at + size < len(found.transport)
    if found.version == 4:
        field = at // 8 | (_MORE_FRAGMENTS if more else 0)
        return _ipv4(frame, head[:4] + struct.pack(">HH", identification & 0xFFFF, field) + head[8:], piece)
    return _ipv6(frame, head, FRAGMENT, struct.pack(">BBHI", found.protocol, 0, at | more, identification) + piece)


def _ipv4(frame: bytes, head: bytes, body: bytes, options: bytes = b"") -> bytes:
    """Return the frame with another IPv4 header and body, with length and checksum of the header correct."""
    first = bytes((0x40 | (len(head) + len(options)) // 4,))
    length = (len(head) + len(options) + len(body)).to_bytes(2, "big")
    head = first + head[1:2] + length + head[4:10] + bytes(2) + head[12:] + options
    return frame[:_ETHERNET] + head[:10] + internet_checksum(head).to_bytes(2, "big") + head[12:] + body


def _ipv6(frame: bytes, head: bytes, following: int, body: bytes) -> bytes:
    """Return the frame with another next header and body, with the length correct."""
    return frame[:_ETHERNET] + head[:4] + struct.pack(">HB", len(body), following) + head[7:] + body
