# SPDX-License-Identifier: GPL-2.0-or-later
"""What upstream's tests print: TAP 13 and KTAP, nested, with the diagnostics of each result.

Sources: Documentation/dev-tools/ktap.rst (nested by two spaces), testanything.org's version 13, and kselftest's runner, which puts ``#``
and a space before each line of a test, whose own result follows. What a test prints behind another ``#`` is a diagnostic. Shell tests that
use net/lib.sh print ``TEST: … [ OK ]`` instead of TAP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

_RUNNERS = "# "
"""What upstream's runner puts before each line of a test. A second one is the test's own, and makes the line a diagnostic."""
_NESTED = "  "
_TESTS = 1
"""The level of a test's own results: those of upstream's runner are at 0."""
_RESULT = re.compile(
    r"(?P<not>not )?ok (?P<number>\d+)(?: -)?(?: (?P<name>[^#]*?))?\s*"
    r"(?:#\s*(?P<directive>SKIP|XFAIL|TODO|TIMEOUT|ERROR)\b:?\s*(?P<said>.*)|#\s*(?P<comment>.*))?$",
    re.IGNORECASE,
)
_PLAN = re.compile(r"1\.\.(\d+)(?:\s*#\s*SKIP\b\s*(?P<said>.*))?$", re.IGNORECASE)
_VERSION = re.compile(r"K?TAP version \d+$")
_FORWARDING = re.compile(r"(?:TEST|INFO): (?P<name>.*?)\s*\[\s*(?P<outcome>OK|FAIL|SKIP|XFAIL|XPASS)\s*\]$")
_BAIL = re.compile(r"Bail out!\s*(.*)$")
_MORE = re.compile(r"(?:# )?\t(?P<said>.+)")
"""What log_test_result() of net/lib.sh prints below a ``TEST: …``: why."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ResultKind(StrEnum):
    """What a result line says."""

    OK = "ok"
    NOT_OK = "not ok"
    SKIP = "skip"
    XFAIL = "xfail"
    TIMEOUT = "timeout"


_FORWARDED = {"OK": ResultKind.OK, "SKIP": ResultKind.SKIP, "XFAIL": ResultKind.XFAIL}


@dataclass
class Result:
    """One result.

    Attributes:
        name: as printed, without its number.
        outcome: of it.
        said: what follows the directive, or the comment.
        diagnostics: the lines before it that are no results, without their prefix.
        children: the results nested in it.
    """

    name: str
    outcome: ResultKind
    said: str = ""
    diagnostics: list[str] = field(default_factory=list)
    children: list[Result] = field(default_factory=list)

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Result]]:
        """Give the results that have none nested in them, with their names, those of the outer ones before them."""
        path = f"{prefix}.{self.name}" if prefix and self.name else prefix or self.name
        if not self.children:
            yield path, self
        for child in self.children:
            yield from child.leaves(path)


class Parser:
    """Reads line by line, so that it is known at each moment which results there are.

    Attributes:
        planned: how many results the test announced, at its own level; None if it did not.
        printed: how many it printed at that level.
        unplanned: why it announced none: ``1..0 # SKIP why``.
        bail: the reason of a ``Bail out!``, or None.
    """

    def __init__(self) -> None:
        """Begin."""
        self.planned: int | None = None
        self.printed = 0
        self.unplanned = ""
        self.bail: str | None = None
        self._results: dict[int, list[Result]] = {}
        self._lines: list[str] = []
        self._forwarded: Result | None = None

    def feed(self, line: str, *, keep: bool = True) -> Result | None:
        """Read a line; return the result that it is, or None.

        Args:
            line: with or without its newline.
            keep: whether it is kept if it is a diagnostic.
        """
        text = _COLOUR.sub("", line).rstrip()
        forwarded, self._forwarded = self._forwarded, None
        more = _MORE.fullmatch(text)
        if forwarded is not None and more is not None:
            forwarded.said = more["said"]
            forwarded.diagnostics.append(more["said"])
            return None
        level, rest = 0, text
        while True:
            found = self._result(rest)
            if found is not None:
                return self._add(level, found)
            plan = _PLAN.fullmatch(rest)
            if plan is not None:
                if level == _TESTS:
                    self.planned, self.unplanned = int(plan[1]), plan["said"] or ""
                return None
            if _VERSION.fullmatch(rest):
                return None
            bail = _BAIL.match(rest)
            if bail is not None:
                self.bail = bail[1] or "no reason"
                return None
            if not rest.startswith(_NESTED if level else (_RUNNERS, _NESTED)):
                break
            level, rest = level + 1, rest[len(_NESTED) :]
        if keep:
            self._lines.append(re.sub(r"^(?:# ?)+", "", text))
        return None

    @property
    def rest(self) -> list[str]:
        """The lines after the last result."""
        return self._lines

    def _result(self, text: str) -> Result | None:
        found = _RESULT.fullmatch(text)
        if found is not None:
            directive = (found["directive"] or "").upper()
            said = (found["said"] or found["comment"] or "").strip()
            if found["not"] and directive in ("SKIP", "XFAIL"):
                # ksft.py prints it where a check or an undo failed and the case was skipped then: its result is the failure.
                outcome, said = ResultKind.NOT_OK, f"{directive} {said}".strip()
            elif directive == "SKIP":
                outcome = ResultKind.SKIP
            elif directive in ("XFAIL", "TODO"):
                outcome = ResultKind.XFAIL
            elif directive == "TIMEOUT":
                outcome = ResultKind.TIMEOUT
            else:
                outcome = ResultKind.NOT_OK if found["not"] or directive == "ERROR" else ResultKind.OK
            return Result((found["name"] or "").strip(), outcome, said)
        forwarded = _FORWARDING.fullmatch(text)
        if forwarded is not None:
            self._forwarded = Result(forwarded["name"], _FORWARDED.get(forwarded["outcome"], ResultKind.NOT_OK))
            return self._forwarded
        return None

    def _add(self, level: int, found: Result) -> Result:
        for deeper in sorted(each for each in self._results if each > level):
            found.children += self._results.pop(deeper)
        found.diagnostics, self._lines = self._lines, []
        self.printed += level == _TESTS
        self._results.setdefault(level, []).append(found)
        return found
