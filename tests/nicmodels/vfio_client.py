# SPDX-License-Identifier: GPL-2.0-or-later
"""A vfio-user client for tests, written from QEMU's docs/interop/vfio-user.rst alone.

It shares no code with the server under test; it repeats every layout on purpose.
"""

from __future__ import annotations

import array
import contextlib
import json
import mmap
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

VERSION = 1
DMA_MAP = 2
DMA_UNMAP = 3
DEVICE_GET_INFO = 4
DEVICE_GET_REGION_INFO = 5
DEVICE_GET_IRQ_INFO = 7
DEVICE_SET_IRQS = 8
REGION_READ = 9
REGION_WRITE = 10
DMA_READ = 11
DMA_WRITE = 12
DEVICE_RESET = 13
REGION_WRITE_MULTI = 15

CONFIG_REGION = 7
INTX, MSI, MSIX, ERR, REQ = range(5)
IRQ_NONE, IRQ_BOOL, IRQ_EVENTFD = 1, 2, 4
IRQ_MASK, IRQ_UNMASK, IRQ_TRIGGER = 8, 16, 32

CAPABILITIES = {
    "max_msg_fds": 16,
    "max_data_xfer_size": 1048576,
    "pgsizes": 4096,
    "max_dma_maps": 65535,
    "write_multiple": True,
}


class VfioError(Exception):
    """The server answered with an error.

    Attributes:
        errno: the error number of the reply.
    """

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


class Disconnected(Exception):  # noqa: N818 - an event, not an error
    """The server closed the connection."""


@dataclass
class Message:
    """A received message: header fields, payload, descriptors."""

    id: int
    command: int
    flags: int
    error: int
    payload: bytes
    fds: list[int] = field(default_factory=list)


@dataclass
class RegionInfo:
    """The server's description of a region."""

    index: int
    flags: int
    size: int
    argsz: int
    cap_offset: int
    areas: list[tuple[int, int]]
    fds: list[int]


