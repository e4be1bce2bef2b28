# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of a test, and how it is derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict of one test in the reports. Verdicts are never merged."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    SKIP = "skip"
    XFAIL = "xfail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    MISS = "miss"

    @property
    def meaning(self) -> str:
        """One line for the reports' legend."""
        return _MEANINGS[self]

    @property
    def is_failure(self) -> bool:
        """Whether this verdict makes a run exit with status 1."""
        return self in FAILURES


FAILURES = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT, Verdict.MISS})

_MEANINGS = {
    Verdict.PASS: "the driver does what the requirement says",
    Verdict.FAIL: "the driver does not do what the requirement says",
    Verdict.SKIP: "the driver does not claim it, or the kernel lacks it; the evidence is recorded",
    Verdict.XFAIL: "failed, as a listed known issue predicts",
    Verdict.ERROR: "the test broke; this shows nothing about the driver",
    Verdict.CRASH: "the guest's kernel reported a panic, oops, BUG, WARN, hung task or transmit watchdog",
    Verdict.TIMEOUT: "the test exceeded its time budget",
    Verdict.MISS: "planned, but the run ended before the test had a verdict",
}


class BudgetExceeded(BaseException):
    """A phase of a test exceeded its time budget.

    Not an `Exception`, so that no ``except Exception`` in a test catches it.
    """


@dataclass(frozen=True)
class PhaseFailure:
    """An exception that ended a phase of a test.

    Attributes:
        phase: ``setup``, ``call`` or ``teardown``.
        kind: ``assertion``, ``driver`` (the driver created no netdev), ``timeout`` (`BudgetExceeded`, or a command that
            did not complete) or ``error``.
        reason: one line.
    """

    phase: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reason, one line; the reason of a plain pass is empty."""

    verdict: Verdict
    reason: str = ""


def judge(
    *,
    phase_failures: Sequence[PhaseFailure] = (),
    problems: Sequence[str] = (),
    skipped: str | None = None,
    evidence: bool = False,
    known_issue: str | None = None,
) -> Judgement:
    """Derive the verdict of a test from what happened during it.

    A kernel problem in the guest takes precedence, because everything else may follow from it; then a timeout; then an exception
    outside the test's own assertions; then a failed assertion. A known issue turns `fail`, `timeout` and `crash` into `xfail`, but
    never `error`: a broken test shows nothing.

    Args:
        phase_failures: the exceptions of the phases, in order.
        problems: the first line of each kernel problem on the console during the test.
        skipped: the reason, if the test skipped itself.
        evidence: whether the test recorded any evidence.
        known_issue: reason and link of the known issue that applies here.
    """
    found = _observed(phase_failures, problems, skipped, evidence)
    if known_issue is None:
        return found
    if found.verdict in (Verdict.FAIL, Verdict.TIMEOUT, Verdict.CRASH):
        return Judgement(Verdict.XFAIL, f"{known_issue} (found: {found.verdict}: {found.reason})")
    if found.verdict is Verdict.PASS:
        return Judgement(Verdict.PASS, f"known issue did not show: {known_issue}")
    return found


def _observed(
    phase_failures: Sequence[PhaseFailure], problems: Sequence[str], skipped: str | None, evidence: bool
) -> Judgement:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Judgement(Verdict.CRASH, f"{problems[0]}{more}")
    for failure in phase_failures:
        if failure.kind == "timeout":
            return Judgement(Verdict.TIMEOUT, failure.reason)
    for failure in phase_failures:
        if failure.kind == "error" or (failure.phase != "call" and failure.kind != "driver"):
            return Judgement(Verdict.ERROR, f"{failure.phase}: {failure.reason}")
    if phase_failures:
        return Judgement(Verdict.FAIL, phase_failures[0].reason)
    if skipped is not None:
        if not evidence:
            return Judgement(
                Verdict.ERROR,
                f"skipped without evidence ({skipped}): expected skip_unsupported(what, evidence=…), found a bare skip",
            )
        return Judgement(Verdict.SKIP, skipped)
    return Judgement(Verdict.PASS)
