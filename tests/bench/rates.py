# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames a second through each model alone, beside a bare loop in C: no guest, no QEMU, the minimal drivers' rings here.

What is timed is CPU time (CLOCK_THREAD_CPUTIME_ID), and only the model's: what a driver does to its rings and a remote host
to the wire is left out. Other programs on the machine slow a burst down by a cold cache or a shared core, so a figure is the
burst that nine of ten exceed, of the C loop as of the models; and each round measures them one after the other, so that a
ratio is of two figures of one moment.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from direct_client import DirectClient
from gve_driver import DqoReceive, DqoTransmit, GveDriver
from ixgbe_driver import EOP, IFCS, RS, TAIL, IxgbeDriver, data_descriptor
from nicmodels.clock import ManualClock
from nicmodels.models.registry import find
from nicmodels.nic.device import Device, Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.server.reactor import Reactor
from nicmodels.wire import TapWire, Wire
from plugfest.machine.tap import Tap
from xgbe_harness import (
    CH_RCR,
    CH_RDLR,
    CH_RDRLR,
    CH_RDTR,
    CH_TCR,
    CH_TDLR,
    CH_TDRLR,
    CH_TDTR,
    FIRST,
    LAST,
    OWN,
    XgbeRig,
)

RING = 512
BURST = 256
"""Frames at a time: half a ring."""
RAM = 0x1_0000_0000
SIZES = (60, 1514)
TAP = "rate0"
C_LOOP = "C loop"
MAC, PEER = bytes.fromhex("027066000001"), bytes.fromhex("020000000002")
_SOURCE = Path(__file__).with_name("tap_loop.c")
_C_BURSTS = 400
_PARTS = 10
"""The quantile that is taken is the first of this many."""


@dataclass
class Rate:
    """One direction, frame size and kind of frame.

    Attributes:
        seconds: by subject (the C loop or a model's name), CPU seconds a frame of each round.
    """

    direction: str
    size: int
    kind: str
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def frames_per_second(self, subject: str) -> float:
        """Of CPU time; the median of the rounds."""
        return 1 / statistics.median(self.seconds[subject])

    def ratio(self, subject: str) -> float | None:
        """To the C loop; the median of the rounds' own ratios. None if there is no C loop."""
        bare = self.seconds.get(C_LOOP)
        if not bare:
            return None
        return statistics.median(theirs / mine for mine, theirs in zip(self.seconds[subject], bare, strict=True))


def frame(kind: str, size: int) -> bytes:
    """A frame of `size` bytes: "plain" is a broadcast without IP, "tcp" a segment to the station address."""
    if kind == "plain":
        return b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(size - 14)
    payload = bytes(size - 54)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size - 14, 1, 0x4000, 64, 6, 0, b"\xc6\x12\0\1", b"\xc6\x12\0\2")
    ip = ip[:10] + _checksum(ip) + ip[12:]
    tcp = struct.pack(">HHIIBBHHH", 4000, 5000, 1, 1, 5 << 4, 0x10, 1000, 0, 0)
    pseudo = ip[12:] + struct.pack(">HH", 6, len(tcp) + len(payload))
    tcp = tcp[:16] + _checksum(pseudo + tcp + payload) + tcp[18:]
    return MAC + PEER + b"\x08\0" + ip + tcp + payload


def _checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


class Subject(Protocol):
    """A model with one queue pair, set up."""

    device: Device

    def turn(self) -> None:
        """Let the model do what is due."""

    def post(self, frame: bytes) -> None:
        """Write descriptors of one buffer each for a transmit burst, as the chip's Linux driver writes them."""

    def ring(self) -> None:
        """Ring the transmit doorbell."""

    def repost(self) -> None:
        """Give the descriptors of a receive burst back; the model must have used all of them.

        Raises:
            AssertionError: it has not.
        """

    def ring_receive(self) -> None:
        """Ring the receive doorbell."""

    def close(self) -> None:
        """Release the model."""


