# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes: correct according to scapy, and never mistaken for other frames."""

from __future__ import annotations

import ipaddress

import pytest
from plugfest.frames.probe import (
    HEADERS,
    PORT_FIRST,
    PORT_LAST,
    SMALLEST,
    UDP_CHECKSUM,
    Ends,
    around,
    build,
    burst,
    internet_checksum,
    is_segment,
    number_in,
    number_of,
    only,
    segmentable,
    swapped,
    unfinished,
)
from scapy.layers.l2 import Ether

DUT, WIRE = "02:70:66:00:00:01", "02:70:66:00:00:fe"
ENDS = Ends(DUT, WIRE, {4: "198.18.0.2", 6: "2001:db8::2"}, {4: "198.18.0.0/16", 6: "2001:db8::/64"})


def refreshed(frame: bytes) -> bytes:
    """The frame with every length and checksum computed by scapy."""
    packet = Ether(frame)
    for layer in (packet.payload, packet.payload.payload):
        for name in ("chksum", "len", "plen"):
            if name in layer.fields:
                del layer.fields[name]
    return bytes(packet)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [60, 61, 78, 79, 128, 1514, 9014])
def test_lengths_and_checksums_are_as_scapy_computes_them(version: int, size: int) -> None:
    if size < SMALLEST[version]:
        return
    frame = build(ENDS, version, 3, 7, size)
    assert len(frame) == size
    assert frame == refreshed(frame)


def test_a_burst_has_each_number_once_and_no_short_frame() -> None:
    probes = burst(ENDS, flows=32, sizes=(60, 1514), first=100)
    assert [probe.number for probe in probes] == list(range(100, 164))
    assert [number_of(probe.frame) for probe in probes] == [probe.number for probe in probes]
    assert {probe.flow for probe in probes} == set(range(32))
    assert min(len(probe.frame) for probe in probes) == 60
    assert len({probe.frame for probe in probes}) == 64


def test_a_burst_of_more_sizes_than_flows_has_every_size() -> None:
    sizes = tuple(range(100, 150))
    assert {len(probe.frame) for probe in burst(ENDS, flows=4, sizes=sizes, versions=(4,))} == set(sizes)


@pytest.mark.parametrize("version", [4, 6])
def test_payload_is_what_a_socket_gets(version: int) -> None:
    (probe,) = burst(ENDS, flows=1, sizes=(200,), versions=(version,), first=9)
    assert probe.payload == probe.frame[HEADERS[version] :]
    assert number_in(probe.payload) == 9


@pytest.mark.parametrize("version", [4, 6])
def test_a_tag_does_not_hide_a_probe(version: int) -> None:
    frame = build(ENDS, version, 0, 5, 200)
    assert number_of(frame[:12] + bytes.fromhex("81000064") + frame[12:]) == 5


@pytest.mark.parametrize("port", [PORT_FIRST - 1, PORT_LAST + 1])
def test_other_ports_are_no_probes(port: int) -> None:
    frame = build(ENDS, 4, 0, 5, 200, port=port)
    assert number_of(frame) is None
    assert list(only([frame, build(ENDS, 4, 0, 6, 200)])) == [build(ENDS, 4, 0, 6, 200)]


@pytest.mark.parametrize("frame", [b"", b"\0" * 10, b"\0" * 60, b"\xff" * 12 + b"\x08\x00" + b"\0" * 46])
def test_anything_else_is_no_probe(frame: bytes) -> None:
    assert number_of(frame) is None
    assert not is_segment(frame)


def test_swapping_twice_is_the_frame_again() -> None:
    frame = build(ENDS, 6, 0, 1, 100)
    assert swapped(frame)[:12] == frame[6:12] + frame[:6]
    assert swapped(swapped(frame)) == frame


def test_the_checksum_of_rfc_1071s_example() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert internet_checksum(b"\x01") == 0xFEFF


@pytest.mark.parametrize("version", [4, 6])
def test_a_segmentable_packet_has_the_pseudo_header_sum_in_the_checksum_field(version: int) -> None:
    whole = segmentable(ENDS, version, payload=3000, segment=1440)
    headers = HEADERS[version] - 8 + 20
    assert len(whole.frame) == headers + 3000
    assert whole.lengths == [headers + 1440, headers + 1440, headers + 120]
    assert is_segment(whole.frame)
    start = int.from_bytes(whole.virtio_header[6:8], "little")
    offset = int.from_bytes(whole.virtio_header[8:10], "little")
    # What a device does: sum from the start to the end, complement, put it at the offset.
    check = internet_checksum(whole.frame[start:])
    finished = whole.frame[: start + offset] + check.to_bytes(2, "big") + whole.frame[start + offset + 2 :]
    assert finished == refreshed(finished)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [60, 129, 1514])
def test_an_unfinished_frame_is_the_probe_once_the_checksum_is_filled_in(version: int, size: int) -> None:
    for probe in burst(ENDS, flows=20, sizes=(size,), versions=(version,)):
        start = HEADERS[version] - 8
        frame = unfinished(probe)
        assert frame != probe.frame
        check = internet_checksum(frame[start:]) or 0xFFFF
        at = start + UDP_CHECKSUM
        assert frame[:at] + check.to_bytes(2, "big") + frame[at + 2 :] == probe.frame


@pytest.mark.parametrize("version", [4, 6])
def test_a_frame_within_a_datagram_is_correct_according_to_scapy(version: int) -> None:
    inner = build(ENDS, version, 3, 7, 701)
    outer = around(ENDS, version, 1, inner, 9)
    assert outer == refreshed(outer)
    assert outer[HEADERS[version] :] == inner


def rank(values: list[int]) -> int:
    """The rank of the values as vectors over GF(2)."""
    basis: list[int] = []
    for value in values:
        left = value
        for each in basis:
            left = min(left, left ^ each)
        if left:
            basis.append(left)
    return len(basis)


def test_few_flows_reach_every_queue_whatever_the_key() -> None:
    """All of N flows hash to one of two queues with a probability of 2^-rank over the keys: a Toeplitz hash is linear."""
    sources = [int(ipaddress.ip_address(ENDS.source(4, flow))) for flow in range(16)]
    assert rank([source ^ sources[0] for source in sources]) >= 12


def test_no_two_flows_have_the_same_source() -> None:
    frames = [build(ENDS, 4, flow, 0, 64) for flow in range(4096)]
    assert len({frame[26:30] for frame in frames}) == len({frame[34:36] for frame in frames}) == len(frames)
    assert int.from_bytes(max(frame[26:30] for frame in frames)) < int(ipaddress.ip_address("198.18.255.250"))