class GuestRam:
    """Guest memory: a memfd, mapped here as `bytes`, and a bump allocator for the tests' rings and buffers."""

    def __init__(self, iova: int, size: int) -> None:
        self.iova = iova
        self.size = size
        self.fd = os.memfd_create("guest-ram")
        os.ftruncate(self.fd, size)
        self.bytes = mmap.mmap(self.fd, size)
        self._next = iova

    def allocate(self, size: int, alignment: int = 128) -> int:
        """Allocate `size` bytes; returns their DMA address."""
        start = -(-self._next // alignment) * alignment
        assert start + size <= self.iova + self.size, "the guest's RAM is used up"
        self._next = start + size
        return start

    def read(self, iova: int, length: int) -> bytes:
        """Guest memory by DMA address."""
        at = iova - self.iova
        assert 0 <= at <= self.size - length
        return self.bytes[at : at + length]

    def write(self, iova: int, data: bytes) -> None:
        """Guest memory by DMA address."""
        at = iova - self.iova
        assert 0 <= at <= self.size - len(data)
        self.bytes[at : at + len(data)] = data

    def close(self) -> None:
        """Release it."""
        self.bytes.close()
        os.close(self.fd)


class VfioClient:
    """One connection. Every method waits for the reply, at most `timeout` seconds, unless its docstring differs."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self.timeout = timeout
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.ram: list[GuestRam] = []
        self.remote_memory: dict[int, bytearray] = {}  # mapped without descriptor: DMA address to content
        self.refuse_dma: int | None = None  # answer the server's DMA messages with this errno
        self.dma_requests: list[tuple[int, int, int]] = []  # (command, address, count)
        self.irqs: dict[tuple[int, int], int] = {}  # (index, vector) to eventfd
        self.server_capabilities: dict[str, Any] = {}
        self._next_id = 0
        self._bytes = b""
        self._fds: list[int] = []

    def close(self) -> None:
        """Close the connection and what this client owns; can be called again."""
        self.socket.close()
        for fd in (*self.irqs.values(), *self._fds):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.irqs.clear()
        self._fds.clear()
        for ram in self.ram:
            ram.close()
        self.ram.clear()

    # Messages

    def send(
        self,
        command: int,
        payload: bytes = b"",
        fds: Iterable[int] = (),
        *,
        flags: int = 0,
        size: int | None = None,
        error: int = 0,
        message_id: int | None = None,
    ) -> int:
        """Send one message, valid or not; returns its id."""
        if message_id is None:
            self._next_id = (self._next_id + 1) & 0xFFFF
            message_id = self._next_id
        size = 16 + len(payload) if size is None else size
        self.send_raw(struct.pack("<HHIII", message_id, command, size, flags, error) + payload, fds)
        return message_id

    def send_raw(self, data: bytes, fds: Iterable[int] = ()) -> None:
        """Send bytes."""
        descriptors = array.array("i", fds)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if descriptors else []
        try:
            sent = self.socket.sendmsg([data], ancillary)
            if sent < len(data):
                self.socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as broken:
            raise Disconnected from broken

    def receive(self) -> Message:
        """The next message of any kind."""
        header = self._take(16)
        message_id, command, size, flags, error = struct.unpack("<HHIII", header)
        assert size >= 16, f"the server sent a message of {size} bytes"
        message = Message(message_id, command, flags, error, self._take(size - 16))
        message.fds, self._fds = self._fds, []
        return message

    def reply_to(self, message_id: int) -> Message:
        """The reply to a message; requests of the server in the meantime are answered."""
        while True:
            message = self.receive()
            if message.flags & 0xF == 1:
                assert message.id == message_id, f"reply to {message.id} while waiting for {message_id}"
                if message.flags & 0x20:
                    assert not message.payload, "an error reply with a payload"
                    raise VfioError(message.error)
                assert message.error == 0
                return message
            self._serve_dma(message)

    def request(self, command: int, payload: bytes = b"", fds: Iterable[int] = ()) -> Message:
        """Send a command and wait for its reply.

        Raises:
            VfioError: the reply is an error.
            Disconnected: the server closed the connection.
        """
        message_id = self.send(command, payload, fds)
        reply = self.reply_to(message_id)
        assert reply.command == command
        return reply

    def closed_by_server(self) -> bool:
        """Wait for the server to close the connection; false if it sends something."""
        try:
            self.receive()
        except Disconnected:
            return True
        return False

    def quiet(self, seconds: float = 0.05) -> bool:
        """Whether the server sends nothing for a while."""
        return not self._bytes and not select.select([self.socket], [], [], seconds)[0]

    # Commands

    def negotiate(
        self, major: int = 0, minor: int = 0, capabilities: dict[str, Any] | None = None
    ) -> tuple[int, int, dict[str, Any]]:
        """VERSION; returns the server's version and capabilities."""
        proposed = CAPABILITIES if capabilities is None else capabilities
        text = json.dumps({"capabilities": proposed}).encode() + b"\0"
        reply = self.request(VERSION, struct.pack("<HH", major, minor) + text)
        answered = struct.unpack_from("<HH", reply.payload)
        assert reply.payload.endswith(b"\0")
        self.server_capabilities = json.loads(reply.payload[4:-1])["capabilities"]
        return answered[0], answered[1], self.server_capabilities

    def device_info(self) -> tuple[int, int, int]:
        """DEVICE_GET_INFO: flags, number of regions, number of interrupt types."""
        reply = self.request(DEVICE_GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))
        argsz, flags, regions, irqs = struct.unpack("<IIII", reply.payload)
        assert argsz == 16
        return flags, regions, irqs

    def region_info(self, index: int, argsz: int = 32) -> RegionInfo:
        """DEVICE_GET_REGION_INFO with room for `argsz` bytes."""
        reply = self.request(DEVICE_GET_REGION_INFO, struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))
        needed, flags, got, cap_offset, size, offset = struct.unpack_from("<IIIIQQ", reply.payload)
        assert (got, offset) == (index, 0)
        assert len(reply.payload) <= argsz
        areas = []
        if cap_offset and len(reply.payload) > cap_offset:
            kind, version, following, count, _ = struct.unpack_from("<HHIII", reply.payload, cap_offset)
            assert (kind, version, following) == (1, 1, 0)
            areas = [struct.unpack_from("<QQ", reply.payload, cap_offset + 16 + 16 * i) for i in range(count)]
        return RegionInfo(index, flags, size, needed, cap_offset, areas, reply.fds)

    def irq_info(self, index: int) -> tuple[int, int]:
        """DEVICE_GET_IRQ_INFO: flags and number of vectors."""
        reply = self.request(DEVICE_GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))
        argsz, flags, got, count = struct.unpack("<IIII", reply.payload)
        assert (argsz, got) == (16, index)
        return flags, count

    def add_ram(self, iova: int, size: int, *, writable: bool = True) -> GuestRam:
        """Guest memory at `iova`, shared with the server."""
        ram = GuestRam(iova, size)
        self.ram.append(ram)
        self.dma_map(iova, size, ram.fd, flags=3 if writable else 1)
        return ram

    def add_remote_memory(self, iova: int, size: int) -> bytearray:
        """Guest memory at `iova` that the server reaches by DMA_READ and DMA_WRITE only."""
        self.remote_memory[iova] = bytearray(size)
        self.dma_map(iova, size, None)
        return self.remote_memory[iova]

    def dma_map(self, iova: int, size: int, fd: int | None, *, offset: int = 0, flags: int = 3) -> None:
        """DMA_MAP."""
        payload = struct.pack("<IIQQQ", 32, flags, offset, iova, size)
        reply = self.request(DMA_MAP, payload, [] if fd is None else [fd])
        assert reply.payload == b""

    def dma_unmap(self, iova: int, size: int) -> None:
        """DMA_UNMAP; the reply repeats the request."""
        payload = struct.pack("<IIQQ", 24, 0, iova, size)
        assert self.request(DMA_UNMAP, payload).payload == payload

    def read_bytes(self, region: int, offset: int, count: int) -> bytes:
        """REGION_READ of any number of bytes."""
        header = struct.pack("<QII", offset, region, count)
        reply = self.request(REGION_READ, header)
        assert reply.payload[:16] == header
        assert len(reply.payload) == 16 + count
        return reply.payload[16:]

    def read(self, region: int, offset: int, size: int = 4) -> int:
        """Read a register."""
        return int.from_bytes(self.read_bytes(region, offset, size), "little")

    def write_bytes(self, region: int, offset: int, data: bytes) -> None:
        """REGION_WRITE, acknowledged."""
        header = struct.pack("<QII", offset, region, len(data))
        assert self.request(REGION_WRITE, header + data).payload == header

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        """Write a register, acknowledged."""
        self.write_bytes(region, offset, value.to_bytes(size, "little"))

    def post(self, region: int, offset: int, value: int, size: int = 4) -> None:
        """Write a register, posted (No_reply), as QEMU writes BARs."""
        self.send(REGION_WRITE, struct.pack("<QII", offset, region, size) + value.to_bytes(size, "little"), flags=0x10)

    def post_many(self, writes: Sequence[tuple[int, int, int]], size: int = 4) -> None:
        """REGION_WRITE_MULTI, posted: `(region, offset, value)` each."""
        self.send(REGION_WRITE_MULTI, _many(writes, size), flags=0x10)

    def write_many(self, writes: Sequence[tuple[int, int, int]], size: int = 4) -> int:
        """REGION_WRITE_MULTI, acknowledged: how many writes were completed."""
        return int(struct.unpack("<Q", self.request(REGION_WRITE_MULTI, _many(writes, size)).payload)[0])

    def config_read(self, offset: int, size: int = 4) -> int:
        """Configuration space."""
        return self.read(CONFIG_REGION, offset, size)

    def config_write(self, offset: int, value: int, size: int = 4) -> None:
        """Configuration space."""
        self.write(CONFIG_REGION, offset, value, size)

    def enable(self) -> None:
        """Turn memory decoding and bus mastering on, as a driver's probe does."""
        self.config_write(0x04, self.config_read(0x04, 2) | 0x6, 2)

    def capability(self, wanted: int) -> int | None:
        """Find a capability in the configuration space; returns its offset."""
        at = self.config_read(0x34, 1) if self.config_read(0x06, 2) & 0x10 else 0
        seen: set[int] = set()
        while at and at not in seen:
            seen.add(at)
            if self.config_read(at, 1) == wanted:
                return at
            at = self.config_read(at + 1, 1)
        return None

    def extended_capability(self, wanted: int) -> int | None:
        """Find an extended capability; returns its offset."""
        at = 0x100
        while at:
            header = self.config_read(at)
            if header & 0xFFFF == wanted:
                return at
            at = header >> 20
        return None

    def function_level_reset(self) -> None:
        """Initiate FLR in Device Control."""
        at = self.capability(0x10)
        assert at is not None
        self.config_write(at + 8, self.config_read(at + 8, 2) | 0x8000, 2)

    def reset(self) -> None:
        """DEVICE_RESET."""
        assert self.request(DEVICE_RESET).payload == b""

    # Interrupts

    def set_irqs(
        self, index: int, flags: int, start: int, count: int, data: bytes = b"", fds: Iterable[int] = ()
    ) -> None:
        """DEVICE_SET_IRQS."""
        payload = struct.pack("<IIIII", 20 + len(data), flags, index, start, count) + data
        assert self.request(DEVICE_SET_IRQS, payload, fds).payload == b""

    def enable_irqs(self, index: int, count: int, start: int = 0) -> None:
        """Set the eventfds of vectors, 16 per message."""
        for first in range(start, start + count, 16):
            vectors = range(first, min(first + 16, start + count))
            for vector in vectors:
                self.irqs[index, vector] = os.eventfd(0, os.EFD_NONBLOCK)
            fds = [self.irqs[index, vector] for vector in vectors]
            self.set_irqs(index, IRQ_EVENTFD | IRQ_TRIGGER, first, len(fds), fds=fds)

    def disable_irqs(self, index: int) -> None:
        """Clear all vectors of a type."""
        self.set_irqs(index, IRQ_NONE | IRQ_TRIGGER, 0, 0)

    def wait_irq(self, index: int, vector: int, timeout: float | None = None) -> int:
        """Wait for an interrupt; returns how many there were since the last call.

        Raises:
            TimeoutError: there was none.
        """
        fd = self.irqs[index, vector]
        if not select.select([fd], [], [], self.timeout if timeout is None else timeout)[0]:
            raise TimeoutError(f"no interrupt on vector {vector} of type {index}")
        return os.eventfd_read(fd)

    def irq_count(self, index: int, vector: int) -> int:
        """The number of interrupts since the last call; does not wait."""
        try:
            return os.eventfd_read(self.irqs[index, vector])
        except BlockingIOError:
            return 0

    # Inside

    def _take(self, count: int) -> bytes:
        deadline = time.monotonic() + self.timeout
        while len(self._bytes) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self._bytes)} of {count} bytes within {self.timeout} s")
            try:
                data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(64))
            except ConnectionResetError as broken:
                raise Disconnected from broken
            for level, kind, raw in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self._fds += array.array("i", raw[: len(raw) & ~3])
            if not data:
                raise Disconnected
            self._bytes += data
        taken, self._bytes = self._bytes[:count], self._bytes[count:]
        return taken

    def _serve_dma(self, message: Message) -> None:
        address, count = struct.unpack_from("<QQ", message.payload)
        self.dma_requests.append((message.command, address, count))
        if self.refuse_dma is not None:
            self.send(message.command, flags=0x21, error=self.refuse_dma, message_id=message.id)
            return
        for start, memory in self.remote_memory.items():
            at = address - start
            if 0 <= at <= len(memory) - count:
                if message.command == DMA_READ:
                    answer = message.payload[:16] + bytes(memory[at : at + count])
                else:
                    memory[at : at + count] = message.payload[16 : 16 + count]
                    answer = struct.pack("<QI", address, count)
                self.send(message.command, answer, flags=1, message_id=message.id)
                return
        self.send(message.command, flags=0x21, error=14, message_id=message.id)


def _many(writes: Sequence[tuple[int, int, int]], size: int) -> bytes:
    entries = (struct.pack("<QIIQ", offset, region, size, value) for region, offset, value in writes)
    return struct.pack("<Q", len(writes)) + b"".join(entries)