class IxgbeSubject:
    """The 82599."""

    def __init__(self, wire: Wire) -> None:
        """Bring it up."""
        self._reactor = Reactor()
        self.device: Device = find("ixgbe").create(Slot(clock=self._reactor, wire=wire), Options(mac=MAC))
        self.device.restart(ResetCause.POWER_ON)
        client = DirectClient(self.device, self.turn)
        self._driver = IxgbeDriver(client, client.add_ram(RAM, 16 << 20))  # type: ignore[arg-type]
        self._driver.start(queues=1, ring=RING)
        while not self._driver.link:
            self._reactor.turn(0.01)
        queue = self._driver.receive[0]
        self._blank = b"".join(buffer.to_bytes(8, "little") + bytes(8) for buffer in queue.buffers)

    def turn(self) -> None:
        """One turn of the event loop."""
        self._reactor.turn(0.0)

    def post(self, frame: bytes) -> None:
        """One report a burst, as DPDK asks for it."""
        queue, size, burst = self._driver.transmit[0], len(frame), BURST
        address = queue.buffer(frame)
        plain = data_descriptor(address, size, command=EOP | IFCS, paylen=size)
        reported = data_descriptor(address, size, command=EOP | IFCS | RS, paylen=size)
        self._driver.ram.write(queue.ring + queue.tail * 16, plain * (burst - 1) + reported)
        queue.tail = (queue.tail + burst) % RING

    def ring(self) -> None:
        """TDT."""
        queue = self._driver.transmit[0]
        self._driver.write(queue.register(TAIL), queue.tail)

    def repost(self) -> None:
        """RDT."""
        queue, burst, ram = self._driver.receive[0], BURST, self._driver.ram
        start = queue.next * 16
        assert ram.read(queue.ring + start + (burst - 1) * 16 + 8, 1)[0] & 1
        ram.write(queue.ring + start, self._blank[start : start + burst * 16])
        queue.next = (queue.next + burst) % RING

    def ring_receive(self) -> None:
        """RDT."""
        queue = self._driver.receive[0]
        self._driver.write(queue.register(TAIL), (queue.next - 1) % RING)

    def close(self) -> None:
        """Release it."""
        self.device.close()
        self._reactor.close()


class GveSubject:
    """GVNIC with DQO queues and raw addressing."""

    def __init__(self, wire: Wire) -> None:
        """Bring it up."""
        self._reactor = Reactor()
        self.device: Device = find("gve").create(Slot(clock=self._reactor, wire=wire), Options(mac=MAC))
        self.device.restart(ResetCause.POWER_ON)
        client = DirectClient(self.device, self.turn)
        driver = GveDriver(client, client.add_ram(RAM, 16 << 20))  # type: ignore[arg-type]
        driver.start()
        self._driver = driver
        self._tx = DqoTransmit(driver, 0, ring=2 * RING).create()
        self._rx = DqoReceive(driver, 0, ring=RING).create()
        self._rx.post()
        self._rx.place(RING - 1)  # into the last slot; the tail, which stays before it, passes it with the next burst
        self._rx.tail = RING - 1
        self._buffer = driver.ram.allocate(2048, 64)
        while not driver.link:
            self._reactor.turn(0.01)

    def turn(self) -> None:
        """One turn of the event loop."""
        self._reactor.turn(0.0)

    def post(self, frame: bytes) -> None:
        """A general context and a packet descriptor a frame, as gve writes them (gve_tx_dqo.c)."""
        queue, ram, burst = self._tx, self._driver.ram, BURST
        ram.write(self._buffer, frame)
        context = struct.pack("<8xBB6x", 0x4, 0)
        packets = (struct.pack("<QBBHHH", self._buffer, 0x2C, 0, 0, tag, len(frame)) for tag in range(burst))
        ram.write(queue.descriptors + queue.tail * 16, b"".join(context + packet for packet in packets))
        queue.tail = (queue.tail + 2 * burst) % queue.count
        queue.poll()
        queue.done.clear()

    def ring(self) -> None:
        """The queue's doorbell."""
        self._tx.ring_doorbell()

    def repost(self) -> None:
        """Post the same buffers again: buffer N is always in slot N, since frames take them in order."""
        queue, completions = self._rx, self._rx.completions
        completions.head += BURST
        last = completions.address + (completions.head - 1) * completions.size
        assert self._driver.ram.read(last + 5, 1)[0] >> 6 & 1 == completions.expected
        if completions.head == RING:
            completions.head, completions.expected = 0, completions.expected ^ 1
        queue.tail = (queue.tail + BURST) % RING

    def ring_receive(self) -> None:
        """The queue's doorbell."""
        self._rx.ring_doorbell()

    def close(self) -> None:
        """Release it."""
        self.device.close()
        self._reactor.close()


