# SPDX-License-Identifier: MIT
"""A device's own account of frames, by queue, which no register or driver has a part in: `model.counters`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RxAccount:
    """What a receive queue did since the model started: frames and bytes (without CRC) as they arrived on the wire."""

    frames: int = 0
    bytes: int = 0
    dropped: int = 0


@dataclass
class TxAccount:
    """What a transmit queue did since the model started.

    Attributes:
        frames: packets as the driver handed them over.
        bytes: of those packets.
        segments: frames that left, after segmentation.
        segment_bytes: of those frames, with inserted VLAN tags and padding, without CRC.
    """

    frames: int = 0
    bytes: int = 0
    segments: int = 0
    segment_bytes: int = 0
