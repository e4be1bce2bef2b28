# SPDX-License-Identifier: MIT
"""A flow cache for the bulk of traffic: frames of known flows, one buffer each, delivered in bursts.

The first frame of a flow takes the slow path, `nicmodels.models.gve.receive`. Its queue and the constant part of its
completion are cached until queues or the RSS configuration change. Checksums are verified for every frame. Everything
else takes the slow path: unusual frames, flow rules, coalescing and header split, armed faults, the DMA record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.models.gve.rx_dqo import RxQueueDqo
from nicmodels.offload.flow_table import FlowTable

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


class FlowCache(FlowTable[CachedFlow]):
    """The cached flows.

    Args:
        statistics, scaling: of the device.
        longest: bytes of the longest frame.
    """

    def __init__(self, statistics: Statistics, scaling: ReceiveScaling, longest: int) -> None:
        super().__init__()
        self._statistics = statistics
        self._scaling = scaling
        self._longest_frame = longest
        self._basis: Scaling | None = None

    def refresh(self) -> None:
        """Drop all flows if RSS was configured since they were cached."""
        if self._scaling.scaling is not self._basis:
            self._basis = self._scaling.scaling
            self.flush()

    def learn(self, queue: RxQueueDqo, packet: RxPacket) -> None:
        """Cache the flow of a delivered frame whose checksums are right."""
        unsplit = not packet.header_length or not queue.header_size
        if unsplit and not queue.coalesces:
            flow = CachedFlow(queue, queue.quadwords(packet))
            self.remember(packet.pieces[0], packet.headers, flow, self._longest_frame)

    def deliver_many(self, frames: Sequence[bytes], at: int, stamp: int) -> tuple[int, set[int]]:
        """Deliver frames of cached flows, from number `at` on.

        Args:
            frames: as from the wire.
            at: the number of the first.
            stamp: their timestamp.

        Returns:
            The number of the first that must take the slow path, and the numbers of the queues that received any.
        """
        touched: set[int] = set()
        for flow, run, sizes in self.runs(frames, at) if len(self) else ():
            queue = flow.queue
            number = queue.deliver_plain(run, sizes, flow.quadwords, stamp)
            if number:
                queue.packets += number
                account = self._statistics.rx[queue.index]
                account.frames += number
                account.bytes += sum(map(len, run[:number]))
                touched.add(queue.index)
            at += number
            if number < len(run):
                break
        return at, touched
