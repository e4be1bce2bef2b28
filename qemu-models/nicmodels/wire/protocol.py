# SPDX-License-Identifier: MIT
"""The interface of all wires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    Buffer = bytes | bytearray | memoryview

Segmentation = Literal["device", "host"]
SegmentType = Literal["tcp4", "tcp6", "udp"]

LONGEST_FRAME = 65535 + 18
"""Bytes: the longest IP packet, with a tagged Ethernet header. What a received frame has beyond is cut off."""


@dataclass(frozen=True)
class Offload:
    """The contents of a virtio-net header (virtio 1.2, 5.1.6).

    Attributes:
        checksum_start: first byte that the checksum covers; None for no checksum.
        checksum_offset: of the checksum, in bytes from `checksum_start`.
        segment_type: how to segment; None for not at all.
        segment_size: payload bytes per segment (MSS).
        header_length: bytes of headers that each segment repeats; only a hint for frames from the host.
    """

    checksum_start: int | None = None
    checksum_offset: int = 0
    segment_type: SegmentType | None = None
    segment_size: int = 0
    header_length: int = 0


@dataclass
class WireCounters:
    """The counters of a wire.

    Attributes:
        transmitted: frames accepted from the device.
        transmit_drops: frames lost because the peer was full, down or absent.
        received: frames passed to the device.
        uncut: received frames that the host left to be segmented but that are neither TCP nor UDP; they are dropped.
    """

    transmitted: int = 0
    transmit_drops: int = 0
    received: int = 0
    uncut: int = 0


class Wire(Protocol):
    """A wire. It never blocks: frames that the peer cannot take are dropped and counted.

    Attributes:
        segmentation: "device": frames are complete in both directions; "host": they may come with an `Offload`.
    """

    segmentation: Segmentation

    @property
    def counters(self) -> WireCounters:
        """Frames and losses."""

    @property
    def received_offload(self) -> Offload | None:
        """What the host left undone in the last received frame; None for a complete frame."""

    def fileno(self) -> int | None:
        """A descriptor that is readable when a frame waits; None if none ever will."""

    def transmit(self, buffers: Sequence[Buffer], offload: Offload | None = None) -> None:
        """Send one frame, the concatenation of `buffers`: Ethernet header to payload, without FCS."""

    def transmit_many(self, frames: Sequence[Sequence[Buffer]]) -> None:
        """Send complete frames, in order, as `transmit` does."""

    def receive(self) -> bytes | None:
        """The next frame; None if there is none."""

    def receive_many(self, limit: int) -> list[bytes]:
        """The next frames, at most `limit`, in order.

        A frame that the host left undone is the last: `received_offload` is then its offload, otherwise None. Fewer frames
        than `limit`, and no offload, mean that there are no more.
        """

    def close(self) -> None:
        """Release the descriptors."""


def receive_each(wire: Wire, limit: int) -> list[bytes]:
    """`receive_many` of a wire that has to receive frame by frame."""
    frames: list[bytes] = []
    while len(frames) < limit and (frame := wire.receive()) is not None:
        frames.append(frame)
        if wire.received_offload is not None:
            break
    return frames
