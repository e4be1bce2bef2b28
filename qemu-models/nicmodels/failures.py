# SPDX-License-Identifier: MIT
"""Exceptions of a model: bugs. They are counted and recorded, and cost no more than the queue in which they happened."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nicmodels.events import EventLog

logger = logging.getLogger(__name__)


class Failures:
    """Counts and records exceptions (control method `server.state`, event `model.error`).

    Args:
        events: where they are recorded.

    Attributes:
        count: how many there were.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self.count = 0

    def add(self, error: Exception, **where: Any) -> None:
        """Count, record and log an exception; `where` has JSON values, such as the direction and number of the queue."""
        self.count += 1
        self._events.add("model.error", reason=f"{type(error).__name__}: {error}", **where)
        logger.error("the model failed: %s", error, exc_info=error)
