# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed from one run to another, test by test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plugfest.report.colours import STYLES
from plugfest.report.document import Document, check_without_faults, observed
from plugfest.report.fingerprint import fingerprint, normalized
from plugfest.report.text import printable
from plugfest.requirements.verdict import OF_THE_DRIVER, Verdict

SCHEMA_VERSION = 1
SHOWN = 25
"""Most tests that the console lists of one change."""
WIDEST = 240
"""Most characters of a reason on the console."""


class Change(StrEnum):
    """What became of a test from one run to another."""

    BROKEN = "broken"
    LOST = "lost"
    FIXED = "fixed"
    CHANGED = "changed"
    NEW = "new"
    GONE = "gone"
    UNCHANGED = "unchanged"

    @property
    def meaning(self) -> str:
        """One line for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Change.BROKEN: "passed or was skipped, and fails",
    Change.LOST: "had a verdict on the driver, and has none",
    Change.FIXED: "failed, and passes",
    Change.CHANGED: "another verdict, in another way",
    Change.NEW: "only in the second run",
    Change.GONE: "only in the first run",
    Change.UNCHANGED: "the same verdict",
}

_SECOND = " (second attempt: "
"""What begins the reason of a second attempt that failed in another way than the first."""

FAILING = OF_THE_DRIVER | {Verdict.XFAIL}
"""The verdicts that say that the driver does not meet the requirement, whether or not that is known."""
UNDECIDED = frozenset({Verdict.ERROR, Verdict.UNSTABLE, Verdict.QUARANTINED, Verdict.BLOCKED, Verdict.MISS})
"""The verdicts that say nothing certain about the driver."""


def change_of(before: Verdict | None, after: Verdict | None, *, intermittent: bool = False) -> Change:
    """Return what became of a test.

    Args:
        before: its verdict in the first run; None if it is not in it.
        after: likewise in the second.
        intermittent: whether a known issue that need not show in each run concerns it: between ``pass`` and ``xfail`` nothing then
            broke or was fixed.
    """
    if before is None or after is None:
        return Change.NEW if before is None else Change.GONE
    if before is after:
        return Change.UNCHANGED
    if intermittent and {before, after} == {Verdict.PASS, Verdict.XFAIL}:
        return Change.CHANGED
    if before in (Verdict.PASS, Verdict.SKIP) and after in FAILING:
        return Change.BROKEN
    if before not in UNDECIDED and after in UNDECIDED and after.is_failure:
        return Change.LOST
    if before in FAILING and after is Verdict.PASS:
        return Change.FIXED
    return Change.CHANGED


def is_worse(before: Verdict | None, after: Verdict | None, change: Change) -> bool:
    """Return whether a change fails a comparison: it broke, or its verdict fails a run and did not before."""
    if before is None or after is None:
        return False
    return change is Change.BROKEN or (after.is_failure and not before.is_failure)


def intermittent_tests(document: Document) -> set[str]:
    """Return the tests that a known issue concerns which need not show in each run."""
    return {test for issue in document.get("known_issues", ()) if issue["intermittent"] for test in issue["tests"]}


def build(first: Document, second: Document, *, names: tuple[str, str]) -> dict[str, Any]:
    """Compare two runs.

    Args:
        first: the report of the earlier run, or of the driver as it was.
        second: that of the later one.
        names: what to call the two, such as their folders.

    Returns:
        What ``plugfest compare --json`` prints: ``first`` and ``second``, the runs; ``counts`` by change; ``tests``, those whose verdict
        differs, each with its change and both results; ``reasons``, those with the same verdict for another reason; ``exit_status``.

    Raises:
        UsageError: one of them is a run with faults, which says nothing about the driver.
    """
    for name, document in zip(names, (first, second), strict=True):
        check_without_faults(document, name)
    luck = intermittent_tests(first) | intermittent_tests(second)
    before = {result["test"]: result for result in first["results"]}
    after = {result["test"]: result for result in second["results"]}
    tests, reasons, worse = [], [], False
    counts = dict.fromkeys(Change, 0)
    for test in dict.fromkeys([*after, *before]):
        old, new = before.get(test), after.get(test)
        verdicts = _verdict(old), _verdict(new)
        change = change_of(*verdicts, intermittent=test in luck)
        counts[change] += 1
        worse = worse or is_worse(*verdicts, change)
        row = {
            "requirement": (new or old or {})["requirement"],
            "test": test,
            "change": change.value,
            "before": _brief(old),
            "after": _brief(new),
        }
        if change is not Change.UNCHANGED:
            tests.append(row)
        elif old and new and _cause(old) != _cause(new):
            reasons.append(row)
    tests.sort(key=lambda row: list(Change).index(Change(row["change"])))
    return {
        "schema": SCHEMA_VERSION,
        "first": _run(first, names[0]),
        "second": _run(second, names[1]),
        "counts": {change.value: count for change, count in counts.items()},
        "tests": tests,
        "reasons": reasons,
        "exit_status": 1 if worse else 0,
    }


def _cause(result: Mapping[str, Any]) -> object:
    """Return the known issue of a result, or what the kernel complained of, or the reason: what is the same for one cause."""
    if result["verdict"] == Verdict.XFAIL:
        return result["known_issue"]["reason"]
    if result["problems"]:
        return sorted({fingerprint(problem) for problem in result["problems"]})
    return normalized(observed(result).partition(_SECOND)[0])


def _verdict(result: Mapping[str, Any] | None) -> Verdict | None:
    return None if result is None else Verdict(result["verdict"])


def _brief(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if result is None:
        return None
    known = result["known_issue"]
    return {
        **{key: result[key] for key in ("verdict", "seconds")},
        "reason": observed(result),
        "known_issue": None if known is None else known["reason"],
    }


def _run(document: Document, name: str) -> dict[str, Any]:
    run = document["run"]
    return {
        "name": name,
        **{key: run[key] for key in ("driver", "start", "complete", "interrupted")},
        "profile": run["subject"]["profile"],
        "kernel": run["kernel"]["release"],
        "modules": run["options"]["modules"],
    }


def render(found: Mapping[str, Any], console: Console) -> None:
    """Print a comparison: the tests of each change with their verdicts and reasons, then the counts."""
    for change in Change:
        _list(console, change.value, [row for row in found["tests"] if row["change"] == change])
    _list(console, "the same verdict for another reason", found["reasons"])
    for side in ("first", "second"):
        run = found[side]
        profile = f" ({run['profile']})" if run["profile"] else ""
        what = f"{run['driver']}{profile} on Linux {run['kernel']}, {run['start'][:16].replace('T', ' ')} UTC"
        incomplete = "" if run["complete"] else f"; incomplete: {run['interrupted']}"
        console.print(escape(printable(f"{side}: {run['name']}: {what}{incomplete}")), soft_wrap=True)
    counts = ", ".join(f"{count} {change}" for change, count in found["counts"].items() if count) or "no tests"
    style = "bold red" if found["exit_status"] else "bold green"
    console.print(
        f"[{style}]{counts}, {len(found['reasons'])} for another reason (exit status {found['exit_status']})[/]",
        soft_wrap=True,
    )


def _list(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for column in ("requirement", "test", "before", "after"):
        table.add_column(column, overflow="fold", no_wrap=column != "test")
    table.add_column("reason", overflow="fold")
    for row in rows[:SHOWN]:
        table.add_row(
            row["requirement"],
            escape(printable(row["test"].rpartition("::")[2])),
            *(_styled(row[side]) for side in ("before", "after")),
            escape(_reason(row)),
        )
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"  and {len(rows) - SHOWN} more; --json has all\n")


def _reason(row: Mapping[str, Any]) -> str:
    sides = [_short(row[side]) for side in ("before", "after") if row[side] is not None]
    return " → ".join(sides) if row["change"] == Change.UNCHANGED else next(filter(None, reversed(sides)), "")


def _short(result: Mapping[str, Any]) -> str:
    reason = printable(result["known_issue"] if result["verdict"] == Verdict.XFAIL else result["reason"])
    return reason if len(reason) <= WIDEST else f"{reason[: WIDEST - 1]}…"


def _styled(result: Mapping[str, Any] | None) -> str:
    return "[dim]·[/dim]" if result is None else f"[{STYLES[Verdict(result['verdict'])]}]{result['verdict']}[/]"
