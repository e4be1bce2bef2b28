# SPDX-License-Identifier: GPL-2.0-or-later
"""The gVNIC model's DQO format with queue page lists: addresses as with raw addressing, but in registered pages only."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import gve_driver as g
import pytest
from gve_bench import Bench, datagram, plain
from gve_driver import DqoReceive, DqoTransmit
from scapy.layers.inet import TCP
from test_gve_with_driver_bringup import status_of
from test_gve_with_driver_transmit import PLAIN, outgoing, partial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TX_LIST, RX_LIST, PAGES = 3, 7, 4096


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    """A device whose queues 0 have page lists; later allocations are in both lists."""
    bench = Bench(serve, profile="qpl")
    driver = bench.driver.start()
    table = driver.ram.allocate(8 * PAGES)
    first = driver.ram.allocate(g.PAGE, g.PAGE)
    driver.ram.write(table, struct.pack(f">{PAGES}Q", *(first + number * g.PAGE for number in range(PAGES))))
    for identity in (TX_LIST, RX_LIST):
        driver.command(g.REGISTER_PAGES, struct.pack(">IIQQ", identity, PAGES, table, g.PAGE))
    bench.tx.append(DqoTransmit(driver, 0).create(pages=TX_LIST))
    bench.rx.append(DqoReceive(driver, 0).create(pages=RX_LIST))
    bench.rx[0].post()
    driver.until(lambda: driver.link, "the link")
    yield bench
    bench.close()


def test_frames(bench: Bench) -> None:
    for _ in range(300):
        bench.tx[0].send(PLAIN[:70], PLAIN[70:])
        assert bench.peer.take() == [PLAIN]
        bench.peer.send(plain())
        assert [got.frame for got in bench.rx[0].wait()] == [plain()]
    assert bench.balanced()
    assert bench.violations() == {}


def test_segmentation(bench: Bench) -> None:
    packet = outgoing(4, TCP, 3000)
    data, header = partial(packet, with_length=False)
    bench.tx[0].send(data[:2048], data[2048:], checksum=True, tso=(1000, header))
    assert len(bench.peer.take(3)) == 3


def test_lists_of_queues(bench: Bench) -> None:
    driver = bench.driver
    assert status_of(lambda: DqoReceive(driver, 1).create(pages=77)) == g.NOT_FOUND
    assert status_of(lambda: DqoReceive(driver, 1).create()) == g.NOT_FOUND, "there is no raw addressing"
    assert status_of(lambda: DqoTransmit(driver, 1).create(pages=TX_LIST)) == g.FAILED_PRECONDITION, "queue 0 has it"
    assert driver.ask(g.UNREGISTER_PAGES, struct.pack(">I", RX_LIST)) == g.FAILED_PRECONDITION
    bench.rx[0].destroy()
    assert status_of(lambda: DqoReceive(driver, 0).create(pages=RX_LIST, resources=1 << 48)) == g.INVALID_ARGUMENT
    bench.rx[0].create(pages=RX_LIST)
    bench.rx[0].destroy()
    bench.tx[0].destroy()
    for identity in (TX_LIST, RX_LIST):
        assert driver.ask(g.UNREGISTER_PAGES, struct.pack(">I", identity)) == g.PASSED
    bench.tx.clear()
    bench.rx.clear()


def test_what_is_in_no_registered_page(bench: Bench) -> None:
    """A packet is completed but not sent; a buffer is returned with an error and not written."""
    driver, tx, rx = bench.driver, bench.tx[0], bench.rx[0]
    outside = driver.counters
    tx.push(struct.pack("<8xBB6x", g.TX_GENERAL, 0))
    tx.push(struct.pack("<QBBHHH", outside, g.TX_PACKET | g.TX_EOP, 0, 0, 5, 100))
    tx.ring_doorbell()
    tx.wait(5)
    assert bench.violations() == {"tx.packet": 1}
    other = DqoReceive(driver, 0)
    rx.destroy()
    other.create(pages=RX_LIST)
    other.place(other.free.pop(0), outside)
    other.ring_doorbell()
    bench.peer.send(datagram())
    (got,) = other.wait(repost=False)
    assert got.error
    assert bench.violations() == {"tx.packet": 1, "rx.buffer.unregistered": 1}
    assert bench.balanced()
    bench.tx.clear()
    bench.rx.clear()
