# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the link will stay as it is."""

from __future__ import annotations

import time
from collections.abc import Callable

STEADY = 2.5
"""Seconds on any guest: longer than drivers that poll take to find out what became of a link (1 s, by the guest's own timers)."""

SETTLED = 0.4
"""Seconds, on any guest, for a driver to act on the state of the link that it has read."""


class Stillness:
    """Whether a state that depends on the link stays: once the driver has seen the last change of the link, it soon does."""

    def __init__(self, looked: Callable[[], bool | None]) -> None:
        """Begin to watch.

        Args:
            looked: returns whether the driver has read the state of the link since that last changed; None where the device does not tell.
        """
        self._looked = looked
        self._since = time.monotonic()
        self._before: tuple[object, ...] = ()

    def disturbed(self) -> None:
        """Begin again: the state is not one that can stay."""
        self._since = time.monotonic()

    def stays(self, state: object) -> bool:
        """Take the present state; returns whether it has been the same for `STEADY`, or for `SETTLED` since the driver has looked."""
        looked = self._looked()
        if (state, looked) != self._before:
            self._before = (state, looked)
            self.disturbed()
        return time.monotonic() - self._since > (SETTLED if looked else STEADY)
