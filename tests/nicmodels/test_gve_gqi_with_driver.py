# SPDX-License-Identifier: GPL-2.0-or-later
"""The gVNIC model's GQI format with queue page lists, with an independent driver."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import gve_driver as g
import pytest
from gve_bench import Bench, datagram, plain, segments
from gve_gqi_driver import IPV4, IPV6, TCP_FLAG, UDP_FLAG, GqiReceive, GqiTransmit, register_pages
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from test_gve_with_driver_bringup import status_of
from test_gve_with_driver_transmit import PLAIN, outgoing, partial
from vfio_client import MSIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve, profile="gqi")
    bench.driver.start(msix=True)
    bench.tx.append(GqiTransmit(bench.driver, 0).create())
    bench.rx.append(GqiReceive(bench.driver, 0).create())
    bench.rx[0].post()
    bench.driver.until(lambda: bench.driver.link, "the link")
    yield bench
    bench.close()


def test_page_lists(bench: Bench) -> None:
    driver = bench.driver
    assert driver.ask(g.UNREGISTER_PAGES, struct.pack(">I", 5)) == g.NOT_FOUND
    register_pages(driver, 5, 4)
    assert status_of(lambda: register_pages(driver, 5, 4)) == g.ALREADY_EXISTS
    assert driver.ask(g.REGISTER_PAGES, struct.pack(">IIQQ", 6, 4, driver.ram.iova, 8192)) == g.INVALID_ARGUMENT
    assert driver.ask(g.REGISTER_PAGES, struct.pack(">IIQQ", 6, 0, driver.ram.iova, 4096)) == g.INVALID_ARGUMENT
    assert driver.ask(g.REGISTER_PAGES, struct.pack(">IIQQ", g.RAW, 4, driver.ram.iova, 4096)) == g.INVALID_ARGUMENT
    assert driver.ask(g.REGISTER_PAGES, struct.pack(">IIQQ", 6, 4, 0xDEAD_0000_0000, 4096)) == g.INVALID_ARGUMENT
    assert driver.ask(g.REGISTER_PAGES, struct.pack(">IIQQ", 6, 1 << 21, driver.ram.iova, 4096)) == g.RESOURCE_EXHAUSTED
    assert driver.ask(g.REGISTER_PAGES, struct.pack(">IIQQ", 6, 4, driver.ram.iova, 1)) == g.INVALID_ARGUMENT
    assert driver.ask(g.UNREGISTER_PAGES, struct.pack(">I", 1000)) == g.FAILED_PRECONDITION, "a queue uses it"
    bench.rx[0].destroy()
    assert driver.ask(g.UNREGISTER_PAGES, struct.pack(">I", 1000)) == g.PASSED
    assert driver.ask(g.UNREGISTER_PAGES, struct.pack(">I", 5)) == g.PASSED


def test_page_lists_without_a_page_size(bench: Bench) -> None:
    """DPDK's driver leaves the size at 0: pages of 4096 bytes, which queues can use."""
    driver = bench.driver
    assert driver.ask(g.REGISTER_PAGES, struct.pack(">IIQQ", 6, 0, driver.ram.iova, 0)) == g.INVALID_ARGUMENT
    for queue in (bench.tx[0], bench.rx[0]):
        queue.destroy()
        assert driver.ask(g.UNREGISTER_PAGES, struct.pack(">I", queue.pages.identity)) == g.PASSED
    bench.tx[0] = GqiTransmit(driver, 0, page_size=0).create()
    bench.rx[0] = GqiReceive(driver, 0, page_size=0).create()
    bench.rx[0].post()
    driver.until(lambda: driver.link, "the link")
    bench.peer.send(datagram(900))
    assert bench.rx[0].wait()[0].frame == datagram(900)
    bench.tx[0].send(PLAIN[:50], PLAIN[50:])
    assert bench.peer.take() == [PLAIN]


def test_queues_that_cannot_be(bench: Bench) -> None:
    queue = GqiReceive(bench.driver, 1)
    assert status_of(lambda: queue.create(pages=77)) == g.NOT_FOUND
    assert status_of(lambda: queue.create(pages=1000)) == g.FAILED_PRECONDITION
    assert status_of(lambda: queue.create(buffer=4096)) == g.INVALID_ARGUMENT
    assert bench.driver.ask(g.PTYPES, bytes(16)) == g.UNIMPLEMENTED
    queue.create()


def test_transmit(bench: Bench) -> None:
    bench.tx[0].send(PLAIN)
    bench.tx[0].send(PLAIN[:50], PLAIN[50:], metadata=True)
    assert bench.peer.take(2) == [PLAIN, PLAIN]
    assert bench.control("model.accounting")["tx"][0] == {"tags": 0, "packets": 2, "completions": 2, "abandoned": 0}


