# SPDX-License-Identifier: GPL-2.0-or-later
"""Bursts of any frames to a device: what a model takes many at once must come out as it does one by one."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw


def datagram(mac: bytes, peer: bytes, port: int, size: int, version: int, kind: type, *, damaged: bool) -> bytes:
    """TCP or UDP to the device."""
    network = IP(src="192.0.2.1", dst="192.0.2.2") if version == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))] if size & 1 else []
    transport = TCP(sport=port, dport=80, flags="A", options=options) if kind is TCP else UDP(sport=port, dport=80)
    frame = bytearray(bytes(Ether(dst=mac, src=peer) / network / transport / Raw(bytes(size))))
    frame[-1] ^= damaged
    return bytes(frame)


def any_bursts(
    mac: bytes, peer: bytes, *, ports: Sequence[int], groups: Sequence[bytes], kinds: Sequence[bytes]
) -> st.SearchStrategy[list[list[bytes]]]:
    """Any bursts of datagrams, plain frames and tagged ones.

    Args:
        mac: the device's address.
        peer: the sender's.
        ports: of the datagrams.
        groups: destinations of the plain frames.
        kinds: their type or length fields.
    """
    datagrams = st.builds(
        datagram,
        st.just(mac),
        st.just(peer),
        st.sampled_from(ports),
        st.one_of(st.integers(0, 20), st.integers(0, 1400)),
        st.sampled_from((4, 6)),
        st.sampled_from((TCP, UDP)),
        damaged=st.sampled_from((False, False, False, True)),
    )
    plain = st.builds(
        lambda destination, size, kind: destination + peer + kind + bytes(size),
        st.sampled_from(groups),
        st.integers(0, 1500),
        st.sampled_from(kinds),
    )
    tagged = st.builds(
        lambda tag, size: bytes(Ether(dst=mac, src=peer) / Dot1Q(vlan=tag, type=0x88B5) / Raw(bytes(size))),
        st.integers(1, 3),
        st.integers(0, 100),
    )
    return st.lists(st.lists(st.one_of(datagrams, plain, plain, tagged), max_size=12), max_size=6)
