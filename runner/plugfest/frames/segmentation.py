# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets that a device has to finish, and what the wire must then carry: checksum, TCP and UDP segmentation offload.

Source: Documentation/networking/segmentation-offloads.rst; RFC 9293, section 3.1; RFC 3168, section 6.1.2 (CWR); RFC 6864;
include/uapi/linux/virtio_net.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from plugfest.frames.dissect import (
    CWR,
    FIN,
    PSH,
    TCP,
    UDP,
    VLAN,
    Dissected,
    Malformed,
    dissect,
    transport_checksum,
)
from plugfest.frames.dissect import problems as frame_problems
from plugfest.frames.probe import ETHERTYPE, Ends, ethernet_header, internet_checksum, ip_header

_ETHERNET = 14
_VIRTIO_HEADER = struct.Struct("=BBHHHH")
_NEEDS_CHECKSUM = 1
_GSO = {(TCP, 4): 1, (TCP, 6): 4, (UDP, 4): 5, (UDP, 6): 5}
_GSO_ECN = 0x80
_SEQUENCES = 1 << 32


@dataclass(frozen=True)
class TxRequest:
    """One packet for the device to finish.

    Attributes:
        ends: addresses.
        version: of IP.
        payload: what TCP or UDP carries.
        segment: bytes of it in each frame but the last; None where only the checksum is left to do.
        protocol: TCP or UDP.
        ports: source and destination.
        sequence: of TCP.
        flags: of TCP.
        options: of TCP, a multiple of 4 bytes.
        identification: of IPv4.
        tag: 802.1Q tag control that the wire must carry; the packet is then sent on a VLAN interface, without it.
        flow: which of the sender's addresses.
        ethernet: whether it starts with an Ethernet header; on the interface of a tunnel that carries IP alone it does not.
        mangled: whether all frames may have the same identification of IPv4, which means nothing with DF (RFC 6864, 4.1): TCP's where
            the stack allows it (NETIF_F_TSO_MANGLEID).
    """

    ends: Ends
    version: int
    payload: bytes
    segment: int | None = None
    protocol: int = TCP
    ports: tuple[int, int] = (30000, 31000)
    sequence: int = 1
    flags: int = 0x18
    options: bytes = b""
    identification: int = 1
    tag: int | None = None
    flow: int = 0
    ethernet: bool = True
    mangled: bool = False

    @property
    def pieces(self) -> list[bytes]:
        """The payload as the frames must carry it."""
        if self.segment is None or len(self.payload) <= self.segment:
            return [self.payload]
        return [self.payload[at : at + self.segment] for at in range(0, len(self.payload), self.segment)]

    @property
    def socket_protocol(self) -> int | None:
        """EtherType that a packet socket must name; None where the packet has an Ethernet header, which says it."""
        if self.ethernet:
            return None
        return ETHERTYPE[self.version]

    @property
    def length(self) -> int:
        """Bytes of the whole packet with its Ethernet header, if it has one, without a tag."""
        transport = 20 + len(self.options) if self.protocol == TCP else 8
        return _ETHERNET * self.ethernet + (20 if self.version == 4 else 40) + transport + len(self.payload)

    def packet(self) -> bytes:
        """Return the bytes for a packet socket with PACKET_VNET_HDR: struct virtio_net_hdr, then the frame.

        In the place of the checksum stands the pseudo-header's sum, to which the device adds the rest.
        """
        addresses = self.ends.packed(self.version, self.flow)
        header = 20 + len(self.options) if self.protocol == TCP else 8
        length = header + len(self.payload)
        pseudo = ~internet_checksum(addresses + struct.pack(">II", length, self.protocol)) & 0xFFFF
        if self.protocol == TCP:
            transport = struct.pack(
                ">HHIIBBHHH", *self.ports, self.sequence, 1, header << 2, self.flags, 4096, pseudo, 0
            )
            transport += self.options
            at = 16
        else:
            # A length above 16 bits cannot come about: sendmsg rejects more than 65,535 bytes (net/ipv4/udp.c).
            transport = struct.pack(">HHHH", *self.ports, length, pseudo)
            at = 6
        head = ip_header(self.version, addresses, self.protocol, length, identification=self.identification)
        ethernet = b""
        if self.ethernet:
            ethernet = ethernet_header(self.ends.destination_mac, self.ends.source_mac, self.version)
        start = len(ethernet) + len(head)
        if self.segment is None or len(self.pieces) == 1:
            virtio = _VIRTIO_HEADER.pack(_NEEDS_CHECKSUM, 0, 0, 0, start, at)
        else:
            kind = _GSO[self.protocol, self.version] | (_GSO_ECN if self.protocol == TCP and self.flags & CWR else 0)
            virtio = _VIRTIO_HEADER.pack(_NEEDS_CHECKSUM, kind, start + header, self.segment, start, at)
        return virtio + ethernet + head + transport + self.payload

    def finished(self) -> bytes:
        """Return the one frame of a packet that is not to be cut, as a host without offloads sends it: its checksum complete."""
        frame = self.packet()[_VIRTIO_HEADER.size :]
        found = dissect(frame)
        at = len(frame) - len(found.transport) + (16 if self.protocol == TCP else 6)
        return frame[:at] + transport_checksum(found).to_bytes(2, "big") + frame[at + 2 :]

    def owns(self, frame: bytes) -> bool:
        """Whether a frame is of this packet's flow."""
        try:
            found = dissect(frame)
        except Malformed:
            return False
        return (
            (found.version, found.protocol) == (self.version, self.protocol)
            and b"".join(found.addresses) == self.ends.packed(self.version, self.flow)
            and found.ports == self.ports
        )

    def problems(self, frames: Sequence[bytes]) -> list[str]:
        """Return how the frames of this packet's flow differ from what must be on the wire; empty if they do not.

        Args:
            frames: as captured, in order.
        """
        pieces = self.pieces
        wrong: list[str] = []
        if len(frames) != len(pieces):
            wrong.append(f"expected {len(pieces)} frames, found {len(frames)}")
        found: list[Dissected] = []
        for number, frame in enumerate(frames, 1):
            wrong += [f"frame {number}: {text}" for text in frame_problems(frame)]
            try:
                found.append(dissect(frame))
            except Malformed:
                return wrong
        for number, (each, piece) in enumerate(zip(found, pieces, strict=False), 1):
            wrong += [f"frame {number}: {text}" for text in self._differences(each, number - 1, piece)]
        carried = b"".join(each.payload for each in found)
        if carried != self.payload:
            wrong.append(f"the payload is not what was sent: {_first_difference(carried, self.payload)}")
        return wrong

    def _differences(self, found: Dissected, index: int, piece: bytes) -> list[str]:
        wrong: list[str] = []

        def expect(what: str, stands: object, wanted: object) -> None:
            if stands != wanted:
                wrong.append(f"{what} is {stands}, expected {wanted}")

        expect("the receiver", found.destination, self.ends.destination_mac)
        expect("the sender", found.source, self.ends.source_mac)
        expect("the list of tags", found.tags, () if self.tag is None else ((VLAN, self.tag),))
        expect("the bytes of payload", len(found.payload), len(piece))
        if self.version == 4:
            if not (self.mangled and found.identification == self.identification):
                expect("the identification", found.identification, (self.identification + index) % 65536)
            expect("the fragment field", found.fragment, 0x4000)
        if self.protocol == TCP:
            last = index == len(self.pieces) - 1
            flags = self.flags if last else self.flags & ~(FIN | PSH)
            flags = flags if index == 0 else flags & ~CWR
            done = 0 if self.segment is None else index * self.segment
            expect("the sequence number", found.sequence, (self.sequence + done) % _SEQUENCES)
            expect("the flags", f"{found.flags:#04x}", f"{flags:#04x}")
            expect("the options", found.transport[20 : found.transport_header].hex(), self.options.hex())
        return wrong


def _first_difference(found: bytes, wanted: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
    return f"{len(found)} bytes for {len(wanted)}, the first {at} alike"