class XgbeSubject:
    """XGBE, one channel, with split headers, as amd-xgbe sets it up."""

    TX_RING, RX_RING, TX_BUFFER, RX_HEADERS, RX_BUFFERS = 0x40000, 0x50000, 0x60000, 0x80000, 0x100000
    HEADER, SIZE = 256, 2048

    def __init__(self, wire: Wire) -> None:
        """Bring it up, then give it longer rings."""
        self._clock = ManualClock()
        rig = self._rig = XgbeRig(channels=1, clock=self._clock, wire=wire)
        self.device: Device = rig.device
        rig.link().start()
        for control in (CH_TCR, CH_RCR):
            rig.write(control, rig.read(control) & ~1)
        rig.write(CH_TDRLR, RING - 1)
        rig.write(CH_TDLR, self.TX_RING)
        rig.write(CH_TCR, 1 << 12 | 1)
        self._blank = b"".join(
            struct.pack(
                "<IIII",
                self.RX_HEADERS + number * self.HEADER,
                0,
                self.RX_BUFFERS + number * self.SIZE,
                OWN | 1 << 30,
            )
            for number in range(RING)
        )
        rig.memory.write(self.RX_RING, self._blank)
        rig.write(CH_RDRLR, RING - 1)
        rig.write(CH_RDLR, self.RX_RING)
        rig.write(CH_RDTR, self.RX_RING + (RING - 1) * 16)
        rig.write(CH_RCR, self.SIZE << 1 | 1)
        self._tail = self._next = 0

    def turn(self) -> None:
        """What is due."""
        self._clock.advance(0)

    def post(self, frame: bytes) -> None:
        """One descriptor a frame; the last one asks for an interrupt."""
        burst, size, memory = BURST, len(frame), self._rig.memory
        memory.write(self.TX_BUFFER, frame)
        plain = struct.pack("<IIII", self.TX_BUFFER, 0, size, OWN | FIRST | LAST | size)
        last = struct.pack("<IIII", self.TX_BUFFER, 0, size | 1 << 31, OWN | FIRST | LAST | size)
        memory.write(self.TX_RING + self._tail * 16, plain * (burst - 1) + last)
        self._tail = (self._tail + burst) % RING

    def ring(self) -> None:
        """The tail pointer."""
        self._rig.write(CH_TDTR, self.TX_RING + self._tail * 16)

    def repost(self) -> None:
        """Give the owner bits back, then move the tail pointer."""
        burst, memory, start = BURST, self._rig.memory, self._next * 16
        last = memory.read(self.RX_RING + start + (burst - 1) * 16 + 12, 4)
        assert not last[3] & 0x80
        memory.write(self.RX_RING + start, self._blank[start : start + burst * 16])
        self._next = (self._next + burst) % RING

    def ring_receive(self) -> None:
        """The tail pointer."""
        self._rig.write(CH_RDTR, self.RX_RING + (self._next - 1) % RING * 16)

    def close(self) -> None:
        """Release it."""
        self.device.close()


SUBJECTS: dict[str, Callable[[Wire], Subject]] = {"ixgbe": IxgbeSubject, "gve": GveSubject, "xgbe": XgbeSubject}


@contextmanager
def subject(name: str, wire: Wire) -> Iterator[Subject]:
    """A model on a wire; both are released."""
    try:
        model = SUBJECTS[name](wire)
        try:
            yield model
        finally:
            model.close()
    finally:
        wire.close()


