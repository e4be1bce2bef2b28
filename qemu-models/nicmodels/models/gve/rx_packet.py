# SPDX-License-Identifier: MIT
"""A received packet, with the results of parsing, steering and checksum verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nicmodels.offload.checksum import Buffer
from nicmodels.offload.headers import Headers


class RxPacket(NamedTuple):
    """A frame, or several coalesced frames.

    Attributes:
        pieces: its bytes, in order.
        length: of all of them.
        headers: of the first frame.
        header_length: bytes for header split; 0 if the packet is not split.
        ip_good, l4_good: whether the checksum is right; None if it was not verified.
        hash: the RSS hash; 0 for none.
        segment: payload bytes of each coalesced segment; 0 for a single frame.
        frames: number of frames.
        frame_bytes: of those frames, on the wire.
        stamp: the timestamp: nanoseconds of the NIC clock, the lower 32 bits.
    """

    pieces: Sequence[Buffer]
    length: int
    headers: Headers
    header_length: int
    ip_good: bool | None
    l4_good: bool | None
    hash: int
    stamp: int
    segment: int = 0
    frames: int = 1
    frame_bytes: int = 0

    def kept(self) -> RxPacket:
        """A copy with its own bytes, since the wire reuses its buffer."""
        return self._replace(pieces=[bytes(piece) for piece in self.pieces])
