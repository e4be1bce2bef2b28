# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP both ways with a payload that is known (`agent.payload`). Methods ``tcp.*``; some wait for the other end."""

from __future__ import annotations

import hashlib
import socket
import time
from typing import Any

from agent import handle
from agent.methods import exposed
from agent.sockets import payload

CHUNK = 1 << 17


def family(address: str) -> socket.AddressFamily:
    """Return AF_INET or AF_INET6 by the look of the address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def prepare(sock: socket.socket, device: str | None, mss: int | None) -> None:
    """Bind to a device and limit the segment size, where asked to."""
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    if mss:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)


@exposed
def listen(address: str, port: int = 0, device: str | None = None, mss: int | None = None) -> dict[str, int]:
    """Listen; returns handle and port. Connections are taken by `receive` or `serve`."""
    listener = socket.socket(family(address), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    prepare(listener, device, mss)
    listener.bind((address, port))
    listener.listen(64)
    return {"handle": handle.keep(listener), "port": listener.getsockname()[1]}


@exposed
def receive(listener: int, timeout: float = 60) -> dict[str, Any]:
    """Take one connection and read it to its end; returns bytes, sha256, seconds and peer."""
    server = handle.get(listener, socket.socket)
    server.settimeout(timeout)
    connection, peer = server.accept()
    digest = hashlib.sha256()
    count = 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with connection:
        connection.settimeout(timeout)
        start = time.monotonic()
        while size := connection.recv_into(buffer):
            digest.update(view[:size])
            count += size
        seconds = time.monotonic() - start
    return {"bytes": count, "sha256": digest.hexdigest(), "seconds": seconds, "peer": [peer[0], peer[1]]}


@exposed
def serve(listener: int, length: int, seed: int = 1, timeout: float = 60) -> dict[str, Any]:
    """Take one connection, send `length` bytes of stream `seed` to it and close; returns as `send`."""
    server = handle.get(listener, socket.socket)
    server.settimeout(timeout)
    connection, _ = server.accept()
    return pour(connection, length, seed, CHUNK, timeout)


@exposed
def send(
    address: str,
    port: int,
    length: int,
    seed: int = 1,
    chunk: int = CHUNK,
    device: str | None = None,
    source: str | None = None,
    source_port: int = 0,
    mss: int | None = None,
    timeout: float = 60,
) -> dict[str, Any]:
    """Connect, send `length` bytes of stream `seed` by `chunk`, close; returns bytes, sha256, seconds, local."""
    connection = socket.socket(family(address), socket.SOCK_STREAM)
    try:
        prepare(connection, device, mss)
        connection.settimeout(timeout)
        if source or source_port:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind((source or "", source_port))
        connection.connect((address, port))
    except OSError:
        connection.close()
        raise
    return pour(connection, length, seed, chunk, timeout)


def pour(connection: socket.socket, length: int, seed: int, chunk: int, timeout: float) -> dict[str, Any]:
    """Send the stream, wait until the peer has closed too, and close."""
    digest = hashlib.sha256()
    with connection:
        connection.settimeout(timeout)
        local = connection.getsockname()
        start = time.monotonic()
        for piece in payload.chunks(seed, length, chunk):
            connection.sendall(piece)
            digest.update(piece)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
        seconds = time.monotonic() - start
    return {"bytes": length, "sha256": digest.hexdigest(), "seconds": seconds, "local": [local[0], local[1]]}
