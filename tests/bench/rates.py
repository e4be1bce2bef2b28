# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames a second through the 82599 model alone: no guest, no QEMU, the minimal driver's rings in this process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from direct import DirectClient
from ixgbe_driver import EOP, IFCS, RS, TAIL, IxgbeDriver, data_descriptor
from nicmodels.models.registry import find
from nicmodels.nic.device import Device, Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.server.reactor import Reactor
from nicmodels.wire import NullWire, PairWire, TapWire, Wire
from plugfest.machine.tap import Tap

RING = 512
BURST = 256
RAM = 0x1_0000_0000
SIZES = (60, 1514)


@dataclass(frozen=True)
class Rate:
    """Frames a second in one direction."""

    wire: str
    direction: str
    size: int
    frames_per_second: float


class Alone:
    """The model with one queue pair, set up."""

    def __init__(self, wire: Wire) -> None:
        """Bring it up."""
        self.reactor = Reactor()
        self.device: Device = find("ixgbe").create(Slot(clock=self.reactor, wire=wire), Options())
        self.device.restart(ResetCause.POWER_ON)
        client = DirectClient(self.device, self.reactor)
        self.driver = IxgbeDriver(client, client.add_ram(RAM, 16 << 20))  # type: ignore[arg-type]
        self.driver.start(queues=1, ring=RING)
        while not self.driver.link:
            self.reactor.turn(0.01)

    def close(self) -> None:
        """Release it."""
        self.device.close()
        self.reactor.close()


@contextmanager
def alone(wire: Wire) -> Iterator[Alone]:
    """Bring a model up on a wire, and both down again."""
    bench = Alone(wire)
    try:
        yield bench
    finally:
        bench.close()
        wire.close()


def transmit(bench: Alone, size: int, seconds: float) -> float:
    """Have the model send bursts of one buffer a frame, one report a burst, as a driver under load does."""
    queue = bench.driver.transmit[0]
    address = queue.buffer(os.urandom(12) + b"\x88\xb5" + bytes(size - 14))
    plain = data_descriptor(address, size, command=EOP | IFCS, paylen=size)
    reported = data_descriptor(address, size, command=EOP | IFCS | RS, paylen=size)
    half = plain * (BURST - 1) + reported
    ram, tail = bench.driver.ram, queue.register(TAIL)
    count = 0

    def burst() -> None:
        nonlocal count
        start = queue.tail
        ram.write(queue.ring + start * 16, half)
        queue.tail = (start + BURST) % RING
        bench.driver.write(tail, queue.tail)
        last = (start + BURST - 1) % RING
        while not queue.done(last):
            bench.reactor.turn(0.0)
        count += BURST

    return _repeat(burst, lambda: count, seconds)


def receive(bench: Alone, send: Callable[[bytes], object], size: int, seconds: float) -> float:
    """Have the model take bursts of broadcast frames off the wire; the driver only gives the descriptors back."""
    queue = bench.driver.receive[0]
    frame = b"\xff" * 6 + bytes(6) + b"\x88\xb5" + bytes(size - 14)
    burst_size = 64  # what the cable holds, and a tap without loss
    blank = b"".join(buffer.to_bytes(8, "little") + bytes(8) for buffer in queue.buffers)
    ram, tail = bench.driver.ram, queue.register(TAIL)
    count = 0

    def burst() -> None:
        nonlocal count
        for _ in range(burst_size):
            send(frame)
        last = queue.ring + (queue.next + burst_size - 1) % RING * 16
        bench.device.frame_arrived()
        while not ram.read(last + 8, 1)[0] & 1:
            bench.reactor.turn(0.0)
            bench.device.frame_arrived()
        start = queue.next * 16
        ram.write(queue.ring + start, blank[start : start + burst_size * 16])
        queue.next = (queue.next + burst_size) % RING
        bench.driver.write(tail, (queue.next - 1) % RING)
        count += burst_size

    return _repeat(burst, lambda: count, seconds)


def onto(far: PairWire) -> Callable[[bytes], object]:
    """Send frames from the other end of a cable."""
    return lambda frame: far.transmit([frame])


def _repeat(burst: Callable[[], None], count: Callable[[], int], seconds: float) -> float:
    burst()
    before, begin = count(), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        burst()
    return (count() - before) / (time.perf_counter() - begin)


def measure(seconds: float) -> list[Rate]:
    """Measure every wire, direction and size."""
    rates = []
    for size in SIZES:
        with alone(NullWire()) as bench:
            rates.append(Rate("null", "transmit", size, transmit(bench, size, seconds)))
        tap = Tap("rate0")
        try:
            with alone(TapWire("rate0")) as bench:
                rates.append(Rate("tap", "transmit", size, transmit(bench, size, seconds)))
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as remote:
                    remote.bind(("rate0", 0))
                    rates.append(Rate("tap", "receive", size, receive(bench, remote.send, size, seconds)))
        finally:
            tap.close()
        near, far = PairWire.pair()
        with alone(near) as bench:
            rates.append(Rate("pair", "receive", size, receive(bench, onto(far), size, seconds)))
        far.close()
    return rates
