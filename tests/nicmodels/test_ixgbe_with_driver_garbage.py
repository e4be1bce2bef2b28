# SPDX-License-Identifier: GPL-2.0-or-later
"""A broken driver: with arbitrary writes the 82599 model neither crashes nor hangs, and counts errors."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ixgbe_bench import MAC, PEER, RAM, Bench
from ixgbe_driver import (
    BASE_HIGH,
    BASE_LOW,
    CONTROL,
    EOP,
    IC,
    IFCS,
    LENGTH,
    POPTS_TXSM,
    QUEUE_ENABLE,
    RS,
    SRRCTL,
    STATUS,
    TAIL,
    TSE,
    context_descriptor,
    data_descriptor,
    legacy_descriptor,
    rx_register,
    tx_register,
)
from scapy.layers.l2 import Ether
from vfio_client import VfioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUTWARD = bytes(Ether(dst=PEER, src=MAC, type=0x88B5)) + bytes(100)
INWARD = bytes(Ether(dst=MAC, src=PEER, type=0x88B5)) + bytes(100)
UNMAPPED = 0xDEAD_0000_0000

examples = settings(
    max_examples=80,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
words = st.integers(0, 2**32 - 1)
addresses = st.sampled_from(
    (0, RAM, RAM + (16 << 20) - 1, RAM + 0x1000, UNMAPPED, 2**64 - 1, 2**64 - 4096)
) | st.integers(0, 2**64 - 1)


@pytest.fixture
def bench(serve: Callable[..., object]) -> Iterator[Bench]:
    bench = Bench(serve).start(ring=32)
    yield bench
    bench.close()


def still_works(bench: Bench) -> None:
    """The device works again after a reset."""
    bench.start(ring=32)
    bench.peer.rest()
    bench.driver.ram._next = RAM + (1 << 20)
    bench.driver.transmit[0].send(OUTWARD)
    assert OUTWARD in bench.peer.take(1) + bench.peer.rest()
    bench.peer.send(INWARD)
    assert bench.driver.receive[0].wait(1)[0].frame == INWARD


def errors(bench: Bench) -> int:
    return bench.control("model.counters")["dma_errors"]


def reuse_memory(bench: Bench) -> None:
    """Each example starts its rings at the same place."""
    bench.driver.ram._next = RAM


def test_a_buffer_that_is_not_there(bench: Bench) -> None:
    """The packet is counted and not sent; the ring does not hang."""
    ring = bench.driver.transmit[0]
    before = errors(bench)
    ring.put(data_descriptor(UNMAPPED, 100, command=EOP | IFCS | RS, paylen=100))
    bench.driver.read(STATUS)
    assert bench.peer.rest() == []
    assert errors(bench) == before + 1
    still_works(bench)


def test_a_receive_buffer_that_is_not_there(bench: Bench) -> None:
    driver = bench.driver
    queue = driver.receive[0]
    queue.buffers[0] = UNMAPPED
    driver.stop_receive(queue)
    driver.start_receive(queue)
    before = errors(bench)
    bench.peer.send(INWARD)
    driver.read(STATUS)
    driver.until(lambda: errors(bench) > before, "the DMA error counted")
    still_works(bench)


@pytest.mark.parametrize("register", [rx_register, tx_register])
@pytest.mark.parametrize(
    ("base", "length"),
    [(UNMAPPED, 512), (RAM, 0), (RAM, 0xFFF80), (RAM + (16 << 20) - 128, 4096), (2**64 - 128, 512)],
)
def test_rings_that_are_not_there(bench: Bench, register: Callable[[int, int], int], base: int, length: int) -> None:
    driver = bench.driver
    driver.write(register(1, BASE_LOW), base & 0xFFFFFFFF)
    driver.write(register(1, BASE_HIGH), base >> 32)
    driver.write(register(1, LENGTH), length)
    driver.write(register(1, CONTROL), QUEUE_ENABLE)
    for tail in (1, 31, 32, 0xFFFF, 0):
        driver.write(register(1, TAIL), tail)
    driver.spread(bytes(40), 0b11, [1] * 128)
    bench.peer.send(INWARD)
    driver.read(STATUS)
    still_works(bench)


@pytest.mark.parametrize("tail", [32, 33, 100, 0xFFFF])
def test_a_tail_beyond_the_ring(bench: Bench, tail: int) -> None:
    driver = bench.driver
    driver.write(tx_register(0, TAIL), tail)
    driver.write(rx_register(0, TAIL), tail)
    bench.peer.send(INWARD)
    driver.read(STATUS)
    still_works(bench)


@examples
@given(st.lists(st.tuples(addresses, words, words), min_size=1, max_size=12))
def test_any_transmit_descriptors(bench: Bench, descriptors: list[tuple[int, int, int]]) -> None:
    reuse_memory(bench)
    bench.start(ring=32)
    bench.driver.transmit[0].put(*(struct.pack("<QII", *each) for each in descriptors))
    bench.driver.read(STATUS)
    bench.peer.rest()


@examples
@given(
    st.integers(0, 127),
    st.integers(0, 511),
    st.integers(0, 65535),
    st.integers(0, 255),
    st.integers(0, 3),
    st.integers(0, 7),
    st.integers(0, 7),
    st.integers(0, 2000),
    st.integers(0, 2**18 - 1),
    st.booleans(),
    st.binary(min_size=14, max_size=80),
)
def test_any_context(
    bench: Bench,
    mac_length: int,
    ip_length: int,
    mss: int,
    l4_length: int,
    l4: int,
    index: int,
    used: int,
    size: int,
    paylen: int,
    segment: bool,
    head: bytes,
) -> None:
    """Lengths that contradict the frame, and contexts that were never written."""
    reuse_memory(bench)
    bench.start(ring=32)
    ring = bench.driver.transmit[0]
    context = context_descriptor(
        mac_length=mac_length, ip_length=ip_length, mss=mss, l4_length=l4_length, l4=l4, index=index
    )
    address = ring.buffer(head.ljust(2000, b"\x45"))
    command = EOP | IFCS | RS | (TSE if segment else 0)
    ring.put(context, data_descriptor(address, size, command=command, options=3, paylen=paylen, index=used))
    bench.driver.read(STATUS)
    bench.peer.rest()


@examples
@given(st.integers(0, 65535), st.integers(0, 255), st.integers(0, 255))
def test_any_legacy_checksum(bench: Bench, length: int, start: int, offset: int) -> None:
    reuse_memory(bench)
    bench.start(ring=32)
    ring = bench.driver.transmit[0]
    ring.put(legacy_descriptor(RAM, length, command=EOP | IFCS | RS | IC, start=start, offset=offset))
    bench.driver.read(STATUS)
    bench.peer.rest()


@examples
@given(
    st.lists(st.tuples(addresses, addresses), min_size=31, max_size=31),
    words,
    st.lists(st.integers(60, 9000), max_size=5),
)
def test_any_receive_descriptors(
    bench: Bench, descriptors: list[tuple[int, int]], control: int, sizes: list[int]
) -> None:
    reuse_memory(bench)
    bench.start(ring=32)
    driver = bench.driver
    driver.allow_jumbo(9728)
    queue = driver.receive[0]
    driver.stop_receive(queue)
    driver.start_receive(queue)
    driver.write(rx_register(0, SRRCTL), control)
    ring_end = queue.ring + queue.size * 16
    for index, (packet, header) in enumerate(descriptors):
        if not queue.ring - 16384 <= packet < ring_end:
            driver.ram.write(queue.ring + index * 16, struct.pack("<QQ", packet, header))
    for size in sizes:
        bench.peer.send(INWARD[:14] + bytes(size - 14))
    driver.read(STATUS)


@examples
@given(st.lists(st.tuples(st.integers(0, 0x7FFF).map(lambda n: n * 4), words), max_size=60))
def test_any_register_writes(bench: Bench, writes: list[tuple[int, int]]) -> None:
    """Arbitrary values in all registers, with traffic; after the client's reset the device works."""
    reuse_memory(bench)
    bench.client.reset()
    bench.driver.start(ring=32)
    bench.driver.write_many(writes)
    bench.peer.send(INWARD)
    bench.driver.transmit[0].put(legacy_descriptor(RAM, 100))
    for offset, _ in writes:
        bench.driver.read(offset)
    bench.peer.rest()


