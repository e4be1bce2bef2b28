# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP in both directions, with generated payload (`agent.sockets.payload`). Methods ``tcp.*``; some wait for the other end."""

from __future__ import annotations

import hashlib
import socket
import time
from typing import Any

from agent import handle
from agent.methods import exposed
from agent.sockets import payload

CHUNK = 1 << 17


def address_family(address: str) -> socket.AddressFamily:
    """Return AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def set_options(sock: socket.socket, device: str | None, mss: int | None) -> None:
    """Bind a socket to a device and limit its MSS, where given."""
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    if mss:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)


@exposed
def listen(address: str, port: int = 0, device: str | None = None, mss: int | None = None) -> dict[str, int]:
    """Listen; returns handle and port. `receive` and `serve` accept connections."""
    listener = socket.socket(address_family(address), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    set_options(listener, device, mss)
    listener.bind((address, port))
    listener.listen(64)
    return {"handle": handle.keep(listener), "port": listener.getsockname()[1]}


@exposed
def receive(listener: int, timeout: float = 60) -> dict[str, Any]:
    """Accept a connection and read it to its end; returns bytes, sha256, seconds and peer."""
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
    """Connect, send `length` bytes of stream `seed` in writes of `chunk` bytes, close; returns bytes, sha256, seconds, local."""
    connection = socket.socket(address_family(address), socket.SOCK_STREAM)
    try:
        set_options(connection, device, mss)
        connection.settimeout(timeout)
        if source or source_port:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind((source or "", source_port))
        connection.connect((address, port))
    except OSError:
        connection.close()
        raise
    return send_stream(connection, length, seed, chunk, timeout)


def send_stream(connection: socket.socket, length: int, seed: int, chunk: int, timeout: float) -> dict[str, Any]:
    """Send the stream, shut down, wait until the peer has closed, and close the connection."""
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
