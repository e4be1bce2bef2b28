# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of a test, and how it is derived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from plugfest.requirements.base import Base


class Verdict(StrEnum):
    """The verdict of one test in the reports. Verdicts are never merged."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    SKIP = "skip"
    XFAIL = "xfail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    UNSTABLE = "unstable"
    QUARANTINED = "quarantined"
    BLOCKED = "blocked"
    MISS = "miss"

    @property
    def meaning(self) -> str:
        """One line for the reports' legend."""
        return _MEANINGS[self]

    @property
    def is_failure(self) -> bool:
        """Whether this verdict makes a run exit with status 1."""
        return self in FAILURES


FAILURES = frozenset(
    {
        Verdict.FAIL,
        Verdict.ERROR,
        Verdict.CRASH,
        Verdict.TIMEOUT,
        Verdict.UNSTABLE,
        Verdict.BLOCKED,
        Verdict.MISS,
    }
)

OF_THE_DRIVER = frozenset({Verdict.FAIL, Verdict.CRASH, Verdict.TIMEOUT})
"""The verdicts that blame the driver: each is confirmed in a fresh guest before it is given."""

WORST_FIRST = (
    Verdict.FAIL,
    Verdict.CRASH,
    Verdict.TIMEOUT,
    Verdict.UNSTABLE,
    Verdict.ERROR,
    Verdict.BLOCKED,
    Verdict.MISS,
    Verdict.QUARANTINED,
    Verdict.XFAIL,
    Verdict.SKIP,
    Verdict.PASS,
)
"""The order in which reports list verdicts."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict of a requirement: the worst of its tests', and ``skip`` only if it is that of all.

    A driver may well lack one of several variants; that takes nothing from those that it has.

    Args:
        verdicts: of its tests, at least one.
    """
    found = set(verdicts)
    return min(found - {Verdict.SKIP} or found, key=WORST_FIRST.index)


_MEANINGS = {
    Verdict.PASS: "the driver does what the requirement says",
    Verdict.FAIL: "the driver does not do what the requirement says",
    Verdict.SKIP: "the driver does not claim it, or the kernel lacks it; the evidence is recorded",
    Verdict.XFAIL: "failed, as a listed known issue predicts",
    Verdict.ERROR: "the test broke; this shows nothing about the driver",
    Verdict.CRASH: "the guest's kernel reported a panic, oops, BUG, WARN, hung task or transmit watchdog",
    Verdict.TIMEOUT: "the test exceeded its time budget",
    Verdict.UNSTABLE: "two attempts, each in a guest of its own, ended differently; this shows nothing certain about the driver",
    Verdict.QUARANTINED: "unstable, as the quarantine lists it; does not fail the run",
    Verdict.BLOCKED: "not run: the requirement that it stands on failed",
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
        kind: ``assertion``, ``driver`` (the driver created no netdev, or brings no link up), ``timeout`` (`BudgetExceeded`,
            or a command that did not complete) or ``error``.
        reason: one line.
        missing: what the driver never provided in this guest, so that nothing that stands on it can pass; None if no such thing.
    """

    phase: str
    kind: str
    reason: str
    missing: Base | None = None


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
) -> Judgement:
    """Derive the verdict of a test from what happened during it, known issues aside (`plugfest.requirements.known_issues`).

    A kernel problem in the guest takes precedence, because everything else may follow from it; then a timeout; then an exception
    outside the test's own assertions; then a failed assertion.

    Args:
        phase_failures: the exceptions of the phases, in order.
        problems: the first line of each kernel problem on the console during the test.
        skipped: the reason, if the test skipped itself.
        evidence: whether the test recorded any evidence.
    """
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
