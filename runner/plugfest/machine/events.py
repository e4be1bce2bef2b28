# SPDX-License-Identifier: GPL-2.0-or-later
"""What the keeper of a machine, and the far end of its wire, report: ``ready`` or ``refused``, and at the end ``returned``."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import IO, Any

from plugfest.machine.messages import EVENT, MessageReader

Event = dict[str, Any]


class Events(ABC):
    """The events of one of the two, in order.

    Attributes:
        last: the last one; None before the first.
    """

    def __init__(self) -> None:
        """Read nothing yet."""
        self.last: Event | None = None

    def next(self, timeout: float) -> Event | None:
        """Return the next event; None if none comes in time. What else is on the way to it, is dropped."""
        return self._next(time.monotonic() + timeout)

    def returned(self, timeout: float) -> Event | None:
        """Return the event with which it ended, whichever come before: it may have got ready only now; None if none comes in time.

        One that refuses may report nothing after that.
        """
        end = time.monotonic() + timeout
        while self.last is None or self.last["event"] != "returned":
            if self._next(end) is None:
                break
        return self.last if self.last is not None and self.last["event"] != "ready" else None

    def _next(self, end: float) -> Event | None:
        while (data := self._read(end)) is not None:
            with suppress(ValueError):
                found = json.loads(data)
                if isinstance(found, dict) and isinstance(found.get("event"), str):
                    self.last = found
                    return found
        return None

    @abstractmethod
    def _read(self, end: float) -> bytes | None:
        """Return the next piece that may be an event; None if none comes until then, by `time.monotonic`."""


class LineEvents(Events):
    """Events that are lines."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Take the stream, which nobody else reads."""
        super().__init__()
        self._stream = stream
        self._waiting = b""

    def _read(self, end: float) -> bytes | None:
        while b"\n" not in self._waiting:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._stream], [], [], left)[0]:
                return None
            data = os.read(self._stream.fileno(), 1 << 16)
            if not data:
                return None
            self._waiting += data
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line


class MessageEvents(Events):
    """Events that are messages between frames."""

    def __init__(self, stream: socket.socket) -> None:
        """Take the stream, which others may read between two calls."""
        super().__init__()
        self._messages = MessageReader(stream)

    def _read(self, end: float) -> bytes | None:
        while (found := self._messages.next(end)) is not None:
            kind, contents = found
            if kind == EVENT:
                return contents
        return None
