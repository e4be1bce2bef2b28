# SPDX-License-Identifier: MIT
"""Notification blocks: the vectors of queues, their arming and moderation, and the management vector.

Sources: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst (interrupts); gve_dqo.h (GVE_ITR_*),
gve_desc.h (GVE_IRQ_*).

DQO: raising a vector disarms it; the doorbell arms it. An event of a disarmed vector stays pending, as in the PBA, and
raises the vector once it is armed, so that no event is lost. GQI: the same, with mask and acknowledgement.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nicmodels.clock import Timer
    from nicmodels.nic.device import Host

DQO_ENABLE, DQO_CLEAR_PENDING = 1 << 0, 1 << 1
DQO_INTERVAL_SELECT = 3 << 3
"""All ones: the write does not change the interval."""
DQO_INTERVAL_SHIFT, DQO_INTERVAL_MASK, DQO_INTERVAL_UNIT = 5, 0xFFF, 2e-6
GQI_ACKNOWLEDGE, GQI_MASK, GQI_EVENT = 1 << 31, 1 << 30, 1 << 29


class _Block:
    """A notification block."""

    __slots__ = ("armed", "interval", "masked", "not_before", "pending", "raised_at", "timer")

    def __init__(self) -> None:
        self.armed = False
        self.masked = False
        self.pending = False
        self.interval = 0.0
        self.not_before = 0.0
        self.raised_at = 0.0
        self.timer: Timer | None = None


class NotificationBlocks:
    """All blocks, and the management vector.

    Args:
        host: the device's host.
        vectors: number of MSI-X vectors.

    Attributes:
        raised: how often each vector was signalled.
        count: number of configured blocks.
    """

    def __init__(self, host: Host, vectors: int) -> None:
        self.raised = [0] * vectors
        self.count = 0
        self._host = host
        self._clock = host.clock
        self._vectors = vectors
        self._first = 0
        self._blocks = [_Block() for _ in range(vectors)]
        self._lost = host.faults["interrupt.vector.lost"]
        self._repeated = host.faults["interrupt.vector.repeated"]
        self._forgotten = host.faults["interrupt.lost"]

    def configure(self, count: int, first_vector: int) -> None:
        """Assign vectors to blocks, from `first_vector` on; the remaining one is the management vector."""
        self.reset()
        self.count = count
        self._first = first_vector

    def reset(self) -> None:
        """Remove all blocks."""
        for block in self._blocks[: self.count]:
            if block.timer is not None:
                block.timer.cancel()
        self._blocks = [_Block() for _ in range(self._vectors)]
        self.count = 0

    def vector(self, number: int) -> int:
        """A block's vector."""
        return self._first + number

    def describe(self) -> list[dict[str, float | bool]]:
        """The result of the control method `model.blocks`: for each configured block whether its vector is armed, masked
        (GQI), pending, or waiting for the end of its interval; how often it was raised, and when last.
        """
        return [
            {
                "armed": block.armed,
                "masked": block.masked,
                "pending": block.pending,
                "waiting": block.timer is not None,
                "raised": self.raised[self._first + number],
                "raised_at": block.raised_at,
            }
            for number, block in enumerate(self._blocks[: self.count])
        ]

    def event(self, number: int) -> None:
        """A queue of this block has an event for the driver."""
        block = self._blocks[number]
        if block.armed and not block.masked:
            self._due(number, block)
        elif self._forgotten.armed and self._forgotten.fires(vector=self._first + number):
            return
        else:
            block.pending = True

    def manage(self) -> None:
        """The device status register changed."""
        if self.count:
            self._raise(self.count if self._first == 0 else 0)

    def write_dqo(self, number: int, value: int) -> None:
        """A DQO interrupt doorbell."""
        block = self._blocks[number]
        if value & DQO_CLEAR_PENDING:
            block.pending = False
        if value & DQO_INTERVAL_SELECT != DQO_INTERVAL_SELECT:
            block.interval = (value >> DQO_INTERVAL_SHIFT & DQO_INTERVAL_MASK) * DQO_INTERVAL_UNIT
        block.armed = bool(value & DQO_ENABLE)
        if block.armed and block.pending:
            self._due(number, block)

    def write_gqi(self, number: int, value: int) -> None:
        """A GQI interrupt doorbell: a write without the mask bit unmasks and arms."""
        block = self._blocks[number]
        block.masked = bool(value & GQI_MASK)
        if not block.masked:
            block.armed = True
            if block.pending:
                self._due(number, block)

    def _due(self, number: int, block: _Block) -> None:
        """Raise the vector now, or at the end of its interval."""
        block.pending = True
        if block.timer is not None:
            return
        wait = block.not_before - self._clock.now()
        if wait > 0:
            block.timer = self._clock.call_later(wait, partial(self._expired, number, block))
        else:
            self._fire(number, block)

    def _expired(self, number: int, block: _Block) -> None:
        block.timer = None
        if block.pending and block.armed and not block.masked:
            self._fire(number, block)

    def _fire(self, number: int, block: _Block) -> None:
        block.pending = block.armed = False
        block.raised_at = self._clock.now()
        block.not_before = block.raised_at + block.interval
        self._raise(self._first + number)

    def _raise(self, vector: int) -> None:
        if self._lost.armed and self._lost.fires(vector=vector):
            return
        for _ in range(2 if self._repeated.armed and self._repeated.fires(vector=vector) else 1):
            self.raised[vector] += 1
            self._host.interrupts.msix(vector)
