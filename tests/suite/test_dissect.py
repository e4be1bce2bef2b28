# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's dissector: frames built by scapy are correct, and every change is found."""

from __future__ import annotations

import pytest
from plugfest.frames.dissect import Malformed, check, dissect, problems
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

MACS = {"dst": "02:00:00:00:00:02", "src": "02:00:00:00:00:01"}
V4 = {"src": "198.18.0.1", "dst": "198.18.0.2"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}
LONG = bytes(range(256)) * 2


def frames() -> dict[str, Packet]:
    return {
        "tcp4": Ether(**MACS)
        / IP(**V4, id=7)
        / TCP(sport=1, dport=2, flags="PA", options=[("NOP", None)] * 4)
        / Raw(LONG),
        "tcp6": Ether(**MACS) / IPv6(**V6) / TCP(sport=1, dport=2) / Raw(LONG[:-1]),
        "udp4": Ether(**MACS) / IP(**V4) / UDP(sport=1, dport=2) / Raw(LONG),
        "udp6": Ether(**MACS) / Dot1Q(vlan=5, prio=3) / IPv6(**V6) / UDP(sport=1, dport=2) / Raw(LONG[:101]),
    }


@pytest.mark.parametrize("name", sorted(frames()))
def test_a_good_frame_has_no_problem(name: str) -> None:
    assert problems(bytes(frames()[name])) == []


@pytest.mark.parametrize("name", sorted(frames()))
def test_every_changed_byte_of_transport_is_found(name: str) -> None:
    data = bytes(frames()[name])
    start = len(data) - len(dissect(data).transport)
    for at in (*range(start, start + 24), len(data) - 1):
        wrong = data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]
        assert problems(wrong), f"byte {at} of {name}"


def test_every_changed_byte_of_the_ipv4_header_is_found() -> None:
    data = bytes(frames()["udp4"])
    for at in range(14, 34):
        assert problems(data[:at] + bytes([data[at] ^ 0x04]) + data[at + 1 :]), f"byte {at}"


def test_trailing_and_missing_bytes_are_found() -> None:
    data = bytes(frames()["tcp4"])
    assert "behind the IP packet" in problems(data + b"\0")[0]
    assert "IP has a length" in problems(data[:-1])[0]


def test_padding_of_a_short_frame_is_no_problem() -> None:
    short = bytes(Ether(**MACS) / IP(**V4) / UDP(sport=1, dport=2) / Raw(b"x"))
    assert problems(short.ljust(60, b"\0")) == []


def test_the_zero_checksum_of_udp_is_wrong() -> None:
    zero = bytes(Ether(**MACS) / IP(**V4) / UDP(sport=1, dport=2, chksum=0) / Raw(LONG))
    assert "UDP checksum" in problems(zero)[0]


def test_fields_are_as_scapy_set_them() -> None:
    found = dissect(bytes(frames()["udp6"]))
    assert (found.version, found.tags, found.ports) == (6, ((0x8100, 0x6005),), (1, 2))
    assert found.payload == LONG[:101]
    tcp = dissect(bytes(frames()["tcp4"]))
    assert (tcp.identification, tcp.flags, tcp.transport_header) == (7, 0x18, 24)


@pytest.mark.parametrize("data", [b"", bytes(13), bytes(14), bytes(Ether(**MACS) / ARP())])
def test_a_frame_without_ip_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        dissect(data)
    assert problems(data)


def test_check_names_the_frame() -> None:
    good = bytes(frames()["udp4"])
    check([good])
    with pytest.raises(AssertionError, match="frame 2 of 2: the UDP checksum"):
        check([good, good[:-1] + b"\x00"])
