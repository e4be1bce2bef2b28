# SPDX-License-Identifier: MIT
"""The doorbells of BAR 2: an array of dwords, one a notification block and one a queue, each at an index of its own.

Source: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst: DQO doorbells are little-endian, GQI
ones big-endian. Which index belongs to what is the device's choice; it tells the driver in configure_device_resources
and in the queue resources.
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
    """All doorbells, and who hears them.

    Args:
        profile: how many queues and blocks there may be.
        accounting: where a doorbell that nobody hears is noted.
    """

    def __init__(self, profile: Profile, accounting: Accounting) -> None:
        self._accounting = accounting
        self._swap = not profile.format.is_dqo
        self._tx = profile.blocks
        self._rx = self._tx + profile.max_tx
        self._hearers: list[Callable[[int], object] | None] = [None] * COUNT

    def block(self, number: int) -> int:
        """The index of a notification block's doorbell."""
        return number

    def tx(self, queue: int) -> int:
        """The index of a transmit queue's doorbell."""
        return self._tx + queue

    def rx(self, queue: int) -> int:
        """The index of a receive queue's doorbell."""
        return self._rx + queue

    def connect(self, index: int, hearer: Callable[[int], object]) -> None:
        """From now on writes go to `hearer`."""
        self._hearers[index] = hearer

    def disconnect(self, index: int) -> None:
        """Nobody hears the doorbell any more."""
        self._hearers[index] = None

    def reset(self) -> None:
        """Nobody hears any."""
        self._hearers = [None] * COUNT

    def write(self, offset: int, value: int, size: int) -> None:
        """A guest's write."""
        index = offset >> 2
        if size != 4 or offset & 3 or index >= COUNT:
            self._accounting.violation("doorbell.access", offset=offset, size=size)
            return
        hearer = self._hearers[index]
        if hearer is None:
            self._accounting.violation("doorbell.unknown", index=index, value=value)
            return
        hearer(swapped(value, 4) if self._swap else value)
