# SPDX-License-Identifier: GPL-2.0-or-later
"""A minimal driver for gVNIC, for tests of the model: polling or MSI-X, no operating system.

Written from Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst and the layouts in its headers. It
repeats offsets and bits instead of sharing them with the model, so that a mistake in the model shows.
"""

from __future__ import annotations

import itertools
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfio_client import MSIX
from wire_peer import TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vfio_client import GuestRam, VfioClient

# BAR 0, big-endian.
DEVICE_STATUS, DRIVER_STATUS, MAX_TX, MAX_RX = 0x00, 0x04, 0x08, 0x0C
ADMINQ_PFN, ADMINQ_DOORBELL, ADMINQ_COUNTER, DRIVER_VERSION = 0x10, 0x14, 0x18, 0x1F
ADMINQ_HIGH, ADMINQ_LOW, ADMINQ_LENGTH = 0x20, 0x24, 0x28
STATUS_RESET, STATUS_LINK, STATUS_IS_RESET = 2, 4, 16
RUN, RESET = 1, 2

DESCRIBE, CONFIGURE, REGISTER_PAGES, UNREGISTER_PAGES = 1, 2, 3, 4
CREATE_TX, CREATE_RX, DESTROY_TX, DESTROY_RX, DECONFIGURE = 5, 6, 7, 8, 9
CONFIGURE_RSS, SET_PARAMETER, REPORT_STATS, LINK_SPEED, PTYPES, COMPATIBILITY = 0xA, 0xB, 0xC, 0xD, 0xE, 0xF
QUERY_RULES, TIMESTAMP, QUERY_RSS, EXTENDED = 0x10, 0x11, 0x12, 0xFF
CONFIGURE_RULE = 0x101

PASSED, UNSET = 1, 0
ALREADY_EXISTS, FAILED_PRECONDITION, INTERNAL_ERROR, INVALID_ARGUMENT = (0xFFFFFFF0 + n for n in (1, 5, 6, 7))
NOT_FOUND, OUT_OF_RANGE, RESOURCE_EXHAUSTED, UNIMPLEMENTED = (0xFFFFFFF0 + n for n in (8, 9, 0xC, 0xE))

GQI_QPL, DQO_RDA, DQO_QPL = 2, 3, 4
RAW = 0xFFFFFFFF
PAGE = 4096
OPTION_FORMATS = {2: 1, 3: GQI_QPL, 4: DQO_RDA, 7: DQO_QPL}
OPTION_RING, OPTION_JUMBO, OPTION_BUFFERS, OPTION_STEERING, OPTION_CLOCK, OPTION_RSS = 6, 8, 0xA, 0xB, 0xD, 0xE

TX_REPORT, TX_CHECKSUM, TX_EOP, TX_PACKET, TX_TSO, TX_GENERAL = 0x80, 0x40, 0x20, 0xC, 0x5, 0x4
COMPLETION_PACKET, COMPLETION_DESCRIPTOR = 2, 4


