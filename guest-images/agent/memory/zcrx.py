# SPDX-License-Identifier: GPL-2.0-or-later
"""Receiving TCP into memory of this process by io_uring zero-copy receive. Methods ``zcrx.*``, for workers.

A ring belongs to the thread that created it, and the agent has one thread per connection: use `worker.call`.
Source: Documentation/networking/iou-zcrx.rst; include/uapi/linux/io_uring.h and io_uring/zcrx.h.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import hashlib
import mmap
import os
import socket
import struct
import time
from contextlib import suppress
from typing import Any

from agent import handle
from agent.memory import pagemap
from agent.methods import exposed
from agent.system.interface import interface_index
from agent.system.kernel import KernelLacksError, has_name
from agent.system.libc import address, checked, libc

SYS_SETUP, SYS_ENTER, SYS_REGISTER = 425, 426, 427
"""The same on every architecture."""

SETUP_CQE32 = 1 << 11
SETUP_SINGLE_ISSUER = 1 << 12
SETUP_DEFER_TASKRUN = 1 << 13
ENTER_GETEVENTS = 1 << 0
ENTER_EXT_ARG = 1 << 3
OFFSET_SQ_RING = 0
OFFSET_SQES = 0x10000000
REGISTER_ZCRX_IFQ = 32
REQUEST = "io_uring_zcrx_ifq_reg"
"""Its structure."""
OP_RECV_ZC = 58
RECV_MULTISHOT = 1 << 1
CQE_MORE = 1 << 1
MEMORY_REGION_USER = 1
AREA_MASK = (1 << 48) - 1

ENTRIES = 64
REFILL_ENTRIES = 1024
SQE_SIZE = 64
CQE = struct.Struct("=QiIQQ")
"""struct io_uring_cqe and io_uring_zcrx_cqe: user_data, res, flags; offset into the area, padding."""
REFILL = struct.Struct("=QII")
PARAMS = struct.Struct("=10I" + "8IQ" * 2)
SQ_OFFSETS, CQ_OFFSETS = 10, 19
"""Indexes of sq_off and cq_off in the fields of struct io_uring_params."""


def system_call(number: int, *arguments: Any) -> int:
    """Call a system call and return its result.

    Raises:
        OSError: with the kernel's errno.
    """
    return checked(
        libc.syscall(number, *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    )


class Words:
    """Aligned 32-bit words in shared memory, each read and written in one access.

    Args:
        memory: the mapping.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        """Use the mapping."""
        self.words = memoryview(memory).cast("I")

    def __getitem__(self, offset: int) -> int:
        """Return the word at an offset in bytes."""
        return self.words[offset // 4]

    def __setitem__(self, offset: int, value: int) -> None:
        """Set the word at an offset in bytes."""
        self.words[offset // 4] = value & 0xFFFFFFFF

    def close(self) -> None:
        """Release the mapping."""
        self.words.release()


class Zcrx:
    """A ring with a registered receive queue, and the memory that the queue receives into.

    Attributes:
        area: that memory.
    """

    def __init__(self, ifname: str, queue: int, length: int) -> None:
        """Create the ring and register the queue.

        Raises:
            KernelLacksError: the kernel has no zero-copy receive.
            OSError: the kernel or the driver refused; there is no extended error text.
        """
        parameters = ctypes.create_string_buffer(PARAMS.size)
        flags = SETUP_CQE32 | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN
        struct.pack_into("=III", parameters, 0, 0, 0, flags)
        self.fd = system_call(SYS_SETUP, ENTRIES, parameters)
        fields = PARAMS.unpack(parameters.raw)
        (self.sq_head, self.sq_tail, self.sq_mask, _, _, _, self.sq_array) = fields[SQ_OFFSETS : SQ_OFFSETS + 7]
        (self.cq_head, self.cq_tail, self.cq_mask, _, _, self.cqes) = fields[CQ_OFFSETS : CQ_OFFSETS + 6]
        size = max(self.sq_array + fields[0] * 4, self.cqes + fields[1] * CQE.size)
        self.ring = mmap.mmap(self.fd, size, offset=OFFSET_SQ_RING)
        self.sqes = mmap.mmap(self.fd, fields[0] * SQE_SIZE, offset=OFFSET_SQES)
        self.words = Words(self.ring)
        self.area = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.refill = mmap.mmap(
            -1, REFILL_ENTRIES * REFILL.size + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )
        self.refill_words = Words(self.refill)
        try:
            self._register(interface_index(ifname), queue)
        except (OSError, KernelLacksError):
            self.close()
            raise

    def _register(self, ifindex: int, queue: int) -> None:
        area = ctypes.create_string_buffer(struct.pack("=QQQIIQQ", address(self.area), len(self.area), 0, 0, 0, 0, 0))
        region = ctypes.create_string_buffer(
            struct.pack("=QQIIQ4Q", address(self.refill), len(self.refill), MEMORY_REGION_USER, *[0] * 6)
        )
        pointers = (ctypes.addressof(area), ctypes.addressof(region))
        request = ctypes.create_string_buffer(
            struct.pack("=4I2Q4I2Q2I3Q", ifindex, queue, REFILL_ENTRIES, 0, *pointers, *[0] * 11)
        )
        try:
            system_call(SYS_REGISTER, self.fd, REGISTER_ZCRX_IFQ, request, 1)
        except OSError as error:
            if has_name(REQUEST):
                raise
            raise KernelLacksError(
                f"io_uring zero-copy receive: IORING_REGISTER_ZCRX_IFQ returned {error.strerror}, the BTF has no {REQUEST}"
            ) from error
        _, self.refill_tail, self.refill_entries = struct.unpack_from("=III", request.raw, 32)
        self.entries = struct.unpack_from("=I", request.raw, 8)[0]
        self.token: int = struct.unpack_from("=Q", area.raw, 16)[0]

    def close(self) -> None:
        """Close the ring; the kernel releases the queue some time later."""
        os.close(self.fd)
        for each in (self.words, self.refill_words):
            each.close()
        for memory in (self.ring, self.sqes, self.area, self.refill):
            with suppress(BufferError):
                memory.close()

    def request_receive(self, connection: int) -> None:
        """Submit a multishot receive of a connection."""
        tail = self.words[self.sq_tail]
        index = tail & self.words[self.sq_mask]
        entry = struct.pack("=BBHiQQIIQHHIQQ", OP_RECV_ZC, 0, RECV_MULTISHOT, connection, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0)
        self.sqes[index * SQE_SIZE : index * SQE_SIZE + SQE_SIZE] = entry
        self.words[self.sq_array + index * 4] = index
        self.words[self.sq_tail] = tail + 1
        system_call(SYS_ENTER, self.fd, 1, 0, 0, 0, 0)

    def wait(self, timeout: float) -> bool:
        """Wait for a completion; returns whether there is one."""
        if self.words[self.cq_head] != self.words[self.cq_tail]:
            return True
        limit = ctypes.create_string_buffer(struct.pack("=qq", int(timeout), int(timeout % 1 * 1e9)))
        argument = ctypes.create_string_buffer(struct.pack("=QIIQ", 0, 8, 0, ctypes.addressof(limit)))
        try:
            system_call(SYS_ENTER, self.fd, 0, 1, ENTER_GETEVENTS | ENTER_EXT_ARG, argument, 24)
        except OSError as error:
            if error.errno not in {errno.ETIME, errno.EINTR}:
                raise
        return self.words[self.cq_head] != self.words[self.cq_tail]

    def completion(self) -> tuple[int, int, int]:
        """Take the next completion: result, flags, offset into the area."""
        head = self.words[self.cq_head]
        at = self.cqes + (head & self.words[self.cq_mask]) * CQE.size
        _, result, flags, offset, _ = CQE.unpack_from(self.ring, at)
        self.words[self.cq_head] = head + 1
        return result, flags, offset & AREA_MASK

    def give_back(self, offset: int, length: int) -> None:
        """Return a piece of the area to the kernel, by the refill ring."""
        tail = self.refill_words[self.refill_tail]
        at = self.refill_entries + (tail & self.entries - 1) * REFILL.size
        REFILL.pack_into(self.refill, at, offset | self.token, length, 0)
        self.refill_words[self.refill_tail] = tail + 1


@exposed
def register(ifname: str, queue: int, length: int) -> int:
    """Create a ring and register receive queue `queue` with `length` bytes of memory; closing the handle releases the queue."""
    return handle.keep(Zcrx(ifname, queue, length))


@exposed
def pages(ring: int) -> list[int]:
    """Return the physical address of each page of the memory, in order; 0 where the kernel does not show it."""
    return pagemap.pages(handle.get(ring, Zcrx).area)


@exposed
def read(ring: int, offset: int, length: int) -> str:
    """Return bytes of the memory (base64)."""
    return base64.b64encode(handle.get(ring, Zcrx).area[offset : offset + length]).decode()


@exposed
def receive(ring: int, listener: int, length: int | None = None, timeout: float = 30) -> dict[str, Any]:
    """Accept a connection of a listener (`tcp.listen`) and read it to its end, or until `length` bytes have arrived.

    Returns:
        bytes and sha256 of all data, in order; fragments, offset and size of each piece of the memory, up to 4096; ended,
        whether the other end has closed the connection, false if nothing arrived for `timeout` seconds.
    """
    found = handle.get(ring, Zcrx)
    server = handle.get(listener, socket.socket)
    server.settimeout(timeout)
    connection, _ = server.accept()
    connection.setblocking(True)
    digest = hashlib.sha256()
    result: dict[str, Any] = {"bytes": 0, "fragments": [], "ended": False}
    with connection:
        found.request_receive(connection.fileno())
        end = time.monotonic() + timeout
        while length is None or result["bytes"] < length:
            if not found.wait(max(0.0, end - time.monotonic())):
                break
            size, flags, offset = found.completion()
            if size < 0:
                raise OSError(-size, os.strerror(-size))
            if not size and not flags & CQE_MORE:
                result["ended"] = True
                break
            digest.update(found.area[offset : offset + size])
            result["bytes"] += size
            if len(result["fragments"]) < 4096:
                result["fragments"].append([offset, size])
            found.give_back(offset, size)
            if not flags & CQE_MORE:
                found.request_receive(connection.fileno())
            end = time.monotonic() + timeout
    result["sha256"] = digest.hexdigest()
    return result
