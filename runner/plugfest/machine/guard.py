# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's guard on the second serial port: lets the run's key in, tells the SSH host key."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError

_REPEAT = 1.0
"""Seconds after which an unanswered request is repeated."""

_GREETING = "listening"
"""What the guest says when it has opened its port: what was written before that is lost."""

_SILENCE = 0.5
"""Seconds without an answer after which none is under way."""


class Guard:
    """Speaks with the guard. The port carries lines both ways."""

    def __init__(self, port: socket.socket) -> None:
        """Take the connected serial port, which belongs to the guard from now on."""
        self._port = port
        self._port.setblocking(False)
        self._buffer = bytearray()

    def admit(self, public_key: str, deadline: Deadline, alive: Callable[[], str | None] = lambda: None) -> str:
        """Authorize a key, and no other; return the guest's SSH host key.

        Args:
            public_key: line for ``authorized_keys``.
            deadline: the guest must have answered by then.
            alive: returns None while the guest lives, else what happened to it.

        Raises:
            InfrastructureError: the guest did not come so far.
        """
        self._drain()
        while True:
            # The empty line ends whatever an earlier, half-lost request may have left behind.
            self._write(f"\nauthorize {public_key}\n".encode(), deadline)
            again = time.monotonic() + _REPEAT
            while time.monotonic() < again and not deadline.passed:
                line = self._line(min(again - time.monotonic(), deadline.remaining))
                if line is not None and line.startswith("ready "):
                    return line.removeprefix("ready ").strip()
                if line == _GREETING:
                    break
                gone = alive()
                if gone:
                    raise InfrastructureError(f"expected the guest to get ready, found {gone}; see console.log")
            if deadline.passed:
                raise InfrastructureError(
                    f"expected the guest to get ready within {deadline.seconds:.0f} s, found no word from it on its second serial port; "
                    "see console.log"
                )

    def settle(self, deadline: Deadline) -> None:
        """Wait until the guest has answered all it was asked, so that a snapshot holds no request of ours."""
        while not deadline.passed and self._line(_SILENCE) is not None:
            pass

    def _drain(self) -> None:
        """Forget answers to earlier requests."""
        self._buffer.clear()
        with suppress(OSError):
            while self._port.recv(4096):
                pass

    def _write(self, data: bytes, deadline: Deadline) -> None:
        rest = memoryview(data)
        while rest and not deadline.passed:
            _, writable, _ = select.select([], [self._port], [], min(_REPEAT, deadline.remaining))
            if not writable:
                return  # the guest does not read yet: repeated later
            try:
                rest = rest[self._port.send(rest) :]
            except OSError:
                return  # QEMU is gone; `alive` says why

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
