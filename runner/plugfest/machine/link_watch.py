# SPDX-License-Identifier: GPL-2.0-or-later
"""Waits for the link of the interface under test, so that no test begins while an earlier one's undo still takes it down."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from plugfest.deadline import poll
from plugfest.errors import InfrastructureError
from plugfest.machine.agent import AgentError, AgentTimeout
from plugfest.machine.interface import carries_frames
from plugfest.machine.stillness import Stillness

if TYPE_CHECKING:
    from plugfest.deadline import Deadline

LINK_TIMEOUT = 10.0
"""Seconds that a driver has for its link, on a guest of speed 1, before a test begins: the test finds out why it has none."""


class LinkSource(Protocol):
    """What a watch has to know of a machine."""

    def wait_for_link(self, timeout: float) -> Mapping[str, Any]:
        """Return the interface as the agent's ``link.wait`` reports it, as soon as it carries frames or the timeout is over."""

    def link_changes(self) -> int | None:
        """How often the link has gone up or down by the device; None where it does not tell."""

    def link_looked(self) -> bool:
        """Whether the driver has read the state of the link since the last of these changes."""

    def deadline(self, seconds: float) -> Deadline:
        """Start a deadline of so many seconds on a guest of speed 1."""

    def lost(self) -> float:
        """The seconds that the run has lost because the host is busy."""


class LinkWatch:
    """Knows what has become of the link since it last waited for it."""

    def __init__(self, source: LinkSource, timeout: float = LINK_TIMEOUT) -> None:
        """Wait for nothing yet.

        Args:
            source: whose link.
            timeout: seconds that its driver has for the link.
        """
        self._source = source
        self._timeout = timeout
        self._missing = False
        self._reported = 0
        self._by_device: int | None = None

    def wait(self) -> None:
        """Wait after a boot until the interface carries frames."""
        self._wait(steady=False)

    def wait_until_steady(self) -> None:
        """Wait before a test until the interface carries frames, and will go on to.

        The test before may have left a reset device, or a link that was lost while the driver, which polls, still reports the carrier:
        it is given the time to find out. A link that did not come is waited for again only once it is there.
        """
        self._wait(steady=True)

    def _wait(self, *, steady: bool) -> None:
        with suppress(AgentError, AgentTimeout, InfrastructureError):
            deadline = self._source.deadline(self._timeout)
            link = self._source.wait_for_link(0 if self._missing else deadline.remaining)
            changes = self._source.link_changes()
            if steady and carries_frames(link) and self._has_unreported_changes(link, changes):
                stillness = Stillness(self._source.link_looked, lost=self._source.lost)
                poll(
                    lambda: stillness.stays(self._source.wait_for_link(deadline.remaining)["carrier-changes"]), deadline
                )
                link, changes = self._source.wait_for_link(0), self._source.link_changes()
            self._missing = not carries_frames(link)
            self._reported, self._by_device = link["carrier-changes"], changes

    def _has_unreported_changes(self, link: Mapping[str, Any], changes: int | None) -> bool:
        """Whether the driver has reported fewer changes of the link than there were since the last wait.

        It may report more: many take the carrier off while they reset a device whose link stays.
        """
        if changes is None or self._by_device is None:
            return False
        return bool(changes - self._by_device > link["carrier-changes"] - self._reported)
