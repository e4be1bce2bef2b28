# SPDX-License-Identifier: GPL-2.0-or-later
"""Hypothesis strategies for frames; scapy builds them, and is the oracle."""

from __future__ import annotations

from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Raw

ports = st.integers(1, 65535)
payloads = st.binary(max_size=200)
ipv4_addresses = st.integers(0x01000000, 0xDFFFFFFF).map(lambda n: ".".join(str(b) for b in n.to_bytes(4, "big")))
ipv6_addresses = st.integers(0, 2**64 - 1).map(lambda n: f"2001:db8::{n >> 48:x}:{n >> 32 & 0xFFFF:x}:{n & 0xFFFF:x}")


@st.composite
def tagged_ethernet(draw: st.DrawFn) -> Packet:
    frame = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    kind = draw(st.sampled_from(("none", "vlan", "qinq")))
    if kind == "qinq":
        frame /= Dot1AD(vlan=draw(st.integers(0, 4095)))
    if kind != "none":
        frame /= Dot1Q(vlan=draw(st.integers(0, 4095)), prio=draw(st.integers(0, 7)))
    return frame


@st.composite
def ip_headers(draw: st.DrawFn, extensions: bool = True) -> Packet:
    if draw(st.booleans()):
        options = []
        if extensions and draw(st.booleans()):
            options = [IPOption_RR(routers=["0.0.0.0"]), IPOption_NOP()]
        return IP(
            src=draw(ipv4_addresses),
            dst=draw(ipv4_addresses),
            id=draw(st.integers(0, 65535)),
            tos=draw(st.integers(0, 255)),
            options=options,
        )
    header = IPv6(src=draw(ipv6_addresses), dst=draw(ipv6_addresses), tc=draw(st.integers(0, 255)))
    if extensions and draw(st.booleans()):
        header /= IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * draw(st.sampled_from((4, 12))))])
    if extensions and draw(st.booleans()):
        header /= IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    return header


@st.composite
def tcp_headers(draw: st.DrawFn) -> Packet:
    options: list[tuple[str, object]] = []
    if draw(st.booleans()):
        options = [("NOP", None), ("NOP", None), ("Timestamp", (draw(st.integers(0, 2**32 - 1)), 7))]
    return TCP(
        sport=draw(ports),
        dport=draw(ports),
        seq=draw(st.integers(0, 2**32 - 1)),
        ack=draw(st.integers(0, 2**32 - 1)),
        flags=draw(st.integers(0, 0x1FF)),
        options=options,
    )


@st.composite
def upper_headers(draw: st.DrawFn) -> Packet:
    kind = draw(st.sampled_from((TCP, UDP, SCTP)))
    if kind is TCP:
        return draw(tcp_headers())
    if kind is UDP:
        return UDP(sport=draw(ports), dport=draw(ports))
    return SCTP(sport=draw(ports), dport=draw(ports)) / SCTPChunkData(data=draw(payloads))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """A whole frame with right checksums, built by scapy."""
    upper = draw(upper_headers())
    frame = draw(tagged_ethernet()) / draw(ip_headers()) / upper
    if SCTP not in upper:
        frame /= Raw(draw(payloads))
    return frame


@st.composite
def others(draw: st.DrawFn) -> Packet:
    return draw(tagged_ethernet()) / draw(ip_headers()) / ICMP() / Raw(draw(payloads))
