# SPDX-License-Identifier: GPL-2.0-or-later
"""Variants of plain frames: scapy reads them as what they are to be, with right checksums."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plugfest.frames.dissect import TCP
from plugfest.frames.dissect import problems as frame_problems
from plugfest.frames.probe import Ends, around, build
from plugfest.frames.segmentation import TxRequest
from plugfest.frames.variant import in_fragments, with_bad_checksum, with_options, with_padding, without_checksum
from scapy.layers.inet import IP, UDP, defragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, defragment6
from scapy.layers.l2 import Ether

ENDS = Ends(
    "02:00:00:00:00:02",
    "02:00:00:00:00:01",
    {4: "198.18.0.2", 6: "2001:db8::2"},
    {4: "198.18.0.0/16", 6: "2001:db8::/64"},
)
both = pytest.mark.parametrize("version", [4, 6])


def checksums_right(frame: bytes) -> bool:
    """Whether scapy writes the same checksums and lengths into the frame."""
    packet = Ether(frame)
    for layer, names in ((IP, ("chksum", "len")), (IPv6, ("plen",)), (UDP, ("chksum", "len"))):
        if layer in packet:
            for name in names:
                delattr(packet[layer], name)
    return bytes(packet) == frame


def test_options_of_ipv4() -> None:
    plain = build(ENDS, 4, 0, 1, 120)
    frame = with_options(plain)
    assert len(frame) == len(plain) + 8
    assert Ether(frame)[IP].ihl == 7
    assert [option.name for option in Ether(frame)[IP].options] == ["IP Option No Operation"] * 4 + [
        "IP Option Router Alert"
    ]
    assert checksums_right(frame)


def test_extension_headers_of_ipv6() -> None:
    frame = with_options(build(ENDS, 6, 0, 1, 120))
    packet = Ether(frame)
    assert IPv6ExtHdrHopByHop in packet
    assert IPv6ExtHdrDestOpt in packet
    assert UDP in packet
    assert checksums_right(frame)


@both
def test_padding_is_behind_the_ip_packet_and_not_zero(version: int) -> None:
    plain = around(ENDS, version, 0, b"abc")
    frame = with_padding(plain, 9)
    assert frame[: len(plain)] == plain
    assert len(frame) == len(plain) + 9
    assert 0 not in frame[len(plain) :]


@both
def test_without_checksum(version: int) -> None:
    plain = build(ENDS, version, 0, 1, 120)
    frame = without_checksum(plain)
    assert Ether(frame)[UDP].chksum == 0
    assert frame_problems(frame, udp_checksum=False) == []
    assert len(frame_problems(frame)) == len(frame_problems(plain, udp_checksum=False)) == 1


@both
@pytest.mark.parametrize("size", [100, 101])
def test_bad_checksum_of_udp(version: int, size: int) -> None:
    plain = build(ENDS, version, 0, 1, size)
    (wrong,) = frame_problems(with_bad_checksum(plain))
    assert wrong.startswith("the UDP checksum is")


@given(st.sampled_from([4, 6]), st.binary(max_size=60))
def test_bad_checksum_of_tcp_also_before_padding(version: int, payload: bytes) -> None:
    plain = TxRequest(ENDS, version, payload, protocol=TCP).finished()
    padded = plain.ljust(60, b"\0")
    assert frame_problems(padded) == []
    (wrong,) = frame_problems(with_bad_checksum(padded))
    assert wrong.startswith("the TCP checksum is")


@settings(deadline=None, max_examples=30)  # scapy is slow
@given(st.sampled_from([4, 6]), st.integers(0, 2000), st.integers(4, 100))
def test_fragments_make_the_datagram_again(version: int, length: int, eights: int) -> None:
    payload = bytes(at * 7 & 0xFF for at in range(length))
    plain = around(ENDS, version, 0, payload)
    made = in_fragments(plain, 8 * eights, 0x1234)
    assert len(made) == -(-(8 + length) // (8 * eights))
    if version == 4:
        (whole,) = defragment([Ether(each) for each in made])
        again = bytes(Ether(bytes(whole))[IP].payload)
        assert all(checksums_of_ip_right(each) for each in made)
    else:
        assert all(Ether(each)[IPv6ExtHdrFragment].id == 0x1234 for each in made)
        whole = defragment6([Ether(each) for each in made])
        again = bytes(whole[IPv6].payload)
    assert again == plain[14 + (20 if version == 4 else 40) :]


def checksums_of_ip_right(frame: bytes) -> bool:
    packet = Ether(frame)
    stands = packet[IP].chksum
    del packet[IP].chksum
    return bool(Ether(bytes(packet))[IP].chksum == stands)


def test_a_fragment_size_that_is_no_multiple_of_8_is_refused() -> None:
    with pytest.raises(ValueError, match="a multiple of 8, found 12"):
        in_fragments(build(ENDS, 4, 0, 1, 120), 12, 1)
