# SPDX-License-Identifier: MIT
"""A flow of `nicmodels.models.xgbe.flow_cache`: how its frames are received."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.xgbe import descriptors as d

if TYPE_CHECKING:
    from nicmodels.models.xgbe.rx_offload import RxStatus

_WRITE_BACK = struct.Struct("<IIII")


class CachedFlow:
    """A cached flow.

    Attributes:
        destination: the address.
        channel: number of its DMA channel.
        header: bytes of header for a split; 0 for none.
    """

    __slots__ = ("_report", "_reports", "channel", "destination", "header")

    def __init__(self, destination: bytes, channel: int, report: RxStatus) -> None:
        self.destination = destination
        self.channel = channel
        self.header = report.header
        self._report = report
        self._reports: dict[int, bytes] = {}

    def report(self, size: int) -> bytes:
        """The write-back of a frame of `size` bytes."""
        found = self._reports.get(size)
        if found is None:
            value = self._report.hash
            last = d.FIRST | d.LAST | self._report.status | size & 0x3FFF | (0 if value is None else d.HASH_VALID)
            found = self._reports[size] = _WRITE_BACK.pack(0, value or 0, self.header & d.HEADER_MASK, last)
        return found
