# SPDX-License-Identifier: GPL-2.0-or-later
"""Forwards connections from a port on the host into the run's network namespace, for ``plugfest shell``."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from plugfest.errors import InfrastructureError

_CHUNK = 1 << 16


def listen(port: int = 0) -> socket.socket:
    """Return a socket that listens on the host's 127.0.0.1; call it before entering the run's namespaces.

    Args:
        port: 0 for any free port.

    Raises:
        InfrastructureError: the port is in use.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise InfrastructureError(
            f"expected 127.0.0.1:{port} to be free, found: {error.strerror}; choose another --port, or 0 for any free one"
        ) from error
    listener.listen(16)
    return listener


class Relay:
    """Forwards each connection to the target until it is closed."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        """Start.

        Args:
            listener: from `listen`; the relay owns and closes it.
            target: an address in this network namespace, such as the guest's forwarded SSH port.
        """
        self._listener = listener
        self._target = target
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The host's port."""
        return int(self._listener.getsockname()[1])

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(self._target, timeout=10.0)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), name="relay-pump", daemon=True).start()

    def close(self) -> None:
        """Stop accepting connections. Idempotent."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until end of file and then shut the sink down; the second direction to end closes both sockets."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # the other direction has ended as well
        source.close()
        sink.close()
