# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import itertools

import pytest
from frame_strategies import packets
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.offload import chain, checksum, headers
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.sctp import SCTP
from scapy.layers.sctp import crc32c as scapy_crc32c
from scapy.packet import Packet, Raw
from scapy.utils import checksum as scapy_checksum

L4 = {TCP: headers.TCP, UDP: headers.UDP, SCTP: headers.SCTP}
FIELD = {TCP: 16, UDP: 6, SCTP: 8}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.binary(max_size=3000), st.integers(0, 6))
def test_word_sum_against_scapy(data: bytes, zeros: int) -> None:
    for buffer in (data, bytearray(data), memoryview(data), data + bytes(zeros * 700)):
        assert checksum.checksum(buffer) == scapy_checksum(bytes(buffer))


@pytest.mark.parametrize(("data", "expected"), [(b"", 0xFFFF), (bytes(1000), 0xFFFF), (b"\xff\xff" * 1000, 0)])
def test_both_zeros(data: bytes, expected: int) -> None:
    assert checksum.checksum(data) == expected


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=6))
def test_chain_equals_whole(data: bytes, places: list[int]) -> None:
    assert checksum.fold(checksum.chain_sum(cut(data, places))) == checksum.checksum(data)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_crc32c_against_scapy(data: bytes, places: list[int]) -> None:
    # scapy returns the value in wire byte order, which is swapped.
    swapped = int.from_bytes(scapy_crc32c(data).to_bytes(4, "big"), "little")
    assert checksum.crc32c(cut(data, places)) == swapped


def test_crc32c_check_value() -> None:
    """The check value of CRC-32/ISCSI."""
    assert checksum.crc32c([b"123456789"]) == 0xE3069283


@given(packets(), st.lists(st.integers(0, 400), max_size=4))
def test_inserting_as_hardware_does(packet: Packet, places: list[int]) -> None:
    """With the pseudo-header's sum in the field the result is that of scapy."""
    wanted = bytes(packet)
    found = headers.parse(wanted)
    layer = next(kind for kind, number in L4.items() if number == found.l4)
    field = found.l4_offset + FIELD[layer]
    frame = bytearray(wanted)
    length = found.l3_end - found.l4_offset
    if layer is not SCTP:
        seed = 65535 - checksum.fold(headers.addresses_sum(frame, found, length))
        frame[field : field + 2] = seed.to_bytes(2, "big")
    else:
        frame[field : field + 4] = b"junk"
    head, rest = chain.behead(cut(bytes(frame), places), field + (4 if layer is SCTP else 2))
    if layer is SCTP:
        checksum.insert_crc32c(head, rest, found.l4_offset, field)
    else:
        checksum.insert_checksum(head, rest, found.l4_offset, field, never_zero=layer is UDP)
    assert b"".join([head, *rest]) == wanted


def test_udp_never_sends_zero() -> None:
    packet = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1, dport=2) / Raw(b"\0\0")
    value = packet.__class__(bytes(packet))[UDP].chksum
    packet[Raw].load = value.to_bytes(2, "big")
    frame = bytearray(bytes(packet))
    seed = 65535 - checksum.fold(checksum.pseudo_header_sum(frame[12:16], frame[16:20], 17, 10))
    frame[26:28] = seed.to_bytes(2, "big")
    plain, strict = bytearray(frame), bytearray(frame)
    checksum.insert_checksum(plain, [], 20, 26)
    checksum.insert_checksum(strict, [], 20, 26, never_zero=True)
    assert (plain[26:28], strict[26:28]) == (b"\0\0", b"\xff\xff")


def test_field_outside_the_head_is_refused() -> None:
    with pytest.raises(ValueError, match="found it at 19"):
        checksum.insert_checksum(bytearray(20), [], 0, 19)
    with pytest.raises(ValueError, match="found it at 3"):
        checksum.insert_checksum(bytearray(20), [], 4, 3)
    with pytest.raises(ValueError, match="found it at 17"):
        checksum.insert_crc32c(bytearray(20), [], 0, 17)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5), st.integers(0, 320), st.integers(0, 320))
def test_part_is_a_slice(data: bytes, places: list[int], start: int, size: int) -> None:
    assert b"".join(chain.part(cut(data, places), start, start + size)) == data[start : start + size]


def test_behead_needs_the_bytes() -> None:
    head, rest = chain.behead([b"abc", b"def"], 4)
    assert (head, b"".join(rest)) == (b"abcd", b"ef")
    with pytest.raises(ValueError, match="at least 7"):
        chain.behead([b"abc", b"def"], 7)
