# SPDX-License-Identifier: MIT
"""A flow of `nicmodels.models.xgbe.flow_cache`: how its frames are received."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.xgbe import descriptors as d
from nicmodels.nic.account import tally
from nicmodels.offload.headers import TCP

if TYPE_CHECKING:
    from nicmodels.models.xgbe.rx_offload import RxStatus
    from nicmodels.offload.headers import Headers

_WRITE_BACK = struct.Struct("<IIII")


class CachedFlow:
    """A cached flow.

    Attributes:
        destination: the address.
        channel: number of its DMA channel.
        header: bytes of header for a split; 0 for none.
    """

    __slots__ = ("_offset_at", "_report", "_reports", "channel", "destination", "header")

    def __init__(self, frame: memoryview, headers: Headers, channel: int, report: RxStatus) -> None:
        self.destination = bytes(frame[:6])
        self.channel = channel
        self.header = report.header
        self._offset_at = headers.l4_offset + 12 if headers.l4 == TCP else 0
        self._report = report
        self._reports: dict[int, bytes] = {}

    def splits(self, frame: bytes) -> bool:
        """Whether a frame of a flow with a header for a split has one of the same length, and something after it."""
        if len(frame) <= self.header:
            return False
        at = self._offset_at
        return not at or at - 12 + (frame[at] >> 4 << 2) == self.header

    def reports(self, sizes: list[int]) -> bytes:
        """The write-backs of frames of `sizes` bytes."""
        known, numbers = self._reports, tally(sizes)
        for size in numbers:
            if size not in known:
                value = self._report.hash
                last = d.FIRST | d.LAST | self._report.status | size & 0x3FFF | (0 if value is None else d.HASH_VALID)
                known[size] = _WRITE_BACK.pack(0, value or 0, self.header & d.HEADER_MASK, last)
        if len(numbers) == 1:
            return known[sizes[0]] * len(sizes)
        return b"".join([known[size] for size in sizes])
