# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages on the stream to and from the far end: kind and length, then the contents (guest-images/agent/hardware/far_end.py)."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

HEADER = struct.Struct(">BI")
FRAME, SYNC, EVENT = 0, 1, 2
"""Kinds: a frame; a number, which comes back with the number of frames lost; JSON."""
_LONGEST = 1 << 20
"""Bytes; a header with more is not one: something else writes to the stream."""


def message(kind: int, contents: bytes) -> bytes:
    """Return a message."""
    return HEADER.pack(kind, len(contents)) + contents


def missing(begun: bytes | bytearray) -> int:
    """Return how many bytes the message that has begun lacks, at least."""
    if len(begun) < HEADER.size:
        return HEADER.size - len(begun)
    return int(HEADER.unpack_from(begun)[1]) + HEADER.size - len(begun)


def take(incoming: bytearray) -> Iterator[tuple[int, bytes]]:
    """Yield kind and contents of each whole message, and leave what comes behind them."""
    at = 0
    try:
        while at + HEADER.size <= len(incoming):
            kind, length = HEADER.unpack_from(incoming, at)
            end = at + HEADER.size + length
            if end > len(incoming):
                return
            contents = bytes(incoming[at + HEADER.size : end])
            at = end
            yield kind, contents
    finally:
        del incoming[:at]


class MessageReader:
    """Reads message by message, and never a byte of the one behind: whoever has the stream next finds whole messages."""

    def __init__(self, stream: socket.socket) -> None:
        """Read nothing yet."""
        self._stream = stream
        self._begun = bytearray()

    def next(self, end: float) -> tuple[int, bytes] | None:
        """Return kind and contents of the next message; None if the stream ends, or none comes until then.

        Args:
            end: by `time.monotonic`.
        """
        while (lacking := missing(self._begun)) > 0:
            left = end - time.monotonic()
            if left <= 0 or lacking > _LONGEST:
                return None
            self._stream.settimeout(left)
            try:
                data = self._stream.recv(lacking)
            except OSError:
                return None
            finally:
                self._stream.settimeout(None)
            if not data:
                return None
            self._begun += data
        (found,) = take(self._begun)
        return found
