# SPDX-License-Identifier: MIT
"""A device's own counts of frames by queue, independent of registers and drivers (control method `model.counters`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RxAccount:
    """The counts of a receive queue since the model started: frames and bytes (without CRC) as received from the wire."""

    frames: int = 0
    bytes: int = 0
    dropped: int = 0


@dataclass
class TxAccount:
    """The counts of a transmit queue since the model started.

    Attributes:
        frames: packets from the driver.
        bytes: of those packets.
        segments: frames after segmentation.
        segment_bytes: of those frames, with inserted VLAN tags and padding, without CRC.
    """

    frames: int = 0
    bytes: int = 0
    segments: int = 0
    segment_bytes: int = 0