class RefusedError(Exception):
    """A command had another status than PASSED."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status:#x}")
        self.status = status


@dataclass
class Device:
    """The device descriptor."""

    mac: bytes
    mtu: int
    counters: int
    default_queues: int
    tx_entries: int
    rx_entries: int
    format: int
    features: int
    format_data: bytes
    options: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Received:
    """A received packet, by its completions."""

    frame: bytes
    header: bytes = b""
    buffers: int = 1
    hash: int = 0
    packet_type: int = 0
    processed: bool = False
    ip_error: bool = False
    l4_error: bool = False
    split: bool = False
    overflow: bool = False
    error: bool = False
    segment: int = 0
    rsc: bool = False
    partial: int = 0
    stamp: int | None = None
    flags: int = 0


class Ring:
    """A completion ring of a DQO queue: entries with a generation bit."""

    def __init__(self, ram: GuestRam, count: int, size: int, generation: Callable[[bytes], int]) -> None:
        self.address = ram.allocate(count * size, PAGE)
        ram.write(self.address, bytes(count * size))
        self.count, self.size = count, size
        self.head, self.expected = 0, 1
        self._ram, self._generation = ram, generation

    def take(self) -> bytes | None:
        entry = self._ram.read(self.address + self.head * self.size, self.size)
        if self._generation(entry) != self.expected:
            return None
        self.head += 1
        if self.head == self.count:
            self.head, self.expected = 0, self.expected ^ 1
        return entry


class DqoReceive:
    """A DQO receive queue."""

    def __init__(
        self,
        driver: GveDriver,
        index: int,
        *,
        ring: int = 256,
        buffer: int = 2048,
        header: int = 0,
        rsc: bool = False,
        block: int | None = None,
    ) -> None:
        self.driver, self.index, self.ring = driver, index, ring
        self.buffer, self.header, self.rsc = buffer, header, rsc
        self.block = driver.blocks // 2 + index if block is None else block
        ram = driver.ram
        self.completions = Ring(ram, ring, 32, lambda entry: entry[5] >> 6 & 1)
        self.slots = ram.allocate(ring * 32, PAGE)
        self.buffers = ram.allocate(ring * buffer, PAGE)
        self.headers = ram.allocate(ring * max(header, 64), PAGE)
        self.resources = ram.allocate(64)
        self.tail = 0
        self.free = list(range(ring))
        self.posted: set[int] = set()
        self.doorbell = -1

    def command(self, **changes: int) -> bytes:
        """The body of create_rx_queue."""
        fields = {
            "queue": self.index, "index": 0, "reserved": 0, "block": self.block, "resources": self.resources,
            "completions": self.completions.address, "slots": self.slots, "pages": RAW, "ring": self.ring,
            "buffer": self.buffer, "buffer_ring": self.ring, "rsc": int(self.rsc), "header": self.header, **changes,
        }  # fmt: skip
        return struct.pack(">IIIIQQQIHHHBxHxx", *fields.values())

    def create(self, **changes: int) -> DqoReceive:
        self.driver.command(CREATE_RX, self.command(**changes))
        self.doorbell, _ = struct.unpack(">II", self.driver.ram.read(self.resources, 8))
        return self

    def destroy(self) -> None:
        self.driver.command(DESTROY_RX, struct.pack(">I", self.index))

    def post(self, count: int | None = None) -> None:
        """Post buffers: all but one, or the given number."""
        room = self.ring - 1 - len(self.posted)
        for _ in range(room if count is None else count):
            identity = self.free.pop(0)
            self.place(identity)
        self.ring_doorbell()

    def place(self, identity: int, address: int | None = None) -> None:
        self.posted.add(identity)
        where = self.buffers + identity * self.buffer if address is None else address
        entry = struct.pack("<H6xQQ8x", identity, where, self.headers + identity * max(self.header, 64))
        self.driver.ram.write(self.slots + self.tail * 32, entry)
        self.tail = (self.tail + 1) % self.ring

    def ring_doorbell(self) -> None:
        self.driver.ring(self.doorbell, self.tail)

    def poll(self) -> list[Received]:
        """The packets that are complete."""
        found: list[Received] = []
        open_packet: Received | None = None
        while (entry := self.completions.take()) is not None:
            flags, kind, length, header, status = struct.unpack_from("<xBHHHB", entry)
            stamp_valid, identity, segment, value, stamp = struct.unpack_from("<11xBHHI8xI", entry)
            assert entry[0] & 0xF == 1, "rxdid"
            assert status & 1, "descriptor done"
            assert length >> 15 == 0, "buffer_queue_id"
            assert identity in self.posted, f"buffer {identity} was not posted"
            self.posted.discard(identity)
            self.free.append(identity)
            size = length & 0x3FFF
            data = self.driver.ram.read(self.buffers + identity * self.buffer, size)
            if open_packet is None:
                open_packet = Received(b"", buffers=0)
                open_packet.split, open_packet.overflow = bool(header >> 11 & 1), bool(status & 4)
                if open_packet.split and not open_packet.overflow:
                    open_packet.header = self.driver.ram.read(self.headers + identity * self.header, header & 0x3FF)
            else:
                assert not header >> 11 & 1, "only the first buffer of a packet has a header"
            open_packet.frame += data
            open_packet.buffers += 1
            open_packet.error |= bool(flags & 4)
            if status & 2:
                open_packet.hash, open_packet.packet_type = value, kind & 0x3FF
                open_packet.processed, open_packet.ip_error = bool(status & 8), bool(status & 16)
                open_packet.l4_error = bool(status & 32)
                open_packet.rsc, open_packet.segment = bool(header >> 10 & 1), segment
                open_packet.stamp = stamp if stamp_valid & 1 else None
                open_packet.flags = flags
                found.append(open_packet)
                open_packet = None
        assert open_packet is None, "the device completed part of a packet"
        return found

    def wait(self, count: int = 1, timeout: float = 10.0, *, repost: bool = True) -> list[Received]:
        """Exactly `count` packets."""
        found: list[Received] = []

        def enough() -> bool:
            found.extend(self.poll())
            if repost:
                self.post()
            return len(found) >= count

        self.driver.until(enough, f"{count} packets on receive queue {self.index}", timeout)
        assert len(found) == count, f"expected {count} packets; found {len(found)}"
        return found


class DqoTransmit:
    """A DQO transmit queue."""

    def __init__(self, driver: GveDriver, index: int, *, ring: int = 256, block: int | None = None) -> None:
        self.driver, self.index, self.count = driver, index, ring
        self.block = index if block is None else block
        ram = driver.ram
        self.completions = Ring(ram, ring, 8, lambda entry: entry[1] >> 7)
        self.descriptors = ram.allocate(ring * 16, PAGE)
        self.resources = ram.allocate(64)
        self.tail = 0
        self.tags = itertools.cycle(range(ring // 2))
        self.done: list[int] = []
        self.heads: list[int] = []
        self.doorbell = -1

    def command(self, **changes: int) -> bytes:
        """The body of create_tx_queue."""
        fields = {
            "queue": self.index, "reserved": 0, "resources": self.resources, "ring": self.descriptors, "pages": RAW,
            "block": self.block, "completions": self.completions.address, "size": self.count,
            "completion_size": self.count, **changes,
        }  # fmt: skip
        return struct.pack(">IIQQIIQHHxxxx", *fields.values())

    def create(self, **changes: int) -> DqoTransmit:
        self.driver.command(CREATE_TX, self.command(**changes))
        self.doorbell, _ = struct.unpack(">II", self.driver.ram.read(self.resources, 8))
        return self

    def destroy(self) -> None:
        self.driver.command(DESTROY_TX, struct.pack(">I", self.index))

    def push(self, descriptor: bytes) -> None:
        self.driver.ram.write(self.descriptors + self.tail * 16, descriptor)
        self.tail = (self.tail + 1) % self.count

    def write(
        self,
        *pieces: bytes,
        tag: int | None = None,
        checksum: bool = False,
        tso: tuple[int, int] | None = None,
        report: bool = False,
        total: int | None = None,
        context: bool = True,
    ) -> int:
        """Write the descriptors of a packet; `tso` is (segment size, header length). Returns its tag."""
        tag = next(self.tags) if tag is None else tag
        if tso is not None:
            size = sum(map(len, pieces)) - tso[1] if total is None else total
            self.push(struct.pack("<IHBBBB6x", size, tso[0], tso[1], 0, TX_TSO | 0x20, 0))
        if context:
            self.push(struct.pack("<8xBB6x", TX_GENERAL, 0))
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            address = self.driver.ram.allocate(max(len(piece), 1), 64)
            self.driver.ram.write(address, piece)
            bits = TX_PACKET | (TX_EOP if last else 0) | (TX_CHECKSUM if checksum else 0)
            bits |= TX_REPORT if report and last else 0
            self.push(struct.pack("<QBBHHH", address, bits, 0, 0, tag, len(piece)))
        return tag

    def ring_doorbell(self) -> None:
        self.driver.ring(self.doorbell, self.tail)

    def send(self, *pieces: bytes, **options: object) -> int:
        """Write a packet, ring, and wait for its completion."""
        tag = self.write(*pieces, **options)
        self.ring_doorbell()
        self.wait(tag)
        return tag

    def poll(self) -> None:
        while (entry := self.completions.take()) is not None:
            first, value = struct.unpack_from("<HH", entry)
            assert first & 0x7FF == self.index, "the completion names another queue"
            kind = first >> 11 & 7
            assert kind in (COMPLETION_PACKET, COMPLETION_DESCRIPTOR)
            (self.done if kind == COMPLETION_PACKET else self.heads).append(value)

    def wait(self, tag: int, timeout: float = 10.0) -> None:
        """The packet's completion, once."""

        def there() -> bool:
            self.poll()
            return tag in self.done

        self.driver.until(there, f"the completion of tag {tag}", timeout)
        self.done.remove(tag)


