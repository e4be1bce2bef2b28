# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of the suite spends its time on, beside the last run's figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class SuiteCost:
    """The cost of one run, all guests together.

    Attributes:
        wall: seconds from the command to its end.
        tests: seconds of all tests, which run side by side in several guests.
        waited: of these, seconds of waiting for a condition, on the host or in the guest.
        idle: of these, seconds in which time itself was waited for: a deadline that passed, or a state that had to stay.
        calls: of the guests' agents.
    """

    wall: float
    tests: float
    waited: float
    idle: float
    calls: int

    @classmethod
    def of(cls, report: Mapping[str, Any], wall: float) -> SuiteCost:
        """Add up a report's results; a test that never ran has no cost."""
        results = [each for each in report["results"] if "calls" in each]
        return cls(
            wall,
            sum(each["seconds"] for each in results),
            sum(each["waited"] for each in results),
            sum(each["idle"] for each in results),
            sum(each["calls"] for each in results),
        )

    @property
    def working(self) -> float:
        """Seconds in which a test did something, a call of it was on its way, or it looked at the wire outside `until`."""
        return self.tests - self.waited

    @property
    def waiting(self) -> float:
        """Seconds in which the driver was to do something, and did."""
        return self.waited - self.idle


def replaced(kept: Path, now: SuiteCost) -> SuiteCost | None:
    """Keep a run's cost in a file; returns the last run's, None if there is none."""
    try:
        last = SuiteCost(**json.loads(kept.read_text()))
    except (OSError, ValueError, TypeError):  # none yet, or one that another version has kept
        last = None
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(now)))
    return last


def table(now: SuiteCost, last: SuiteCost | None) -> Table:
    """Both runs, side by side."""
    made = Table("the whole ixgbe suite, warm cache", "this run", "the last run")
    for name, shown in (
        ("from the command to its end, s", lambda cost: f"{cost.wall:.0f}"),
        ("tests in all guests, s", lambda cost: f"{cost.tests:.0f}"),
        ("working, s", lambda cost: f"{cost.working:.0f}"),
        ("waiting for the driver, s", lambda cost: f"{cost.waiting:.0f}"),
        ("waiting for nothing, s", lambda cost: f"{cost.idle:.0f}"),
        ("calls of the agent", lambda cost: f"{cost.calls:,}"),
    ):
        made.add_row(name, shown(now), "" if last is None else shown(last))
    return made
