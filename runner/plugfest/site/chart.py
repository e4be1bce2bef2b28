# SPDX-License-Identifier: GPL-2.0-or-later
"""Charts as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugfest.history.timeline import RecordedRun
from plugfest.requirements.verdict import WORST_FIRST, Verdict

HEIGHT = 60.0
"""Of a chart, in its own units."""
STEP = 8.0
"""Width of a run in a chart, likewise."""
_GAP = 1.0
_LEAST = 2.0
"""Least height of a verdict that occurs: one failure among 500 results must be seen."""


@dataclass(frozen=True)
class Part:
    """A rectangle of a bar: the results of a run with one verdict, and where it is drawn."""

    verdict: Verdict
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """A run in the chart of verdicts, the worst verdict on top."""

    run: RecordedRun
    parts: tuple[Part, ...]

    @property
    def title(self) -> str:
        """What the bar shows, in words."""
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.run.counts.items())
        return f"{self.run.when}, Linux {self.run.release}: {counts or 'no results'}"


@dataclass(frozen=True)
class Chart:
    """The runs of a configuration over time.

    Attributes:
        bars: one for each run, the oldest first.
        durations: the points of the line that has each run's duration, as SVG's ``points`` has them.
        longest: the longest duration, in seconds.
        width: of the chart.
    """

    bars: tuple[Bar, ...]
    durations: str
    longest: float
    width: float

    @property
    def label(self) -> str:
        """What the chart shows, in words."""
        return f"The verdicts of {len(self.bars)} runs. The last one: {self.bars[-1].title}"


def chart(runs: Sequence[RecordedRun]) -> Chart:
    """Return the chart of runs.

    Args:
        runs: at least one, the oldest first.
    """
    most = max([sum(run.counts.values()) for run in runs] + [1])
    longest = max([run.seconds for run in runs] + [1.0])
    bars = tuple(Bar(run, tuple(_parts(run, number * STEP, most))) for number, run in enumerate(runs))
    points = " ".join(
        f"{number * STEP + (STEP - _GAP) / 2:.1f},{HEIGHT - run.seconds / longest * (HEIGHT - 2) - 1:.1f}"
        for number, run in enumerate(runs)
    )
    return Chart(bars, points, longest, len(runs) * STEP - _GAP)


def _parts(run: RecordedRun, x: float, most: int) -> list[Part]:
    """Stack the verdicts from the bottom, the best first; what little ones take above their share, the largest gives."""
    total = sum(run.counts.values())
    heights = {verdict: max(_LEAST, HEIGHT * count / most) for verdict, count in run.counts.items()}
    if heights:
        largest = max(heights, key=lambda verdict: heights[verdict])
        heights[largest] = max(_LEAST, heights[largest] - (sum(heights.values()) - HEIGHT * total / most))
    found, y = [], HEIGHT
    for verdict in reversed(WORST_FIRST):
        if verdict in heights:
            y -= heights[verdict]
            found.append(Part(verdict, x, max(y, 0.0), STEP - _GAP, heights[verdict]))
    return found
