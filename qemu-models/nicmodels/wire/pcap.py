# SPDX-License-Identifier: MIT
"""A recorder around any wire: pcapng with nanosecond timestamps and directions.

Source: draft-ietf-opsawg-pcapng, sections 4.1 (section header), 4.2 (interface description), 4.3 (enhanced packet).
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nicmodels.wire.protocol import Buffer, Wire, WireCounters

LINKTYPE_ETHERNET = 1
SECTION_HEADER = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
# if_tsresol (option 9) = 10^-9 s, then the end of options.
INTERFACE = struct.pack("<IIHHIHHB3xHHI", 1, 32, LINKTYPE_ETHERNET, 0, 0, 9, 1, 9, 0, 0, 32)
PACKET = struct.Struct("<IIIIIII")  # type, length, interface, time high, time low, captured, original
PACKET_END = struct.Struct("<HHIHHI")  # epb_flags (option 2), 4 bytes, flags, end of options, length
INBOUND = 1
OUTBOUND = 2


class PcapRecorder:
    """Passes everything to the inner wire and, while recording, copies the frames of both directions to a file.

    Inbound and outbound are from the device's point of view.

    Attributes:
        inner: the inner wire.
    """

    def __init__(self, wire: Wire) -> None:
        self.inner = wire
        self._file: BinaryIO | None = None
        self._frames = 0

    def record(self, path: Path) -> None:
        """Start a new file; a recording in progress is finished first.

        Raises:
            OSError: the file cannot be written.
        """
        file = path.open("wb")
        self.stop()
        file.write(SECTION_HEADER + INTERFACE)
        self._file = file
        self._frames = 0

    def stop(self) -> int:
        """Finish the file.

        Returns:
            The number of frames in it; 0 if nothing was recorded.
        """
        if self._file is None:
            return 0
        self._file.close()
        self._file = None
        return self._frames

    @property
    def recording(self) -> bool:
        """Whether a file is being written."""
        return self._file is not None

    @property
    def counters(self) -> WireCounters:
        """Of the inner wire."""
        return self.inner.counters

    def fileno(self) -> int | None:
        """Of the inner wire."""
        return self.inner.fileno()

    def transmit(self, buffers: Sequence[Buffer]) -> None:
        """Send and record."""
        if self._file is not None:
            self._write(OUTBOUND, b"".join(buffers))
        self.inner.transmit(buffers)

    def transmit_many(self, frames: Sequence[Sequence[Buffer]]) -> None:
        """Send and record."""
        if self._file is not None:
            for frame in frames:
                self._write(OUTBOUND, b"".join(frame))
        self.inner.transmit_many(frames)

    def receive(self) -> bytes | None:
        """Receive and record."""
        frame = self.inner.receive()
        if frame is not None and self._file is not None:
            self._write(INBOUND, frame)
        return frame

    def receive_many(self, limit: int) -> list[bytes]:
        """Receive and record."""
        frames = self.inner.receive_many(limit)
        if self._file is not None:
            for frame in frames:
                self._write(INBOUND, frame)
        return frames

    def close(self) -> None:
        """Finish the file and close the inner wire."""
        self.stop()
        self.inner.close()

    def _write(self, direction: int, frame: bytes) -> None:
        if self._file is None:
            return
        padding = -len(frame) % 4
        length = PACKET.size + len(frame) + padding + PACKET_END.size
        now = time.time_ns()
        self._file.write(
            PACKET.pack(6, length, 0, now >> 32, now & 0xFFFF_FFFF, len(frame), len(frame))
            + frame
            + bytes(padding)
            + PACKET_END.pack(2, 4, direction, 0, 0, length)
        )
        self._frames += 1
