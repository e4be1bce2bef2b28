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
_SKIPPED = re.compile(r"[\w.]*Ksft(Skip|Xfail)Ex: (.*)")
_NO_FAMILY = re.compile(r"YnlException: Family '([\w-]+)' not supported by the kernel")
_OLD_PROGRAM = re.compile(r"; CMD: (ethtool .*?); EXIT: \d+; STDERR: ethtool: bad command line argument")
_REFUSED = "ethtool: bad command line argument"
_OLD_REMOTE = re.compile(
    r"; CMD\[remote\]: (ip .*?); EXIT: \d+; STDERR: (?:Error|RTNETLINK answers): (?:Unknown device type|Operation not supported)"
)
_NOT_ALLOWED = re.compile(
    r"; CMD\[remote\]: ([^;]*?); EXIT: \d+; (?:STDOUT: [^;]*; )?"
    r"STDERR: [^;]*(Operation not permitted|Permission denied|Read-only file system)"
)
_NO_PROGRAM = re.compile(
    r": (?P<bash>[\w.+-]+): command not found"
    r"|: \d+: (?P<dash>[\w.+-]+): not found"
    r"|(?:env|timeout): (?:failed to run command )?\W(?P<coreutils>[\w.+-]+)\W: No such file or directory"
    r"|_execute_child\b[\s\S]*?FileNotFoundError: \[Errno 2\] No such file or directory: '(?P<python>[\w.+-]+)'"
)
"""By the program that looked for it; one with a path is a helper of the test's, not a program of the guest's root."""
_EXCEPTION = re.compile(r"^(?:Exception\| ?|Defer Exception\| ?)(?P<text>.*)")
_RAISED = re.compile(r"^(?:[A-Za-z_][\w.]*)?(?:Error|Exception|Failure|Ex|Expired|Exit|Terminate|Interrupt)\b(?!\|).*")
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
        return Judgement(Verdict.SKIP, _cut(result.said) if result.said else _last(result.diagnostics, "skip"))
    if result.outcome is ResultKind.XFAIL:
        return Judgement(Verdict.SKIP, f"XFAIL: {result.said or 'the test says no reason'}")
    if result.outcome is ResultKind.TIMEOUT:
        return Judgement(Verdict.TIMEOUT, result.said or "the test took too long")
    reason = why(result)
    program = _NO_PROGRAM.search("\n".join(result.diagnostics))
    if program is not None:
        return Judgement(
            Verdict.ERROR, f"the test calls {program[program.lastgroup or 0]}, which the guest does not have"
        )
    lack = _lack(reason)
    if lack is None and not _CHECK.match(reason):  # what came after a failed check is no excuse for it
        lack = _lack(_raised(result.diagnostics))
    return Judgement(Verdict.FAIL, reason) if lack is None else Judgement(Verdict.SKIP, _cut(lack))


def _raised(lines: Sequence[str]) -> str:
    """Return the exceptions that ended a case, one because of the other, in one line as `why` has it; those of what it deferred aside."""
    found = (line.removeprefix("Exception|").strip() for line in lines if line.startswith("Exception|"))
    return "; ".join(line for line in found if line)


def _lack(reason: str) -> str | None:
    """Return what is lacking where a failure shows nothing about the driver; None if it may."""
    skipped = _SKIPPED.match(reason)
    if skipped is not None:  # raised before there are cases, so that upstream's runner sees an exit status only
        return f"XFAIL: {skipped[2]}" if skipped[1] == "Xfail" else skipped[2]
    family = _NO_FAMILY.search(reason)
    if family is not None:
        return f"the guest's kernel has no netlink family {family[1]}"
    program = _OLD_PROGRAM.search(reason)
    if program is not None:
        return f"the guest's ethtool does not know `{program[1]}`"
    if _REFUSED in reason:
        return f"the guest's ethtool does not know what the test asks of it: {reason}"
    forbidden = _NOT_ALLOWED.search(reason)
    if forbidden is not None:
        return f"the remote host does not allow `{forbidden[1]}`: {forbidden[2]}"
    remote = _OLD_REMOTE.search(reason)
    return None if remote is None else f"the kernel of this machine, the remote host's, does not know `{remote[1]}`"


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
    return _last(lines) if any(line.strip() for line in lines) or not result.said else _cut(result.said)


def _last(lines: Sequence[str], word: str = "") -> str:
    """Return the last line that is not blank, of those with a word in whatever case."""
    found = [line for line in lines if line.strip() and word in line.lower()]
    return _cut(found[-1]) if found else "the test says no reason"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
