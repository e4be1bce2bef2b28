# SPDX-License-Identifier: MIT
"""A flow of `nicmodels.models.xgbe.flow_cache`: how its frames are received."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.xgbe import descriptors as d
from nicmodels.offload.flow_table import Reports
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
        reports: the write-backs of its frames.
    """

    __slots__ = ("_offset_at", "_report", "channel", "destination", "header", "reports")

    def __init__(self, frame: memoryview, headers: Headers, channel: int, report: RxStatus) -> None:
        self.destination = bytes(frame[:6])
        self.channel = channel
        self.header = report.header
        self._offset_at = headers.l4_offset + 12 if headers.l4 == TCP else 0
        self._report = report
        self.reports = Reports(self._write_back)

    def splits(self, frame: bytes) -> bool:
        """Whether a frame of a flow with a header for a split has one of the same length, and something after it."""
        if len(frame) <= self.header:
            return False
        at = self._offset_at
        return not at or at - 12 + (frame[at] >> 4 << 2) == self.header

    def _write_back(self, size: int) -> bytes:
        value = self._report.hash
        last = d.FIRST | d.LAST | self._report.status | size & 0x3FFF | (0 if value is None else d.HASH_VALID)
        return _WRITE_BACK.pack(0, value or 0, self.header & d.HEADER_MASK, last)
