# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of one test, and how it follows from what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the reports say of one test. None is folded into another."""

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
        """Whether a run with this verdict exits with 1."""
        return self in FAILURES


FAILURES = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT, Verdict.MISS})

_MEANINGS = {
    Verdict.PASS: "the driver does what the requirement says",
    Verdict.FAIL: "the driver does not do what the requirement says",
    Verdict.SKIP: "the driver does not claim it; the evidence is recorded",
    Verdict.XFAIL: "failed as a listed known issue says it would",
    Verdict.ERROR: "the test broke; it says nothing about the driver",
    Verdict.CRASH: "the guest's kernel reported a panic, oops, BUG, WARN, hung task or transmit watchdog",
    Verdict.TIMEOUT: "the test used up its time",
    Verdict.MISS: "planned, but the run ended before it had a verdict",
}


class BudgetExceeded(BaseException):
    """A phase of a test used up its time.

    Not an `Exception`, so that no ``except Exception`` in a test swallows it.
    """


@dataclass(frozen=True)
class Mishap:
    """One exception that left a phase of a test.

    Attributes:
        phase: ``setup``, ``call`` or ``teardown``.
        kind: ``assertion``, ``driver`` (the driver made no interface), ``timeout`` (`BudgetExceeded`, or a command that
            never answered) or ``error``.
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
    mishaps: Sequence[Mishap] = (),
    problems: Sequence[str] = (),
    skipped: str | None = None,
    evidence: bool = False,
    known_issue: str | None = None,
) -> Judgement:
    """Turn what happened during one test into its verdict.

    Order: a guest's kernel problem wins over everything, because all else follows from it. Then timeout. Then whatever
    broke outside the test's own assertions. Then the assertion. A known issue turns `fail`, `timeout` and `crash` into
    `xfail`, never `error`: a broken test shows nothing.

    Args:
        mishaps: the exceptions of the phases, in order.
        problems: first lines of the kernel's problems seen on the console during the test.
        skipped: the reason, when the test skipped itself.
        evidence: whether the test recorded any evidence.
        known_issue: reason and link of the listed issue that applies here.
    """
    found = _observed(mishaps, problems, skipped, evidence)
    if known_issue is None:
        return found
    if found.verdict in (Verdict.FAIL, Verdict.TIMEOUT, Verdict.CRASH):
        return Judgement(Verdict.XFAIL, f"{known_issue} (found: {found.verdict}: {found.reason})")
    if found.verdict is Verdict.PASS:
        return Judgement(Verdict.PASS, f"known issue did not show: {known_issue}")
    return found


def _observed(mishaps: Sequence[Mishap], problems: Sequence[str], skipped: str | None, evidence: bool) -> Judgement:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Judgement(Verdict.CRASH, f"{problems[0]}{more}")
    for mishap in mishaps:
        if mishap.kind == "timeout":
            return Judgement(Verdict.TIMEOUT, mishap.reason)
    for mishap in mishaps:
        if mishap.kind == "error" or (mishap.phase != "call" and mishap.kind != "driver"):
            return Judgement(Verdict.ERROR, f"{mishap.phase}: {mishap.reason}")
    if mishaps:
        return Judgement(Verdict.FAIL, mishaps[0].reason)
    if skipped is not None:
        if not evidence:
            return Judgement(
                Verdict.ERROR,
                f"skipped without evidence ({skipped}): expected skip_unsupported(what, evidence=…), found a bare skip",
            )
        return Judgement(Verdict.SKIP, skipped)
    return Judgement(Verdict.PASS)
