# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames built by scapy, whose checksums are independent of the model."""

from __future__ import annotations

from ixgbe_harness import MAC, PEER
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

PAYLOAD = bytes(range(256)) * 6
TIMESTAMP = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


def ethernet(*, to: bytes = MAC, size: int = 100, vlan: int | None = None) -> bytes:
    """A frame of an experimental type."""
    head = (
        Ether(dst=to, src=PEER, type=0x88B5)
        if vlan is None
        else Ether(dst=to, src=PEER) / Dot1Q(vlan=vlan, type=0x88B5)
    )
    return bytes(head / Raw(PAYLOAD[:size]))


def tcp(
    *,
    sport: int = 1000,
    sequence: int = 1,
    flags: str = "A",
    payload: bytes = PAYLOAD[:1000],
    version: int = 4,
    to: bytes = MAC,
    options: bool = True,
) -> bytes:
    """A TCP segment with right checksums."""
    network = IP(src="192.0.2.1", dst="192.0.2.2") if version == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    transport = TCP(sport=sport, dport=80, seq=sequence, flags=flags, options=TIMESTAMP if options else [])
    return bytes(Ether(dst=to, src=PEER) / network / transport / Raw(payload))


def udp(*, payload: bytes = PAYLOAD[:100]) -> bytes:
    """A UDP datagram with right checksums."""
    return bytes(
        Ether(dst=MAC, src=PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=9, dport=10) / Raw(payload)
    )
