# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the link will stay as it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from plugfest.deadline import Deadline, never

STEADY = 2.5
"""Seconds on any guest: longer than drivers that poll take to find out what became of a link (1 s, by the guest's own timers)."""

SETTLED = 0.4
"""Seconds, on any guest, for a driver to act on the state of the link that it has read."""


class Stillness:
    """Whether a state that depends on the link stays: once the driver has seen the last change of the link, it soon does."""

    def __init__(self, looked: Callable[[], bool | None], *, lost: Callable[[], float] = never) -> None:
        """Begin to watch.

        Args:
            looked: returns whether the driver has read the state of the link since that last changed, for whatever reason: as
                the model's ``link.looks``; None where the device does not tell.
            lost: returns the seconds that the host has lost so far: what a guest waits for a core is no time to act in.
        """
        self._looked = looked
        self._lost = lost
        self._before: tuple[object, ...] = ()
        self.disturbed()

    @property
    def seconds(self) -> float:
        """For how long nothing has changed."""
        return time.monotonic() - self._since

    def disturbed(self) -> None:
        """Begin again: the state is not one that can stay."""
        self._since = time.monotonic()
        self._settled = Deadline.after(SETTLED, lost=self._lost)
        self._steady = Deadline.after(STEADY, lost=self._lost)

    def stays(self, state: object) -> bool:
        """Take the present state; returns whether it has been the same for `STEADY`, or for `SETTLED` since the driver has looked."""
        looked = self._looked()
        if (state, looked) != self._before:
            self._before = (state, looked)
            self.disturbed()
        return (self._settled if looked else self._steady).passed
