# SPDX-License-Identifier: MIT
"""The transmit path: the queues and their scheduling. Descriptors are format-specific.

A doorbell schedules its queue; the work is done from the event loop, so that doorbells that arrive together are one
batch, with one fetch and one interrupt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.gve.fault_points import TRANSMIT
from nicmodels.models.gve.tx_offload import TxOffload
from nicmodels.nic.engine import SEGMENTS_A_TURN, WorkList

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nicmodels.models.gve.interrupts import NotificationBlocks
    from nicmodels.models.gve.link import Link
    from nicmodels.models.gve.profiles import Profile
    from nicmodels.models.gve.statistics import Statistics
    from nicmodels.models.gve.tx_dqo import TxQueueDqo
    from nicmodels.models.gve.tx_gqi import TxQueueGqi
    from nicmodels.nic.device import Host

    TxQueue = TxQueueDqo | TxQueueGqi


class Transmitter:
    """All transmit queues.

    Args:
        host: the device's host.
        profile: the device's profile.
        link: while it is down, frames are dropped.
        statistics, blocks: of the device.
    """

    def __init__(
        self, host: Host, profile: Profile, link: Link, statistics: Statistics, blocks: NotificationBlocks
    ) -> None:
        self.faults = host.faults.subset(TRANSMIT)
        self.queues: list[TxQueue | None] = [None] * profile.max_tx
        self.tx_offload = TxOffload(host, link, statistics, self.faults)
        self._clock = host.clock
        self._blocks = blocks
        self._work = WorkList(host, self._serve, self._halt, self._begin)

    def reset(self) -> None:
        """Remove all queues."""
        for index in list(self.present()):
            self.remove(index)

    def present(self) -> Iterable[int]:
        """The numbers of the existing queues."""
        return [queue.index for queue in self.queues if queue is not None]

    def add(self, queue: TxQueue) -> None:
        """Add a new queue."""
        self.queues[queue.index] = queue

    def remove(self, index: int) -> None:
        """Remove a queue; packets that it has not sent are dropped."""
        queue = self.queues[index]
        if queue is not None:
            queue.stop()
            self.queues[index] = None
            self._work.discard(index)

    def doorbell(self, index: int, value: int) -> None:
        """The driver wrote a queue's doorbell."""
        queue = self.queues[index]
        if queue is not None and queue.doorbell(value):
            self._work.add(index)

    def _begin(self) -> bool:
        self.faults.poll()
        self.tx_offload.room = SEGMENTS_A_TURN
        return True

    def _serve(self, index: int) -> None:
        queue = self.queues[index]
        stuck = self.faults["tx.queue.stuck"]
        if queue is None or queue.halted:
            return
        if self.tx_offload.room <= 0:
            self._work.defer(index)
            return
        if stuck.armed and stuck.fires(queue=index):
            return
        completed, more = queue.work()
        if completed:
            queue.written = self._clock.now()
            self._blocks.event(queue.block)
        if more:
            self._work.add(index)

    def _halt(self, index: int, _error: Exception) -> None:
        queue = self.queues[index]
        if queue is not None:
            queue.halt("tx")
