# SPDX-License-Identifier: GPL-2.0-or-later
"""The confirmation of a verdict against the driver: the same test again, in a fresh guest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plugfest.plugin.record import TestRecord
from plugfest.requirements.known_issues import Expected
from plugfest.requirements.verdict import OF_THE_DRIVER, Judgement, Verdict

if TYPE_CHECKING:
    import pytest

    from plugfest.machine.console import Problem
    from plugfest.plugin.artifacts import Recorder
    from plugfest.requirements.base import Base
    from plugfest.requirements.quarantine import Quarantined


@dataclass
class Attempt:
    """One attempt at a test: setup, call and teardown in one guest.

    Attributes:
        record: what the test recorded.
        recorder: what was recorded of model and wire.
        start: of `time.time`.
        begin: the same moment, of `time.monotonic`.
        seconds: of the three phases.
        fired: how often its fault fired.
        rehearsal: whether a test that asks for a fresh guest sets its fixtures up in a used one, to see whether it is skipped there.
        began: whether the body of the test has begun.
        reports: pytest's, one a phase.
        problems: what the guest's kernel complained of.
        expected: the verdict of this attempt, in the light of the known issues.
        fault: what came of its fault; None without one.
        artifacts: path within the output folder by name.
    """

    record: TestRecord
    recorder: Recorder
    start: float = field(default_factory=time.time)
    begin: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    fired: int = 0
    rehearsal: bool = False
    began: bool = False
    reports: Sequence[pytest.TestReport] = ()
    problems: Sequence[Problem] = ()
    expected: Expected = field(default_factory=lambda: Expected(Judgement(Verdict.MISS)))
    fault: Mapping[str, Any] | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def judgement(self) -> Judgement:
        """The verdict of this attempt."""
        return self.expected.judgement

    @property
    def is_against_the_driver(self) -> bool:
        """Whether its verdict must be confirmed."""
        return self.judgement.verdict in OF_THE_DRIVER

    @property
    def missing(self) -> Base | None:
        """What the driver never provided in this attempt's guest."""
        return next((each.missing for each in self.record.phase_failures if each.missing is not None), None)

    def describe(self) -> dict[str, Any]:
        """Return its fields in the journal."""
        return {
            "verdict": self.judgement.verdict,
            "reason": self.judgement.reason,
            "seconds": round(self.seconds, 3),
            "steps": [dataclasses.asdict(entry) for entry in self.record.steps],
            "evidence": [dataclasses.asdict(entry) for entry in self.record.evidence],
            "problems": [problem.excerpt for problem in self.problems],
            "artifacts": dict(self.artifacts),
            **self.record.cost(),
        }


def confirmed(attempts: Sequence[Attempt], quarantined: Quarantined | None = None) -> Judgement:
    """Return the verdict of a test from its attempts.

    Two attempts with the same verdict confirm it, though their reasons may differ; both reasons are then given. Any other second
    verdict, an ``xfail`` too, makes it `unstable`: one of the two guests did not show what the other did. The quarantine excuses that
    only if the second attempt is not against the driver: two failures that differ are no verdict that varies with luck.

    Args:
        attempts: one, whose verdict stands, or two.
        quarantined: the entry of the quarantine that lists the test.
    """
    first, last = attempts[0].judgement, attempts[-1].judgement
    if first.verdict is last.verdict:
        again = "" if first.reason == last.reason else f" (second attempt: {last.reason})"
        return Judgement(first.verdict, f"{first.reason}{again}")
    then = f"{last.verdict}: {last.reason}" if last.reason else str(last.verdict)
    found = f"first {first.verdict}: {first.reason}; then, in a fresh guest, {then}"
    if quarantined is None or attempts[-1].is_against_the_driver:
        return Judgement(Verdict.UNSTABLE, found)
    return Judgement(Verdict.QUARANTINED, f"{quarantined.reason} (found: {found})")
