# SPDX-License-Identifier: MIT
"""A flow cache for the bulk of traffic: frames of known flows, one buffer each, delivered in bursts.

The first frame of a flow takes the slow path, `nicmodels.models.gve.receive`. Its queue and the constant part of its
completion are cached until queues or the RSS configuration change. Checksums are verified for every frame. Everything
else takes the slow path: unusual frames, flow rules, coalescing and header split, armed faults, the DMA record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.models.gve.rx_dqo import RxQueueDqo
from nicmodels.offload.flow_table import FlowTable, leading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.models.gve.rss import ReceiveScaling
    from nicmodels.models.gve.rx_packet import RxPacket
    from nicmodels.models.gve.statistics import Statistics
    from nicmodels.offload.rss import Scaling


class CachedFlow(NamedTuple):
    """A cached flow: its queue, and the quadwords of its completions without what differs by frame."""

    queue: RxQueueDqo
    quadwords: tuple[int, int, int]


class FlowCache:
    """The cached flows.

    Args:
        statistics, scaling: of the device.
        limit: the longest frame.
    """

    def __init__(self, statistics: Statistics, scaling: ReceiveScaling, limit: int) -> None:
        self._statistics = statistics
        self._scaling = scaling
        self._limit = limit
        self._flows: FlowTable[CachedFlow] = FlowTable()
        self._basis: Scaling | None = None

    def __len__(self) -> int:
        return len(self._flows)

    def flush(self) -> None:
        """The queues changed: drop all flows."""
        self._flows.clear()

    def refresh(self) -> None:
        """Drop all flows if RSS was configured since they were cached."""
        if self._scaling.scaling is not self._basis:
            self._basis = self._scaling.scaling
            self._flows.clear()

    def learn(self, queue: RxQueueDqo, packet: RxPacket) -> None:
        """Cache the flow of a delivered frame whose checksums are right."""
        unsplit = not packet.header_length or not queue.header_size
        if unsplit and not queue.coalesces:
            self._flows.learn(packet.pieces[0], packet.headers, CachedFlow(queue, queue.quadwords(packet)))

    def deliver_many(
        self, frames: Sequence[bytes], at: int, end: int, stamp: int, *, known_good: bool = False
    ) -> tuple[int, set[int]]:
        """Deliver frames of cached flows, from number `at` on, up to `end`.

        Args:
            frames: as from the wire.
            at, end: which of them.
            stamp: their timestamp.
            known_good: their TCP or UDP checksums were just computed.

        Returns:
            The number of the first that must take the slow path, and the numbers of the queues that received any.
        """
        touched: set[int] = set()
        if not self._flows:
            return at, touched
        for flow, run in self._flows.runs(frames, at, end, known_good=known_good):
            queue = flow.queue
            sizes = leading([*map(len, run)], min(self._limit, queue.size))
            number = queue.deliver_plain(run, sizes, flow.quadwords, stamp)
            if number:
                queue.packets += number
                account = self._statistics.rx[queue.index]
                account.frames += number
                account.bytes += sum(sizes[:number])
                touched.add(queue.index)
            at += number
            if number < len(run):
                break
        return at, touched
