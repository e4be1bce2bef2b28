# SPDX-License-Identifier: GPL-2.0-or-later
"""What the history says about one requirement: in each configuration, on each kernel, over time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plugfest.history.stability import Stability
from plugfest.history.timeline import Configuration, RecordedResult, RecordedRun, Test, Timeline
from plugfest.requirements.verdict import Verdict, worst


@dataclass(frozen=True)
class Cell:
    """The verdict of a requirement where a row and a column of a table meet.

    Attributes:
        verdict: the worst of its tests' newest verdicts; ``skip`` if they have no other.
        run: the newest run that has one of them.
        old: whether a newer run of the configuration did not select it.
    """

    verdict: Verdict
    run: RecordedRun
    old: bool


@dataclass(frozen=True)
class Strip:
    """The verdicts of one test in one configuration over time.

    Attributes:
        test: whose.
        outcomes: with the runs, the oldest first.
        stability: of them; None if the test has never been run.
    """

    test: Test
    outcomes: Sequence[tuple[RecordedRun, RecordedResult]]
    stability: Stability | None

    @property
    def reason(self) -> str:
        """Of the newest result."""
        return self.outcomes[-1][1].reason

    @property
    def seconds(self) -> float:
        """That the newest result took."""
        return self.outcomes[-1][1].seconds


def cell(configuration: Configuration, tests: Iterable[Test], runs: Sequence[RecordedRun] | None = None) -> Cell | None:
    """Return the verdict of a requirement.

    Args:
        configuration: in which.
        tests: of the requirement.
        runs: of the configuration that count, the oldest first; all by default.

    Returns:
        None if none of them has a result.
    """
    runs = configuration.runs if runs is None else runs
    found = [
        (run, run.outcomes[test.id].verdict)
        for test in tests
        if (run := next((run for run in reversed(runs) if test.id in run.outcomes), None)) is not None
    ]
    if not found:
        return None
    newest = max((run for run, _ in found), key=lambda run: (run.start, run.id))
    # A test that the newest run did not select may be gone; one that no run of this requirement selected is merely old.
    current = [verdict for run, verdict in found if run is newest]
    return Cell(worst(current), newest, newest is not runs[-1])


def strips(configuration: Configuration, tests: Iterable[Test], window: int) -> list[Strip]:
    """Return the verdicts of a requirement's tests, of the newest `window` results each."""
    return [
        Strip(test, outcomes[-window:], configuration.stability(test.id))
        for test in tests
        if (outcomes := configuration.verdicts(test.id))
    ]


def releases(timeline: Timeline) -> list[str]:
    """Return all kernel releases of a history, the newest first."""
    found = {run.release for configuration in timeline.configurations for run in configuration.runs}
    return sorted(found, key=_version, reverse=True)


def _version(release: str) -> tuple[list[int], str]:
    # "7.3.10" is newer than "7.3.9".
    return [int(number) for number in re.findall(r"\d+", release.partition("+")[0])], release
