# SPDX-License-Identifier: GPL-2.0-or-later
"""Client of the guest's guard on the second serial port, which authorizes the run's SSH key and reports the SSH host key."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError

_RETRY_INTERVAL = 1.0
"""Seconds without a reply after which the request is repeated."""

_GREETING = "listening"
"""The guard's line after it opened the port; anything written before that is lost."""

_SETTLE_TIME = 0.5
"""Seconds without a reply after which no further reply is expected."""


class Guard:
    """The guard's client. The port carries lines in both directions."""

    def __init__(self, port: socket.socket) -> None:
        """Use the connected serial port; this object owns and closes it."""
        self._port = port
        self._port.setblocking(False)
        self._buffer = bytearray()

    def authorize(self, public_key: str, deadline: Deadline, alive: Callable[[], str | None] = lambda: None) -> str:
        """Authorize a key, as the only one; return the guest's SSH host key.

        Args:
            public_key: line for ``authorized_keys``.
            deadline: for the guest's reply.
            alive: returns None while the guest is running, else what happened to it.

        Raises:
            InfrastructureError: the guest ended or did not reply in time.
        """
        self._drain()
        while True:
            # The empty line terminates an earlier request that was partly lost.
            self._write(f"\nauthorize {public_key}\n".encode(), deadline)
            again = time.monotonic() + _RETRY_INTERVAL
            while time.monotonic() < again and not deadline.passed:
                line = self._line(min(again - time.monotonic(), deadline.remaining))
                if line is not None and line.startswith("ready "):
                    return line.removeprefix("ready ").strip()
                if line == _GREETING:
                    break
                gone = alive()
                if gone:
                    raise InfrastructureError(f"expected the guest to boot, found {gone}; see console.log")
            if deadline.passed:
                raise InfrastructureError(
                    f"expected the guest to boot within {deadline.seconds:.0f} s, found no reply on its second serial port; "
                    "see console.log"
                )

    def settle(self, deadline: Deadline) -> None:
        """Wait until the guest has replied to every request, so that a snapshot contains none."""
        while not deadline.passed and self._line(_SETTLE_TIME) is not None:
            pass

    def _drain(self) -> None:
        """Discard replies to earlier requests."""
        self._buffer.clear()
        with suppress(OSError):
            while self._port.recv(4096):
                pass

    def _write(self, data: bytes, deadline: Deadline) -> None:
        rest = memoryview(data)
        while rest and not deadline.passed:
            _, writable, _ = select.select([], [self._port], [], min(_RETRY_INTERVAL, deadline.remaining))
            if not writable:
                return  # the guest does not read yet; the request is repeated later
            try:
                rest = rest[self._port.send(rest) :]
            except OSError:
                return  # QEMU has ended; `alive` returns why

    def _line(self, timeout: float) -> str | None:
        end = time.monotonic() + timeout
        while True:
            newline = self._buffer.find(b"\n")
            if newline >= 0:
                line = self._buffer[:newline].decode("utf-8", "replace").strip("\r\0")
                del self._buffer[: newline + 1]
                return line
            readable, _, _ = select.select([self._port], [], [], max(0.0, end - time.monotonic()))
            if not readable:
                return None
            try:
                data = self._port.recv(4096)
            except OSError:
                data = b""
            if not data:
                time.sleep(max(0.0, min(0.05, end - time.monotonic())))
                return None
            self._buffer += data

    def close(self) -> None:
        """Close the port. Idempotent."""
        self._port.close()
