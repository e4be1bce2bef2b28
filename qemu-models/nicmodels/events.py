# SPDX-License-Identifier: MIT
"""The event log: what happened to a device, in order, for tests to read (control method ``events.read``)."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class EventLog:
    """A bounded list of events; the oldest are dropped, which leaves a gap in the sequence numbers.

    Args:
        now: the current time in seconds; the reactor's clock in a served model.
        limit: how many events are kept.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, limit: int = 4096) -> None:
        self._now = now
        self._events: deque[dict[str, Any]] = deque(maxlen=limit)
        self._sequence = 0

    def add(self, event: str, **details: Any) -> None:
        """Record `event`, such as `reset` or `queue.enable`; details must be JSON values."""
        self._sequence += 1
        self._events.append({"sequence": self._sequence, "time": self._now(), "event": event, **details})

    def after(self, sequence: int = 0) -> list[dict[str, Any]]:
        """The kept events with a sequence number above `sequence`, oldest first."""
        return [event for event in self._events if event["sequence"] > sequence]
