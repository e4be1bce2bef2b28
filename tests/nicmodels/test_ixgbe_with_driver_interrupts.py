# SPDX-License-Identifier: GPL-2.0-or-later
"""Interrupts of the 82599 model: causes, masks, vectors and moderation (datasheet 7.3), with a minimal driver."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pytest
from ixgbe_bench import MAC, PEER, Bench
from ixgbe_driver import CAUSE_LSC, EICR, EICS, EIMC, EIMS, GPIE, IVAR_MISC, STATUS, eitr, ivar
from scapy.layers.l2 import Ether
from vfio_client import INTX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAME = bytes(Ether(dst=MAC, src=PEER, type=0x88B5)) + bytes(100)


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve).start(queues=4)
    bench.driver.read(EICR)
    yield bench
    bench.close()


def drained(bench: Bench, vectors: int) -> None:
    for vector in range(vectors):
        bench.driver.irqs(vector)


def test_a_received_frame_raises_its_vector(bench: Bench) -> None:
    driver = bench.driver
    driver.use_msix(5)
    driver.unmask(0x1F)
    drained(bench, 5)
    bench.peer.send(FRAME)
    assert driver.wait_irq(0) == 1
    assert driver.read(EICR) & 0xFFFF == 1
    assert [driver.irqs(n) for n in range(1, 5)] == [0] * 4
    assert len(driver.receive[0].poll()) == 1


def test_a_sent_frame_raises_its_vector(bench: Bench) -> None:
    driver = bench.driver
    driver.use_msix(5)
    driver.unmask(0x1F)
    drained(bench, 5)
    driver.transmit[2].send(FRAME)
    assert driver.wait_irq(2) == 1
    assert driver.read(EICR) & 0xFFFF == 1 << 2


def test_a_link_change_raises_the_other_vector(bench: Bench) -> None:
    driver = bench.driver
    driver.use_msix(5)
    driver.unmask(CAUSE_LSC)
    drained(bench, 5)
    bench.control("link.set", up=False)
    driver.wait_irq(4)
    assert driver.read(EICR) & CAUSE_LSC


@pytest.mark.parametrize("vector", [0, 1, 15])
def test_software_raises_vectors(bench: Bench, vector: int) -> None:
    """EICS sets causes as events do."""
    driver = bench.driver
    driver.use_msix(17)
    driver.unmask(1 << vector)
    drained(bench, 17)
    driver.write(EICS, 1 << vector)
    assert driver.wait_irq(vector) == 1
    assert [n for n in range(17) if driver.irqs(n)] == []


def test_a_masked_cause_waits(bench: Bench) -> None:
    driver = bench.driver
    driver.use_msix(5)
    driver.mask(0x7FFFFFFF)
    driver.write(EICS, 1 << 1)
    assert driver.irqs(1) == 0
    assert driver.read(EIMS) & 1 << 1 == 0
    driver.unmask(1 << 1)
    assert driver.wait_irq(1) == 1


def test_masks_are_set_and_cleared_bit_by_bit(bench: Bench) -> None:
    driver = bench.driver
    driver.use_msix(5)
    driver.mask(0x7FFFFFFF)
    driver.write(EIMS, 0b0110 | CAUSE_LSC)
    driver.write(EIMS, 0b1000)
    driver.write(EIMC, 0b0010)
    assert driver.read(EIMS) & 0x7FFFFFFF == 0b1100 | CAUSE_LSC


def test_causes_are_cleared_by_reading_and_by_writing(bench: Bench) -> None:
    driver = bench.driver
    driver.write(EIMC, 0x7FFFFFFF)
    driver.write(GPIE, 1 << 4)
    driver.write(EICS, 0b111)
    driver.write(EICR, 0b010)
    assert driver.read(EICR) & 0xFFFF == 0b101
    assert driver.read(EICR) & 0xFFFF == 0


def test_auto_mask_and_auto_clear(bench: Bench) -> None:
    """EIAC and EIAM with GPIE.EIAME: one message, then none until the driver unmasks (7.3.1.4)."""
    driver = bench.driver
    driver.use_msix(5, auto=True)
    driver.unmask(0xF)
    drained(bench, 5)
    bench.peer.send(FRAME)
    assert driver.wait_irq(0) == 1
    assert driver.read(EIMS) & 0xF == 0xE
    assert driver.read(EICR) & 0xF == 0
    bench.receive([FRAME, FRAME])
    assert driver.irqs(0) == 0
    driver.unmask(1)
    assert driver.wait_irq(0) == 1


def test_a_vector_that_is_not_valid_stays_silent(bench: Bench) -> None:
    driver = bench.driver
    driver.use_msix(5)
    driver.unmask(0x1F)
    drained(bench, 5)
    driver.write(ivar(0), 0)
    bench.receive([FRAME])
    assert [driver.irqs(n) for n in range(5)] == [0] * 5
    driver.write(IVAR_MISC, 0)
    bench.control("link.set", up=False)
    driver.until(lambda: driver.link == 0, "link down")
    assert [driver.irqs(n) for n in range(5)] == [0] * 5


def test_two_queues_on_one_vector(bench: Bench) -> None:
    driver = bench.driver
    driver.use_msix(5)
    driver.route(3, 0)
    driver.unmask(0x1F)
    drained(bench, 5)
    driver.transmit[3].send(FRAME)
    assert driver.wait_irq(0) >= 1
    assert driver.irqs(3) == 0


def test_moderation(bench: Bench) -> None:
    """EITR: the messages of a vector are at least the interval apart; none is lost at the end (7.3.2.1.1)."""
    driver = bench.driver
    interval = 0.001
    driver.use_msix(5, auto=True)
    driver.write(eitr(0), 500 << 3)
    driver.unmask(0xF)
    drained(bench, 5)
    start = time.monotonic()
    count = 0
    for _ in range(40):
        bench.peer.send(FRAME)
        driver.unmask(1)
        count += driver.irqs(0)
    driver.receive[0].wait(40)
    elapsed = time.monotonic() - start
    assert 1 <= count <= math.ceil(elapsed / interval) + 1
    driver.unmask(1)
    bench.peer.send(FRAME)
    driver.unmask(1)
    assert driver.wait_irq(0) >= 1


def test_intx(bench: Bench) -> None:
    """Without MSI-X: the line is up while an unmasked cause is pending."""
    driver = bench.driver
    bench.client.enable_irqs(INTX, 1)
    driver.write(GPIE, 0)
    driver.write(ivar(0), 0x80 | 0x80 << 8)
    driver.read(EICR)
    bench.client.irq_count(INTX, 0)
    driver.unmask(0x7FFFFFFF)
    bench.peer.send(FRAME)
    assert bench.client.wait_irq(INTX, 0) == 1
    assert driver.read(EICR) & 1
    bench.client.set_irqs(INTX, 0x11, 0, 1)
    driver.read(STATUS)
    assert bench.client.irq_count(INTX, 0) == 0
    driver.write(EICS, 1)
    assert bench.client.wait_irq(INTX, 0) == 1


def test_the_tcp_timer(bench: Bench) -> None:
    """TCPTIMER counts down in milliseconds and raises its own cause (8.2.3.5.19)."""
    driver = bench.driver
    driver.use_msix(5)
    driver.set_bits(IVAR_MISC, 0x83, clear=0xFF)
    driver.unmask(1 << 30)
    drained(bench, 5)
    driver.write(0x0004C, 5 | 1 << 8 | 1 << 9)
    assert driver.wait_irq(3) >= 1
    assert driver.read(EICR) & 1 << 30
