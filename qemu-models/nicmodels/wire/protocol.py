# SPDX-License-Identifier: MIT
"""The interface of all wires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    Buffer = bytes | bytearray | memoryview

LONGEST_FRAME = 65535 + 18
"""Bytes: the longest IP packet, with a tagged Ethernet header. What a received frame has beyond is cut off."""


@dataclass
class WireCounters:
    """The counters of a wire.

    Attributes:
        transmitted: frames accepted from the device.
        transmit_drops: frames lost because the peer was full, down or absent.
        received: frames passed to the device.
    """

    transmitted: int = 0
    transmit_drops: int = 0
    received: int = 0


class Wire(Protocol):
    """A wire. It never blocks: frames that the peer cannot take are dropped and counted.

    Frames are complete in both directions: segmented, with their checksums, without FCS.
    """

    @property
    def counters(self) -> WireCounters:
        """Frames and losses."""

    def fileno(self) -> int | None:
        """A descriptor that is readable when a frame waits; None if none ever will."""

    def transmit(self, buffers: Sequence[Buffer]) -> None:
        """Send one frame, the concatenation of `buffers`: Ethernet header to payload."""

    def transmit_many(self, frames: Sequence[Sequence[Buffer]]) -> None:
        """Send frames, in order, as `transmit` does."""

    def receive(self) -> bytes | None:
        """The next frame; None if there is none."""

    def receive_many(self, limit: int) -> list[bytes]:
        """The next frames, at most `limit`, in order; fewer mean that there are no more."""

    def close(self) -> None:
        """Release the descriptors."""


def receive_each(wire: Wire, limit: int) -> list[bytes]:
    """`receive_many` of a wire that has to receive frame by frame."""
    frames: list[bytes] = []
    while len(frames) < limit and (frame := wire.receive()) is not None:
        frames.append(frame)
    return frames
