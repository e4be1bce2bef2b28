# SPDX-License-Identifier: GPL-2.0-or-later
"""Reception by the 82599 model: compares the packets in a minimal driver's rings with the frames that scapy sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ixgbe_bench import MAC, PEER, Bench
from ixgbe_driver import (
    BPRC,
    FCTRL,
    GORCH,
    GORCL,
    GPRC,
    HEAD,
    HLREG0,
    MPRC,
    PRC,
    ROC,
    RX_EOP,
    RX_ERROR_IPE,
    RX_ERROR_L4E,
    RX_IPCS,
    RX_L4I,
    RX_VP,
    TAIL,
    TPR,
    TYPE_IPV4,
    TYPE_IPV4E,
    TYPE_IPV6,
    TYPE_IPV6E,
    TYPE_SCTP,
    TYPE_TCP,
    TYPE_UDP,
    VLNCTRL,
    receive_address,
    rx_register,
)
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, PadN
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ETHER = Ether(dst=MAC, src=PEER)
V4 = IP(src="192.0.2.1", dst="192.0.2.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
DATA = bytes(n & 255 for n in range(9600))
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
MARKER = bytes(ETHER.copy() / Raw(b"marker".ljust(46, b".")))

examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def bare(serve: Callable[..., object]) -> Iterator[Bench]:
    """A bench whose device is not started yet."""
    bench = Bench(serve)
    yield bench
    bench.close()


@pytest.fixture
def bench(bare: Bench) -> Bench:
    return bare.start()


def plain(size: int, destination: bytes = MAC) -> bytes:
    return bytes(Ether(dst=destination, src=PEER, type=0x88B5)) + DATA[: size - 14]


@pytest.mark.parametrize("legacy", [True, False])
def test_frames_arrive_as_they_are(bare: Bench, legacy: bool) -> None:
    bare.start(legacy=legacy, ring=32)
    for size in (*range(60, 70), 1000, 1513, 1514, *range(100, 400, 5)):
        (packet,) = bare.receive([plain(size)])
        assert packet.frame == plain(size)
        assert packet.errors == 0
        assert packet.descriptors == 1


def test_short_frames_arrive_padded(bench: Bench) -> None:
    """A tap carries unpadded frames, unlike Ethernet."""
    (packet,) = bench.receive([plain(42)])
    assert packet.frame == plain(42) + bytes(18)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("size", [1024, 1025, 2048, 5000, 9500])
def test_buffers_are_chained(bare: Bench, legacy: bool, size: int) -> None:
    bare.start(legacy=legacy, buffer_size=1024)
    bare.driver.allow_jumbo(9728)
    first, second = bare.receive([plain(size), plain(100)])
    assert (first.frame, first.descriptors) == (plain(size), -(-size // 1024))
    assert (second.frame, second.descriptors) == (plain(100), 1)


@pytest.mark.parametrize("maximum", [1518, 9018])
@pytest.mark.parametrize("excess", [0, 1])
def test_the_maximum_frame_size(bench: Bench, maximum: int, excess: int) -> None:
    """MAXFRS counts the CRC; without HLREG0.JUMBOEN it is 1518 (8.2.3.22.8)."""
    if maximum > 1518:
        bench.driver.allow_jumbo(maximum)
    bench.driver.read(ROC)
    frame = plain(maximum - 4 + excess)
    if excess:
        bench.peer.send(frame)
        assert bench.silent(MARKER)
    else:
        assert bench.receive([frame])[0].frame == frame
    assert bench.driver.read(ROC) == excess


def test_a_tag_adds_four_bytes_to_the_maximum(bench: Bench) -> None:
    frame = bytes(Ether(dst=MAC, src=PEER) / Dot1Q(vlan=5, type=0x88B5)) + DATA[:1500]
    assert len(frame) == 1518
    assert bench.receive([frame])[0].frame == frame


# Filters


def test_addresses_are_filtered(bench: Bench) -> None:
    driver = bench.driver
    bench.peer.send(plain(60, bytes.fromhex("027066000002")))
    bench.peer.send(plain(60, bytes.fromhex("01005e000001")))
    assert bench.silent(MARKER)
    driver.write(receive_address(5), int.from_bytes(bytes.fromhex("02706600"), "little"))
    driver.write(receive_address(5) + 4, 1 << 31 | int.from_bytes(bytes.fromhex("0002"), "little"))
    assert bench.receive([plain(60, bytes.fromhex("027066000002"))])
    driver.write(receive_address(5) + 4, 0)
    bench.peer.send(plain(60, bytes.fromhex("027066000002")))
    assert bench.silent(MARKER)


def test_broadcast_needs_bam(bench: Bench) -> None:
    assert bench.receive([plain(60, b"\xff" * 6)])
    bench.driver.set_bits(FCTRL, 0, clear=1 << 10)
    bench.peer.send(plain(60, b"\xff" * 6))
    assert bench.silent(MARKER)


def test_promiscuous_modes(bench: Bench) -> None:
    unicast, multicast = plain(60, bytes.fromhex("02aabbccddee")), plain(60, bytes.fromhex("333300000001"))
    bench.driver.set_bits(FCTRL, 1 << 9)
    assert bench.receive([unicast])
    bench.peer.send(multicast)
    assert bench.silent(MARKER)
    bench.driver.set_bits(FCTRL, 1 << 8, clear=1 << 9)
    assert bench.receive([multicast])
    bench.peer.send(unicast)
    assert bench.silent(MARKER)


@pytest.mark.parametrize("offset", range(4))
def test_the_multicast_table(bench: Bench, offset: int) -> None:
    """MCSTCTRL.MO selects the 12 bits of the address that index the table (8.2.3.7.7)."""
    driver = bench.driver
    group = bytes.fromhex("01005e7f1234")
    shift = {0: 4, 1: 3, 2: 2, 3: 0}[offset]
    vector = (group[4] | group[5] << 8) >> shift & 0xFFF
    driver.write(0x05090, 1 << 2 | offset)
    driver.write(0x05200 + 4 * (vector >> 5), 1 << (vector & 31))
    assert bench.receive([plain(60, group)])
    bench.peer.send(plain(60, bytes.fromhex("01005e7f1345")))
    assert bench.silent(MARKER)
    driver.write(0x05090, offset)
    bench.peer.send(plain(60, group))
    assert bench.silent(MARKER), "MCSTCTRL.MFE turns the table off"


def test_vlans_are_filtered(bench: Bench) -> None:
    def tagged(vlan: int) -> bytes:
        return bytes(Ether(dst=MAC, src=PEER) / Dot1Q(vlan=vlan, type=0x88B5)) + DATA[:60]

    bench.driver.filter_vlans([1, 32, 4095])
    for vlan in (1, 32, 4095):
        assert bench.receive([tagged(vlan)])
    for vlan in (0, 2, 33, 4094):
        bench.peer.send(tagged(vlan))
    assert bench.silent(MARKER), "untagged frames pass"
    bench.driver.set_bits(VLNCTRL, 0, clear=1 << 30)
    assert bench.receive([tagged(2)])


@pytest.mark.parametrize("legacy", [True, False])
def test_tags_are_stripped(bare: Bench, legacy: bool) -> None:
    bare.start(legacy=legacy)
    tci = 0xE123
    frame = MAC + PEER + b"\x81\x00" + tci.to_bytes(2, "big") + b"\x88\xb5" + DATA[:100]
    (packet,) = bare.receive([frame])
    assert (packet.frame, packet.vlan, packet.status & RX_VP) == (frame, 0, 0), "VP means stripped (7.1.5.2)"
    bare.driver.strip_vlans(bare.driver.receive[0])
    (packet,) = bare.receive([frame])
    assert (packet.frame, packet.vlan) == (MAC + PEER + b"\x88\xb5" + DATA[:100], tci)
    assert packet.status & RX_VP
    (packet,) = bare.receive([plain(100)])
    assert (packet.frame, packet.vlan, packet.status & RX_VP) == (plain(100), 0, 0)


# Checksums and classification

UPPER = {"tcp": TCP(sport=1, dport=2), "udp": UDP(sport=1, dport=2)}
KINDS = {
    "tcp4": (ETHER / V4 / UPPER["tcp"], TYPE_IPV4 | TYPE_TCP),
    "udp4": (ETHER / V4 / UPPER["udp"], TYPE_IPV4 | TYPE_UDP),
    "tcp6": (ETHER / V6 / UPPER["tcp"], TYPE_IPV6 | TYPE_TCP),
    "udp6": (ETHER / V6 / UPPER["udp"], TYPE_IPV6 | TYPE_UDP),
    "options": (ETHER / IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_NOP()] * 4) / UPPER["tcp"],
                TYPE_IPV4 | TYPE_IPV4E | TYPE_TCP),
    "extension": (ETHER / V6 / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UPPER["tcp"],
                  TYPE_IPV6 | TYPE_IPV6E | TYPE_TCP),
    "tagged": (ETHER / Dot1Q(vlan=5) / V4 / UPPER["tcp"], TYPE_IPV4 | TYPE_TCP),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong"),
    [(name, wrong) for name in KINDS for wrong in ("nothing", "l4", "ip") if wrong != "ip" or IP in KINDS[name][0]],
)
def test_checksums_are_verified(bench: Bench, name: str, wrong: str) -> None:
    packet, kind = KINDS[name]
    frame = bytearray(bytes(packet / Raw(DATA[:51])))
    if wrong == "l4":
        frame[-1] ^= 0x40
    if wrong == "ip":
        frame[len(frame) - len(bytes((packet / Raw(DATA[:51]))[IP])) + 8] ^= 0x10
    (received,) = bench.receive([bytes(frame)])
    assert received.frame == frame
    assert received.packet_type == kind
    assert bool(received.status & RX_IPCS) == (IP in packet)
    assert received.status & RX_L4I
    assert bool(received.errors & RX_ERROR_IPE) == (wrong == "ip")
    assert bool(received.errors & RX_ERROR_L4E) == (wrong == "l4")


def test_udp_without_a_checksum_is_not_judged(bench: Bench) -> None:
    frame = bytes(ETHER / V4 / UDP(sport=1, dport=2, chksum=0) / Raw(DATA[:51]))
    (received,) = bench.receive([frame])
    assert not received.status & RX_L4I
    assert received.errors == 0


@pytest.mark.parametrize("wrong", [False, True])
def test_sctp(bench: Bench, wrong: bool) -> None:
    frame = bytearray(bytes(ETHER / V4 / SCTP(sport=1, dport=2) / SCTPChunkData(data=DATA[:50])))
    frame[-5] ^= wrong
    (received,) = bench.receive([bytes(frame)])
    assert received.packet_type == TYPE_IPV4 | TYPE_SCTP
    assert received.status & RX_L4I
    assert bool(received.errors & RX_ERROR_L4E) == wrong


def test_fragments_have_no_upper_layer(bench: Bench) -> None:
    for piece in fragment(V4 / UDP(sport=1, dport=2) / Raw(DATA[:3000]), 1000):
        (received,) = bench.receive([bytes(ETHER / piece)])
        assert received.packet_type & TYPE_IPV4
        assert received.status & RX_IPCS
        assert not received.status & RX_L4I
        assert not received.errors & RX_ERROR_L4E


def test_padding_does_not_count(bench: Bench) -> None:
    frame = bytes(ETHER / V4 / TCP(sport=1, dport=2)) + b"\xaa" * 6
    (received,) = bench.receive([frame])
    assert received.status & RX_L4I
    assert received.errors == 0


# Scaling


def toeplitz(data: bytes) -> int:
    """The Toeplitz hash by its definition, bit by bit."""
    key = int.from_bytes(KEY, "big")
    result = 0
    for index in range(len(data) * 8):
        if data[index >> 3] >> (7 - (index & 7)) & 1:
            result ^= key >> (320 - 32 - index) & 0xFFFFFFFF
    return result


VECTOR4 = IP(src="66.9.149.187", dst="161.142.100.80")
VECTOR6 = IPv6(src="3ffe:2501:200:1fff::7", dst="3ffe:2501:200:3::1")
RSS = {
    "tcp4": (1 << 0, 0x51CCC178, VECTOR4 / TCP(sport=2794, dport=1766)),
    "ip4": (1 << 1, 0x323E8FC2, VECTOR4 / TCP(sport=2794, dport=1766)),
    "ip6": (1 << 4, 0x2CC18CD5, VECTOR6 / TCP(sport=2794, dport=1766)),
    "tcp6": (1 << 5, 0x40207D3D, VECTOR6 / TCP(sport=2794, dport=1766)),
    "udp4": (1 << 6, 0x51CCC178, VECTOR4 / UDP(sport=2794, dport=1766)),
    "udp6": (1 << 7, 0x40207D3D, VECTOR6 / UDP(sport=2794, dport=1766)),
}


@pytest.mark.parametrize("name", RSS)
def test_hash_vectors(bare: Bench, name: str) -> None:
    """Microsoft's vectors, one hash type enabled at a time."""
    types, expected, packet = RSS[name]
    bare.start(queues=4)
    bare.driver.spread(KEY, types, [n % 4 for n in range(128)])
    (received,) = bare.receive([ETHER / packet / Raw(DATA[:50])], queue=expected & 127 & 3)
    assert (received.rss_type, received.rss_hash) == (name, expected)


