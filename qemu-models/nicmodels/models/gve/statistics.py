# SPDX-License-Identifier: MIT
"""The device's own counts, and the device's part of the statistics report.

Source: Linux, drivers/net/ethernet/google/gve/gve_adminq.h (stats_report, enum gve_stat_names); gve_main.c and
gve_ethtool.c: the device's entries are at the end of the report, four for each existing receive queue.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.nic.account import FrameCounts
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nicmodels.clock import Timer
    from nicmodels.models.gve.profiles import Profile
    from nicmodels.nic.device import Host

_HEADER = 8
_ENTRY = struct.Struct(">IIQ")
QUEUE_DROPS, NO_BUFFERS, OVER_MRU, INVALID_CHECKSUM = 65, 66, 67, 68


class Statistics(FrameCounts):
    """Counts frames, and reports what the driver cannot count.

    Args:
        host: the device's host.
        profile: defines the maximum number of queues.
        present: returns the numbers of the existing receive queues.

    Attributes:
        no_buffers, over_mru: dropped frames, by receive queue.
    """

    def __init__(self, host: Host, profile: Profile, present: Callable[[], Iterable[int]]) -> None:
        super().__init__(profile.max_rx, profile.max_tx)
        self.no_buffers = [0] * profile.max_rx
        self.over_mru = [0] * profile.max_rx
        self._host = host
        self._present = present
        self._report: tuple[int, int, float] | None = None
        self._timer: Timer | None = None

    def report_to(self, address: int, length: int, milliseconds: int) -> None:
        """Write the report periodically; a length of 0 stops it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._report = (address, length, milliseconds / 1000) if length else None
        if self._report is not None:
            self._timer = self._host.clock.call_later(self._report[2], self._again)

    def reset(self) -> None:
        """Stop the report."""
        self.report_to(0, 0, 0)

    def write_report(self) -> None:
        """Write the device's entries of the report."""
        if self._report is None:
            return
        address, length, _ = self._report
        entries = b"".join(
            _ENTRY.pack(name, queue, value)
            for queue in self._present()
            for name, value in (
                (QUEUE_DROPS, self.rx[queue].dropped),
                (NO_BUFFERS, self.no_buffers[queue]),
                (OVER_MRU, self.over_mru[queue]),
                (INVALID_CHECKSUM, 0),
            )
        )
        room = (length - _HEADER) // _ENTRY.size * _ENTRY.size
        if entries and len(entries) <= room:
            try:
                self._host.memory.write(address + _HEADER + room - len(entries), entries)
            except DmaError:
                self.dma_error("report", 0)

    def dma_error(self, direction: str, queue: int) -> None:
        """Count and record an access to an unmapped address."""
        self.dma_errors += 1
        self._host.events.add("dma.error", direction=direction, queue=queue)

    def _again(self) -> None:
        self._timer = None
        if self._report is not None:
            self.write_report()
            self._timer = self._host.clock.call_later(self._report[2], self._again)
