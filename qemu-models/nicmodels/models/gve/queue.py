# SPDX-License-Identifier: MIT
"""The common part of queues of all directions and formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultSet
    from nicmodels.models.gve.accounting import Accounting
    from nicmodels.models.gve.dma_record import DmaRecord
    from nicmodels.models.gve.statistics import Statistics
    from nicmodels.nic.device import Host


@dataclass(frozen=True)
class QueueContext:
    """The parts of the device that a queue uses.

    Attributes:
        host: the device's host.
        accounting, statistics, record: of the device.
        faults: of the queue's direction.
    """

    host: Host
    accounting: Accounting
    statistics: Statistics
    record: DmaRecord
    faults: FaultSet


class Queue:
    """A queue.

    Args:
        context: the parts of the device that it uses.
        fields: of the command that created it.

    Attributes:
        index: its number.
        block: its notification block.
        packets: packets to or from the driver since the queue was created; a coalesced packet, or one to be segmented,
            counts once, as in a driver that counts from its ring's creation.
        written: time when completions were last written, by the device's clock.
        halted: whether the device has stopped it; it does nothing until the driver destroys and creates it again.
    """

    def __init__(self, context: QueueContext, fields: Mapping[str, int]) -> None:
        self.index = fields["queue"]
        self.block = fields["ntfy_id"]
        self.packets = 0
        self.written = 0.0
        self.halted = False
        self._memory = context.host.memory
        self._events = context.host.events
        self._accounting = context.accounting
        self._statistics = context.statistics
        self._record = context.record
        self._faults = context.faults

    def halt(self, direction: str) -> None:
        """Stop the queue, because the driver broke a rule that it cannot go on after, or because the model failed."""
        self.halted = True
        self._events.add("queue.halt", direction=direction, queue=self.index)

    def _state(self, size: int, head: int, tail: int) -> dict[str, float | bool]:
        """The entry in `model.queues`."""
        return {
            "enabled": not self.halted,
            "size": size,
            "head": head,
            "tail": tail,
            "packets": self.packets,
            "block": self.block,
            "written": self.written,
        }
