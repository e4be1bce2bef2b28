# SPDX-License-Identifier: MIT
"""The transmit path: doorbells to work. What descriptors say is their format's business.

A doorbell only notes that its queue has work; the work is done when the loop is free, so doorbells that arrive together
are one batch: one fetch, one interrupt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.gve.fault_points import TRANSMIT
from nicmodels.models.gve.sender import Sender

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
        host: what the device stands in.
        profile: what the device can do.
        link: without it frames go nowhere.
        statistics, blocks: of the device.
    """

    def __init__(
        self, host: Host, profile: Profile, link: Link, statistics: Statistics, blocks: NotificationBlocks
    ) -> None:
        self.faults = {point.name: host.faults[point.name] for point in TRANSMIT}
        self.queues: list[TxQueue | None] = [None] * profile.max_tx
        self.sender = Sender(host, link, statistics, self.faults)
        self._clock = host.clock
        self._blocks = blocks
        self._pending: dict[int, None] = {}
        self._scheduled = False

    def reset(self) -> None:
        """No queues."""
        for index in list(self.present()):
            self.remove(index)

    def present(self) -> Iterable[int]:
        """The numbers of the queues that exist."""
        return [queue.index for queue in self.queues if queue is not None]

    def add(self, queue: TxQueue) -> None:
        """A queue was created."""
        self.queues[queue.index] = queue

    def remove(self, index: int) -> None:
        """A queue is destroyed: what it has not sent yet is not sent any more."""
        queue = self.queues[index]
        if queue is not None:
            queue.stop()
            self.queues[index] = None
            self._pending.pop(index, None)

    def doorbell(self, index: int, value: int) -> None:
        """A queue's doorbell."""
        queue = self.queues[index]
        if queue is not None and queue.doorbell(value):
            self._note(index)

    def _note(self, index: int) -> None:
        self._pending[index] = None
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_later(0.0, self._run)

    def _run(self) -> None:
        self._scheduled = False
        self.sender.faulty = any(fault.armed for fault in self.faults.values())
        stuck = self.faults["tx.queue.stuck"]
        pending, self._pending = self._pending, {}
        for index in pending:
            queue = self.queues[index]
            if queue is None or (stuck.armed and stuck.fires(queue=index)):
                continue
            told, more = queue.work()
            if told:
                queue.written = self._clock.now()
                self._blocks.event(queue.block)
            if more:
                self._note(index)
