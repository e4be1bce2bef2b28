# SPDX-License-Identifier: GPL-2.0-or-later
"""The vectors are Microsoft's ("Verifying the RSS hash calculation")."""

from __future__ import annotations

import pytest
from frame_strategies import packets
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.offload import headers
from nicmodels.offload.rss import HashType, Scaling, Toeplitz, hash_input
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
ALL = HashType(0x3F)

VECTORS = [
    # source, port, destination, port, addresses only, with TCP ports
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A),
    ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F),
    ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D),
    ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF),
    ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4B61E985, 0x02D1FEEF),
]


@pytest.mark.parametrize(("source", "sport", "destination", "dport", "plain", "ports"), VECTORS)
def test_published_vectors(source: str, sport: int, destination: str, dport: int, plain: int, ports: int) -> None:
    ip = IPv6 if ":" in source else IP
    frame = bytes(Ether() / Dot1Q() / ip(src=source, dst=destination) / TCP(sport=sport, dport=dport))
    found = headers.parse(frame)
    table = list(range(128))
    only_ip = Scaling(KEY, HashType.IPV4 | HashType.IPV6, table).choose(frame, found)
    with_ports = Scaling(KEY, ALL, table).choose(frame, found)
    assert only_ip is not None
    assert with_ports is not None
    assert (only_ip.hash, only_ip.entry) == (plain, plain & 127)
    assert (with_ports.hash, with_ports.entry) == (ports, ports & 127)
    assert with_ports.kind == (HashType.TCP_IPV6 if ip is IPv6 else HashType.TCP_IPV4)


@given(st.binary(min_size=5, max_size=52), st.data())
def test_against_the_definition(key: bytes, data: st.DataObject) -> None:
    """Bit by bit: the XOR of the key's 32-bit windows that start at the set bits."""
    text = data.draw(st.binary(max_size=len(key) - 4))
    bits = "".join(f"{byte:08b}" for byte in key)
    expected = 0
    for index, bit in enumerate("".join(f"{byte:08b}" for byte in text)):
        if bit == "1":
            expected ^= int(bits[index : index + 32], 2)
    toeplitz = Toeplitz(key)
    assert toeplitz.hash(text) == expected
    assert toeplitz.hash(text) == expected


@given(packets(), st.integers(0, 63))
def test_an_enabled_type_applies_only_to_its_packets(packet: Packet, enabled: int) -> None:
    frame = bytes(packet)
    kind, data = hash_input(frame, headers.parse(frame), HashType(enabled))
    version = "IPV6" if IPv6 in packet else "IPV4"
    upper = "TCP_" if TCP in packet else "UDP_" if UDP in packet else ""
    exact, plain = HashType[upper + version], HashType[version]
    assert kind == (exact if exact & enabled else plain if plain & enabled else HashType.NONE)
    assert len(data) == (0 if not kind else (32 if version == "IPV6" else 8) + (4 if kind != plain else 0))


def test_fragments_hash_by_address() -> None:
    for piece in fragment(IP(dst="192.0.2.2", src="192.0.2.1") / UDP() / Raw(bytes(3000)), 1000):
        frame = bytes(Ether(dst="02:00:00:00:00:02") / piece)  # else scapy asks the network, 2 s a frame
        assert hash_input(frame, headers.parse(frame), ALL)[0] == HashType.IPV4
        assert hash_input(frame, headers.parse(frame), HashType.UDP_IPV4) == (HashType.NONE, b"")


def test_what_is_not_ip_is_not_hashed() -> None:
    frame = bytes(Ether() / ARP())
    assert Scaling(KEY, ALL, [0]).choose(frame, headers.parse(frame)) is None


def test_other_protocols_hash_by_address() -> None:
    frame = bytes(Ether() / IP() / ICMP())
    assert hash_input(frame, headers.parse(frame), ALL)[0] == HashType.IPV4


def test_memory_of_flows_is_bounded() -> None:
    toeplitz = Toeplitz(KEY)
    for n in range(10000):
        toeplitz.hash(n.to_bytes(12, "big"))
    assert len(toeplitz._known) <= 4096


def test_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        Scaling(KEY, ALL, [0, 1, 2])
    with pytest.raises(ValueError, match="at least 5"):
        Toeplitz(b"1234")
    with pytest.raises(ValueError, match="at most 36"):
        Toeplitz(KEY).hash(bytes(37))
