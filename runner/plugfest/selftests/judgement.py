# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of a case of upstream's tests, from what it printed and what the kernel complained of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from plugfest.machine.console import Problem
from plugfest.requirements.verdict import Judgement, Verdict
from plugfest.selftests.ktap import Result, ResultKind

_LONGEST = 300
_CHECK = re.compile(r"^Check failed .*")
_CODE = re.compile(r"^Check\| {4,}(\S.*)")
_EXCEPTION = re.compile(r"^(?:Exception\| ?|Defer Exception\| ?)(?P<text>.*)")
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Failure|Ex|Expired|Exit|Terminate|Interrupt)\b.*")
_SAID = re.compile(r"^\s*(?:CMD(?:\[remote\])?|EXIT|STDOUT|STDERR): *\S.*")


def judge(result: Result | None, problems: Sequence[Problem] = ()) -> Judgement:
    """Return the verdict of a case, known issues aside.

    Upstream's XFAIL says that a case does not apply here, and why; it has nothing to do with our known issues, and is a skip.

    Args:
        result: what it printed; None if it did not end because the kernel did not go on.
        problems: what the kernel complained of meanwhile.
    """
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Judgement(Verdict.CRASH, f"{problems[0].summary}{more}")
    if result is None:
        return Judgement(Verdict.CRASH, "the guest ended")
    if result.outcome is ResultKind.OK:
        return Judgement(Verdict.PASS)
    if result.outcome is ResultKind.SKIP:
        return Judgement(Verdict.SKIP, _cut(result.said) if result.said else _last(result.diagnostics, "SKIP"))
    if result.outcome is ResultKind.XFAIL:
        return Judgement(Verdict.SKIP, f"XFAIL: {result.said or 'the test says no reason'}")
    if result.outcome is ResultKind.TIMEOUT:
        return Judgement(Verdict.TIMEOUT, result.said or "the test took too long")
    return Judgement(Verdict.FAIL, why(result))


def why(result: Result) -> str:
    """Return what a failed case says of its failure, one line: its first failed check, or the exception that ended it."""
    lines = result.diagnostics
    for number, line in enumerate(lines):
        if _CHECK.match(line):
            code = _CODE.match(lines[number - 1]) if number else None
            return _cut(f"{line.strip()}: {code[1]}" if code else line)
    raised = [found["text"] for line in lines if (found := _EXCEPTION.match(line))] or lines
    at = next((number for number in reversed(range(len(raised))) if _RAISED.match(raised[number])), None)
    if at is not None:
        said = [line.strip() for line in raised[at + 1 :] if _SAID.match(line)]
        return _cut("; ".join([raised[at].strip(), *said]))
    return _last(lines)


def _last(lines: Sequence[str], word: str = "") -> str:
    """Return the last line that is not blank, if there is one with a word the last of these."""
    said = [line for line in lines if line.strip()]
    found = [line for line in said if word in line] or said
    return _cut(found[-1]) if found else "the test says no reason"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
