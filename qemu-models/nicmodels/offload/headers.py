# SPDX-License-Identifier: MIT
"""Parses the headers of frames, and verifies their checksums.

Sources: IEEE 802.3 and 802.1Q (tags), RFC 791 and 8200 (IPv4, IPv6 and extension headers), RFC 4302 (the length of an
authentication header), RFC 768, 9293 and 9260.
"""

from __future__ import annotations

from nicmodels.ethernet import ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from nicmodels.offload.checksum import Buffer, crc32c, pseudo_header_sum, word_sum

TCP = 6
UDP = 17
SCTP = 132

_TAGS = frozenset((ETH_P_8021Q, ETH_P_8021AD, 0x9100))
_MAX_TAGS = 4

_HOP_BY_HOP = 0
_ROUTING = 43
_FRAGMENT = 44
_AUTHENTICATION = 51
_DESTINATION = 60
_EXTENSIONS = frozenset((_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION))
_L4 = frozenset((TCP, UDP, SCTP))
_MINIMUM = {TCP: 20, UDP: 8, SCTP: 12}


class Headers:
    """The headers of a frame. Offsets are in bytes from the start of the frame.

    Attributes:
        vlans: tag control information of each VLAN tag, the outermost first.
        ethertype: of the payload after the tags; below 0x600 it is an 802.3 length (LLC follows).
        l3_offset: first byte after the (tagged) Ethernet header.
        version: 4 or 6; 0 without a complete and valid IP header.
        l3_end: end of the IP packet by its own length fields, which excludes Ethernet padding.
        protocol: the number of the first header that is not an IPv6 extension; 0 without IP.
        fragment: a fragment of a datagram, the first included.
        later_fragment: a fragment other than the first.
        options: the IPv4 header has options, or there are IPv6 extension headers.
        l4_offset: start of the upper layer's header; equals `l3_offset` without IP.
        l4: TCP, UDP or SCTP if that header is complete and this is not a later fragment, else 0.
        payload_offset: first byte after the TCP, UDP or SCTP header; equals `l4_offset` without one.
    """

    __slots__ = (
        "ethertype",
        "fragment",
        "l3_end",
        "l3_offset",
        "l4",
        "l4_offset",
        "later_fragment",
        "options",
        "payload_offset",
        "protocol",
        "version",
        "vlans",
    )

    def __init__(self, l3_offset: int, ethertype: int, vlans: tuple[int, ...]) -> None:
        self.vlans = vlans
        self.ethertype = ethertype
        self.l3_offset = l3_offset
        self.version = 0
        self.l3_end = l3_offset
        self.protocol = 0
        self.fragment = False
        self.later_fragment = False
        self.options = False
        self.l4_offset = l3_offset
        self.l4 = 0
        self.payload_offset = l3_offset

    def __repr__(self) -> str:
        return f"Headers({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def parse(frame: Buffer, length: int | None = None) -> Headers:
    """Parse the headers of an Ethernet frame; never raises, whatever the bytes are.

    Args:
        frame: its bytes, or only the first ones.
        length: of the whole frame, if `frame` is only its start; headers that are not entirely in it are not found.
    """
    if length is None or length < len(frame):
        length = len(frame)
    try:
        return _parse(frame, length)
    except IndexError:  # the headers continue after the bytes that are here
        return Headers(len(frame), 0, ())


def _parse(frame: Buffer, length: int) -> Headers:
    if length < 14:
        return Headers(length, 0, ())
    ethertype = frame[12] << 8 | frame[13]
    offset = 14
    vlans: tuple[int, ...] = ()
    while ethertype in _TAGS and len(vlans) < _MAX_TAGS and length >= offset + 4:
        vlans = (*vlans, frame[offset] << 8 | frame[offset + 1])
        ethertype = frame[offset + 2] << 8 | frame[offset + 3]
        offset += 4
    headers = Headers(offset, ethertype, vlans)
    if ethertype == ETH_P_IP:
        _parse_ipv4(frame, length, offset, headers)
    elif ethertype == ETH_P_IPV6:
        _parse_ipv6(frame, length, offset, headers)
    if headers.l4:
        _parse_l4(frame, headers)
    return headers


def _parse_ipv4(frame: Buffer, length: int, offset: int, headers: Headers) -> None:
    if length < offset + 20 or frame[offset] >> 4 != 4:
        return
    header_length = (frame[offset] & 15) << 2
    total = frame[offset + 2] << 8 | frame[offset + 3]
    if header_length < 20 or total < header_length or offset + total > length:
        return
    headers.version = 4
    headers.options = header_length > 20
    headers.l3_end = offset + total
    headers.protocol = protocol = frame[offset + 9]
    headers.l4_offset = headers.payload_offset = offset + header_length
    fragment = (frame[offset + 6] << 8 | frame[offset + 7]) & 0x3FFF
    if fragment:
        headers.fragment = True
        headers.later_fragment = bool(fragment & 0x1FFF)
    if protocol in _L4 and not headers.later_fragment:
        headers.l4 = protocol


