# SPDX-License-Identifier: GPL-2.0-or-later
"""Dissects a frame to the byte, and lists what is wrong with it.

The suite's own reading of Ethernet, 802.1Q, IPv4, IPv6, TCP and UDP: it shares no code with the models, so that a mistake
there is no mistake here.

Source: IEEE 802.3 clause 3.2, IEEE 802.1Q clause 9.6, RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 1071.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from plugfest.frames.probe import internet_checksum

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
IPV4, IPV6, VLAN, SERVICE_VLAN = 0x0800, 0x86DD, 0x8100, 0x88A8
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
SHORTEST = 60
"""Bytes of the shortest Ethernet frame, without FCS (IEEE 802.3, 4A.4.2: minFrameSize is 512 bits with it)."""


class Malformed(ValueError):  # noqa: N818 - reads as what was found
    """The bytes are no frame of the expected kind; the message says where they stop being one."""


@dataclass(frozen=True)
class Dissected:
    """One frame with IPv4 or IPv6 in it, and no extension headers.

    Attributes:
        destination: hardware address of the receiver.
        source: hardware address of the sender.
        tags: 802.1Q tags, outermost first: (tag protocol, tag control).
        version: of IP.
        addresses: source and destination, packed.
        identification: of IPv4; None for IPv6.
        fragment: flags and offset of IPv4; 0x4000 is "don't fragment".
        protocol: what IP carries.
        ip: the whole IP packet as its header says, without what the frame has behind it.
        header: bytes of IP header.
        transport: what IP carries, header and all.
        trailer: bytes behind the IP packet: padding.
    """

    destination: str
    source: str
    tags: tuple[tuple[int, int], ...]
    version: int
    addresses: tuple[bytes, bytes]
    identification: int | None
    fragment: int
    protocol: int
    ip: bytes
    header: int
    transport: bytes
    trailer: bytes

    @property
    def ports(self) -> tuple[int, int]:
        """Source and destination port of TCP or UDP."""
        source, destination = struct.unpack_from(">HH", self.transport)
        return source, destination

    @property
    def sequence(self) -> int:
        """The sequence number of TCP."""
        return int.from_bytes(self.transport[4:8], "big")

    @property
    def flags(self) -> int:
        """The flags of TCP, FIN being 1."""
        return self.transport[13]

    @property
    def transport_header(self) -> int:
        """Bytes of the TCP or UDP header."""
        return (self.transport[12] >> 4) * 4 if self.protocol == TCP else 8

    @property
    def payload(self) -> bytes:
        """What TCP or UDP carries."""
        return self.transport[self.transport_header :]

    @property
    def checksum(self) -> int:
        """What stands in the TCP or UDP checksum."""
        at = 16 if self.protocol == TCP else 6
        return int.from_bytes(self.transport[at : at + 2], "big")


def dissect(frame: bytes) -> Dissected:
    """Take a frame apart.

    Raises:
        Malformed: it carries no whole IP packet, or one with extension headers.
    """
    tags: list[tuple[int, int]] = []
    at = 12
    if len(frame) < 14:
        raise Malformed(f"{len(frame)} bytes are no frame")
    kind = int.from_bytes(frame[at : at + 2], "big")
    while kind in (VLAN, SERVICE_VLAN):
        tags.append((kind, int.from_bytes(frame[at + 2 : at + 4], "big")))
        at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
    body = frame[at + 2 :]
    identification: int | None = None
    fragment = 0
    if kind == IPV4:
        if len(body) < 20 or body[0] >> 4 != 4 or (body[0] & 15) < 5:
            raise Malformed("no IPv4 header")
        header = (body[0] & 15) * 4
        length, identification, fragment = struct.unpack_from(">HHH", body, 2)
        protocol = body[9]
        addresses = (body[12:16], body[16:20])
    elif kind == IPV6:
        if len(body) < 40 or body[0] >> 4 != 6:
            raise Malformed("no IPv6 header")
        header = 40
        length = 40 + int.from_bytes(body[4:6], "big")
        protocol = body[6]
        addresses = (body[8:24], body[24:40])
    else:
        raise Malformed(f"type {kind:#06x} is not IP")
    if not header <= length <= len(body):
        raise Malformed(f"IP has a length of {length} bytes, the frame has {len(body)}")
    transport = body[header:length]
    least = {TCP: 20, UDP: 8}.get(protocol, 0)
    if len(transport) < least or (protocol == TCP and not 20 <= (transport[12] >> 4) * 4 <= len(transport)):
        raise Malformed(f"IP protocol {protocol}: {len(transport)} bytes are too few")
    return Dissected(
        destination=frame[0:6].hex(":"),
        source=frame[6:12].hex(":"),
        tags=tuple(tags),
        version=4 if kind == IPV4 else 6,
        addresses=addresses,
        identification=identification,
        fragment=fragment,
        protocol=protocol,
        ip=body[:length],
        header=header,
        transport=transport,
        trailer=body[length:],
    )


def transport_checksum(frame: Dissected) -> int:
    """Return the checksum that the frame's TCP or UDP should carry (RFC 768: 0 goes as 0xffff)."""
    at = 16 if frame.protocol == TCP else 6
    zeroed = frame.transport[:at] + b"\0\0" + frame.transport[at + 2 :]
    pseudo = b"".join(frame.addresses) + struct.pack(">II", len(frame.transport), frame.protocol)
    wanted = internet_checksum(pseudo + zeroed)
    return 0xFFFF if frame.protocol == UDP and wanted == 0 else wanted


def problems(frame: bytes, *, udp_checksum: bool = True) -> list[str]:
    """Return what is wrong with a frame that carries an unfragmented TCP or UDP packet over IP; empty if nothing is.

    Checked are lengths, the IPv4 header checksum, the TCP or UDP checksum, and that padding is only there where the
    frame would be too short without.

    Args:
        frame: all bytes without FCS.
        udp_checksum: whether UDP has a checksum; else its field must be 0.
    """
    try:
        found = dissect(frame)
    except Malformed as error:
        return [str(error)]
    wrong: list[str] = []
    if found.version == 4 and internet_checksum(found.ip[: found.header]) != 0:
        stands = int.from_bytes(found.ip[10:12], "big")
        wrong.append(f"the IPv4 header checksum is {stands:#06x}, and wrong")
    if found.trailer and len(frame) > SHORTEST + 4 * len(found.tags):
        wrong.append(f"{len(found.trailer)} bytes behind the IP packet of a frame of {len(frame)}")
    if found.protocol == UDP and (length := int.from_bytes(found.transport[4:6], "big")) != len(found.transport):
        wrong.append(f"UDP has a length of {length} bytes, IP has {len(found.transport)}")
    if found.protocol in (TCP, UDP):
        wanted = transport_checksum(found) if udp_checksum or found.protocol == TCP else 0
        if found.checksum == wanted:
            return wrong
        name = "TCP" if found.protocol == TCP else "UDP"
        wrong.append(f"the {name} checksum is {found.checksum:#06x}, expected {wanted:#06x}")
    return wrong


def check(frames: Sequence[bytes]) -> None:
    """Expect nothing to be wrong with any of the frames.

    Raises:
        AssertionError: something is; the message has the first frame with its problems.
    """
    for number, frame in enumerate(frames):
        wrong = problems(frame)
        assert not wrong, f"frame {number + 1} of {len(frames)}: {'; '.join(wrong)}: {frame[:74].hex()}…"
