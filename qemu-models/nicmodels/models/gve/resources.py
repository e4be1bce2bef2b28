# SPDX-License-Identifier: MIT
"""The parts of the device that admin commands configure: doorbells, notification blocks, queues, steering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nicmodels.models.gve.queue import QueueContext

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultSet
    from nicmodels.models.gve.accounting import Accounting
    from nicmodels.models.gve.dma_record import DmaRecord
    from nicmodels.models.gve.doorbells import Doorbells
    from nicmodels.models.gve.flow_rules import FlowRules
    from nicmodels.models.gve.interrupts import NotificationBlocks
    from nicmodels.models.gve.link import Link
    from nicmodels.models.gve.page_lists import PageLists
    from nicmodels.models.gve.profiles import Profile
    from nicmodels.models.gve.receive import Receiver
    from nicmodels.models.gve.rss import ReceiveScaling
    from nicmodels.models.gve.statistics import Statistics
    from nicmodels.models.gve.transmit import Transmitter
    from nicmodels.nic.device import Host


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The parts of a device.

    Attributes:
        mac: the station address, 6 bytes.
        default_queues: number of queues of each direction proposed to the driver.
    """

    host: Host
    profile: Profile
    mac: bytes
    default_queues: int
    accounting: Accounting
    record: DmaRecord
    doorbells: Doorbells
    blocks: NotificationBlocks
    link: Link
    statistics: Statistics
    scaling: ReceiveScaling
    rules: FlowRules
    page_lists: PageLists
    transmitter: Transmitter
    receiver: Receiver

    def queue_context(self, faults: FaultSet) -> QueueContext:
        """The parts of the device that a new queue uses."""
        return QueueContext(self.host, self.accounting, self.statistics, self.record, faults)

    def connect_block(self, number: int) -> None:
        """Connect a notification block's doorbell."""
        write = self.blocks.write_dqo if self.profile.format.is_dqo else self.blocks.write_gqi
        self.doorbells.connect(self.doorbells.block(number), lambda value: write(number, value))

    def connect_tx(self, index: int) -> None:
        """Connect a transmit queue's doorbell."""
        self.doorbells.connect(self.doorbells.tx(index), lambda value: self.transmitter.doorbell(index, value))

    def connect_rx(self, index: int) -> None:
        """Connect a receive queue's doorbell."""
        queue = self.receiver.queues[index]
        assert queue is not None, "it has just been created"
        ring = queue.doorbell

        def post(value: int) -> None:
            ring(value)
            self.receiver.replenished(index)

        self.doorbells.connect(self.doorbells.rx(index), post)

    def release(self) -> None:
        """Release the resources of configure_device_resources."""
        self.doorbells.reset()
        self.blocks.reset()
        self.statistics.reset()
        self.scaling.reset()
