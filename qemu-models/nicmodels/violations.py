# SPDX-License-Identifier: MIT
"""What a driver does that the hardware's documentation forbids. It is counted by rule and recorded, and costs at most its queue."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nicmodels.events import EventLog


class Violations:
    """Counts and records violations (control method `model.counters`, event `violation`).

    Args:
        events: where they are recorded.

    Attributes:
        counts: by rule, such as `tx.packet`; the rules are few and fixed.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self.counts: Counter[str] = Counter()

    def add(self, rule: str, **details: Any) -> None:
        """Count and record a violation; details must be JSON values."""
        self.counts[rule] += 1
        self._events.add("violation", rule=rule, **details)
