# SPDX-License-Identifier: GPL-2.0-or-later
"""Bindings of dma-bufs to queues, and receiving TCP through them. Methods ``devmem.*``.

Source: Documentation/networking/devmem.rst; include/uapi/linux/uio.h (struct dmabuf_cmsg, struct dmabuf_token).
"""

from __future__ import annotations

import ctypes
import hashlib
import select
import socket
import struct
import time
from typing import Any

from agent import handle
from agent.memory.udmabuf import Udmabuf
from agent.methods import exposed
from agent.netlink.connection import NETLINK_GENERIC, Netlink
from agent.netlink.netdev import BIND_RX, BIND_TX, DMABUF, NETDEV
from agent.system.interface import interface_index
from agent.system.kernel import KernelLacksError
from agent.system.libc import checked, libc

MSG_SOCK_DEVMEM = 0x2000000
SCM_DEVMEM_LINEAR = 78
SCM_DEVMEM_DMABUF = 79
SO_DEVMEM_DONTNEED = 80
DMABUF_CMSG = struct.Struct("=QIIII")
TOKEN = struct.Struct("=II")
TOKENS_AT_ONCE = 128
"""The kernel's limit per call."""
CHUNK = 1 << 17
ANCILLARY = 64 * socket.CMSG_SPACE(DMABUF_CMSG.size)


class Binding:
    """A dma-buf bound for receiving or sending, by a netlink socket of its own: the kernel unbinds it when that is closed.

    Attributes:
        id: the kernel's id of the binding.
    """

    def __init__(self, command: int, request: dict[str, Any]) -> None:
        """Bind it, by the command `BIND_RX` or `BIND_TX`.

        Raises:
            NetlinkError: the kernel or the driver refused; errno and the extended error text.
        """
        NETDEV.resolve()
        self.netlink = Netlink(NETLINK_GENERIC)
        try:
            self.id: int = NETDEV.call(command, DMABUF.encode(request), DMABUF, through=self.netlink)[0]["id"]
        except (OSError, KernelLacksError):
            self.close()
            raise

    def close(self) -> None:
        """Unbind it."""
        self.netlink.close()


class Receiver:
    """A connection that receives into bound memory.

    Attributes:
        socket: of the connection.
        held: tokens of received fragments that were not returned.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Own the connection."""
        self.socket = connection
        self.held: list[int] = []

    def close(self) -> None:
        """Close the connection, which returns the held fragments."""
        self.socket.close()

    def give_back(self, count: int | None = None) -> int:
        """Return the first `count` held fragments to the kernel, or all; returns how many it took."""
        wanted, self.held = (self.held, []) if count is None else (self.held[:count], self.held[count:])
        taken = 0
        for at in range(0, len(wanted), TOKENS_AT_ONCE):
            tokens = b"".join(TOKEN.pack(token, 1) for token in wanted[at : at + TOKENS_AT_ONCE])
            # The standard library drops the result of setsockopt(2), the number of fragments.
            arguments = (socket.SOL_SOCKET, SO_DEVMEM_DONTNEED, tokens, ctypes.c_uint(len(tokens)))
            taken += checked(libc.setsockopt(self.socket.fileno(), *arguments))
        return taken


@exposed
def bind(ifname: str, queues: list[int], buffer: int, rx_page_size: int | None = None) -> dict[str, int]:
    """Bind a dma-buf (`udmabuf.create`) to receive queues (bind-rx); returns handle, and the kernel's id of the binding.

    Closing the handle unbinds it.
    """
    request = {
        "ifindex": interface_index(ifname),
        "queues": [{"id": queue, "type": "rx"} for queue in queues],
        "fd": handle.get(buffer, Udmabuf).fd,
        "rx-page-size": rx_page_size,
    }
    made = Binding(BIND_RX, request)
    return {"handle": handle.keep(made), "id": made.id}


