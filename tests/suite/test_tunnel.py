# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnels: frames that scapy builds are taken apart and found correct, and every deviation of the outer headers is found."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugfest.frames.dissect import problems as frame_problems
from plugfest.frames.probe import Ends, build
from plugfest.frames.tunnel import NO_ADDRESS, Tunnel, repeated_identifications
from plugfest.frames.variant import with_bad_checksum
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

MACS = ("02:00:00:00:00:02", "02:00:00:00:00:01")
"""Of receiver and sender."""
ADDRESSES = {4: ("198.18.0.2", "198.18.255.250"), 6: ("2001:db8::2", "2001:db8::fa")}
INNER = Ends(
    "02:00:00:00:01:02",
    "02:00:00:00:01:01",
    {4: "198.19.0.2", 6: "2001:db8:0:1::2"},
    {4: "198.19.0.0/16", 6: "2001:db8:0:1::/64"},
)
BARE = Ends(NO_ADDRESS, NO_ADDRESS, INNER.destination, INNER.sources)
TUNNELS = [
    Tunnel("vxlan", 4, port=4789, key=7),
    Tunnel("vxlan", 4, port=8472, key=0xFFFFFF, checksum=True),
    Tunnel("vxlan", 6, port=4789, key=7, checksum=True),
    Tunnel("vxlan", 6, port=4789, key=7),
    Tunnel("geneve", 4, port=6081, key=7, checksum=True),
    Tunnel("geneve", 6, port=6081, key=7),
    Tunnel("gre", 4),
    Tunnel("gre", 4, key=9, checksum=True),
    Tunnel("gretap", 4, key=9, checksum=True),
    Tunnel("ip6gre", 6, checksum=True),
    Tunnel("ip6gretap", 6, key=9),
    Tunnel("ipip", 4, (4,)),
    Tunnel("sit", 4, (6,)),
    Tunnel("ip6tnl", 6),
]
every_tunnel = pytest.mark.parametrize("tunnel", TUNNELS, ids=lambda tunnel: f"{tunnel}-{tunnel.key}")


def inner_of(tunnel: Tunnel, version: int, size: int = 200) -> bytes:
    return build(INNER if tunnel.ethernet else BARE, version, 0, 1, size)


def carried_by(tunnel: Tunnel, inner: bytes, **outer: object) -> Packet:
    """The frame that carries an inner one, as scapy builds it."""
    source, destination = ADDRESSES[tunnel.outer]
    frame: Packet = Ether(dst=MACS[0], src=MACS[1])
    frame /= (IP if tunnel.outer == 4 else IPv6)(src=source, dst=destination, **outer)
    layer: Packet = Ether(inner)
    if not tunnel.ethernet:
        layer = layer.payload
    if tunnel.port is not None:
        frame /= UDP(sport=50000, dport=tunnel.port, **({} if tunnel.checksum else {"chksum": 0}))
        frame /= (
            GENEVE(vni=tunnel.key, proto=0x6558) if tunnel.kind == "geneve" else VXLAN(vni=tunnel.key, flags="Instance")
        )
    elif "gre" in tunnel.kind:
        proto = 0x6558 if tunnel.ethernet else int.from_bytes(inner[12:14], "big")
        key = {} if tunnel.key is None else {"key_present": 1, "key": tunnel.key}
        frame /= GRE(proto=proto, chksum_present=int(tunnel.checksum), **key)
    return frame / layer


@every_tunnel
def test_correct_frames_have_no_problem_and_the_inner_frame_is_found(tunnel: Tunnel) -> None:
    for version in tunnel.versions:
        inner = inner_of(tunnel, version)
        frame = bytes(carried_by(tunnel, inner))
        assert tunnel.inner(frame) == inner
        assert tunnel.problems(frame, ADDRESSES[tunnel.outer]) == []


@every_tunnel
def test_encapsulate_makes_what_scapy_makes(tunnel: Tunnel) -> None:
    for version in tunnel.versions:
        inner = inner_of(tunnel, version, 201)
        made = tunnel.encapsulate(inner, MACS, ADDRESSES[tunnel.outer], identification=77)
        outer = {"id": 77} if tunnel.outer == 4 else {"hlim": 64}
        assert made.hex() == bytes(carried_by(tunnel, inner, **outer)).hex()


@every_tunnel
def test_a_bad_outer_checksum_is_made_and_found(tunnel: Tunnel) -> None:
    inner = inner_of(tunnel, tunnel.versions[0])
    if not tunnel.checksum:
        with pytest.raises(ValueError, match="a tunnel with a checksum"):
            tunnel.encapsulate(inner, MACS, ADDRESSES[tunnel.outer], bad=True)
        return
    frame = tunnel.encapsulate(inner, MACS, ADDRESSES[tunnel.outer], bad=True)
    (wrong,) = tunnel.problems(frame, ADDRESSES[tunnel.outer])
    assert "checksum is 0x" in wrong
    assert tunnel.inner(frame) == inner


