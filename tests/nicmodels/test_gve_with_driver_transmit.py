# SPDX-License-Identifier: GPL-2.0-or-later
"""The gVNIC model's DQO transmit path, with an independent driver and a wire peer."""

from __future__ import annotations

import itertools
import random
import struct
from typing import TYPE_CHECKING

import gve_driver as g
import pytest
from gve_bench import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nicmodels.models.gve import Gve
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw
from vfio_client import MSIX
from wire_peer import MAC, PEER, pseudo_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAIN = bytes(Ether(dst=PEER, src=MAC, type=0x88B5)) + bytes(range(86))


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve).start(queues=2, msix=True)
    yield bench
    bench.close()


def outgoing(version: int, protocol: type[Packet], size: int, *, tagged: bool = False, **fields: object) -> Packet:
    """A packet from the DUT."""
    ip = IP(src="192.0.2.2", dst="192.0.2.1", id=77) if version == 4 else IPv6(src="2001:db8::2", dst="2001:db8::1")
    ether = Ether(dst=PEER, src=MAC)
    below = ether / Dot1Q(vlan=101, prio=3) if tagged else ether
    return below / ip / protocol(sport=5000, dport=4000, **fields) / Raw(random.Random(size).randbytes(size))


def partial(packet: Packet, *, with_length: bool) -> tuple[bytes, int]:
    """The packet as a stack passes it for checksum offload, and the offset of its payload."""
    data = bytearray(bytes(packet))
    kind = TCP if TCP in packet else UDP
    at = len(data) - len(bytes(packet[kind]))
    number = 6 if kind is TCP else 17
    ip = packet[IP] if IP in packet else packet[IPv6]
    source, destination = (bytes(ip)[12:16], bytes(ip)[16:20]) if IP in packet else (bytes(ip)[8:24], bytes(ip)[24:40])
    value = pseudo_header(source, destination, number, len(data) - at if with_length else 0)
    struct.pack_into(">H", data, at + (16 if kind is TCP else 6), value)
    header = len(data) - len(packet[Raw].load)
    return bytes(data), header


def test_one_frame(bench: Bench) -> None:
    bench.tx[0].send(PLAIN)
    assert bench.peer.take() == [PLAIN]
    account = bench.control("model.counters")["tx"][0]
    assert account == {"frames": 1, "bytes": 100, "segments": 1, "segment_bytes": 100}
    assert bench.control("model.accounting")["tx"][0] == {"tags": 0, "packets": 1, "completions": 1, "abandoned": 0}


def test_without_a_context(bench: Bench) -> None:
    """A packet descriptor alone, as for XDP frames."""
    bench.tx[1].send(PLAIN, context=False)
    assert bench.peer.take() == [PLAIN]


@pytest.mark.parametrize("cuts", [(1,), (14, 40), (20, 21, 22, 23, 24, 25, 26, 27, 28)])
def test_several_buffers(bench: Bench, cuts: tuple[int, ...]) -> None:
    edges = (0, *cuts, len(PLAIN))
    bench.tx[0].send(*(PLAIN[start:end] for start, end in itertools.pairwise(edges)))
    assert bench.peer.take() == [PLAIN]


@pytest.mark.parametrize("size", [17, 59, 60, 61])
def test_padding(bench: Bench, size: int) -> None:
    bench.tx[0].send(PLAIN[:size])
    assert bench.peer.take() == [PLAIN[:size].ljust(60, b"\0")]


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [1, 2, 999, 1000])
def test_checksum(bench: Bench, version: int, protocol: type[Packet], size: int, tagged: bool) -> None:
    packet = outgoing(version, protocol, size, tagged=tagged)
    data, header = partial(packet, with_length=True)
    bench.tx[0].send(data[:header], data[header:], checksum=True)
    expected = bytes(packet)
    assert bench.peer.take() == [expected.ljust(60, b"\0")]


def test_checksum_does_not_sum_padding(bench: Bench) -> None:
    packet = outgoing(4, UDP, 1)
    data, _ = partial(packet, with_length=True)
    bench.tx[0].send(data + b"\xff" * 20, checksum=True)
    assert bench.peer.take()[0][: len(data)] == bytes(packet)


