# SPDX-License-Identifier: MIT
"""The doorbells of BAR 2: an array of dwords, one per notification block and one per queue.

Source: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst: DQO doorbells are little-endian, GQI
doorbells big-endian. The device chooses the indices, and reports them in configure_device_resources and in the queue
resources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.gve.registers import swapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.gve.accounting import Accounting
    from nicmodels.models.gve.profiles import Profile

COUNT = 1024
SIZE = 4 * COUNT


class Doorbells:
    """All doorbells, and their handlers.

    Args:
        profile: defines the number of queues and blocks.
        accounting: takes violations, such as a write to an unconnected doorbell.
    """

    def __init__(self, profile: Profile, accounting: Accounting) -> None:
        self._accounting = accounting
        self._swap = not profile.format.is_dqo
        self._tx = profile.blocks
        self._rx = self._tx + profile.max_tx
        self._handlers: list[Callable[[int], object] | None] = [None] * COUNT

    def block(self, number: int) -> int:
        """The index of a notification block's doorbell."""
        return number

    def tx(self, queue: int) -> int:
        """The index of a transmit queue's doorbell."""
        return self._tx + queue

    def rx(self, queue: int) -> int:
        """The index of a receive queue's doorbell."""
        return self._rx + queue

    def connect(self, index: int, handler: Callable[[int], object]) -> None:
        """Set the handler of a doorbell's writes."""
        self._handlers[index] = handler

    def disconnect(self, index: int) -> None:
        """Remove the handler of a doorbell."""
        self._handlers[index] = None

    def reset(self) -> None:
        """Remove all handlers."""
        self._handlers = [None] * COUNT

    def write(self, offset: int, value: int, size: int) -> None:
        """A guest's write."""
        index = offset >> 2
        if size != 4 or offset & 3 or index >= COUNT:
            self._accounting.violation("doorbell.access", offset=offset, size=size)
            return
        handler = self._handlers[index]
        if handler is None:
            self._accounting.violation("doorbell.unknown", index=index, value=value)
            return
        handler(swapped(value, 4) if self._swap else value)
