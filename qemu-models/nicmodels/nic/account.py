# SPDX-License-Identifier: MIT
"""A device's own counts of frames by queue, independent of registers and drivers (control method `model.counters`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


class FrameCounts:
    """The counts of all queues.

    Args:
        rx, tx: the numbers of queues.

    Attributes:
        rx, tx: the counts, by queue.
        dma_errors: accesses of a queue to addresses that are not mapped.
    """

    def __init__(self, rx: int, tx: int) -> None:
        self.rx = [RxAccount() for _ in range(rx)]
        self.tx = [TxAccount() for _ in range(tx)]
        self.dma_errors = 0

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        """The counts of the queues as JSON values."""
        return {"rx": [asdict(each) for each in self.rx], "tx": [asdict(each) for each in self.tx]}


def tally(sizes: Sequence[int]) -> Mapping[int, int]:
    """How many frames of each size there are; most bursts have one size."""
    first = sizes[0] if sizes else 0
    number = sizes.count(first)
    return {first: number} if number and number == len(sizes) else Counter(sizes)
