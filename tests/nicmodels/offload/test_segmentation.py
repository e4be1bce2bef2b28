# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from frame_strategies import ip_headers, ports, tagged_ethernet, tcp_headers
from hypothesis import given, settings
from hypothesis import strategies as st
from nicmodels.offload import checksum, headers
from nicmodels.offload.segmentation import number_of_segments, segment
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

FIN, PSH, CWR = 0x01, 0x08, 0x80
ETHERNET = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
"""With addresses, for which scapy would else ask the host's network: two seconds a frame."""


def chunks(data: bytes, sizes: list[int]) -> list[memoryview]:
    views, start = [], 0
    for size in sizes:
        views.append(memoryview(data)[start : start + size])
        start += size
    return [*views, memoryview(data)[start:]]


def oracle(template: Packet, payload: bytes, mss: int) -> list[bytes]:
    """The expected segments, each built from its layers."""
    pieces = [payload[i : i + mss] for i in range(0, len(payload), mss)] or [b""]
    frames = []
    for index, piece in enumerate(pieces):
        frame = template.copy()
        if IP in frame:
            frame[IP].id = (template[IP].id + index) & 0xFFFF
        if TCP in frame:
            tcp = frame[TCP]
            tcp.seq = (template[TCP].seq + index * mss) & 0xFFFFFFFF
            flags = int(template[TCP].flags)
            if index < len(pieces) - 1:
                flags &= ~(FIN | PSH)
            if index > 0:
                flags &= ~CWR
            tcp.flags = flags
        frames.append(bytes(frame / Raw(piece)))
    return frames


@settings(deadline=None)
@given(
    tagged_ethernet(),
    ip_headers(),
    tcp_headers() | st.builds(UDP, sport=ports, dport=ports),
    st.binary(max_size=600),
    st.integers(50, 300),
    st.lists(st.integers(0, 200), max_size=5),
    st.booleans(),
)
def test_against_scapy(
    ether: Packet, ip: Packet, upper: Packet, payload: bytes, mss: int, sizes: list[int], seeded: bool
) -> None:
    template = ether / ip / upper
    header = bytearray(bytes(template))
    found = headers.parse(header)
    field = found.l4_offset + (16 if found.l4 == headers.TCP else 6)
    if seeded:
        # As a driver prepares it: the pseudo-header's sum without the length; the IPv4 checksum zero.
        seed = 65535 - checksum.fold(headers.addresses_sum(header, found, 0))
        header[field : field + 2] = seed.to_bytes(2, "big")
        if found.version == 4:
            header[found.l3_offset + 10 : found.l3_offset + 12] = b"\0\0"
    before = bytes(header)
    result = segment(
        header,
        chunks(payload, sizes),
        mss,
        l3_offset=found.l3_offset,
        l4_offset=found.l4_offset,
        protocol=found.l4,
        seeded=seeded,
    )
    assert [b"".join(frame) for frame in result] == oracle(template, payload, mss)
    assert header == before


def test_payload_is_not_copied() -> None:
    header = bytes(ETHERNET / IP(dst="192.0.2.2", src="192.0.2.1") / TCP())
    payload = bytearray(5000)
    for frame in segment(header, [payload], 1448, l3_offset=14, l4_offset=34):
        assert all(isinstance(piece, memoryview) and piece.obj is payload for piece in frame[1:])


def test_fifteen_bit_identification() -> None:
    header = bytes(ETHERNET / IP(dst="192.0.2.2", src="192.0.2.1", id=0xFFFF) / TCP())
    frames = segment(header, [bytes(20)], 10, l3_offset=14, l4_offset=34, identification_mask=0x7FFF)
    assert [Ether(b"".join(frame))[IP].id for frame in frames] == [0xFFFF, 0x8000]


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (bytes(Ether() / IP() / TCP()), {"mss": 0}, "segment size"),
        (bytes(Ether() / IP() / TCP()), {"protocol": 132}, "found 132"),
        (bytes(Ether() / IP() / TCP()), {"l4_offset": 40}, "whole header"),
        (bytes(Ether() / IP() / TCP()), {"l3_offset": 20}, "whole header"),
        (bytes(Ether() / ARP() / TCP()), {}, "version 0"),
        (bytes(Ether() / IPv6() / TCP()), {"l4_offset": 34}, "20 bytes"),
    ],
)
def test_refused(header: bytes, options: dict[str, int], message: str) -> None:
    arguments = {"mss": 100, "l3_offset": 14, "l4_offset": 34, **options}
    mss = arguments.pop("mss")
    with pytest.raises(ValueError, match=message):
        list(segment(header, [bytes(10)], mss, **arguments))


@settings(deadline=None)
@given(st.sampled_from((TCP(flags="FPAC"), UDP())), st.binary(max_size=900), st.integers(1, 200), st.integers(1, 9))
def test_some_at_a_time_are_all(upper: Packet, payload: bytes, mss: int, most: int) -> None:
    """Frames made in several turns are those made at once."""
    header = bytes(Ether() / IP(id=65_530) / upper)
    where = {"l3_offset": 14, "l4_offset": 34, "protocol": 6 if isinstance(upper, TCP) else 17}
    whole = [b"".join(frame) for frame in segment(header, chunks(payload, [3, 100]), mss, **where)]
    assert len(whole) == number_of_segments(len(payload), mss)
    parts = []
    for first in range(0, len(whole), most):
        parts += segment(header, chunks(payload, [3, 100]), mss, **where, first=first, most=most)
    assert [b"".join(frame) for frame in parts] == whole
