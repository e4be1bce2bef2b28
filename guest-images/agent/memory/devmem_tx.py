# SPDX-License-Identifier: GPL-2.0-or-later
"""Sending TCP from a dma-buf that is bound to an interface (`devmem.bind_tx`). Methods ``devmem_tx.*``.

Source: Documentation/networking/devmem.rst (TX Interface); Documentation/networking/msg_zerocopy.rst.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import time
from typing import Any

from agent import handle
from agent.memory.devmem import SCM_DEVMEM_DMABUF
from agent.memory.udmabuf import Udmabuf
from agent.methods import exposed
from agent.sockets import payload, tcp
from agent.system.libc import checked, libc

SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
EXTENDED_ERROR = struct.Struct("=IBBBBII")
"""struct sock_extended_err: errno, origin, type, code, padding, info (first), data (last)."""
ORIGIN_ZEROCOPY, COPIED = 5, 1
CHUNK = 1 << 16


class IoVec(ctypes.Structure):
    """struct iovec, whose address is an offset into the dma-buf."""

    _fields_ = (("base", ctypes.c_size_t), ("length", ctypes.c_size_t))


class MessageHeader(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("iov", ctypes.POINTER(IoVec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_char_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


@exposed
def send(
    address: str,
    port: int,
    buffer: int,
    length: int,
    seed: int = 1,
    binding: int | None = None,
    device: str | None = None,
    timeout: float = 30,
) -> dict[str, Any]:
    """Connect, send stream `seed` (`agent.sockets.payload`) from a dma-buf, and wait for the other end to close the connection.

    Args:
        address: of the other end.
        port: of the other end.
        buffer: handle of the dma-buf.
        length: bytes; at most the size of the dma-buf.
        seed: of the stream.
        binding: the kernel's id of the binding; None sends the same bytes with send(2).
        device: interface to bind the socket to.
        timeout: seconds.

    Returns:
        bytes; sends, the number of calls; completed, how many of them the kernel has completed, and copied, how many of these
        it copied.

    Raises:
        OSError: the kernel refused, or the timeout expired.
    """
    memory = handle.get(buffer, Udmabuf).memory
    memory[:length] = b"".join(payload.chunks(seed, length, CHUNK))
    connection = socket.socket(tcp.address_family(address), socket.SOCK_STREAM)
    with connection:
        tcp.set_options(connection, device, None)
        connection.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        seconds = struct.pack("=qq", int(timeout), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        connection.connect((address, port))
        sent = sends = 0
        while sent < length:
            size = min(CHUNK, length - sent)
            if binding is None:
                sent += connection.send(memory[sent : sent + size])
            else:
                sent += send_piece(connection.fileno(), binding, sent, size)
                sends += 1
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
        completed, copied = completions(connection, sends, timeout)
    return {"bytes": sent, "sends": sends, "completed": completed, "copied": copied}


def send_piece(fd: int, binding: int, offset: int, size: int) -> int:
    """Send bytes of a bound dma-buf; returns how many the kernel took."""
    control = struct.pack("=QiiI4x", 20, socket.SOL_SOCKET, SCM_DEVMEM_DMABUF, binding)
    piece = IoVec(offset, size)
    message = MessageHeader(None, 0, ctypes.pointer(piece), 1, control, len(control), 0)
    return checked(libc.sendmsg(fd, ctypes.byref(message), MSG_ZEROCOPY))


def completions(connection: socket.socket, wanted: int, timeout: float) -> tuple[int, int]:
    """Wait until the kernel has completed `wanted` sends; returns how many it has, and how many of these it copied."""
    done = copied = 0
    end = time.monotonic() + timeout
    poll = select.poll()
    poll.register(connection, 0)  # POLLERR is always reported
    while done < wanted and time.monotonic() < end:
        if not any(events & select.POLLERR for _, events in poll.poll(100)):
            continue
        try:
            _, ancillary, _, _ = connection.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            continue
        for _, _, raw in ancillary:
            _, origin, _, code, _, first, last = EXTENDED_ERROR.unpack_from(raw)
            if origin == ORIGIN_ZEROCOPY:
                done += last - first + 1
                copied += (last - first + 1) * (code == COPIED)
    return done, copied
