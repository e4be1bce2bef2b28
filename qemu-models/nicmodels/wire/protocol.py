# SPDX-License-Identifier: MIT
"""What every wire can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    Buffer = bytes | bytearray | memoryview

Segmentation = Literal["device", "host"]
SegmentType = Literal["tcp4", "tcp6", "udp"]

SPILL_SIZE = 65535 + 18
"""A frame's bytes beyond the posted buffers are kept up to this many: the longest IP packet, with a tagged Ethernet header."""


@dataclass(frozen=True)
class Offload:
    """What a virtio-net header can say about a frame (virtio 1.2, 5.1.6).

    Attributes:
        checksum_start: where the host starts to sum, bytes from the frame's start; None if no checksum is wanted.
        checksum_offset: where it stores the sum, bytes from `checksum_start`.
        segment_type: what to segment as; None if not at all.
        segment_size: payload bytes a segment (MSS).
        header_length: bytes of headers that each segment repeats; of what the host leaves undone, a hint.
    """

    checksum_start: int | None = None
    checksum_offset: int = 0
    segment_type: SegmentType | None = None
    segment_size: int = 0
    header_length: int = 0


@dataclass
class WireCounters:
    """A wire's own account.

    Attributes:
        transmitted: frames accepted from the device.
        transmit_drops: frames lost because the far end was full, down or absent.
        received: frames given to the device.
        truncated: received frames longer than the buffers they were received into.
        uncut: received frames that the far end left to be cut, which are neither TCP nor UDP: they are dropped.
    """

    transmitted: int = 0
    transmit_drops: int = 0
    received: int = 0
    truncated: int = 0
    uncut: int = 0


class Wire(Protocol):
    """A cable. Never blocks: what the far end cannot take is dropped and counted, as on a real wire.

    Attributes:
        segmentation: "device": frames are complete in both directions; "host": they may come with an `Offload`.
    """

    segmentation: Segmentation

    @property
    def counters(self) -> WireCounters:
        """Frames and losses."""

    @property
    def spill(self) -> memoryview:
        """After `receive_into`, the bytes that did not fit the buffers; valid until the next receive."""

    @property
    def received_offload(self) -> Offload | None:
        """What the far end left undone in the frame received last; None for a complete frame."""

    def fileno(self) -> int | None:
        """A descriptor that is readable when a frame waits; None when none ever will."""

    def transmit(self, buffers: Sequence[Buffer], offload: Offload | None = None) -> None:
        """Send one frame, the concatenation of `buffers`: Ethernet header to payload, without FCS."""

    def receive(self) -> memoryview | None:
        """The next frame, None when there is none; valid until the next receive."""

    def receive_into(self, buffers: Sequence[Buffer]) -> int | None:
        """Receive the next frame into `buffers`, one after the other.

        Returns:
            The frame's length, None when there is none. More than the buffers hold means that the rest is in `spill`.
        """

    def close(self) -> None:
        """Release the descriptors."""