def transmit(model: Subject, wire: Wire, data: bytes, seconds: float) -> float:
    """CPU seconds a frame; the model sends bursts for `seconds`."""
    burst, counters = BURST, wire.counters
    now, turn = time.thread_time_ns, model.turn

    def once() -> int:
        model.post(data)
        wanted = counters.transmitted + burst
        begin = now()
        model.ring()
        while counters.transmitted < wanted:
            turn()
        return now() - begin

    return _repeat(once, seconds) / burst


def receive(model: Subject, wire: Wire, data: bytes, send: Callable[[bytes], object], seconds: float) -> float:
    """CPU seconds a frame; the model receives bursts for `seconds`."""
    burst, counters = BURST, wire.counters
    now, turn, arrived = time.thread_time_ns, model.turn, model.device.frame_arrived

    def once() -> int:
        for _ in range(burst):
            send(data)
        wanted = counters.received + burst
        begin = now()
        arrived()
        while counters.received < wanted:
            turn()
        turn()  # the read that finds no more frames, as the C loop's last one does
        spent = now() - begin
        model.repost()
        begin = now()
        model.ring_receive()
        return spent + now() - begin

    return _repeat(once, seconds) / burst


def _repeat(once: Callable[[], int], seconds: float) -> float:
    """CPU seconds of a burst; the first ones are not counted."""
    for _ in range(8):
        once()
    spent = []
    end = time.perf_counter() + seconds
    while len(spent) < _PARTS or time.perf_counter() < end:
        spent.append(once())
    return _undisturbed(spent)


def _undisturbed(nanoseconds: Sequence[float]) -> float:
    """CPU seconds of a burst that little else disturbed."""
    return statistics.quantiles(nanoseconds, n=_PARTS)[0] / 1e9


class CLoop:
    """`tap_loop.c`, built; without a C compiler there is none.

    Attributes:
        path: of the program, or None.
    """

    def __init__(self, folder: Path) -> None:
        """Build it."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        self.path = folder / "tap_loop" if compiler else None
        if compiler:
            subprocess.run([compiler, "-O2", "-o", str(self.path), str(_SOURCE)], check=True)

    def measure(self, direction: str, size: int) -> float:
        """CPU seconds a frame."""
        assert self.path is not None
        command = [self.path, TAP, direction, size, _C_BURSTS, BURST]
        output = subprocess.run([str(each) for each in command], check=True, capture_output=True, text=True).stdout
        bursts = [tuple(map(int, line.split())) for line in output.splitlines()]
        # On a busy machine the kernel sends some frames of a burst later, from a softirq: they count with the next burst.
        whole = [nanoseconds / frames for frames, nanoseconds in bursts if frames >= BURST]
        assert len(whole) > _PARTS, f"expected {_C_BURSTS} bursts of the C loop; found {len(whole)} whole ones"
        return _undisturbed(whole)


def measure(seconds: float, rounds: int = 3, names: Sequence[str] = tuple(SUBJECTS)) -> list[Rate]:
    """Measure every direction, frame size and kind of frame, round after round."""
    rates = [Rate("transmit", size, "plain") for size in SIZES]
    rates += [Rate("receive", size, kind) for kind in ("plain", "tcp") for size in SIZES]
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        bare = CLoop(Path(folder))
        tap = Tap(TAP, addresses=False)
        stack.callback(tap.close)
        for _ in range(rounds):
            for rate in rates:
                _measure_once(rate, bare, names, seconds)
    return rates


def _measure_once(rate: Rate, bare: CLoop, names: Sequence[str], seconds: float) -> None:
    if bare.path is not None:
        rate.seconds.setdefault(C_LOOP, []).append(bare.measure(rate.direction, rate.size))
    data = frame(rate.kind, rate.size)
    for name in names:
        wire = TapWire(TAP)
        with subject(name, wire) as model, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as remote:
            remote.bind((TAP, 0))
            spent = (
                transmit(model, wire, data, seconds)
                if rate.direction == "transmit"
                else receive(model, wire, data, remote.send, seconds)
            )
        rate.seconds.setdefault(name, []).append(spent)
