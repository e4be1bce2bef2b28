# SPDX-License-Identifier: GPL-2.0-or-later
"""Transmission by the 82599 model: compares the frames that a minimal driver requests with those that scapy builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ixgbe_bench import MAC, PEER, Bench, pseudo_header
from ixgbe_driver import (
    BPTC,
    EOP,
    GOTCH,
    GOTCL,
    GPTC,
    HEAD,
    IC,
    IFCS,
    L4T_SCTP,
    L4T_TCP,
    L4T_UDP,
    MPTC,
    POPTS_IXSM,
    POPTS_TXSM,
    PTC,
    RS,
    STATUS,
    TAIL,
    TSE,
    VLE,
    context_descriptor,
    data_descriptor,
    legacy_descriptor,
    tx_register,
)
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ETHER = Ether(dst=PEER, src=MAC)
V4 = IP(src="192.0.2.2", dst="192.0.2.1", id=7)
V6 = IPv6(src="2001:db8::2", dst="2001:db8::1")
RAW = bytes(Ether(dst=PEER, src=MAC, type=0x88B5) / Raw(bytes(n & 255 for n in range(1486))))

examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve).start(queues=2)
    yield bench
    bench.close()


def unfinished(packet: Packet) -> tuple[bytes, int, int, int]:
    """A frame as a stack passes it to a driver: pseudo-header sum in the checksum field, IPv4 checksum 0.

    Returns:
        The frame, and the lengths of its Ethernet, IP and TCP, UDP or SCTP header.
    """
    frame = bytearray(bytes(packet))
    ip = packet.getlayer(IP) or packet.getlayer(IPv6)
    upper = packet.getlayer(TCP) or packet.getlayer(UDP) or packet.getlayer(SCTP)
    mac_length = len(frame) - len(bytes(ip))
    whole = type(packet)(bytes(packet)).getlayer(type(upper))
    upper_length = len(bytes(whole.original)) if whole.original else len(bytes(whole))
    start = len(frame) - upper_length
    if ip.version == 4:
        frame[mac_length + 10 : mac_length + 12] = b"\0\0"
        source, destination = frame[mac_length + 12 : mac_length + 16], frame[mac_length + 16 : mac_length + 20]
    else:
        source, destination = frame[mac_length + 8 : mac_length + 24], frame[mac_length + 24 : mac_length + 40]
    if isinstance(upper, SCTP):
        frame[start + 8 : start + 12] = b"\0\0\0\0"
        header = 12
    else:
        protocol, field, header = (6, 16, frame[start + 12] >> 4 << 2) if isinstance(upper, TCP) else (17, 6, 8)
        seed = pseudo_header(bytes(source), bytes(destination), protocol, upper_length)
        frame[start + field : start + field + 2] = seed.to_bytes(2, "big")
    return bytes(frame), mac_length, start - mac_length, header


def for_segmentation(packet: Packet) -> tuple[bytes, int, int, int]:
    """The same for segmentation: the seed has no length, and the IPv4 length is 0."""
    frame, mac_length, ip_length, header = unfinished(packet)
    data = bytearray(frame)
    start = mac_length + ip_length
    size = 4 if IP in packet else 16
    first = start - 2 * size if IP not in packet or ip_length == 20 else mac_length + 12
    addresses = bytes(data[first : first + 2 * size]) if IP in packet else bytes(data[mac_length + 8 : mac_length + 40])
    protocol, field = (6, 16) if TCP in packet else (17, 6)
    seed = pseudo_header(addresses[:size], addresses[size:], protocol, 0)
    data[start + field : start + field + 2] = seed.to_bytes(2, "big")
    if IP in packet:
        data[mac_length + 2 : mac_length + 4] = b"\0\0"
    return bytes(data), mac_length, ip_length, header


@examples
@given(st.integers(60, 1514), st.lists(st.integers(0, 1514), max_size=6), st.booleans(), st.integers(0, 1))
def test_frames_are_sent_as_they_are(bench: Bench, size: int, cuts: list[int], legacy: bool, queue: int) -> None:
    ring = bench.driver.transmit[queue]
    (ring.send_legacy if legacy else ring.send)(RAW[:size], cuts=cuts)
    assert bench.peer.take() == [RAW[:size]]


@pytest.mark.parametrize("legacy", [True, False])
def test_short_frames_are_padded(bench: Bench, legacy: bool) -> None:
    ring = bench.driver.transmit[0]
    (ring.send_legacy if legacy else ring.send)(RAW[:30])
    assert bench.peer.take() == [RAW[:30] + bytes(30)]


def test_the_ring_wraps(bench: Bench) -> None:
    ring = bench.driver.transmit[0]
    for n in range(150):
        ring.send(RAW[: 60 + n], cuts=(20, 40))
    assert bench.peer.take(150) == [RAW[: 60 + n] for n in range(150)]
    assert bench.driver.read(tx_register(0, HEAD)) == bench.driver.read(tx_register(0, TAIL)) == 450 % 64


def test_many_frames_by_one_tail_write(bench: Bench) -> None:
    ring = bench.driver.transmit[1]
    descriptors = [
        data_descriptor(ring.buffer(RAW[: 60 + n]), 60 + n, command=EOP | IFCS | RS, paylen=60 + n) for n in range(63)
    ]
    ring.finish(ring.put(*descriptors))
    assert bench.peer.take(63) == [RAW[: 60 + n] for n in range(63)]


def test_a_frame_without_its_end_waits(bench: Bench) -> None:
    """A packet is not sent before its EOP."""
    ring = bench.driver.transmit[0]
    address = ring.buffer(RAW[:100])
    ring.put(data_descriptor(address, 40, command=IFCS, paylen=100))
    bench.driver.read(STATUS)
    assert bench.peer.rest() == []
    ring.finish(ring.put(data_descriptor(address + 40, 60, command=EOP | IFCS | RS, paylen=100)))
    assert bench.peer.take() == [RAW[:100]]


def test_only_asked_for_descriptors_are_reported(bench: Bench) -> None:
    ring = bench.driver.transmit[0]
    address = ring.buffer(RAW[:100])
    first = ring.put(data_descriptor(address, 100, command=EOP | IFCS, paylen=100))
    last = ring.put(data_descriptor(address, 100, command=EOP | IFCS | RS, paylen=100))
    ring.finish(last)
    assert not ring.done(first)


def test_head_write_back(bench: Bench) -> None:
    """TDWBAL.Head_WB_En: the head goes to memory, the descriptors stay untouched (7.2.3.5.2)."""
    driver = bench.driver
    ring = driver.transmit[0]
    driver.stop_transmit(ring)
    place = driver.ram.allocate(64)
    driver.start_transmit(ring, write_back_head=place)
    address = ring.buffer(RAW[:100])
    index = ring.put(data_descriptor(address, 100, command=EOP | IFCS | RS, paylen=100))
    driver.until(lambda: driver.ram.read(place, 4) == b"\1\0\0\0", "head written back")
    assert not ring.done(index)
    assert bench.peer.take() == [RAW[:100]]


PACKETS = {
    "tcp4": ETHER / V4 / TCP(sport=1, dport=2) / Raw(b"hello" * 21),
    "udp4": ETHER / V4 / UDP(sport=1, dport=2) / Raw(b"hello" * 20),
    "tcp6": ETHER / V6 / TCP(sport=1, dport=2) / Raw(b"hello" * 20),
    "udp6": ETHER / V6 / UDP(sport=1, dport=2) / Raw(b"hello" * 21),
    "sctp4": ETHER / V4 / SCTP(sport=1, dport=2) / SCTPChunkData(data=b"hello" * 20),
    "sctp6": ETHER / V6 / SCTP(sport=1, dport=2) / SCTPChunkData(data=b"hello" * 20),
    "tagged": ETHER / Dot1Q(vlan=9) / V4 / TCP(sport=1, dport=2) / Raw(b"hello" * 20),
}


def upper_type(packet: Packet) -> int:
    return L4T_TCP if TCP in packet else L4T_UDP if UDP in packet else L4T_SCTP


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS.keys())
def test_checksums_are_inserted(bench: Bench, packet: Packet) -> None:
    frame, mac_length, ip_length, _ = unfinished(packet)
    context = context_descriptor(
        mac_length=mac_length, ip_length=ip_length, ipv4=IP in packet, l4=upper_type(packet), index=0
    )
    options = POPTS_TXSM | (POPTS_IXSM if IP in packet else 0)
    bench.driver.transmit[0].send(frame, cuts=(30, 50), context=context, options=options)
    assert bench.peer.take() == [bytes(packet)]


def test_only_the_checksum_asked_for(bench: Bench) -> None:
    packet = PACKETS["tcp4"]
    frame, mac_length, ip_length, _ = unfinished(packet)
    whole = bytes(packet)
    ring = bench.driver.transmit[0]
    context = context_descriptor(mac_length=mac_length, ip_length=ip_length)
    ring.send(frame, context=context)
    ring.send(frame, options=POPTS_IXSM)
    ring.send(frame, options=POPTS_TXSM)
    plain, ip, tcp = bench.peer.take(3)
    assert plain == frame
    assert ip == frame[:24] + whole[24:26] + frame[26:]
    assert tcp == frame[:50] + whole[50:52] + frame[52:]


def test_two_contexts_a_queue(bench: Bench) -> None:
    """Both contexts last until overwritten, separately for each queue (7.2.3.2.3)."""
    one, other = PACKETS["tcp4"], PACKETS["udp6"]
    rings = bench.driver.transmit
    for ring in rings:
        for index, packet in enumerate((one, other)):
            _, mac_length, ip_length, _ = unfinished(packet)
            ring.put(
                context_descriptor(
                    mac_length=mac_length,
                    ip_length=ip_length,
                    ipv4=IP in packet,
                    l4=upper_type(packet),
                    index=index,
                )
            )
    for _ in range(3):
        for ring in rings:
            ring.send(unfinished(one)[0], options=POPTS_TXSM | POPTS_IXSM, index=0)
            ring.send(unfinished(other)[0], options=POPTS_TXSM, index=1)
            assert bench.peer.take(2) == [bytes(one), bytes(other)]


def test_legacy_checksum(bench: Bench) -> None:
    """CMD.IC: the sum from CSS to the end goes to CSO (7.2.3.2.2)."""
    packet = PACKETS["udp4"]
    frame, mac_length, ip_length, _ = unfinished(packet)
    start = mac_length + ip_length
    ip_ready = frame[:24] + bytes(packet)[24:26] + frame[26:]
    bench.driver.transmit[0].send_legacy(ip_ready, command=IFCS | RS | IC, start=start, offset=start + 6)
    assert bench.peer.take() == [bytes(packet)]


@pytest.mark.parametrize("legacy", [True, False])
def test_vlan_tags_are_inserted(bench: Bench, legacy: bool) -> None:
    ring = bench.driver.transmit[0]
    tci = 5 << 13 | 0x123
    if legacy:
        ring.send_legacy(RAW[:100], command=IFCS | RS | VLE, vlan=tci)
    else:
        ring.send(RAW[:100], context=context_descriptor(vlan=tci), command=VLE)
    assert bench.peer.take() == [RAW[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + RAW[12:100]]


@examples
@given(
    st.sampled_from((V4, V6)),
    st.booleans(),
    st.integers(1, 20000),
    st.integers(200, 1448),
    st.lists(st.integers(0, 20000), max_size=8),
    st.integers(0, 2**32 - 1),
    st.sampled_from(("A", "PA", "FPA", "CPA", "FCEPA")),
)
def test_segmentation(
    bench: Bench, ip: Packet, timestamps: bool, size: int, mss: int, cuts: list[int], sequence: int, flags: str
) -> None:
    """TSO against frames that scapy builds one by one."""
    options = [("NOP", None), ("NOP", None), ("Timestamp", (3, 4))] if timestamps else []
    template = ETHER / ip / TCP(sport=1, dport=2, seq=sequence, ack=9, flags=flags, options=options)
    payload = bytes(n * 7 & 255 for n in range(size))
    frame, mac_length, ip_length, header = for_segmentation(template / Raw(payload))
    context = context_descriptor(
        mac_length=mac_length, ip_length=ip_length, ipv4=IP in template, mss=mss, l4_length=header
    )
    start = mac_length + ip_length + header
    edges = [c for c in cuts if c < len(frame)] + [start + n for n in range(15000, size, 15000)]
    bench.driver.transmit[0].send(
        frame,
        cuts=edges,
        context=context,
        options=POPTS_TXSM | (POPTS_IXSM if IP in template else 0),
        command=TSE,
        paylen=size,
    )
    expected = []
    pieces = [payload[i : i + mss] for i in range(0, size, mss)]
    for number, piece in enumerate(pieces):
        packet = template.copy() / Raw(piece)
        if IP in packet:
            packet[IP].id = (V4.id + number) & 0xFFFF
        packet[TCP].seq = (sequence + number * mss) & 0xFFFFFFFF
        if number < len(pieces) - 1:
            packet[TCP].flags = int(packet[TCP].flags) & ~0x09
        if number:
            packet[TCP].flags = int(packet[TCP].flags) & ~0x80
        expected.append(bytes(packet))
    assert bench.peer.take(len(pieces)) == [e.ljust(60, b"\0") for e in expected]


def test_segmentation_with_a_tag(bench: Bench) -> None:
    template = ETHER / V4 / TCP(sport=1, dport=2, flags="PA")
    frame, mac_length, ip_length, header = for_segmentation(template / Raw(bytes(3000)))
    context = context_descriptor(mac_length=mac_length, ip_length=ip_length, mss=1000, l4_length=header, vlan=77)
    bench.driver.transmit[0].send(
        frame, context=context, options=POPTS_TXSM | POPTS_IXSM, command=TSE | VLE, paylen=3000
    )
    frames = [Ether(f) for f in bench.peer.take(3)]
    assert [f[Dot1Q].vlan for f in frames] == [77] * 3
    assert [len(f[TCP].payload) for f in frames] == [1000] * 3
    assert b"".join(bytes(f[TCP].payload) for f in frames) == bytes(3000)


def test_udp_segmentation(bench: Bench) -> None:
    template = ETHER / V4 / UDP(sport=1, dport=2)
    payload = bytes(n & 255 for n in range(2500))
    frame, mac_length, ip_length, header = for_segmentation(template / Raw(payload))
    context = context_descriptor(mac_length=mac_length, ip_length=ip_length, l4=L4T_UDP, mss=1000, l4_length=header)
    bench.driver.transmit[0].send(frame, context=context, options=POPTS_TXSM | POPTS_IXSM, command=TSE, paylen=2500)
    expected = []
    for number in range(3):
        packet = template.copy() / Raw(payload[number * 1000 : number * 1000 + 1000])
        packet[IP].id = 7 + number
        expected.append(bytes(packet))
    assert bench.peer.take(3) == expected


def test_statistics_agree_with_the_wire(bench: Bench) -> None:
    driver = bench.driver
    for register in (GPTC, GOTCL, GOTCH, BPTC, MPTC, *range(PTC, PTC + 24, 4)):
        driver.read(register)
    sizes = [60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514]
    for number, size in enumerate(sizes):
        driver.transmit[number & 1].send(RAW[:size])
    driver.transmit[0].send(b"\xff" * 6 + RAW[6:60])
    driver.transmit[0].send(b"\x01\x00\x5e" + RAW[3:60])
    frames = bench.peer.take(len(sizes) + 2)
    assert driver.read(GPTC) == len(frames)
    counted = driver.read(GOTCL) | driver.read(GOTCH) << 32
    assert counted == sum(len(f) + 4 for f in frames)
    assert driver.read(BPTC) == 1
    assert driver.read(MPTC) == 1
    assert [driver.read(PTC + 4 * n) for n in range(6)] == [3, 2, 2, 2, 2, 2]
    assert driver.read(GPTC) == 0, "cleared by reading"
    assert driver.read(GOTCL) == 0


def test_queue_statistics(bench: Bench) -> None:
    """QPTC and QBTC count in the set that TQSM assigns to the queue (8.2.3.23.71)."""
    driver = bench.driver
    driver.write(0x08600, 3 | 5 << 8)
    for index in (3, 5):
        driver.read(0x08680 + 4 * index)
        driver.read(0x08700 + 8 * index)
        driver.read(0x08704 + 8 * index)
    driver.transmit[0].send(RAW[:100])
    driver.transmit[0].send(RAW[:200])
    driver.transmit[1].send(RAW[:300])
    bench.peer.take(3)
    assert [driver.read(0x08680 + 4 * n) for n in (3, 5)] == [2, 1]
    assert [driver.read(0x08700 + 8 * n) for n in (3, 5)] == [300, 300]
    assert driver.read(0x08680 + 12) == 0


def test_counters_of_the_model(bench: Bench) -> None:
    bench.driver.transmit[1].send(RAW[:100])
    bench.driver.transmit[1].send(RAW[:200])
    bench.peer.take(2)
    counters = bench.control("model.counters")
    assert (counters["tx"][1]["frames"], counters["tx"][1]["bytes"]) == (2, 300)
    assert counters["tx"][0]["frames"] == 0


def test_a_stopped_queue_sends_nothing(bench: Bench) -> None:
    driver = bench.driver
    ring = driver.transmit[0]
    driver.stop_transmit(ring)
    address = ring.buffer(RAW[:100])
    ring.put(data_descriptor(address, 100, command=EOP | IFCS | RS, paylen=100))
    driver.read(STATUS)
    assert bench.peer.rest() == []
    driver.start_transmit(ring)
    ring.send(RAW[:90])
    assert bench.peer.take() == [RAW[:90]]


def test_the_transmit_unit_can_be_off(bench: Bench) -> None:
    driver = bench.driver
    driver.set_bits(0x04A80, 0, clear=1)
    ring = driver.transmit[0]
    index = ring.put(data_descriptor(ring.buffer(RAW[:100]), 100, command=EOP | IFCS | RS, paylen=100))
    driver.read(STATUS)
    assert bench.peer.rest() == []
    driver.set_bits(0x04A80, 1)
    ring.finish(index)
    assert bench.peer.take() == [RAW[:100]]


def test_mac_loopback(bench: Bench) -> None:
    """HLREG0.LPBK loops frames back before the wire (3.7.6.2)."""
    driver = bench.driver
    driver.set_bits(0x04240, 1 << 15)
    driver.set_bits(0x042A0, 1)
    frame = MAC + RAW[6:200]
    driver.transmit[0].send(frame)
    (received,) = driver.receive[0].wait(1)
    assert received.frame == frame
    assert bench.peer.rest() == []


def test_legacy_and_advanced_on_one_ring(bench: Bench) -> None:
    ring = bench.driver.transmit[0]
    address = ring.buffer(RAW[:300])
    last = ring.put(
        legacy_descriptor(address, 60),
        data_descriptor(address, 70, command=EOP | IFCS | RS, paylen=70),
        legacy_descriptor(address, 80),
    )
    ring.finish(last)
    assert [len(f) for f in bench.peer.take(3)] == [60, 70, 80]
