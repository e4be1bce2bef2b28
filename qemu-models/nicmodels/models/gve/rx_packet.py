# SPDX-License-Identifier: MIT
"""A received packet on its way to a queue, with what the device found out about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nicmodels.offload.checksum import Buffer
from nicmodels.offload.headers import Headers


class RxPacket(NamedTuple):
    """A frame, or several that were coalesced.

    Attributes:
        pieces: its bytes, in order.
        length: of all of them.
        headers: of the frame, or of the first of them.
        header_length: bytes that header split splits off; 0 for a packet that is not split.
        ip_good, l4_good: whether the checksum is right; None where it was not verified.
        hash: by RSS; 0 for none.
        segment: payload bytes of each segment that was coalesced; 0 for a single frame.
        frames: how many frames it is made of.
        frame_bytes: of those frames, as they were on the wire.
        stamp: nanoseconds of the device's clock, the lower 32 bits.
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
        """The same with bytes of its own: what the wire lends is valid for a moment only."""
        return self._replace(pieces=[bytes(piece) for piece in self.pieces])
