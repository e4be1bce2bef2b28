# SPDX-License-Identifier: GPL-2.0-or-later
"""Test frames: UDP datagrams that name themselves, in as many flows and sizes as a test wants.

A probe goes from the remote end to the DUT, or back. Its UDP destination port is one of those that the programs of
``guest-images/bpf`` act upon (`PORT_FIRST` to `PORT_LAST`), so that whatever else lives on the link is left alone. Its
payload is eight bytes that a program may overwrite, then a magic and the probe's number, then a filler that depends on the
number: a frame that was damaged, mixed up or cut differs from one that was not.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

PORT_FIRST = 40000
PORT_LAST = 40999
MAGIC = b"PLGF"
SCRATCH = 8
"""Bytes at the head of the payload that a program may overwrite."""

ETHERNET = 14
HEADERS = {4: ETHERNET + 20 + 8, 6: ETHERNET + 40 + 8}
SMALLEST = {version: max(60, size + SCRATCH + 8) for version, size in HEADERS.items()}
"""The shortest probe, bytes without FCS: an Ethernet frame has at least 60."""

UDP_CHECKSUM = 6
"""Bytes from the start of the UDP header to its checksum."""

FIRST_HOST = 256
"""Host parts below are those of the two ends."""
_STRIDE, _HOSTS, _PORTS = 40503, 65269, 32999
"""The stride is 2^16 divided by the golden ratio; the moduli are primes, so that no two flows share a host part or a source port."""

ETHERTYPE = {4: 0x0800, 6: 0x86DD}
"""By IP version."""
DONT_FRAGMENT = 0x4000
"""Flag beside the fragment offset of IPv4."""
_VLAN = 0x8100
_IDENTITY = struct.Struct(">4sI")


@dataclass(frozen=True)
class Ends:
    """The two ends of a flow of probes.

    Attributes:
        destination_mac: of the receiver.
        source_mac: of the sender.
        destination: the receiver's addresses by IP version.
        sources: a network by IP version, out of which each flow has an address of its own.
    """

    destination_mac: str
    source_mac: str
    destination: dict[int, str]
    sources: dict[int, str]

    def source(self, version: int, flow: int) -> str:
        """Return the sender's address of a flow.

        Flows differ in many bits. A Toeplitz hash is linear: of addresses counted up by one, which differ in four bits, one key in
        sixteen would give all the same lowest bit, and so the same of two queues.
        """
        network = ipaddress.ip_network(self.sources[version])
        return str(network.network_address + FIRST_HOST + flow * _STRIDE % _HOSTS)

    def packed(self, version: int, flow: int) -> bytes:
        """Return source and destination address of a flow, as they stand in an IP header."""
        addresses = (self.source(version, flow), self.destination[version])
        return b"".join(ipaddress.ip_address(each).packed for each in addresses)


@dataclass(frozen=True)
class Probe:
    """One test frame.

    Attributes:
        number: its name within the burst.
        flow: which addresses and source port it has.
        version: of IP, 4 or 6.
        frame: all bytes without FCS.
    """

    number: int
    flow: int
    version: int
    frame: bytes

    @property
    def payload(self) -> bytes:
        """What a UDP socket receives."""
        return self.frame[HEADERS[self.version] :]


def burst(
    ends: Ends,
    *,
    flows: int,
    sizes: Sequence[int],
    versions: Sequence[int] = (4, 6),
    first: int = 0,
    port: int = PORT_FIRST,
) -> list[Probe]:
    """Make one probe a flow and version, or one a size if those are more; flows and sizes are gone through side by side.

    Args:
        ends: addresses.
        flows: how many sender's addresses to use.
        sizes: of the frames, bytes without FCS; below the version's smallest it is that.
        versions: of IP.
        first: number of the first probe.
        port: UDP destination port.
    """
    made: list[Probe] = []
    for version in versions:
        for index in range(max(flows, len(sizes))):
            number = first + len(made)
            size = max(sizes[index % len(sizes)], SMALLEST[version])
            made.append(Probe(number, index % flows, version, build(ends, version, index % flows, number, size, port)))
    return made


def build(ends: Ends, version: int, flow: int, number: int, size: int, port: int = PORT_FIRST) -> bytes:
    """Return one frame of `size` bytes, its checksums right."""
    return around(ends, version, flow, _payload(number, size - HEADERS[version]), number, port)


def around(ends: Ends, version: int, flow: int, payload: bytes, number: int = 0, port: int = PORT_FIRST) -> bytes:
    """Return a frame of a flow with this payload, its checksums right; `number` is the IPv4 identification."""
    addresses = ends.packed(version, flow)
    datagram = struct.pack(">HHHH", 20000 + flow * _STRIDE % _PORTS, port, 8 + len(payload), 0) + payload
    pseudo = addresses + struct.pack(">II", len(datagram), 17)
    check = internet_checksum(pseudo + datagram) or 0xFFFF
    datagram = datagram[:6] + check.to_bytes(2, "big") + datagram[8:]
    head = ip_header(version, addresses, 17, len(datagram), identification=number & 0xFFFF)
    return ethernet_header(ends.destination_mac, ends.source_mac, version) + head + datagram


def ethernet_header(destination: str, source: str, version: int) -> bytes:
    """Return the Ethernet header, without a tag, of an IP packet of this version, between two hardware addresses."""
    return bytes.fromhex((destination + source).replace(":", "")) + ETHERTYPE[version].to_bytes(2, "big")


def ip_header(
    version: int,
    addresses: bytes,
    protocol: int,
    length: int,
    *,
    identification: int = 1,
    fragment: int = DONT_FRAGMENT,
) -> bytes:
    """Return an IPv4 header without options, its checksum right, or an IPv6 header; TTL and hop limit are 64.

    Source: RFC 791, 3.1; RFC 8200, 3.

    Args:
        version: of IP.
        addresses: source and destination, packed.
        protocol: of what follows.
        length: bytes of what follows.
        identification: of IPv4.
        fragment: flags and offset of IPv4.
    """
    if version == 6:
        return struct.pack(">IHBB", 0x60000000, length, protocol, 64) + addresses
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, identification, fragment, 64, protocol, 0) + addresses
    return head[:10] + internet_checksum(head).to_bytes(2, "big") + head[12:]


def _payload(number: int, length: int) -> bytes:
    filler = bytes((number * 31 + at * 7) & 0xFF for at in range(max(0, length - SCRATCH - _IDENTITY.size)))
    return bytes(SCRATCH) + _IDENTITY.pack(MAGIC, number) + filler


def internet_checksum(data: bytes) -> int:
    """Return the Internet checksum of `data`, as it stands in a header (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def number_of(frame: bytes) -> int | None:
    """Return the number of a probe by its frame, with or without one VLAN tag; None for any other frame."""
    at = 12
    kind = int.from_bytes(frame[at : at + 2], "big")
    if kind == _VLAN:
        at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
    version = next((version for version, number in ETHERTYPE.items() if number == kind), None)
    if version is None:
        return None
    ports = at + 2 + HEADERS[version] - ETHERNET - 8
    payload = frame[ports + 8 :]
    port = int.from_bytes(frame[ports + 2 : ports + 4], "big")
    return number_in(payload) if PORT_FIRST <= port <= PORT_LAST else None


def number_in(payload: bytes) -> int | None:
    """Return the number of a probe by its payload; None where the payload is no probe's."""
    if len(payload) < SCRATCH + _IDENTITY.size:
        return None
    number: int
    magic, number = _IDENTITY.unpack_from(payload, SCRATCH)
    return number if magic == MAGIC else None


def is_probe(frame: bytes) -> bool:
    """Whether a frame is a probe's."""
    return number_of(frame) is not None


def only(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the probes among `frames`."""
    return filter(is_probe, frames)


def frames_of(probes: Iterable[Probe]) -> list[bytes]:
    """Return what goes over the wire."""
    return [probe.frame for probe in probes]


def unfinished(probe: Probe) -> bytes:
    """Return the frame with the pseudo-header's sum in the place of the UDP checksum, which others are to finish."""
    frame, start = probe.frame, HEADERS[probe.version] - 8
    addresses = frame[start - (8 if probe.version == 4 else 32) : start]
    pseudo = ~internet_checksum(addresses + struct.pack(">II", len(frame) - start, 17)) & 0xFFFF
    return frame[: start + UDP_CHECKSUM] + pseudo.to_bytes(2, "big") + frame[start + UDP_CHECKSUM + 2 :]


def tagged(frame: bytes, control: int) -> bytes:
    """Return the frame with an 802.1Q tag of this tag control: priority, drop eligible indicator, VLAN."""
    return frame[:12] + _VLAN.to_bytes(2, "big") + control.to_bytes(2, "big") + frame[12:]


def swapped(frame: bytes) -> bytes:
    """Return the frame with its two hardware addresses exchanged, as ``xdp_tx`` sends it back."""
    return frame[6:12] + frame[:6] + frame[12:]


@dataclass(frozen=True)
class Segmentable:
    """A TCP packet longer than a frame, for the device to cut.

    Attributes:
        frame: all bytes, with the pseudo-header's sum in the place of the TCP checksum.
        virtio_header: struct virtio_net_hdr, as a packet socket with PACKET_VNET_HDR takes it before the frame.
        lengths: of the frames that result.
    """

    frame: bytes
    virtio_header: bytes
    lengths: list[int]


_VIRTIO_HEADER = struct.Struct("=BBHHHH")
_NEEDS_CHECKSUM = 1
_GSO_TCP = {4: 1, 6: 4}
_TCP_HEADER = 20
_TCP_CHECKSUM = 16


def segmentable(ends: Ends, version: int, payload: int, segment: int, port: int = PORT_FIRST) -> Segmentable:
    """Make one TCP packet with `payload` bytes, to be cut into frames with `segment` bytes of it each.

    Source: include/uapi/linux/virtio_net.h; Documentation/networking/segmentation-offloads.rst.
    """
    addresses = ends.packed(version, 0)
    body = _payload(0, payload)
    length = _TCP_HEADER + len(body)
    # The device adds what it sums up to what stands here, so this is the sum itself, not its complement.
    pseudo = ~internet_checksum(addresses + struct.pack(">II", length, 6)) & 0xFFFF
    tcp = struct.pack(">HHIIBBHHH", 30000, port, 1, 1, _TCP_HEADER << 2, 0x18, 4096, pseudo, 0)
    head = ip_header(version, addresses, 6, length)
    start = ETHERNET + len(head)
    headers = start + _TCP_HEADER
    virtio = _VIRTIO_HEADER.pack(_NEEDS_CHECKSUM, _GSO_TCP[version], headers, segment, start, _TCP_CHECKSUM)
    frame = ethernet_header(ends.destination_mac, ends.source_mac, version) + head + tcp + body
    lengths = [headers + min(segment, len(body) - at) for at in range(0, len(body), segment)]
    return Segmentable(frame, virtio, lengths)


def is_segment(frame: bytes) -> bool:
    """Whether a frame is TCP to a probes' port, as a `segmentable` packet results in."""
    kind = int.from_bytes(frame[12:14], "big")
    version = next((version for version, number in ETHERTYPE.items() if number == kind), None)
    if version is None or frame[ETHERNET + (9 if version == 4 else 6)] != 6:
        return False
    start = HEADERS[version] - 8
    return PORT_FIRST <= int.from_bytes(frame[start + 2 : start + 4], "big") <= PORT_LAST