class GveDriver:
    """The driver: bring-up, admin queue, queues.

    Args:
        client: connected to the device.
        ram: guest memory, mapped.
    """

    def __init__(self, client: VfioClient, ram: GuestRam) -> None:
        self.client, self.ram = client, ram
        self.executed = 0
        self.queue = 0
        self.blocks = 0
        self.vectors = 0
        self.device: Device | None = None
        self.interrupt_doorbells: list[int] = []
        self.explain: Callable[[], str] = lambda: ""
        self.little = True

    # Registers

    def read(self, offset: int) -> int:
        return struct.unpack(">I", self.client.read_bytes(0, offset, 4))[0]

    def write(self, offset: int, value: int) -> None:
        self.client.write_bytes(0, offset, struct.pack(">I", value))

    def ring(self, doorbell: int, value: int) -> None:
        self.client.write_bytes(2, 4 * doorbell, struct.pack("<I" if self.little else ">I", value))

    @property
    def link(self) -> bool:
        return bool(self.read(DEVICE_STATUS) & STATUS_LINK)

    def until(self, condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimedOutError(f"expected {what} within {timeout} s; timed out {self.explain()}")
            self.read(DEVICE_STATUS)  # lets the model run, and waits for it

    # Admin queue

    def start_adminq(self) -> None:
        self.queue = self.ram.allocate(PAGE, PAGE)
        self.ram.write(self.queue, bytes(PAGE))
        self.executed = 0
        self.client.write_bytes(0, ADMINQ_LENGTH, struct.pack(">H", PAGE))
        self.write(ADMINQ_HIGH, self.queue >> 32)
        self.write(ADMINQ_LOW, self.queue & 0xFFFFFFFF)
        self.write(DRIVER_STATUS, RUN)

    def put(self, opcode: int, body: bytes, slot: int | None = None) -> int:
        """Write a command into its slot; returns the slot's address."""
        at = self.queue + (self.executed if slot is None else slot) % 64 * 64
        self.ram.write(at, struct.pack(">II", opcode, UNSET) + body.ljust(56, b"\0"))
        return at

    def ask(self, opcode: int, body: bytes = b"") -> int:
        """Execute a command; returns its status."""
        at = self.put(opcode, body)
        self.executed = (self.executed + 1) & 0xFFFFFFFF
        self.write(ADMINQ_DOORBELL, self.executed)
        assert self.read(ADMINQ_COUNTER) == self.executed, "the device executes inside the doorbell's write"
        return int(struct.unpack(">I", self.ram.read(at + 4, 4))[0])

    def command(self, opcode: int, body: bytes = b"") -> None:
        """Execute a command that must pass."""
        status = self.ask(opcode, body)
        if status != PASSED:
            raise RefusedError(status)

    def extended(self, opcode: int, inner: bytes) -> int:
        """Execute an extended command; returns its status."""
        address = self.ram.allocate(len(inner))
        self.ram.write(address, inner)
        return self.ask(EXTENDED, struct.pack(">IIQ", opcode, len(inner), address))

    # Bring-up

    def start(self, *, msix: bool = False, blocks: int | None = None) -> GveDriver:
        """Initialize the device, up to the point where queues can be created."""
        self.client.enable()
        _, self.vectors = self.client.irq_info(MSIX)
        if msix:
            for first in range(0, self.vectors, 16):
                self.client.enable_irqs(MSIX, min(16, self.vectors - first), first)
        for character in b"test-1\n":
            self.client.write_bytes(0, DRIVER_VERSION, bytes((character,)))
        self.start_adminq()
        self.describe()
        self.configure(blocks)
        return self

    def describe(self) -> Device:
        address = self.ram.allocate(PAGE, PAGE)
        self.command(DESCRIBE, struct.pack(">QII", address, 1, PAGE))
        data = self.ram.read(address, PAGE)
        (_, tx, rx, queues, mtu, counters, _, _, mac, number, total) = struct.unpack_from(">QxxHHHHHHH6sHH", data)
        options, at = {}, 40
        form = features = 0
        form_data = b""
        for _ in range(number):
            identity, length, _ = struct.unpack_from(">HHI", data, at)
            body = data[at + 8 : at + 8 + length]
            at += 8 + length
            if identity in OPTION_FORMATS:
                form, features, form_data = OPTION_FORMATS[identity], struct.unpack_from(">I", body)[0], body[4:]
            else:
                options[identity] = body
        assert at == total, "the options fill the descriptor"
        self.device = Device(mac, mtu, counters, queues, tx, rx, form, features, form_data, options)
        self.little = form in (DQO_RDA, DQO_QPL)
        return self.device

    def configure(self, blocks: int | None = None) -> None:
        assert self.device is not None
        self.blocks = (self.vectors - 1) & ~1 if blocks is None else blocks
        self.counters = self.ram.allocate(4 * self.device.counters)
        table = self.ram.allocate(64 * self.blocks)
        self.command(CONFIGURE, self.resources(self.counters, table))
        self.interrupt_doorbells = [
            struct.unpack(">I", self.ram.read(table + 64 * block, 4))[0] for block in range(self.blocks)
        ]

    def resources(self, counters_at: int, table_at: int, **changes: int) -> bytes:
        """The body of configure_device_resources."""
        assert self.device is not None
        fields = {
            "counters": counters_at, "table": table_at, "num_counters": self.device.counters, "blocks": self.blocks,
            "stride": 64, "first": 0, "format": self.device.format, **changes,
        }  # fmt: skip
        return struct.pack(">QQIIIIB7x", *fields.values())

    def arm(self, block: int, interval: int | None = None, *, enable: bool = True) -> None:
        """Arm a block's vector (DQO); the interval is in units of 2 µs, None keeps it."""
        value = int(enable) | (3 << 3 if interval is None else interval << 5)
        self.ring(self.interrupt_doorbells[block], value)

    def reset(self) -> None:
        self.write(DRIVER_STATUS, RESET)
        self.until(lambda: bool(self.read(DEVICE_STATUS) & STATUS_IS_RESET), "the device to be reset")

    def set_rss(self, key: bytes, table: Sequence[int], types: int = 0b11010010) -> int:
        """Configure RSS; returns the status."""
        key_at, table_at = self.ram.allocate(64), self.ram.allocate(512)
        self.ram.write(key_at, key)
        self.ram.write(table_at, struct.pack(f">{len(table)}I", *table))
        body = struct.pack(">HBxHHQQ", types, 1, len(key), len(table), key_at, table_at)
        return self.ask(CONFIGURE_RSS, body)
