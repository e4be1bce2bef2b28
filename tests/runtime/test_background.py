# SPDX-License-Identifier: GPL-2.0-or-later
"""Background traffic is distinguished from the frames of a test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugfest.frames.background import is_background
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

ETHER = Ether(dst="02:70:66:00:00:01", src="02:70:66:00:00:fe")
V4 = IP(src="192.0.2.1", dst="192.0.2.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")

BACKGROUND = [
    ETHER / ARP(),
    ETHER / V6 / ICMPv6ND_NS(),
    ETHER / V6 / ICMPv6ND_NA(),
    ETHER / V6 / ICMPv6ND_RS(),
    ETHER / V6 / ICMPv6ND_RA(),
    ETHER / V6 / IPv6ExtHdrHopByHop() / ICMPv6MLReport2(),
    ETHER / IP(src="192.0.2.1", dst="224.0.0.22", proto=2) / Raw(bytes(8)),
    Ether(dst="01:80:c2:00:00:0e", src="02:70:66:00:00:fe", type=0x88CC) / Raw(bytes(50)),
    Ether(dst="01:80:c2:00:00:00", src="02:70:66:00:00:fe") / Raw(bytes(50)),
    ETHER / Dot1Q(vlan=5) / ARP(),
    ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V6 / ICMPv6ND_NS(),
]

OTHERS = [
    ETHER / V4 / ICMP(),
    ETHER / V4 / UDP() / Raw(b"x"),
    ETHER / V4 / TCP(),
    ETHER / V6 / ICMPv6EchoRequest(),
    ETHER / V6 / UDP(),
    ETHER / V6 / IPv6ExtHdrHopByHop() / ICMPv6EchoRequest(),
    ETHER / V6 / IPv6ExtHdrDestOpt() / UDP(),
    ETHER / Dot1Q(vlan=5) / V4 / UDP(),
    Ether(dst="01:00:5e:00:00:01", src="02:70:66:00:00:fe") / V4 / UDP(),
    Ether(dst="ff:ff:ff:ff:ff:ff", src="02:70:66:00:00:fe", type=0x88B5) / Raw(bytes(50)),
]


@pytest.mark.parametrize("packet", BACKGROUND, ids=Packet.summary)
def test_background(packet: Packet) -> None:
    assert is_background(bytes(packet))


@pytest.mark.parametrize("packet", OTHERS, ids=Packet.summary)
def test_others(packet: Packet) -> None:
    assert not is_background(bytes(packet))


@given(st.binary(max_size=80), st.sampled_from([0x0800, 0x86DD, 0x8100, 0x0806]))
def test_any_bytes_are_accepted(data: bytes, kind: int) -> None:
    assert is_background(data) in (True, False)
    assert is_background(bytes(12) + kind.to_bytes(2, "big") + data) in (True, False)
