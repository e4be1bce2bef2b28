# SPDX-License-Identifier: MIT
"""Page detection: ability_match, acknowledge_match and an_receive_idle of IEEE 802.3, 73.10.1.

The medium reports when the received page changes; how often it was received since follows from the time that passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.phy.page import ACKNOWLEDGE, ECHO, Codeword
from nicmodels.phy.timers import PAGE, Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.clock import Timer
    from nicmodels.phy.timeline import Timeline

CONSECUTIVE = 3
"""Equal pages for a match (73.10.1)."""


class PageDetector:
    """The page detection of one end.

    Args:
        timeline: the medium's.
        changed: called when a property may have changed because time passed.
        timers: for page_test_max.
    """

    def __init__(self, timeline: Timeline, changed: Callable[[], object], timers: Timers) -> None:
        self._timeline = timeline
        self._changed = changed
        self._page_test_max = timers.page_test_max
        self._page: Codeword | None = None
        self._ability: Codeword | None = None
        self._acknowledge: Codeword | None = None
        self._timers: dict[str, Timer] = {}
        self._idle = True

    @property
    def ability_match(self) -> Codeword | None:
        """The page that was received three times, whatever its Ack bit and echoed nonce; None if none was."""
        return self._ability

    @property
    def acknowledge_match(self) -> Codeword | None:
        """The page that was received three times with its Ack bit set; None if none was."""
        return self._acknowledge

    @property
    def idle(self) -> bool:
        """an_receive_idle: no page within page_test_max_timer."""
        return self._idle

    def restart(self) -> None:
        """Restart counting: pages received so far belong to an earlier negotiation."""
        if self._page is not None:
            page, self._page = self._page, None
            self.receive(page)

    def receive(self, page: Codeword | None) -> None:
        """This page is received from now on; None for no page."""
        before, self._page = self._page, page
        self._stop("acknowledge")
        self._acknowledge = None
        if page is None:
            self._stop("ability")
            self._ability = None
            if before is not None:
                self._start("idle", self._page_test_max, self._became_idle)
            return
        self._stop("idle")
        self._idle = False
        if before is None or not same(before, page):
            self._ability = None
            self._start("ability", CONSECUTIVE * PAGE, self._matched)
        elif self._ability is not None:
            self._ability = page
        if page.acknowledge:
            self._start("acknowledge", CONSECUTIVE * PAGE, self._acknowledged)

    def _matched(self) -> None:
        self._ability = self._page
        self._changed()

    def _acknowledged(self) -> None:
        self._acknowledge = self._page
        self._changed()

    def _became_idle(self) -> None:
        self._idle = True
        self._changed()

    def _start(self, name: str, seconds: float, callback: Callable[[], object]) -> None:
        self._stop(name)
        self._timers[name] = self._timeline.call_later(seconds, callback)

    def _stop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def same(one: Codeword, other: Codeword) -> bool:
    """Whether two pages match except for Ack and, if they may be base pages, the echoed nonce.

    A page alone does not show whether it is a base page; the echoed nonce changes only together with Ack.
    """
    mask = ~(ACKNOWLEDGE | ECHO)
    return one & mask == other & mask and ((one ^ other) & ACKNOWLEDGE != 0 or one == other)