@every_tunnel
def test_a_bad_inner_checksum_is_no_problem_of_the_outer_headers(tunnel: Tunnel) -> None:
    inner = with_bad_checksum(inner_of(tunnel, tunnel.versions[0]))
    frame = tunnel.encapsulate(inner, MACS, ADDRESSES[tunnel.outer])
    assert tunnel.problems(frame, ADDRESSES[tunnel.outer]) == []
    found = tunnel.inner(frame)
    assert found is not None
    assert len(frame_problems(found)) == 1


def at(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda frame: frame[:offset] + value + frame[offset + len(value) :]


VXLAN4, VXLAN6, GRE4 = TUNNELS[0], TUNNELS[2], TUNNELS[7]
WRONG: list[tuple[Tunnel, Callable[[bytes], bytes], str]] = [
    (VXLAN4, at(24, b"\x12\x34"), "outer: the IPv4 header checksum"),
    (VXLAN4, at(38, b"\x00\x40"), "outer: UDP has a length of 64 bytes"),
    (VXLAN4, at(40, b"\x00\x01"), "outer: the UDP checksum is 0x0001, expected 0x0000"),
    (VXLAN4, at(42, b"\x00"), "the vxlan header is 00"),
    (VXLAN4, at(46, b"\x00\x00\x08"), "expected 0800000000000700"),
    (VXLAN4, lambda frame: frame + b"\0", "outer: 1 bytes behind the IP packet"),
    (VXLAN6, at(60, b"\x00\x00"), "outer: the UDP checksum is 0x0000"),
    (TUNNELS[4], at(44, b"\x08\x00"), "the geneve header is 00000800"),
    (GRE4, at(34, b"\xb0"), "the GRE flags are 0xb000, expected 0xa000"),
    (GRE4, at(38, b"\x00\x00"), "the GRE checksum is 0x0000, and wrong"),
    (TUNNELS[10], at(61, b"\x08"), "the GRE key is 00000008, expected 9"),
]


@pytest.mark.parametrize(("tunnel", "change", "found"), WRONG)
def test_a_wrong_outer_header_is_found(tunnel: Tunnel, change: Callable[[bytes], bytes], found: str) -> None:
    frame = change(bytes(carried_by(tunnel, inner_of(tunnel, tunnel.versions[0]))))
    assert [text for text in tunnel.problems(frame, ADDRESSES[tunnel.outer]) if found in text]


def test_other_outer_addresses_are_found() -> None:
    frame = bytes(carried_by(VXLAN4, inner_of(VXLAN4, 4)))
    (wrong,) = VXLAN4.problems(frame, ("198.18.0.3", "198.18.255.250"))
    assert wrong.startswith("outer: addresses are ")


def test_an_outer_header_of_the_other_ip_version_is_found() -> None:
    frame = bytes(carried_by(VXLAN4, inner_of(VXLAN4, 4)))
    assert "outer: IPv4, expected IPv6" in VXLAN6.problems(frame, ADDRESSES[6])


@every_tunnel
def test_frames_outside_the_tunnel_carry_nothing(tunnel: Tunnel) -> None:
    arp = bytes(Ether(dst=MACS[0], src=MACS[1], type=0x0806) / Raw(bytes(46)))
    assert tunnel.inner(arp) is None
    assert tunnel.inner(build(INNER, 4, 0, 1, 100)) is None
    others = {4: VXLAN4, 6: VXLAN6} if tunnel.port is None else {4: TUNNELS[6], 6: TUNNELS[9]}
    other = others[tunnel.outer]
    assert tunnel.inner(bytes(carried_by(other, inner_of(other, 4)))) is None


def test_the_limit_in_the_destination_options_of_an_ipv6_tunnel_is_passed_over() -> None:
    tunnel = TUNNELS[-1]
    source, destination = ADDRESSES[6]
    inner = inner_of(tunnel, 4)
    option = bytes((4, 1, 4, 1, 1, 0))  # tunnel encapsulation limit (RFC 2473, 4.1.1)
    head = IPv6(src=source, dst=destination, nh=60, plen=8 + len(inner) - 14)
    frame = bytes(Ether(dst=MACS[0], src=MACS[1]) / head) + bytes((4, 0)) + option + inner[14:]
    assert IPv6ExtHdrDestOpt in Ether(frame)
    assert tunnel.inner(frame) == inner
    assert tunnel.problems(frame, ADDRESSES[6]) == []


def test_repeated_identifications_are_found_where_routers_may_fragment() -> None:
    inner = inner_of(VXLAN4, 4)
    frames = [VXLAN4.encapsulate(inner, MACS, ADDRESSES[4], identification=number) for number in (1, 2, 3, 2)]
    assert repeated_identifications(frames) == [2]
    assert repeated_identifications(frames[:3]) == []
    whole = [bytes(carried_by(VXLAN4, inner, id=5, flags="DF")) for _ in range(2)]
    assert repeated_identifications(whole) == []
    assert repeated_identifications([VXLAN6.encapsulate(inner, MACS, ADDRESSES[6])] * 2) == []


@pytest.mark.parametrize(
    ("tunnel", "feature"),
    [
        (VXLAN4, "tx-udp_tnl-segmentation"),
        (VXLAN6, "tx-udp_tnl-csum-segmentation"),
        (TUNNELS[6], "tx-gre-segmentation"),
        (GRE4, "tx-gre-csum-segmentation"),
        (TUNNELS[11], "tx-ipxip4-segmentation"),
        (TUNNELS[12], "tx-ipxip4-segmentation"),
        (TUNNELS[13], "tx-ipxip6-segmentation"),
    ],
)
def test_feature(tunnel: Tunnel, feature: str) -> None:
    assert tunnel.feature == feature


@pytest.mark.parametrize(
    ("tunnel", "arguments"),
    [
        (VXLAN4, "vxlan id 7 dstport 4789 remote R local L dev eth0 noudpcsum"),
        (VXLAN6, "vxlan id 7 dstport 4789 remote R local L dev eth0 noudp6zerocsumtx noudp6zerocsumrx"),
        (TUNNELS[5], "geneve id 7 dstport 6081 remote R udp6zerocsumtx udp6zerocsumrx"),
        (GRE4, "gre remote R local L dev eth0 key 9 csum"),
        (TUNNELS[13], "ip6tnl remote R local L dev eth0 mode any"),
    ],
)
def test_arguments(tunnel: Tunnel, arguments: str) -> None:
    assert tunnel.arguments("L", "R", "eth0") == arguments.split()


@given(st.sampled_from(TUNNELS), st.binary(max_size=120), st.integers(0, 120))
def test_no_bytes_make_it_fail(tunnel: Tunnel, noise: bytes, start: int) -> None:
    frame = tunnel.encapsulate(inner_of(tunnel, tunnel.versions[0]), MACS, ADDRESSES[tunnel.outer])
    changed = frame[:start] + noise
    if tunnel.inner(changed) is not None:
        tunnel.problems(changed, ADDRESSES[tunnel.outer])


@given(st.sampled_from(TUNNELS), st.integers(14, 62), st.integers(1, 255), st.data())
def test_each_changed_byte_of_the_outer_headers_is_found(
    tunnel: Tunnel, offset: int, change: int, data: st.DataObject
) -> None:
    """But for those that no checksum covers and whose value is free: of IPv6 traffic class, flow label and hop limit; UDP's source port."""
    inner = inner_of(tunnel, data.draw(st.sampled_from(tunnel.versions)))
    frame = tunnel.encapsulate(inner, MACS, ADDRESSES[tunnel.outer])
    ip = 14 + (20 if tunnel.outer == 4 else 40)
    free = set() if tunnel.outer == 4 else {15, 16, 17, 21}
    if tunnel.port is not None and not tunnel.checksum:
        free |= {ip, ip + 1}
    header = len(frame) - len(inner) + (0 if tunnel.ethernet else 14)
    if offset >= header or offset in free or (tunnel.outer == 6 and offset == 14 and change < 16):
        return
    if tunnel.port is None and not tunnel.checksum and "gre" in tunnel.kind and offset in (ip + 2, ip + 3):
        return  # what follows is then of another kind
    changed = bytearray(frame)
    changed[offset] ^= change
    found: Any = tunnel.inner(bytes(changed))
    assert found is None or tunnel.problems(bytes(changed), ADDRESSES[tunnel.outer]) or found != inner


def test_struct_of_geneve_options_is_passed_over() -> None:
    tunnel = TUNNELS[4]
    inner = inner_of(tunnel, 4)
    frame = tunnel.encapsulate(inner, MACS, ADDRESSES[4])
    option = struct.pack(">HBBI", 0x0100, 1, 1, 0)
    with_option = bytearray(frame[:50] + option + frame[50:])
    with_option[42] |= 2
    struct.pack_into(">H", with_option, 16, len(with_option) - 14)
    assert tunnel.inner(bytes(with_option)) == inner