def _parse_ipv6(frame: Buffer, length: int, offset: int, headers: Headers) -> None:
    if length < offset + 40 or frame[offset] >> 4 != 6:
        return
    end = offset + 40 + (frame[offset + 4] << 8 | frame[offset + 5])
    if end > length:
        return
    headers.version = 6
    headers.l3_end = end
    protocol = frame[offset + 6]
    position = offset + 40
    while protocol in _EXTENSIONS and not headers.later_fragment and end >= position + 8:
        headers.options = True
        if protocol == _FRAGMENT:
            size = 8
            field = frame[position + 2] << 8 | frame[position + 3]
            # An atomic fragment (offset 0, no more fragments) is a whole datagram (RFC 6946).
            headers.fragment = bool(field & 0xFFF9)
            headers.later_fragment = field >> 3 != 0
        elif protocol == _AUTHENTICATION:
            size = (frame[position + 1] + 2) << 2
        else:
            size = (frame[position + 1] + 1) << 3
        if position + size > end:
            break
        protocol = frame[position]
        position += size
    headers.protocol = protocol
    headers.l4_offset = headers.payload_offset = position
    if protocol in _L4 and not headers.later_fragment:
        headers.l4 = protocol


def _parse_l4(frame: Buffer, headers: Headers) -> None:
    offset = headers.l4_offset
    room = headers.l3_end - offset
    size = _MINIMUM[headers.l4]
    if room >= size and headers.l4 == TCP:
        size = frame[offset + 12] >> 4 << 2
    if room < size or size < _MINIMUM[headers.l4]:
        headers.l4 = 0
        return
    headers.payload_offset = offset + size


def ip_checksum_ok(frame: Buffer, headers: Headers) -> bool | None:
    """Whether the IPv4 header's checksum is right; None without an IPv4 header."""
    if headers.version != 4:
        return None
    start = headers.l3_offset
    return word_sum(frame[start : start + ((frame[start] & 15) << 2)]) == 65535


def l4_checksum_ok(frame: Buffer, headers: Headers) -> bool | None:
    """Whether the TCP, UDP or SCTP checksum is right.

    Returns:
        None if it cannot be verified: no such header, a fragment, UDP over IPv4 without a checksum, a UDP length that
        contradicts the IP length, or a routing header whose final destination is unknown.
    """
    protocol = headers.l4
    if not protocol or headers.fragment:
        return None
    offset = headers.l4_offset
    end = headers.l3_end
    if protocol == SCTP:
        stored = int.from_bytes(frame[offset + 8 : offset + 12], "little")
        return crc32c((frame[offset : offset + 8], b"\0\0\0\0", frame[offset + 12 : end])) == stored
    if protocol == UDP:
        if frame[offset + 6] == 0 and frame[offset + 7] == 0:
            # RFC 8200, 8.1: zero is not allowed over IPv6.
            return None if headers.version == 4 else False
        length = frame[offset + 4] << 8 | frame[offset + 5]
        if length < 8 or length > end - offset:
            return None
        end = offset + length
    start = headers.l3_offset
    if headers.version == 4:
        addresses = word_sum(frame[start + 12 : start + 20])
    else:
        if headers.options and _undelivered_routing_header(frame, headers):
            return None
        addresses = word_sum(frame[start + 8 : start + 40])
    return (addresses + protocol + (end - offset) + word_sum(frame[offset:end])) % 65535 == 0


def _undelivered_routing_header(frame: Buffer, headers: Headers) -> bool:
    """Whether a routing header with segments left precedes: the pseudo-header then needs the final destination."""
    protocol = frame[headers.l3_offset + 6]
    position = headers.l3_offset + 40
    while position < headers.l4_offset:
        if protocol == _ROUTING and frame[position + 3]:
            return True
        if protocol == _FRAGMENT:
            size = 8
        elif protocol == _AUTHENTICATION:
            size = (frame[position + 1] + 2) << 2
        else:
            size = (frame[position + 1] + 1) << 3
        protocol = frame[position]
        position += size
    return False


def addresses_sum(frame: Buffer, headers: Headers, length: int) -> int:
    """Sum of the pseudo-header for `headers`, for an upper layer of `length` bytes.

    Raises:
        ValueError: the frame has no IP header.
    """
    start = headers.l3_offset
    if headers.version == 4:
        source, destination = frame[start + 12 : start + 16], frame[start + 16 : start + 20]
    elif headers.version == 6:
        source, destination = frame[start + 8 : start + 24], frame[start + 24 : start + 40]
    else:
        raise ValueError("expected an IPv4 or IPv6 header to take addresses from; found none")
    return pseudo_header_sum(source, destination, headers.protocol, length)