def test_it_works_after_all_that(bench: Bench) -> None:
    bench.driver.write_many([(offset, 0xFFFFFFFF) for offset in range(0, 0x20000, 4)])
    bench.driver.read(STATUS)
    bench.client.reset()
    still_works(bench)


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (1, 1), (2, 2), (0, 8), (1, 4), (0x1FFFC, 8), (0x1FFFF, 1)])
def test_odd_accesses(bench: Bench, offset: int, size: int) -> None:
    """The 82599 supports aligned doublewords; other accesses must do no harm."""
    for access in (lambda: bench.client.read(0, offset, size), lambda: bench.client.write(0, offset, 0, size)):
        with contextlib.suppress(VfioError):
            access()
    still_works(bench)


def test_bus_mastering_off(bench: Bench) -> None:
    """Without bus mastering frames are not delivered and descriptors not fetched; when it is back, traffic continues."""
    driver = bench.driver
    command = bench.client.config_read(4, 2)
    bench.client.config_write(4, command & ~4, 2)
    bench.peer.send(INWARD)
    ring = driver.transmit[0]
    ring.put(data_descriptor(ring.buffer(OUTWARD), len(OUTWARD), command=EOP | IFCS | RS, paylen=len(OUTWARD)))
    driver.read(STATUS)
    assert bench.peer.rest() == []
    assert driver.receive[0].poll() == []
    bench.client.config_write(4, command, 2)
    still_works(bench)


def test_memory_that_goes_away(bench: Bench) -> None:
    """DMA_UNMAP under running rings."""
    driver = bench.driver
    bench.client.dma_unmap(RAM, 16 << 20)
    bench.peer.send(INWARD)
    driver.write(tx_register(0, TAIL), 5)
    driver.read(STATUS)
    bench.client.dma_map(RAM, 16 << 20, driver.ram.fd)
    still_works(bench)


def test_nothing_but_an_unfinished_packet(bench: Bench) -> None:
    """A ring full of descriptors without EOP cannot be sent, and must not be collected for ever."""
    ring = bench.driver.transmit[0]
    address = ring.buffer(bytes(2000))
    for _ in range(20):
        ring.put(*[data_descriptor(address, 2000, command=IFCS, paylen=1 << 17, options=POPTS_TXSM)] * 31)
    bench.driver.read(STATUS)
    assert bench.peer.rest() == []
    still_works(bench)


def test_segments_of_one_byte(bench: Bench) -> None:
    """64 KiB in buffers of one byte: the device takes a while, and then responds."""
    driver = bench.driver
    ring = driver.transmit[0]
    header = OUTWARD[:12] + b"\x08\x00" + b"\x45".ljust(20, b"\0") + bytes(12) + b"\x50".ljust(8, b"\0")
    command = IFCS | TSE
    ring.put(
        context_descriptor(ip_length=20, mss=1, l4_length=20),
        data_descriptor(ring.buffer(header), len(header), command=command, paylen=0xFFFF, options=3),
        data_descriptor(RAM, 0xFFFF, command=command | EOP | RS, paylen=0xFFFF, options=3),
    )
    driver.read(STATUS)
    still_works(bench)
