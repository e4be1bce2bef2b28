# SPDX-License-Identifier: GPL-2.0-or-later
"""Segmentation offload: the frames that scapy builds are correct, and every deviation is found."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from plugfest.frames.dissect import CWR, TCP, UDP
from plugfest.frames.probe import Ends
from plugfest.frames.segmentation import TxRequest
from scapy.layers import inet
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

ENDS = Ends(
    "02:00:00:00:00:02",
    "02:00:00:00:00:01",
    {4: "198.18.0.250", 6: "2001:db8::fa"},
    {4: "198.18.0.0/16", 6: "2001:db8::/64"},
)
PAYLOAD = bytes(number * 7 & 0xFF for number in range(3500))


def tx_request(version: int = 4, protocol: int = TCP, **changes: object) -> TxRequest:
    settings: dict[str, object] = {
        "payload": PAYLOAD,
        "segment": 1000,
        "sequence": 0xFFFFFF00,
        "identification": 0xFFFE,
    }
    return TxRequest(ENDS, version, protocol=protocol, **{**settings, **changes})  # type: ignore[arg-type]


def segments_of(request: TxRequest) -> list[Packet]:
    """The frames that a request must become, as scapy builds them."""
    frames = []
    assert request.segment is not None
    for index, piece in enumerate(request.pieces):
        frame: Packet = Ether(dst=ENDS.destination_mac, src=ENDS.source_mac)
        if request.tag is not None:
            frame /= Dot1Q(vlan=request.tag)
        source, destination = ENDS.source(request.version, 0), ENDS.destination[request.version]
        if request.version == 4:
            frame /= IP(src=source, dst=destination, id=(request.identification + index) & 0xFFFF, flags="DF")
        else:
            frame /= IPv6(src=source, dst=destination)
        if request.protocol == TCP:
            flags = request.flags if index == len(request.pieces) - 1 else request.flags & ~0x09
            flags = flags if index == 0 else flags & ~CWR
            sequence = (request.sequence + index * request.segment) & 0xFFFFFFFF
            frame /= inet.TCP(sport=30000, dport=31000, seq=sequence, ack=1, flags=flags, window=4096)
        else:
            frame /= inet.UDP(sport=30000, dport=31000)
        frames.append(frame / Raw(piece))
    return frames


CASES = [(4, TCP, None), (6, TCP, None), (4, UDP, None), (6, UDP, None), (4, TCP, 100)]


@pytest.mark.parametrize(("version", "protocol", "tag"), CASES)
def test_correct_frames_have_no_problem(version: int, protocol: int, tag: int | None) -> None:
    request = tx_request(version, protocol, tag=tag, flags=0x99)
    frames = [bytes(frame) for frame in segments_of(request)]
    assert len(frames) == 4
    assert request.problems(frames) == []
    assert all(request.owns(frame) for frame in frames)


def changed(layer: type[Packet], **fields: object) -> Callable[[list[Packet]], None]:
    def change(frames: list[Packet]) -> None:
        for name, value in fields.items():
            setattr(frames[1][layer], name, value)

    return change


def swap(frames: list[Packet]) -> None:
    frames[1], frames[2] = frames[2], frames[1]


def shorten(frames: list[Packet]) -> None:
    frames[-1][Raw].load = frames[-1][Raw].load[:-1]


def corrupt(frames: list[Packet]) -> None:
    frames[1][Raw].load = b"?" + frames[1][Raw].load[1:]


WRONG: dict[str, tuple[Callable[[list[Packet]], object], str]] = {
    "sequence": (changed(inet.TCP, seq=5), "sequence number"),
    "push in the middle": (changed(inet.TCP, flags=0x18), "flags"),
    "fin in the middle": (changed(inet.TCP, flags=0x11), "flags"),
    "congestion window reduced in the middle": (changed(inet.TCP, flags=0x90), "flags"),
    "identification": (changed(IP, id=0xFFFE), "identification"),
    "fragment": (changed(IP, flags=0), "fragment field"),
    "ip checksum": (changed(IP, chksum=1), "IPv4 header checksum"),
    "tcp checksum": (changed(inet.TCP, chksum=1), "TCP checksum"),
    "options": (changed(inet.TCP, options=[("NOP", None)] * 4), "options"),
    "sender": (changed(Ether, src="02:00:00:00:00:77"), "sender"),
    "one missing": (lambda frames: frames.pop(1), "expected 4 frames, found 3"),
    "one twice": (lambda frames: frames.insert(1, frames[1]), "expected 4 frames, found 5"),
    "order": (swap, "sequence number"),
    "last short": (shorten, "bytes of payload"),
    "content": (corrupt, "payload is not what was sent"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_every_deviation_is_found(name: str) -> None:
    spoil, expected = WRONG[name]
    request = tx_request()
    frames = segments_of(request)
    spoil(frames)
    assert any(expected in text for text in request.problems([bytes(frame) for frame in frames]))


@pytest.mark.parametrize("tag", [None, 101])
def test_a_missing_or_another_tag_is_found(tag: int | None) -> None:
    frames = [bytes(frame) for frame in segments_of(tx_request(tag=tag))]
    assert any("tags" in text for text in tx_request(tag=100).problems(frames))


def test_the_last_piece_is_the_remainder() -> None:
    assert [len(piece) for piece in tx_request().pieces] == [1000, 1000, 1000, 500]
    assert [len(piece) for piece in tx_request(payload=bytes(2000)).pieces] == [1000, 1000]
    assert tx_request(payload=b"").pieces == [b""]


def test_a_request_is_sent_as_a_virtio_header_and_the_whole_packet() -> None:
    request = tx_request()
    packet = request.packet()
    assert packet[:10] == bytes([1, 1]) + (54).to_bytes(2, "little") + (1000).to_bytes(2, "little") + bytes(
        [34, 0, 16, 0]
    )
    assert len(packet) == 10 + request.length
    assert Ether(packet[10:])[Raw].load == PAYLOAD


def test_a_packet_that_fits_requests_the_checksum_only() -> None:
    assert tx_request(payload=b"x", segment=1000).packet()[:2] == bytes([1, 0])


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_without_an_ethernet_header_is_the_same_behind_it(version: int) -> None:
    whole, bare = tx_request(version), tx_request(version, ethernet=False)
    assert bare.packet()[10:] == whole.packet()[10 + 14 :]
    assert bare.length == whole.length - 14
    assert (whole.socket_protocol, bare.socket_protocol) == (None, {4: 0x0800, 6: 0x86DD}[version])
    fields = [struct.unpack_from("=BBHHHH", each.packet()) for each in (whole, bare)]
    # header length and checksum start are from the start of the packet
    assert [a - b for a, b in zip(*fields, strict=True)] == [0, 0, 14, 0, 14, 0]


def test_the_identification_may_stay_where_it_is_mangled() -> None:
    request = tx_request(mangled=True)
    frames = segments_of(request)
    for frame in frames:
        frame[IP].id = request.identification
    assert request.problems([bytes(frame) for frame in frames]) == []
    assert request.problems([bytes(frame) for frame in segments_of(request)]) == []
    frames[1][IP].id = 7
    assert request.problems([bytes(frame) for frame in frames]) == ["frame 2: the identification is 7, expected 65535"]
    assert len(tx_request().problems([bytes(frame) for frame in frames])) == 3