def test_checksum_of_what_has_none_leaves_it(bench: Bench) -> None:
    bench.tx[0].send(PLAIN, checksum=True)
    assert bench.peer.take() == [PLAIN]


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("size", "mss"), [(5000, 1000), (5001, 1448), (88, 88), (60000, 1448)])
def test_tcp_segmentation(bench: Bench, version: int, size: int, mss: int, tagged: bool) -> None:
    packet = outgoing(version, TCP, size, tagged=tagged, seq=0xFFFF_F000, flags="PA", ack=9)
    data, header = partial(packet, with_length=False)
    bench.tx[0].send(
        data[:header],
        data[header : header + 7],
        data[header + 7 :][:16000],
        *pieces(data[header + 16007 :]),
        checksum=True,
        tso=(mss, header),
    )
    count = -(-size // mss)
    frames = bench.peer.take(count)
    payload = packet[Raw].load
    for number, frame in enumerate(frames):
        got = Ether(frame)
        part = payload[number * mss : (number + 1) * mss]
        want = packet.copy()
        ip = want[IP] if version == 4 else want[IPv6]
        if version == 4:
            del ip.len, ip.chksum
            ip.id = 77 + number
        else:
            del ip.plen
        want[TCP].seq = (0xFFFF_F000 + number * mss) & 0xFFFF_FFFF
        del want[TCP].chksum
        want[TCP].flags = "PA" if number == count - 1 else "A"
        want[Raw].load = part
        assert frame == bytes(want).ljust(60, b"\0"), got.summary()
    account = bench.control("model.counters")["tx"][0]
    assert (account["frames"], account["segments"]) == (1, count)


def pieces(data: bytes) -> list[bytes]:
    """Split into buffers that a descriptor can hold."""
    return [data[at : at + 16383] for at in range(0, len(data), 16383)]


@pytest.mark.parametrize("version", [4, 6])
def test_udp_segmentation(bench: Bench, version: int) -> None:
    packet = outgoing(version, UDP, 2500)
    data, header = partial(packet, with_length=False)
    bench.tx[0].send(data[:header], data[header:], checksum=True, tso=(1000, header))
    frames = [Ether(frame) for frame in bench.peer.take(3)]
    assert [len(frame[UDP].payload) for frame in frames] == [1000, 1000, 500]
    assert b"".join(bytes(frame[UDP].payload) for frame in frames) == packet[Raw].load
    for frame in frames:
        again = frame.copy()
        del again[UDP].chksum
        assert bytes(again) == bytes(frame)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda q: q.write(PLAIN[:16]), "tx.packet"),
        (lambda q: q.write(bytes(9729)), "tx.packet"),
        (lambda q: q.write(*[PLAIN] * 11), "tx.packet"),
        (lambda q: q.write(PLAIN, tso=(1000, 54)), "tx.packet"),
        (lambda q: q.write(PLAIN, tso=(87, 54)), "tx.packet"),
        (lambda q: q.write(PLAIN, tso=(9729, 54)), "tx.packet"),
        (lambda q: q.write(PLAIN, tso=(1000, 54), total=1), "tx.packet"),
        (lambda q: q.push(struct.pack("<8xBB6x", 0x1F, 0)) or q.write(PLAIN), "tx.descriptor.type"),
    ],
)
def test_broken_rules_are_noted_and_answered(bench: Bench, make: Callable[[object], int], rule: str) -> None:
    queue = bench.tx[0]
    tag = make(queue)
    queue.ring_doorbell()
    queue.wait(tag)
    assert bench.violations() == {rule: 1}
    queue.send(PLAIN)
    assert PLAIN in bench.peer.rest() or bench.peer.take() == [PLAIN]


def test_segments_over_too_many_buffers(bench: Bench) -> None:
    packet = outgoing(4, TCP, 5000)
    data, header = partial(packet, with_length=False)
    queue = bench.tx[0]
    # At 100 bytes per buffer, ten buffers and a header make a segment of 1000 bytes.
    small = [data[at : at + 100] for at in range(header, len(data), 100)]
    queue.send(data[:header], *small, checksum=True, tso=(1000, header))
    assert bench.violations() == {"tx.packet": 1}
    large = [data[at : at + 125] for at in range(header, len(data), 125)]
    queue.send(data[:header], *large, checksum=True, tso=(1000, header))
    assert len(bench.peer.take(5)) == 5
    assert bench.violations() == {"tx.packet": 1}


def test_descriptor_completions(bench: Bench) -> None:
    queue = bench.tx[0]
    for number in range(20):
        queue.write(PLAIN, report=number == 19)
    queue.ring_doorbell()
    bench.driver.until(lambda: queue.poll() or len(queue.done) == 20, "20 completions")
    assert queue.heads == [queue.tail]
    assert sorted(queue.done) == list(range(20))


def test_reports_closer_than_allowed(bench: Bench) -> None:
    bench.tx[0].send(PLAIN, report=True)
    bench.tx[0].send(PLAIN, report=True)
    assert bench.violations() == {"tx.report.interval": 1}


def test_generation_over_many_rounds(bench: Bench) -> None:
    queue = bench.tx[0]
    for number in range(1200):
        queue.write(PLAIN[:60], tag=number % 128)
        if number % 40 == 39:
            queue.ring_doorbell()
            bench.driver.until(lambda: queue.poll() or len(queue.done) >= 40, "40 completions")
            assert sorted(queue.done) == sorted(n % 128 for n in range(number - 39, number + 1))
            queue.done.clear()
            bench.peer.take(40)
    assert bench.balanced()
    assert bench.violations() == {}


