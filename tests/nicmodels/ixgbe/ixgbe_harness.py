# SPDX-License-Identifier: GPL-2.0-or-later
"""A test harness for the 82599: guest memory, a manual clock, a wire of two lists. No server, no QEMU, no driver."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nicmodels.clock import ManualClock
from nicmodels.models.ixgbe import Ixgbe
from nicmodels.models.ixgbe.registers import REGISTERS, filters, receive, statistics, transmit
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.wire import NullWire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nicmodels.registers import Register

RAM = 1 << 22
RX_RING, TX_RING = 0x10000, 0x30000
RX_BUFFERS, TX_BUFFERS = 0x100000, 0x200000
RING = 64
BUFFER = 4096
ENABLE = 1 << 25
EOP, IFCS, RS, DEXT, VLE, TSE = 1 << 24, 1 << 25, 1 << 27, 1 << 29, 1 << 30, 1 << 31
IXSM, TXSM = 1, 2
MAC = bytes.fromhex("027066000001")
PEER = bytes.fromhex("020000000002")


class ListWire(NullWire):
    """A wire that records sent frames, and receives those in `incoming`."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.incoming: list[bytes] = []

    def transmit(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        self.sent.append(b"".join(buffers))

    def receive(self) -> bytes | None:
        return self.incoming.pop(0) if self.incoming else None


@dataclass(frozen=True)
class Received:
    """A received frame, with the write-back of its last descriptor."""

    queue: int
    data: bytes
    info: int
    hash: int
    status: int
    vlan: int


class Harness:
    """The device, and the minimum of a driver.

    Args:
        profile: the variant.
        queues: number of queues of each direction.
        clock: the device's; a manual clock by default.
    """

    def __init__(self, profile: str | None = None, queues: int = 2, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.wire = ListWire()
        self.slot = Slot(clock=self.clock, wire=self.wire)
        self.device = Ixgbe(self.slot, Options(profile=profile))
        self.device.restart(ResetCause.POWER_ON)
        fd = os.memfd_create("guest")
        os.ftruncate(fd, RAM)
        self.slot.memory.map(fd, 0, 0, RAM)
        os.close(fd)
        self.device.config.write(4, 6, 2)
        self.slot.memory.bus_master = self.slot.interrupts.bus_master = True
        self.memory = self.slot.memory
        self.queues = queues
        self.clock.advance(0.1)

    def read(self, register: Register, index: int = 0) -> int:
        return self.device.bar_read(0, REGISTERS.offset(register, index), 4)

    def write(self, register: Register, value: int, index: int = 0) -> None:
        self.device.bar_write(0, REGISTERS.offset(register, index), value, 4)

    def arm(self, name: str, **match: int) -> None:
        self.slot.faults[name].arm(match=match)

    def fired(self, name: str) -> int:
        return self.slot.faults[name].fired

    def start(self) -> Harness:
        """Set up rings, filters for the own address and broadcast, checksum offload and RSS."""
        self.tails = [0] * self.queues
        self.heads = [0] * self.queues
        self.write(filters.FCTRL, 1 << 10)
        self.write(filters.RXCSUM, 1 << 13)
        self.write(transmit.DMATXCTL, 1 | 0x8100 << 16)
        self.write(receive.RXCTRL, 1)
        for queue in range(self.queues):
            self.write(receive.RDBAL, RX_RING + queue * RING * 16, queue)
            self.write(receive.RDLEN, RING * 16, queue)
            self.write(receive.SRRCTL, 2 | 4 << 8 | 1 << 25, queue)
            for index in range(RING):
                self._post(queue, index)
            self.write(receive.RXDCTL, ENABLE, queue)
            self.write(receive.RDT, RING - 1, queue)
            self.write(transmit.TDBAL, TX_RING + queue * RING * 16, queue)
            self.write(transmit.TDLEN, RING * 16, queue)
            self.write(transmit.TXDCTL, ENABLE, queue)
        self.write(statistics.RQSMR, 0x03020100)
        self.write(statistics.TQSM, 0x03020100)
        return self

    def _post(self, queue: int, index: int) -> None:
        address = RX_BUFFERS + (queue * RING + index) * BUFFER
        self.memory.write(RX_RING + (queue * RING + index) * 16, struct.pack("<QQ", address, 0))

    def receive(self, *frames: bytes) -> list[Received]:
        """Send frames to the device; returns the received packets, including those that waited for descriptors."""
        self.wire.incoming.extend(frames)
        self.device.frame_arrived()
        self.clock.advance(0)
        found: list[Received] = []
        while more := self.collect():
            found += more
            self.clock.advance(0)
        return found

    def collect(self) -> list[Received]:
        """Collect the received packets from the rings."""
        found = []
        for queue in range(self.queues):
            parts = b""
            while True:
                index = self.heads[queue]
                where = RX_RING + (queue * RING + index) * 16
                info, value, status, length, vlan = struct.unpack("<IIIHH", self.memory.read(where, 16))
                if not status & 1:
                    break
                parts += self.memory.read(RX_BUFFERS + (queue * RING + index) * BUFFER, length)
                self._post(queue, index)
                self.heads[queue] = (index + 1) % RING
                self.write(receive.RDT, index, queue)
                if status & 2:
                    found.append(Received(queue, parts, info, value, status, vlan))
                    parts = b""
        return found

    def send(self, *descriptors: tuple[int, int], queue: int = 0) -> list[bytes]:
        """Post descriptors; returns the frames sent since the last call."""
        for low, high in descriptors:
            tail = self.tails[queue]
            self.memory.write(TX_RING + (queue * RING + tail) * 16, struct.pack("<QQ", low, high))
            self.tails[queue] = (tail + 1) % RING
        self.write(transmit.TDT, self.tails[queue], queue)
        self.clock.advance(0)
        sent, self.wire.sent = self.wire.sent, []
        return sent

    def transmit(
        self, frame: bytes, *context: tuple[int, int], queue: int = 0, command: int = 0, options: int = 0
    ) -> list[bytes]:
        """Send one frame from one buffer."""
        self.memory.write(TX_BUFFERS, frame)
        command |= EOP | IFCS | RS | DEXT | 3 << 20
        payload = len(frame)
        if command & TSE:
            low, high = context[-1]
            payload -= (low & 0x1FF) + (low >> 9 & 0x7F) + (high >> 40 & 0xFF)
        data = (TX_BUFFERS, len(frame) | command | options << 40 | payload << 46)
        return self.send(*context, data, queue=queue)

    def done(self, queue: int = 0) -> bool:
        """Whether the last transmit descriptor was reported done."""
        last = (self.tails[queue] - 1) % RING
        return bool(self.memory.read(TX_RING + (queue * RING + last) * 16 + 12, 1)[0] & 1)


def context(*, vlan: int = 0, l4: int = 1, l4_length: int = 20, mss: int = 0, ipv4: bool = True) -> tuple[int, int]:
    """A context descriptor: Ethernet without tag, IP without options."""
    low = (20 if ipv4 else 40) | 14 << 9 | vlan << 16
    return low, 2 << 20 | DEXT | (1 << 10 if ipv4 else 0) | l4 << 11 | l4_length << 40 | mss << 48


def registers_of(harness: Harness, registers: Iterable[Register]) -> dict[str, int]:
    """Register values by name, read as by a driver."""
    return {register.name: harness.read(register) for register in registers}
