# SPDX-License-Identifier: GPL-2.0-or-later
"""The queues of the minimal gVNIC driver in the GQI format with queue page lists: big-endian, with counters instead of generation bits."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gve_driver import CREATE_RX, CREATE_TX, DESTROY_RX, DESTROY_TX, PAGE, REGISTER_PAGES, Received

if TYPE_CHECKING:
    from gve_driver import GveDriver

IPV4, IPV6, TCP_FLAG, UDP_FLAG, FRAGMENT, ERROR, CONTINUED = (1 << (3 + bit) for bit in (4, 5, 6, 7, 3, 8, 10))
STANDARD, SEGMENTED, SEGMENT, METADATA = 0x00, 0x10, 0x20, 0x30


def register_pages(driver: GveDriver, identity: int, count: int, size: int = PAGE) -> list[int]:
    """Register a page list with shuffled pages; returns their addresses."""
    block = driver.ram.allocate(count * PAGE, PAGE)
    pages = [block + number * PAGE for number in range(count)]
    pages = pages[::2] + pages[1::2][::-1]
    table = driver.ram.allocate(8 * count)
    driver.ram.write(table, struct.pack(f">{count}Q", *pages))
    driver.command(REGISTER_PAGES, struct.pack(">IIQQ", identity, count, table, size))
    return pages


class Pages:
    """A page list as one range of bytes."""

    def __init__(self, driver: GveDriver, identity: int, count: int, size: int = PAGE) -> None:
        self.identity = identity
        self.addresses = register_pages(driver, identity, count, size)
        self._ram = driver.ram

    def write(self, offset: int, data: bytes) -> None:
        for at, byte in enumerate(data, offset):
            self._ram.write(self.addresses[at // PAGE] + at % PAGE, bytes((byte,)))

    def read(self, offset: int, length: int) -> bytes:
        return b"".join(
            self._ram.read(self.addresses[at // PAGE] + at % PAGE, 1) for at in range(offset, offset + length)
        )


class GqiReceive:
    """A receive queue, whose slots hold the buffers' offsets."""

    def __init__(self, driver: GveDriver, index: int, *, ring: int = 256, page_size: int = PAGE) -> None:
        self.driver, self.index, self.ring = driver, index, ring
        self.block = driver.blocks // 2 + index
        self.pages = Pages(driver, 1000 + index, ring, page_size)
        ram = driver.ram
        self.descriptors = ram.allocate(ring * 64, PAGE)
        self.slots = ram.allocate(ring * 8, PAGE)
        ram.write(self.slots, struct.pack(f">{ring}Q", *(number * PAGE for number in range(ring))))
        self.resources = ram.allocate(64)
        self.filled = self.done = 0
        self.sequence = 1
        self.doorbell = -1

    def command(self, **changes: int) -> bytes:
        fields = {
            "queue": self.index, "index": self.index, "reserved": 0, "block": self.block, "resources": self.resources,
            "descriptors": self.descriptors, "slots": self.slots, "pages": self.pages.identity, "ring": self.ring,
            "buffer": 2048, "buffer_ring": 0, "rsc": 0, "header": 0, **changes,
        }  # fmt: skip
        return struct.pack(">IIIIQQQIHHHBxHxx", *fields.values())

    def create(self, **changes: int) -> GqiReceive:
        self.driver.command(CREATE_RX, self.command(**changes))
        self.doorbell, _ = struct.unpack(">II", self.driver.ram.read(self.resources, 8))
        return self

    def destroy(self) -> None:
        self.driver.command(DESTROY_RX, struct.pack(">I", self.index))

    def post(self, count: int | None = None) -> None:
        self.filled = self.done + self.ring if count is None else self.filled + count
        self.driver.ring(self.doorbell, self.filled & 0xFFFFFFFF)

    def poll(self) -> list[Received]:
        found: list[Received] = []
        current: Received | None = None
        while True:
            index = self.done % self.ring
            entry = self.driver.ram.read(self.descriptors + 64 * index, 64)
            value, _, header, _, partial, length, flags = struct.unpack(">48xIHxxBBHHH", entry)
            del header
            if flags & 7 != self.sequence:
                assert current is None, "the device completed part of a packet"
                return found
            self.sequence = self.sequence % 7 + 1
            self.done += 1
            data = self.pages.read(index * PAGE, length)
            if current is None:
                current = Received(data[2:], hash=value, partial=partial, flags=flags)
            else:
                current.frame += data
                current.buffers += 1
            if not flags & CONTINUED:
                found.append(current)
                current = None

    def wait(self, count: int = 1) -> list[Received]:
        found: list[Received] = []

        def enough() -> bool:
            found.extend(self.poll())
            self.post()
            return len(found) >= count

        self.driver.until(enough, f"{count} packets on receive queue {self.index}")
        assert len(found) == count
        return found