@exposed
def bind_tx(ifname: str, buffer: int) -> dict[str, int]:
    """Bind a dma-buf (`udmabuf.create`) to an interface for sending (bind-tx); returns what `bind` returns."""
    made = Binding(BIND_TX, {"ifindex": interface_index(ifname), "fd": handle.get(buffer, Udmabuf).fd})
    return {"handle": handle.keep(made), "id": made.id}


@exposed
def accept(listener: int, timeout: float = 30) -> int:
    """Accept a connection of a listener (`tcp.listen`); returns a handle."""
    server = handle.get(listener, socket.socket)
    server.settimeout(timeout)
    connection, _ = server.accept()
    return handle.keep(Receiver(connection))


@exposed
def receive(
    receiver: int, buffer: int, length: int | None = None, timeout: float = 30, give_back: bool = True
) -> dict[str, Any]:
    """Read a connection to its end, or until `length` bytes have arrived, or until none has for `timeout` seconds.

    Returns:
        bytes and sha256 of all data, in order; bound, the bytes that arrived in the dma-buf, and linear, those that the kernel
        copied; fragments, offset and size of each piece of the dma-buf, up to 4096; ids of the bindings; ended, whether the
        other end has closed the connection.
    """
    connection = handle.get(receiver, Receiver)
    memory = handle.get(buffer, Udmabuf).memory
    digest = hashlib.sha256()
    found: dict[str, Any] = {"bytes": 0, "bound": 0, "linear": 0, "fragments": [], "ids": [], "ended": False}
    data = bytearray(CHUNK)
    end = time.monotonic() + timeout
    while length is None or found["bytes"] < length:
        if not select.select([connection.socket], [], [], max(0.0, end - time.monotonic()))[0]:
            break
        size, ancillary, _, _ = connection.socket.recvmsg_into([data], ANCILLARY, MSG_SOCK_DEVMEM)
        if not size and not ancillary:
            found["ended"] = True
            break
        add_received(connection, memory, data, size, ancillary, digest, found)
        if give_back:
            connection.give_back()
        end = time.monotonic() + timeout
    found["sha256"] = digest.hexdigest()
    return found


def add_received(
    connection: Receiver,
    memory: Any,
    data: bytearray,
    size: int,
    ancillary: list[tuple[int, int, bytes]],
    digest: Any,
    found: dict[str, Any],
) -> None:
    """Add the result of a recvmsg(2) to the result of `receive`."""
    pieces = [(kind, DMABUF_CMSG.unpack_from(raw)) for level, kind, raw in ancillary if level == socket.SOL_SOCKET]
    if not any(kind in {SCM_DEVMEM_LINEAR, SCM_DEVMEM_DMABUF} for kind, _ in pieces):
        digest.update(data[:size])
        found["linear"] += size
        found["bytes"] += size
    at = 0
    for kind, (offset, length, token, identifier, _) in pieces:
        if kind == SCM_DEVMEM_DMABUF:
            digest.update(memory[offset : offset + length])
            found["bound"] += length
            connection.held.append(token)
            if len(found["fragments"]) < 4096:
                found["fragments"].append([offset, length])
            if identifier not in found["ids"]:
                found["ids"].append(identifier)
        elif kind == SCM_DEVMEM_LINEAR:
            digest.update(data[at : at + length])
            found["linear"] += length
            at += length
        else:
            continue
        found["bytes"] += length


@exposed
def give_back(receiver: int, count: int | None = None) -> int:
    """Return fragments that `receive` held to the kernel, the first `count` or all; returns how many it took."""
    return handle.get(receiver, Receiver).give_back(count)


@exposed
def receive_without_devmem(receiver: int, timeout: float = 30) -> int:
    """Read once without MSG_SOCK_DEVMEM, as an ordinary application does; returns the number of bytes."""
    connection = handle.get(receiver, Receiver)
    connection.socket.settimeout(timeout)
    return len(connection.socket.recv(CHUNK))