def test_spreading_over_sixteen_queues(bare: Bench) -> None:
    bare.start(queues=16, ring=16, buffer_size=2048)
    bare.driver.spread(KEY, 0b11 | 0b11 << 4, [n * 7 % 16 for n in range(128)])
    expected: dict[int, list[bytes]] = {n: [] for n in range(16)}
    for port in range(1, 100):
        frame = bytes(ETHER / V4 / TCP(sport=port, dport=80) / Raw(DATA[:30]))
        value = toeplitz(frame[26:38])
        expected[(value & 127) * 7 % 16].append(frame)
        bare.peer.send(frame)
    for number, frames in expected.items():
        assert [p.frame for p in bare.driver.receive[number].wait(len(frames))] == frames
    assert min(map(len, expected.values())) > 0


def test_what_has_no_hash_goes_to_queue_zero(bare: Bench) -> None:
    bare.start(queues=2)
    bare.driver.spread(KEY, 0b11, [1] * 128)
    (received,) = bare.receive([plain(100)], queue=0)
    assert (received.rss_type, received.rss_hash) == ("none", 0)
    (received,) = bare.receive([ETHER / V6 / TCP() / Raw(DATA[:20])], queue=0)
    assert received.rss_type == "none"
    assert bare.receive([ETHER / V4 / ICMP() / Raw(DATA[:50])], queue=1)[0].rss_type == "ip4"