class GqiTransmit:
    """A transmit queue: descriptors with offsets into its page list."""

    def __init__(
        self, driver: GveDriver, index: int, *, ring: int = 256, pages: int = 64, page_size: int = PAGE
    ) -> None:
        self.driver, self.index, self.count = driver, index, ring
        self.block = index
        self.pages = Pages(driver, index, pages, page_size)
        self.size = pages * PAGE
        ram = driver.ram
        self.descriptors = ram.allocate(ring * 16, PAGE)
        self.resources = ram.allocate(64)
        self.requested = 0
        self.at = 0
        self.doorbell = self.counter = -1

    def command(self, **changes: int) -> bytes:
        fields = {
            "queue": self.index, "reserved": 0, "resources": self.resources, "ring": self.descriptors,
            "pages": self.pages.identity, "block": self.block, "completions": 0, "size": self.count,
            "completion_size": 0, **changes,
        }  # fmt: skip
        return struct.pack(">IIQQIIQHHxxxx", *fields.values())

    def create(self, **changes: int) -> GqiTransmit:
        self.driver.command(CREATE_TX, self.command(**changes))
        self.doorbell, self.counter = struct.unpack(">II", self.driver.ram.read(self.resources, 8))
        return self

    def destroy(self) -> None:
        self.driver.command(DESTROY_TX, struct.pack(">I", self.index))

    @property
    def done(self) -> int:
        return int(struct.unpack(">I", self.driver.ram.read(self.driver.counters + 4 * self.counter, 4))[0])

    def place(self, data: bytes) -> int:
        """Write bytes into the page list; returns their offset."""
        if self.at + len(data) > self.size:
            self.at = 0
        offset = self.at
        self.pages.write(offset, data)
        self.at += len(data)
        return offset

    def push(self, descriptor: bytes) -> None:
        self.driver.ram.write(self.descriptors + self.requested % self.count * 16, descriptor)
        self.requested += 1

    def write(
        self,
        *pieces: bytes,
        checksum: tuple[int, int] | None = None,
        tso: tuple[int, int] | None = None,
        metadata: bool = False,
        total: int | None = None,
    ) -> None:
        """Write a packet; `checksum` is (start, offset of the field from there), `tso` (start of IP, segment size)."""
        kind = SEGMENTED if tso is not None else STANDARD
        start, offset = checksum or (0, 0)
        count = len(pieces) + metadata
        size = sum(map(len, pieces)) if total is None else total
        first = struct.pack(
            ">BBBBHHQ",
            kind | (checksum is not None),
            offset // 2,
            start // 2,
            count,
            size,
            len(pieces[0]),
            self.place(pieces[0]),
        )
        self.push(first)
        if metadata:
            self.push(struct.pack(">BBHIQ", METADATA, 0x10, 0, 0x1234, 0))
        l3, mss = tso or (0, 0)
        for piece in pieces[1:]:
            self.push(struct.pack(">BBHHHQ", SEGMENT, l3 // 2, 0, mss, len(piece), self.place(piece)))

    def ring_doorbell(self) -> None:
        self.driver.ring(self.doorbell, self.requested & 0xFFFFFFFF)

    def send(self, *pieces: bytes, **options: object) -> None:
        self.write(*pieces, **options)
        self.ring_doorbell()
        self.driver.until(lambda: self.done == self.requested & 0xFFFFFFFF, "the event counter")
