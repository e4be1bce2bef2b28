# SPDX-License-Identifier: GPL-2.0-or-later
"""Serves JSON lines over TCP, with one thread per connection, so that a call that blocks holds up no other connection.

Environment: ``PLUGFEST_AGENT_SOCKET`` is the path of a Unix socket to serve in place of `ADDRESS`; ``PLUGFEST_BPF`` and
``PLUGFEST_PROGRAMS`` override the folders of the compiled BPF objects and C programs.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import handle, methods
from agent.process import worker

ADDRESS = ("10.0.2.15", 2223)
"""On the management NIC; the runner reaches it through QEMU's user network, and nothing else does (`plugfest.machine.qemu`)."""

IP_FREEBIND = 15
"""Source: include/uapi/linux/in.h."""


def answer(line: bytes) -> dict[str, Any]:
    """Carry out the request in one line and return the reply object; never raises."""
    number: Any = None
    try:
        request = json.loads(line)
        number, method, params = request["id"], request["method"], request.get("params") or {}
    except Exception as error:
        return {"id": number, **methods.failure(error)}
    return {"id": number, **methods.carry_out(method, params)}


def serve_connection(connection: socket.socket) -> None:
    """Answer requests in order until the other end closes the connection."""
    if connection.family == socket.AF_INET:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                reply = json.dumps(answer(line), separators=(",", ":")).encode() + b"\n"
                with suppress(BrokenPipeError):
                    connection.sendall(reply)
    finally:
        handle.close_owned()


def listen() -> socket.socket:
    """Return a socket that listens on `ADDRESS`, which the management NIC may still lack: init sets it meanwhile."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    listener.bind(ADDRESS)
    listener.listen(32)
    return listener


def listen_at(path: str) -> socket.socket:
    """Return a listening socket at `path`, replacing a stale one; only root can connect."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        Path(path).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The name appears once the socket listens: whoever finds it can connect.
    temporary = f"{path}.{os.getpid()}"
    listener.bind(temporary)
    Path(temporary).chmod(0o600)
    listener.listen(32)
    Path(temporary).rename(path)
    return listener


def main() -> int:
    """Import every module, so that no call waits for an import, and serve until killed."""
    methods.load_all()
    worker.prepare(serve_connection)
    path = os.environ.get("PLUGFEST_AGENT_SOCKET")
    listener = listen_at(path) if path else listen()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_connection, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
