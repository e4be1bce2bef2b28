# SPDX-License-Identifier: GPL-2.0-or-later
"""Serves JSON lines on a Unix socket, with one thread per connection, so that a call that blocks holds up no other connection.

Environment: ``PLUGFEST_AGENT_SOCKET`` overrides `SOCKET`; ``PLUGFEST_BPF`` and ``PLUGFEST_PROGRAMS`` override the folders of
the compiled BPF objects and C programs.
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

SOCKET = "/run/plugfest/agent.sock"


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
    try:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                reply = json.dumps(answer(line), separators=(",", ":")).encode() + b"\n"
                with suppress(BrokenPipeError):
                    connection.sendall(reply)
    finally:
        handle.close_owned()


def listen(path: str) -> socket.socket:
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
    listener = listen(os.environ.get("PLUGFEST_AGENT_SOCKET", SOCKET))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_connection, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
