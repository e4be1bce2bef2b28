# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the verdicts of a test over time can be relied on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from enum import StrEnum

from plugfest.requirements.verdict import Verdict

STREAK = 15
"""How many equal verdicts in a row make a test stable, if no two attempts differed."""

NOT_RUN = frozenset({Verdict.BLOCKED, Verdict.MISS})
"""The verdicts of a test that was not run, which do not count."""
_TWO_ATTEMPTS = frozenset({Verdict.UNSTABLE, Verdict.QUARANTINED})
"""The verdicts of two attempts that differed: however many in a row, they make no test stable."""


class Stability(StrEnum):
    """What the verdicts of a test in one configuration look like."""

    STABLE = "stable"
    SETTLING = "settling"
    FLAKY = "flaky"

    @property
    def meaning(self) -> str:
        """One line for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Stability.STABLE: f"the last {STREAK} verdicts are equal, and no two attempts of one run differed",
    Stability.SETTLING: f"fewer than {STREAK} equal verdicts since the first one or the last change",
    Stability.FLAKY: f"a verdict came back after another, or two attempts of one run differed, and {STREAK} equal ones have not followed",
}


def stability(verdicts: Iterable[Verdict]) -> Stability:
    """Judge a sequence of verdicts.

    Args:
        verdicts: of one test in one configuration, the oldest first.
    """
    streaks = [
        (verdict, len(list(group)))
        for verdict, group in itertools.groupby(verdict for verdict in verdicts if verdict not in NOT_RUN)
    ]
    since: list[Verdict] = []
    for verdict, length in reversed(streaks):
        if length >= STREAK and not since and verdict not in _TWO_ATTEMPTS:
            return Stability.STABLE
        since.append(verdict)
        if length >= STREAK:
            break
    back = len(set(since)) < len(since)
    return Stability.FLAKY if back or not _TWO_ATTEMPTS.isdisjoint(since) else Stability.SETTLING
