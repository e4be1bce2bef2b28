# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.offload import headers
from nicmodels.offload.coalescing import Coalescer, Decision, Flow, Limits
from nicmodels.offload.segmentation import segment
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

E = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
V4 = IP(src="192.0.2.1", dst="192.0.2.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
NOP_NOP_TS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


def offer(coalescer: Coalescer, frame: Packet | bytes, **options: Any) -> Decision:
    data = bytes(frame)
    found = headers.parse(data)
    assert headers.l4_checksum_ok(data, found) is not False
    decision = coalescer.receive(data, found, **options)
    if decision.flow:
        decision.flow.buffers = (decision.flow.buffers or b"") + data[found.payload_offset : found.l3_end]
    return decision


def whole(flow: Flow) -> bytes:
    return flow.header() + flow.buffers


def tcp(payload: bytes = b"data", seq: int = 1000, flags: str = "A", **fields: Any) -> Packet:
    return TCP(sport=1, dport=2, seq=seq, ack=5, flags=flags, **fields) / Raw(payload)


@given(
    st.sampled_from((V4, V6)),
    st.binary(min_size=1, max_size=900),
    st.integers(50, 301),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.booleans(),
)
def test_undoes_segmentation(
    ip: Packet, payload: bytes, mss: int, sequence: int, timestamps: bool, tagged: bool
) -> None:
    """Coalescing restores exactly the frame that was segmented."""
    template = E / Dot1Q(vlan=5) if tagged else E
    template = template / ip / TCP(seq=sequence, ack=7, flags="PA", options=NOP_NOP_TS if timestamps else [])
    header = bytes(template)
    found = headers.parse(header)
    coalescer = Coalescer(Limits(ipv6=True))
    for pieces in segment(header, [payload], mss, l3_offset=found.l3_offset, l4_offset=found.l4_offset):
        decision = offer(coalescer, b"".join(pieces))
        assert decision.before == []
    assert decision.complete
    assert decision.flow is not None
    assert decision.flow.segments == -(-len(payload) // mss)
    assert whole(decision.flow) == bytes(template / Raw(payload))
    assert len(coalescer) == 0


def test_the_last_header_counts() -> None:
    coalescer = Coalescer()
    offer(coalescer, E / V4 / TCP(seq=0, ack=5, window=100, flags="A", options=NOP_NOP_TS) / Raw(b"abc"))
    newer = [("NOP", None), ("NOP", None), ("Timestamp", (9, 8))]
    offer(coalescer, E / V4 / TCP(seq=3, ack=6, window=200, flags="A", options=newer) / Raw(b"defg"))
    (flow,) = coalescer.close_all()
    wanted = E / V4 / TCP(seq=0, ack=6, window=200, flags="A", options=newer) / Raw(b"abcdefg")
    assert whole(flow) == bytes(wanted)
    assert flow.header_length == 66


def test_one_segment_is_left_as_it_was() -> None:
    coalescer = Coalescer()
    frame = bytes(E / IP(src="192.0.2.1", dst="192.0.2.2", id=9) / tcp())
    decision = offer(coalescer, frame)
    assert decision.flow is not None
    assert whole(decision.flow) == frame


ALONE = {
    "fin": tcp(flags="FA"),
    "syn": tcp(flags="S"),
    "rst": tcp(flags="R"),
    "urg": tcp(flags="UA"),
    "ece": tcp(flags="EA"),
    "cwr": tcp(flags="CA"),
    "ns": tcp(flags="NA"),
    "reserved": tcp(reserved=1),
    "no payload": tcp(b""),
    "other options": tcp(options=[("MSS", 1000)]),
    "timestamp laid out otherwise": tcp(options=[("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]),
}


@pytest.mark.parametrize("segment_", ALONE.values(), ids=ALONE.keys())
def test_what_is_not_viable_completes_its_flow(segment_: Packet) -> None:
    coalescer = Coalescer()
    first = offer(coalescer, E / V4 / tcp(b"first", seq=900)).flow
    decision = offer(coalescer, E / V4 / segment_)
    assert decision == Decision([first], None, complete=False)
    assert len(coalescer) == 0


@pytest.mark.parametrize(
    "frame",
    [
        E / IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_NOP()] * 4) / tcp(),
        E / IP(src="192.0.2.1", dst="192.0.2.2", tos=3) / tcp(),
        E / V6 / tcp(),
        E / fragment(V4 / tcp(bytes(2000)), 1000)[0],
        bytes(E / V4 / tcp(b"")) + bytes(6),
        bytes(E / V4 / tcp()) + bytes(2),
    ],
    ids=["IP options", "congestion experienced", "IPv6", "fragment", "bare, padded", "padded"],
)
def test_not_viable_by_its_ip_header(frame: Packet | bytes) -> None:
    coalescer = Coalescer()
    assert offer(coalescer, frame) == Decision([], None, complete=False)


@pytest.mark.parametrize("frame", [E / V4 / UDP() / Raw(b"x"), E / ARP()])
def test_not_tcp(frame: Packet) -> None:
    coalescer = Coalescer()
    offer(coalescer, E / V4 / tcp())
    assert offer(coalescer, frame) == Decision([], None, complete=False)
    assert len(coalescer) == 1


@pytest.mark.parametrize(
    "second",
    [
        E / V4 / tcp(seq=1005),
        E / V4 / tcp(seq=1000),
        E / V4 / tcp(seq=1004, options=NOP_NOP_TS),
        Ether(dst="02:00:00:00:00:03", src="02:00:00:00:00:01") / V4 / tcp(seq=1004),
        E / IP(src="192.0.2.1", dst="192.0.2.2", tos=2) / tcp(seq=1004),
    ],
    ids=["gap", "again", "options", "destination", "ECT"],
)
def test_a_mismatch_completes_and_starts_anew(second: Packet) -> None:
    coalescer = Coalescer()
    first = offer(coalescer, E / V4 / tcp()).flow
    decision = offer(coalescer, second)
    assert decision.before == [first]
    assert decision.flow not in {None, first}
    assert not decision.complete
    assert len(coalescer) == 1


def test_push_completes() -> None:
    coalescer = Coalescer()
    first = offer(coalescer, E / V4 / tcp()).flow
    decision = offer(coalescer, E / V4 / tcp(seq=1004, flags="PA"))
    assert decision == Decision([], first, complete=True)
    assert decision.flow is not None
    assert Ether(whole(decision.flow))[TCP].flags == "PA"


def test_limits_of_size() -> None:
    coalescer = Coalescer()
    count = 0
    for n in range(100):
        decision = offer(coalescer, E / V4 / tcp(bytes(1460), seq=1000 + n * 1460))
        if decision.before:
            count = decision.before[0].segments
            assert decision.before[0].ip_length == 40 + count * 1460 <= 65535
            break
    assert count == (65535 - 40) // 1460


def test_limits_of_segments_buffers_and_header() -> None:
    coalescer = Coalescer(Limits(segments=2))
    offer(coalescer, E / V4 / tcp())
    assert offer(coalescer, E / V4 / tcp(seq=1004)).complete
    coalescer = Coalescer()
    asked: list[tuple[int, int]] = []

    def fits(flow: Flow, size: int) -> bool:
        asked.append((flow.payload, size))
        return False

    first = offer(coalescer, E / V4 / tcp(), fits=fits).flow
    assert offer(coalescer, E / V4 / tcp(b"abc", seq=1004), fits=fits).before == [first]
    assert asked == [(4, 3)]
    assert offer(Coalescer(Limits(header=53)), E / V4 / tcp()).flow is None
    assert offer(Coalescer(Limits(header=54)), E / V4 / tcp()).flow is not None


def test_the_least_recently_used_flow_gives_way() -> None:
    coalescer = Coalescer(Limits(flows=2))
    flows = [offer(coalescer, E / V4 / TCP(sport=port, flags="A") / Raw(b"x")).flow for port in (1, 2)]
    offer(coalescer, E / V4 / TCP(sport=1, seq=1, flags="A") / Raw(b"x"))
    assert offer(coalescer, E / V4 / TCP(sport=3, flags="A") / Raw(b"x")).before == [flows[1]]


def test_scopes_are_apart_and_closable() -> None:
    coalescer = Coalescer()
    a = offer(coalescer, E / V4 / tcp(), scope=1).flow
    b = offer(coalescer, E / V4 / tcp(seq=1004), scope=2).flow
    assert a is not None
    assert b is not None
    assert a is not b
    assert coalescer.close(a)
    assert not coalescer.close(a)
    assert coalescer.close_all(lambda flow: flow is a) == []
    assert coalescer.close_all() == [b]


def test_acknowledgements_when_asked() -> None:
    coalescer = Coalescer(Limits(acknowledgements=True))
    first = offer(coalescer, E / V4 / tcp()).flow
    assert offer(coalescer, E / V4 / tcp(b"", seq=1004)).flow is first