def test_only_whole_segments_hash_their_ports(bare: Bench) -> None:
    bare.start(queues=2)
    bare.driver.spread(KEY, 0b11 | 1 << 6, [0] * 128)
    for piece in fragment(V4 / UDP(sport=1, dport=2) / Raw(DATA[:2000]), 1000):
        frame = bytes(ETHER / piece)
        (received,) = bare.receive([frame])
        assert (received.rss_type, received.rss_hash) == ("ip4", toeplitz(frame[26:34]))


# Coalescing


def stream(
    count: int, size: int, *, push: bool = True, ip: Packet = V4, sport: int = 1, start: int = 1000
) -> list[bytes]:
    frames = []
    for n in range(count):
        flags = "PA" if push and n == count - 1 else "A"
        segment = TCP(sport=sport, dport=2, seq=start + n * size, ack=5, flags=flags, window=1000 + n)
        frames.append(bytes(ETHER / ip / segment / Raw(DATA[n : n + size])))
    return frames


@pytest.mark.parametrize("size", [100, 1448])
def test_segments_are_coalesced(bare: Bench, size: int) -> None:
    bare.start(rsc=3)
    (packet,) = arrive(bare, stream(10, size), 1)
    merged = Ether(packet.frame)
    assert bytes(merged[TCP].payload) == b"".join(DATA[n : n + size] for n in range(10))
    assert packet.segments == 10
    assert packet.descriptors == -(-(54 + 10 * size) // 2048)
    assert merged[IP].len == 40 + 10 * size
    assert merged[TCP].window == 1009
    assert merged[TCP].flags == "PA"
    rebuilt = merged.copy()
    del rebuilt[IP].chksum
    assert merged[IP].chksum == Ether(bytes(rebuilt))[IP].chksum
    assert not packet.errors


def arrive(bench: Bench, frames: list[bytes], count: int) -> list[object]:
    bench.burst(frames)
    return bench.driver.receive[0].wait(count)


@pytest.mark.parametrize(("code", "limit"), [(0, 1), (1, 4), (2, 8), (3, 16)])
def test_the_descriptor_limit(bare: Bench, code: int, limit: int) -> None:
    """No packet takes more descriptors than RSCCTL.MAXDESC; nothing is lost."""
    bare.start(rsc=code, buffer_size=1024)
    data = b""
    longest = 0
    bare.burst(stream(1, 60, push=False) + stream(30, 1000, start=1060))
    while len(data) < 60 + 30 * 1000:
        (packet,) = bare.driver.receive[0].wait(1)
        assert packet.descriptors <= max(limit, 2), "a single frame of 1054 bytes may need two"
        longest = max(longest, packet.descriptors)
        data += bytes(Ether(packet.frame)[TCP].payload)
    assert data == DATA[:60] + b"".join(DATA[n : n + 1000] for n in range(30))
    assert longest == max(limit, 2)


def test_fourteen_segments_a_buffer(bare: Bench) -> None:
    """RSCCNT has four bits: a packet is complete when 14 segments start in one descriptor (7.1.6.2)."""
    bare.start(rsc=3)
    packets = arrive(bare, stream(30, 60), 3)
    assert [p.segments for p in packets] == [14, 14, 2]


def test_two_flows_at_once(bare: Bench) -> None:
    bare.start(rsc=3)
    one, other = stream(6, 1448, sport=1), stream(6, 1448, sport=2)
    frames = [frame for pair in zip(one, other, strict=True) for frame in pair]
    packets = arrive(bare, frames, 2)
    assert [Ether(p.frame)[TCP].sport for p in packets] == [1, 2]
    for packet in packets:
        assert bytes(Ether(packet.frame)[TCP].payload) == b"".join(DATA[n : n + 1448] for n in range(6))
        assert packet.segments == 6


def test_a_gap_ends_a_packet(bare: Bench) -> None:
    bare.start(rsc=3)
    frames = stream(6, 200)
    del frames[3]
    first, second = arrive(bare, frames, 2)
    assert [first.segments, second.segments] == [3, 2]


def test_ipv6_is_not_coalesced(bare: Bench) -> None:
    bare.start(rsc=3)
    packets = arrive(bare, stream(3, 200, ip=V6), 3)
    assert [p.frame for p in packets] == stream(3, 200, ip=V6)


def test_a_wrong_checksum_is_not_coalesced(bare: Bench) -> None:
    bare.start(rsc=3)
    frames = stream(3, 200)
    frames[1] = frames[1][:-1] + bytes([frames[1][-1] ^ 1])
    packets = arrive(bare, frames, 3)
    assert [p.frame for p in packets] == frames
    assert packets[1].errors & RX_ERROR_L4E


def test_no_coalescing_where_it_is_off(bare: Bench) -> None:
    bare.start(rsc=None)
    packets = arrive(bare, stream(4, 200), 4)
    assert [p.segments for p in packets] == [0] * 4
    assert [p.frame for p in packets] == stream(4, 200)


# Rings and statistics


def test_a_ring_without_descriptors_drops(bare: Bench) -> None:
    """With SRRCTL.Drop_En, frames without a descriptor are dropped and counted on the queue (QPRDC)."""
    bare.start(ring=8)
    driver = bare.driver
    driver.read(0x01430)
    for n in range(12):
        bare.peer.send(plain(100 + n))
    bare.settle()
    assert driver.read(rx_register(0, HEAD)) == 7
    packets = driver.receive[0].wait(7)
    assert [len(p.frame) for p in packets] == list(range(100, 107))
    assert bare.silent(plain(300))
    assert driver.read(0x01430) == 5


def test_without_drop_enable_frames_wait(bare: Bench) -> None:
    """Without it they wait in the packet buffer for descriptors."""
    bare.start(ring=8, drop=False)
    for n in range(12):
        bare.peer.send(plain(100 + n))
    packets = bare.driver.receive[0].wait(12)
    assert [len(p.frame) for p in packets] == list(range(100, 112))


@examples
@given(st.lists(st.integers(60, 1514), min_size=1, max_size=40))
def test_streams_arrive_in_order(bench: Bench, sizes: list[int]) -> None:
    packets = bench.receive([plain(size) for size in sizes])
    assert [p.frame for p in packets] == [plain(size) for size in sizes]
    assert all(p.status & RX_EOP for p in packets)
    assert (bench.driver.read(rx_register(0, TAIL)) + 1) % 64 == bench.driver.read(rx_register(0, HEAD))


def test_statistics_agree_with_the_wire(bench: Bench) -> None:
    driver = bench.driver
    for register in (GPRC, GORCL, GORCH, BPRC, MPRC, TPR, *range(PRC, PRC + 24, 4)):
        driver.read(register)
    driver.set_bits(FCTRL, 1 << 8)
    sizes = [60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514]
    bench.receive([plain(size) for size in sizes])
    bench.receive([plain(60, b"\xff" * 6), plain(60, bytes.fromhex("01005e000001"))])
    bench.peer.send(plain(60, bytes.fromhex("02aabbccddee")))
    assert bench.silent(MARKER)
    total = sum(sizes) + 3 * 60 + 4 * 14
    assert driver.read(GPRC) == 14
    assert driver.read(GORCL) | driver.read(GORCH) << 32 == total
    assert (driver.read(BPRC), driver.read(MPRC)) == (1, 1)
    assert driver.read(TPR) == 15, "total packets: the filtered one too"
    assert driver.read(GPRC) == 0
    assert sum(driver.read(PRC + 4 * n) for n in range(6)) >= 14


def test_queue_statistics(bare: Bench) -> None:
    """QPRC and QBRC count in the set that RQSMR assigns to the queue."""
    bare.start(queues=2)
    driver = bare.driver
    driver.spread(KEY, 0b10, [1] * 128)
    driver.write(0x02300, 4 | 9 << 8)
    for index in (4, 9):
        for offset in (0x01030, 0x01034, 0x01038):
            driver.read(offset + 0x40 * index)
    bare.receive([plain(100), plain(200)], queue=0)
    (packet,) = bare.receive([ETHER / V4 / UDP() / Raw(DATA[:258])], queue=1)
    assert len(packet.frame) == 300
    assert [driver.read(0x01030 + 0x40 * n) for n in (4, 9)] == [2, 1]
    assert [driver.read(0x01034 + 0x40 * n) for n in (4, 9)] == [300, 300]
    counters = bare.control("model.counters")
    assert [(q["frames"], q["bytes"]) for q in counters["rx"][:2]] == [(2, 300), (1, 300)]


def test_the_crc_stays_when_it_is_not_stripped(bench: Bench) -> None:
    """HLREG0.RXCRCSTRP and RDRXCTL.CRCStrip off: four more bytes."""
    bench.driver.set_bits(HLREG0, 0, clear=2)
    bench.driver.set_bits(0x02F00, 0, clear=2)
    (packet,) = bench.receive([plain(100)])
    assert packet.frame[:100] == plain(100)
    assert len(packet.frame) == 104


def test_a_stopped_queue_receives_nothing(bench: Bench) -> None:
    driver = bench.driver
    queue = driver.receive[0]
    driver.stop_receive(queue)
    bench.peer.send(plain(100))
    bench.settle()
    driver.start_receive(queue)
    assert bench.silent(MARKER)


def test_the_receive_unit_can_be_off(bench: Bench) -> None:
    driver = bench.driver
    driver.write(0x03000, 0)
    bench.peer.send(plain(100))
    bench.settle()
    assert driver.receive[0].poll() == []


# Filters that choose a queue


@pytest.fixture
def wide(serve: Callable[..., object]) -> Iterator[Bench]:
    """All 128 queues."""
    bench = Bench(serve, ram=64 << 20).start(queues=128, ring=8)
    yield bench
    bench.close()


def test_ethertype_filters_reach_all_queues(wide: Bench) -> None:
    """ETQF and ETQS (7.1.2.3)."""
    for number, queue in enumerate((127, 64, 63)):
        wide.driver.write(0x05128 + 4 * number, 0x88B5 + number | 1 << 31)
        wide.driver.write(0x0EC00 + 4 * number, queue << 16 | 1 << 31)
        frame = bytes(Ether(dst=MAC, src=PEER, type=0x88B5 + number)) + DATA[:60]
        assert wide.receive([frame], queue=queue)[0].frame == frame
        wide.driver.transmit[queue].send(frame)
        assert wide.peer.take() == [frame]
    assert wide.receive([bytes(ETHER / V4 / UDP() / Raw(DATA[:50]))], queue=0)


def test_five_tuple_filters(wide: Bench) -> None:
    """FTQF and related registers (7.1.2.5), which hold addresses and ports in wire byte order."""
    driver = wide.driver

    def program(number: int, queue: int, packet: Packet, *, ignore: int = 0, priority: int = 1) -> None:
        frame = bytes(packet)
        driver.write(0x0E000 + 4 * number, int.from_bytes(frame[26:30], "little"))
        driver.write(0x0E200 + 4 * number, int.from_bytes(frame[30:34], "little"))
        driver.write(0x0E400 + 4 * number, int.from_bytes(frame[34:38], "little"))
        protocol = {6: 0, 17: 1, 132: 2}[frame[23]]
        driver.write(0x0E800 + 4 * number, queue << 21)
        driver.write(0x0E600 + 4 * number, protocol | priority << 2 | ignore << 25 | 1 << 30 | 1 << 31)

    flow = ETHER / V4 / UDP(sport=1000, dport=2000) / Raw(DATA[:50])
    program(0, 100, flow)
    program(127, 90, flow, ignore=0b00100, priority=7)
    other_source = ETHER / V4 / UDP(sport=1001, dport=2000) / Raw(DATA[:50])
    assert wide.receive([flow, other_source], queue=90)
    assert wide.receive([ETHER / V4 / UDP(sport=1000, dport=2001) / Raw(DATA[:50])], queue=0)
    assert wide.receive([ETHER / V4 / TCP(sport=1000, dport=2000) / Raw(DATA[:50])], queue=0)
    driver.write(0x0E600 + 4 * 127, 0)
    assert wide.receive([flow], queue=100)
    assert wide.receive([other_source], queue=0)


def test_the_syn_filter(wide: Bench) -> None:
    """SYNQF (7.1.2.4)."""
    wide.driver.write(0x0EC30, 33 << 1 | 1)
    assert wide.receive([ETHER / V4 / TCP(flags="S") / Raw(bytes(10))], queue=33)
    assert wide.receive([ETHER / V4 / TCP(flags="A") / Raw(bytes(10))], queue=0)