@pytest.mark.parametrize("version", [4, 6])
def test_checksum(bench: Bench, version: int) -> None:
    packet = outgoing(version, TCP, 777)
    data, _ = partial(packet, with_length=True)
    start = 34 if version == 4 else 54
    for pieces in ((data[:182], data[182:]), (data,)):  # as Linux's driver has them, and DPDK's
        bench.tx[0].send(*pieces, checksum=(start, 16))
        assert bench.peer.take() == [bytes(packet)]


@pytest.mark.parametrize("version", [4, 6])
def test_segmentation(bench: Bench, version: int) -> None:
    packet = outgoing(version, TCP, 3000, seq=7)
    data, header = partial(packet, with_length=True)
    start = 34 if version == 4 else 54
    bench.tx[0].send(data[:header], data[header : header + 9], data[header + 9 :], checksum=(start, 16), tso=(14, 1000))
    frames = [Ether(frame) for frame in bench.peer.take(3)]
    assert b"".join(bytes(frame[TCP].payload) for frame in frames) == bytes(packet[TCP].payload)
    for frame in frames:
        again = frame.copy()
        del again[TCP].chksum
        if version == 4:
            del again[IP].chksum
        assert bytes(again) == bytes(frame)


def test_many_rounds(bench: Bench) -> None:
    queue = bench.tx[0]
    for _ in range(300):
        queue.send(PLAIN[:70], PLAIN[70:])
        assert bench.peer.take() == [PLAIN]
    assert bench.violations() == {}


def test_broken_packets(bench: Bench) -> None:
    queue = bench.tx[0]
    queue.send(PLAIN, total=99)
    queue.push(struct.pack(">BBBBHHQ", 0x50, 0, 0, 1, 60, 60, 0))
    queue.push(struct.pack(">BBBBHHQ", 0, 0, 0, 1, 60, 60, queue.size))
    queue.ring_doorbell()
    bench.driver.until(lambda: queue.done == queue.requested, "the event counter")
    assert bench.violations() == {"tx.packet": 2, "tx.descriptor.type": 1}
    queue.send(PLAIN)
    assert bench.peer.take() == [PLAIN]
    bench.driver.ring(queue.doorbell, queue.requested + 1000)
    assert bench.violations()["tx.request"] == 1


@pytest.mark.parametrize("size", [60, 1514])
def test_receive(bench: Bench, size: int) -> None:
    bench.peer.send(plain(size))
    (got,) = bench.rx[0].wait()
    assert got.frame == plain(size)
    assert got.flags & (IPV4 | IPV6) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_what_descriptors_report(bench: Bench, version: int) -> None:
    for frame, flag in ((datagram(version=version), UDP_FLAG), (segments(1, version=version)[0], TCP_FLAG)):
        bench.peer.send(frame)
        (got,) = bench.rx[0].wait()
        assert got.flags & (IPV4 | IPV6 | UDP_FLAG | TCP_FLAG) == flag | (IPV4 if version == 4 else IPV6)
        assert got.hash
        words = struct.unpack(f">{(len(frame) - 13) // 2}H", frame[14:].ljust((len(frame) - 13) // 2 * 2, b"\0"))
        total = sum(words)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert got.partial == total, "the sum of everything behind the Ethernet header"


def test_receive_many_rounds(bench: Bench) -> None:
    for start in range(0, 700, 50):
        frames = [plain(60 + start % 100 + number) for number in range(50)]
        bench.burst(frames)
        assert [got.frame for got in bench.rx[0].wait(50)] == frames
    assert bench.balanced()
    assert bench.violations() == {}


def test_interrupts(bench: Bench) -> None:
    """A masked vector sends nothing; acknowledged, it sends what was pending."""
    driver, queue = bench.driver, bench.rx[0]
    doorbell = driver.interrupt_doorbells[queue.block]
    driver.ring(doorbell, 0)
    bench.peer.send(plain())
    bench.client.wait_irq(MSIX, queue.block)
    driver.ring(doorbell, 1 << 30)
    bench.peer.send(plain())
    queue.wait(2)
    assert bench.client.irq_count(MSIX, queue.block) == 0
    driver.ring(doorbell, 1 << 31 | 1 << 29)
    assert bench.client.wait_irq(MSIX, queue.block) == 1


def test_rss_by_default(serve: Callable[..., object]) -> None:
    """Without configuration flows are spread over the existing queues."""
    bench = Bench(serve, profile="gqi", ram=64 << 20)
    bench.driver.start()
    queues = [GqiReceive(bench.driver, index).create() for index in range(4)]
    for queue in queues:
        queue.post()
    bench.driver.until(lambda: bench.driver.link, "the link")
    for port in range(4000, 4064):
        bench.peer.send(datagram(port=port))
    bench.driver.until(lambda: sum(each["frames"] for each in bench.control("model.counters")["rx"]) == 64, "64 frames")
    assert all(queue.poll() for queue in queues)
    bench.close()


def test_reset_and_again(bench: Bench) -> None:
    bench.driver.reset()
    assert bench.balanced()
    assert bench.control("model.accounting")["rx"][0]["held"] == 0