def test_a_tag_that_is_outstanding(bench: Bench) -> None:
    bench.arm("tx.completion.lost", times=1)
    queue = bench.tx[0]
    queue.write(PLAIN, tag=5)
    queue.ring_doorbell()
    bench.peer.take()
    assert bench.control("model.accounting")["tx"][0]["tags"] == 1
    queue.send(PLAIN, tag=5)
    assert bench.violations() == {"tx.tag.reused": 1}
    queue.destroy()
    accounting = bench.control("model.accounting")["tx"][0]
    assert (accounting["tags"], accounting["abandoned"]) == (0, 1)


def test_without_a_link_packets_go_nowhere_and_are_completed(bench: Bench) -> None:
    bench.control("link.set", up=False)
    bench.driver.until(lambda: not bench.driver.link, "the link to go")
    bench.tx[0].send(PLAIN)
    assert bench.peer.rest() == []


def test_interrupts(bench: Bench) -> None:
    """An event raises an armed vector once; an event while it is not armed raises it when it is armed again."""
    driver, queue = bench.driver, bench.tx[0]
    queue.send(PLAIN)
    assert bench.client.irq_count(MSIX, 0) == 0, "the vector was not armed"
    driver.arm(0)
    bench.client.wait_irq(MSIX, 0)
    queue.send(PLAIN)
    queue.send(PLAIN)
    assert bench.client.irq_count(MSIX, 0) == 0
    driver.arm(0)
    assert bench.client.wait_irq(MSIX, 0) == 1
    driver.arm(0)
    driver.read(g.DEVICE_STATUS)
    assert bench.client.irq_count(MSIX, 0) == 0, "nothing happened since"
    queue.send(PLAIN)
    assert bench.client.wait_irq(MSIX, 0) == 1


def test_moderation(bench: Bench) -> None:
    """Of two events within the interval the second raises the interrupt at its end, not earlier and not never."""
    import time

    driver, queue = bench.driver, bench.tx[0]
    driver.arm(0, interval=4000)  # 8 ms
    queue.send(PLAIN)
    bench.client.wait_irq(MSIX, 0)
    before = time.monotonic()
    driver.arm(0)
    queue.send(PLAIN)
    bench.client.wait_irq(MSIX, 0)
    assert time.monotonic() - before > 0.004


def test_dma_record(bench: Bench) -> None:
    bench.control("dma.start")
    queue = bench.tx[1]
    queue.send(PLAIN[:40], PLAIN[40:])
    found = bench.control("dma.read")
    kinds = [(each["kind"], each["length"]) for each in found]
    assert kinds == [("descriptor", 16)] * 3 + [("payload", 40), ("payload", 60), ("completion", 8)]
    assert {(each["queue"], each["direction"]) for each in found} == {(1, "tx")}
    bench.control("dma.stop")
    queue.send(PLAIN)
    assert bench.control("dma.read") == found


def test_an_address_that_is_not_there(bench: Bench) -> None:
    queue = bench.tx[0]
    queue.push(struct.pack("<QBBHHH", 0xDEAD_0000_0000, g.TX_PACKET | g.TX_EOP, 0, 0, 3, 100))
    queue.ring_doorbell()
    queue.wait(3)
    assert bench.control("model.counters")["dma_errors"] == 1
    queue.send(PLAIN)
    assert bench.peer.take() == [PLAIN]


def device_with_memory() -> tuple[Gve, Slot, int]:
    """A device without a server, with guest memory."""
    import os

    slot = Slot()
    fd = os.memfd_create("ram")
    os.ftruncate(fd, 1 << 22)
    device = Gve(slot, Options())
    device.restart(ResetCause.POWER_ON)
    slot.memory.map(fd, 0, 0x10_0000, 1 << 22)
    os.close(fd)
    slot.memory.bus_master = True
    slot.interrupts.bus_master = True
    return device, slot, 0x10_0000


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=64), st.integers(0, 300))
def test_garbage_descriptors(descriptors: list[bytes], tail: int) -> None:
    """With arbitrary descriptors the model neither fails nor loses count."""
    from nicmodels.models.gve.tx_dqo import TxQueueDqo

    device, slot, base = device_with_memory()
    fields = {
        "queue": 0, "ntfy_id": 0, "ring_address": base, "ring_size": 256,
        "completion_address": base + 0x10000, "completion_ring_size": 256,
    }  # fmt: skip
    transmitter = device.transmitter
    queue = TxQueueDqo(device.resources.queue_context(transmitter.faults), fields, transmitter.tx_offload)
    transmitter.add(queue)
    slot.memory.write(base, b"".join(descriptors))
    transmitter.doorbell(0, tail)
    for _ in range(4):
        slot.clock.advance(0.001)
    accounting = device.accounting.tx[0]
    assert accounting.tags == 0
    assert accounting.packets == accounting.completions
