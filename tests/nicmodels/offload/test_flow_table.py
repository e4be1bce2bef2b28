# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of flows finds the frames of a flow, and none that has a surprise."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.offload.flow_table import LIMIT, FlowTable, Reports, leading
from nicmodels.offload.headers import ip_checksum_ok, l4_checksum_ok, parse
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

ETHERNET = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
V4, V6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")
LONGEST = 1514
TRANSPORTS = {"tcp": TCP(sport=1, dport=2, flags="A"), "udp": UDP(sport=1, dport=2)}


def frame(network: IP | IPv6, transport: TCP | UDP, payload: bytes = bytes(30)) -> bytes:
    return bytes(ETHERNET / network / transport / Raw(payload))


def table_of(*frames: bytes) -> FlowTable[int]:
    table: FlowTable[int] = FlowTable()
    for number, each in enumerate(frames, 1):
        assert table.remember(each, parse(each), number, LONGEST)
    return table


def found(table: FlowTable[int], each: bytes) -> int | None:
    """The flow of a frame, by itself."""
    return next((flow for flow, _, _ in table.runs([each], 0)), None)


@pytest.mark.parametrize("network", [V4, V6])
@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
def test_a_flow_is_found(network: IP | IPv6, transport: TCP | UDP) -> None:
    table = table_of(frame(network, transport))
    assert found(table, frame(network, transport, b"other payload" * 20)) == 1
    other = transport.copy()
    other.dport = 3
    assert found(table, frame(network, other)) is None
    wrong = frame(network, transport)[:-1] + b"\1"
    assert found(table, wrong) is None


@pytest.mark.parametrize(
    "odd",
    [
        frame(V4, TCP(sport=1, dport=2, flags="SA")),
        frame(IP(src="192.0.2.1", dst="192.0.2.2", flags="MF"), TRANSPORTS["tcp"]),
        frame(IP(src="192.0.2.1", dst="192.0.2.2", options=b"\1\1\1\1"), TRANSPORTS["tcp"]),
        bytes(ETHERNET / Dot1Q(vlan=5) / V4 / TRANSPORTS["tcp"] / Raw(bytes(30))),
        frame(V4, UDP(sport=1, dport=2, chksum=0)),
        bytes(ETHERNET)[:12] + b"\x08\0" + bytes(46),
    ],
    ids=["syn", "fragment", "options", "tag", "no checksum", "no IP header"],
)
def test_surprises_are_not_found(odd: bytes) -> None:
    table = table_of(frame(V4, TRANSPORTS["tcp"]), frame(V4, TRANSPORTS["udp"]))
    assert found(table, odd) is None


def test_surprises_are_not_learned() -> None:
    table: FlowTable[int] = FlowTable()
    for odd in (
        frame(V4, TCP(sport=1, dport=2, flags="S")),
        bytes(ETHERNET / Dot1Q(vlan=5) / V4 / TRANSPORTS["tcp"]),
        bytes(ETHERNET)[:12] + b"\x08\0" + bytes(46),
        bytes(10),
    ):
        assert not table.remember(odd, parse(odd), 1, LONGEST)
    assert len(table) == 0


def test_runs_of_flows_end_at_a_frame_without_one() -> None:
    plain = bytes(ETHERNET)[:12] + b"\x88\xb5" + b"short"
    tcp, udp = frame(V4, TRANSPORTS["tcp"]), frame(V6, TRANSPORTS["udp"])
    table = table_of(plain, tcp, udp)
    unknown = frame(V4, TCP(sport=9, dport=9, flags="A"))
    frames = [plain, plain, tcp, tcp, udp, unknown, tcp]
    padded = plain.ljust(60, b"\0")
    assert [*table.runs(frames, 0)] == [
        (1, [padded, padded], [60, 60]),
        (2, [tcp, tcp], [len(tcp)] * 2),
        (3, [udp], [len(udp)]),
    ]
    assert [*table.runs(frames[:4], 3)] == [(2, [tcp], [len(tcp)])]
    assert [*table.runs(frames, 5)] == []


def test_a_run_has_the_lengths_up_to_the_first_frame_that_is_too_long() -> None:
    short, long = frame(V4, TRANSPORTS["udp"], bytes(30)), frame(V4, TRANSPORTS["udp"], bytes(LONGEST))
    table = table_of(short)
    assert [*table.runs([short, long, short], 0)] == [(1, [short, long, short], [len(short)])]
    assert [*table.runs([long], 0)] == [(1, [long], [])]


def test_flushing_forgets_every_flow() -> None:
    plain, tcp = bytes(ETHERNET)[:12] + b"\x88\xb5" + bytes(46), frame(V4, TRANSPORTS["tcp"])
    table = table_of(plain, tcp)
    table.flush()
    assert (len(table), found(table, plain), found(table, tcp)) == (0, None, None)


def test_a_report_is_made_once_for_each_length() -> None:
    made: list[int] = []

    def make(size: int) -> bytes:
        made.append(size)
        return bytes((size,)) * 2

    reports = Reports(make)
    assert reports.of([60, 60]) == bytes((60,)) * 4
    assert reports.of([61, 60, 61]) == bytes((61, 61, 60, 60, 61, 61))
    assert made == [60, 61]


def test_memory_is_bounded() -> None:
    table: FlowTable[int] = FlowTable()
    for number in range(LIMIT + 1):
        each = bytes(6) + struct.pack(">IH", number, 0) + b"\x88\xb5" + bytes(46)
        assert table.remember(each, parse(each), number, LONGEST)
    assert len(table) == 1


@given(st.sampled_from((V4, V6)), st.sampled_from(("tcp", "udp")), st.integers(0, 90), st.integers(1, 255))
def test_a_damaged_frame_is_found_only_if_its_checksums_are_right(
    network: IP | IPv6, kind: str, position: int, difference: int
) -> None:
    good = frame(network, TRANSPORTS[kind])
    damaged = bytearray(good)
    damaged[position % len(good)] ^= difference
    if found(table_of(good), bytes(damaged)) is not None:
        headers = parse(damaged)
        assert l4_checksum_ok(damaged, headers)
        assert ip_checksum_ok(damaged, headers) is not False
        assert damaged[:14] == good[:14]


@pytest.mark.parametrize(
    ("sizes", "first"), [([60, 100], 2), ([60, 101, 60], 1), ([101], 0), ([], 0), ([100, 60, 200, 300, 60], 2)]
)
def test_a_run_ends_before_the_first_frame_that_is_too_long(sizes: list[int], first: int) -> None:
    assert leading(sizes, 100) == sizes[:first]
