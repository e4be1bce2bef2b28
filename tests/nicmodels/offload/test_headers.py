# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from frame_strategies import others, packets
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.offload import headers
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrRouting, fragment6
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

E = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")


@given(packets(), st.integers(0, 30))
def test_finds_what_scapy_built(packet: Packet, padding: int) -> None:
    frame = bytes(packet)
    found = headers.parse(frame + bytes(padding))
    ip = packet.getlayer(IP) or packet.getlayer(IPv6)
    upper = packet.getlayer(TCP) or packet.getlayer(UDP) or packet.getlayer(SCTP)
    assert found.version == ip.version
    assert found.l3_offset == len(frame) - len(bytes(ip))
    assert found.l4_offset == len(frame) - len(upper.original or _bytes_of(packet, upper))
    assert found.l3_end == len(frame)
    assert found.l4 == {TCP: 6, UDP: 17, SCTP: 132}[type(upper)]
    if Raw in packet:
        assert frame[found.payload_offset :] == packet[Raw].load
    tags = [layer.vlan | int(layer.prio) << 13 | layer.dei << 12 for layer in _layers(packet, Dot1AD, Dot1Q)]
    assert list(found.vlans) == tags
    assert headers.ip_checksum_ok(frame, found) is (True if found.version == 4 else None)
    assert headers.l4_checksum_ok(frame + bytes(padding), found) is True


def _bytes_of(packet: Packet, upper: Packet) -> bytes:
    whole = packet.__class__(bytes(packet))
    layer = whole.getlayer(type(upper))
    return bytes(layer.original)


def _layers(packet: Packet, *kinds: type) -> list[Packet]:
    layer, found = packet, []
    while layer.payload:
        if type(layer) in kinds:
            found.append(layer)
        layer = layer.payload
    return found


@given(packets(), st.data())
def test_one_flipped_bit_is_noticed(packet: Packet, data: st.DataObject) -> None:
    frame = bytearray(bytes(packet))
    found = headers.parse(frame)
    place = data.draw(st.integers(found.l4_offset, found.l3_end - 1))
    frame[place] ^= 1 << data.draw(st.integers(0, 7))
    again = headers.parse(frame)
    if again.l4 and not (again.l4 == headers.UDP and place - again.l4_offset in range(4, 8)):
        assert headers.l4_checksum_ok(frame, again) is False


@given(st.binary(max_size=120))
def test_garbage_never_raises(data: bytes) -> None:
    _all_of(data)


changed_bytes = st.lists(st.tuples(st.integers(12, 200), st.integers(0, 255)), max_size=6)


@given(packets() | others(), changed_bytes, st.integers(0, 200))
def test_damaged_frames_never_raise(packet: Packet, changes: list[tuple[int, int]], size: int) -> None:
    frame = bytearray(bytes(packet))
    for place, value in changes:
        if place < len(frame):
            frame[place] = value
    _all_of(bytes(frame))
    _all_of(bytes(frame)[:size])


def _all_of(frame: bytes) -> None:
    found = headers.parse(frame)
    assert 0 <= found.l3_offset <= found.l4_offset <= found.payload_offset <= max(found.l3_end, found.payload_offset)
    assert found.l3_end <= max(len(frame), found.l3_offset)
    if found.l4:
        assert found.payload_offset <= found.l3_end
    assert headers.ip_checksum_ok(frame, found) in {True, False, None}
    assert headers.l4_checksum_ok(frame, found) in {True, False, None}


def test_fragments_are_not_judged() -> None:
    for index, piece in enumerate(fragment(IP(dst="192.0.2.2", src="192.0.2.1") / UDP() / Raw(bytes(3000)), 1000)):
        found = headers.parse(bytes(E / piece))
        assert found.fragment
        assert found.later_fragment is (index > 0)
        assert found.l4 == (headers.UDP if index == 0 else 0)
        assert headers.l4_checksum_ok(bytes(E / piece), found) is None
        assert headers.ip_checksum_ok(bytes(E / piece), found) is True
    datagram = IPv6(dst="2001:db8::2", src="2001:db8::1") / IPv6ExtHdrFragment() / TCP() / Raw(bytes(3000))
    for index, piece in enumerate(fragment6(datagram, 1280)):
        found = headers.parse(bytes(E / piece))
        assert (found.fragment, found.later_fragment, found.protocol) == (True, index > 0, 6)
        assert headers.l4_checksum_ok(bytes(E / piece), found) is None


def test_an_atomic_fragment_is_a_whole_datagram() -> None:
    frame = bytes(E / IPv6(dst="2001:db8::2", src="2001:db8::1") / IPv6ExtHdrFragment(id=7) / UDP() / Raw(b"hello"))
    found = headers.parse(frame)
    assert (found.fragment, found.l4) == (False, headers.UDP)
    assert headers.l4_checksum_ok(frame, found) is True


def test_udp_without_a_checksum() -> None:
    v4 = bytes(E / IP(dst="192.0.2.2", src="192.0.2.1") / UDP(chksum=0) / Raw(b"x"))
    v6 = bytes(E / IPv6(dst="2001:db8::2", src="2001:db8::1") / UDP(chksum=0) / Raw(b"x"))
    assert headers.l4_checksum_ok(v4, headers.parse(v4)) is None
    assert headers.l4_checksum_ok(v6, headers.parse(v6)) is False


@pytest.mark.parametrize(("left", "expected"), [(0, True), (1, None)])
def test_routing_headers(left: int, expected: bool | None) -> None:
    """A routing header with segments left changes the pseudo-header, so the checksum is not verified."""
    route = IPv6ExtHdrRouting(type=4, segleft=left, addresses=["2001:db8::9"])
    frame = bytes(E / IPv6(dst="2001:db8::2", src="2001:db8::1") / route / UDP(chksum=None) / Raw(b"x"))
    found = headers.parse(frame)
    assert found.l4 == headers.UDP
    assert headers.l4_checksum_ok(frame, found) is expected


def test_authentication_header_is_skipped() -> None:
    frame = bytes(E / IPv6(dst="2001:db8::2", src="2001:db8::1") / AH(nh=6, payloadlen=4, icv=bytes(12)) / TCP())
    found = headers.parse(frame)
    assert (found.l4, found.l4_offset) == (headers.TCP, 14 + 40 + 24)


def test_bad_ipv4_header_checksum() -> None:
    frame = bytes(E / IP(dst="192.0.2.2", src="192.0.2.1", chksum=0x1234) / UDP())
    assert headers.ip_checksum_ok(frame, headers.parse(frame)) is False


def test_not_ip() -> None:
    found = headers.parse(bytes(E / Dot1Q(vlan=5) / ARP()))
    assert (found.ethertype, found.version, found.l4, found.vlans) == (0x0806, 0, 0, (5,))
    assert headers.l4_checksum_ok(bytes(E / ARP()), headers.parse(bytes(E / ARP()))) is None
    with pytest.raises(ValueError, match="found none"):
        headers.addresses_sum(bytes(E / ARP()), headers.parse(bytes(E / ARP())), 0)
    assert "ethertype=2054" in repr(found)
