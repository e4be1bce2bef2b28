# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages between the coordinator of a run and its workers: JSON objects, one a line, over a socket pair."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

Message = dict[str, Any]

_CHUNK = 1 << 16


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        """Use one end of a socket pair; this object owns and closes it."""
        self._socket = end
        self._buffer = b""

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, kind: str, **fields: object) -> None:
        """Send a message; what the other end no longer reads is lost."""
        # The first line feed ends a message that an interruption cut off.
        text = "\n" + json.dumps({"kind": kind, **fields}, default=str) + "\n"
        with suppress(OSError):
            self._socket.sendall(text.encode())

    def receive(self) -> Message | None:
        """Wait for a message; None if the other end is closed."""
        while True:
            line, separator, rest = self._buffer.partition(b"\n")
            if not separator:
                if not self._read():
                    return None
                continue
            self._buffer = rest
            message = _parsed(line)
            if message is not None:
                return message

    def arrived(self) -> tuple[list[Message], bool]:
        """Return the messages that have come, after the socket became readable, and whether the other end is closed."""
        closed = not self._read()
        *lines, self._buffer = self._buffer.split(b"\n")
        return [message for line in lines if (message := _parsed(line)) is not None], closed

    def _read(self) -> bool:
        try:
            data = self._socket.recv(_CHUNK)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)

    def close(self) -> None:
        """Close this end. Idempotent."""
        self._socket.close()


def _parsed(line: bytes) -> Message | None:
    """Return a line's message; None for an empty line, and for one that an interruption cut off."""
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None
