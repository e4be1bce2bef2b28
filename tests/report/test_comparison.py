# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two runs."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping
from typing import Any

import pytest
from history import HOSTILE, History
from plugfest.errors import UsageError
from plugfest.report import comparison
from plugfest.report.comparison import Change, change_of
from plugfest.requirements.verdict import Verdict
from rich.console import Console

OOPS = """\
[   60.023630] BUG: kernel NULL pointer dereference, address: 00000000000000a0
[   60.030359] RIP: 0010:{}+0x17/0x50 [gve]
[   60.048000] Call Trace:
[   60.066931]  </TASK>
"""


def run(*results: tuple[str, str], reason: str = "", **more: Any) -> Mapping[str, Any]:
    """A document with results: each the requirement and its verdict."""
    history = History()
    for requirement, verdict in results:
        fields = dict(more)
        if verdict == "xfail":
            fields.setdefault("known_issue", {"reason": "gve: off by one", "link": "https://example.org/1"})
        history.result(history.plan(requirement), verdict, reason, **fields)
    history.end()
    return history.document()


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return comparison.build(first, second, names=("a", "b"))


def printed(found: Mapping[str, Any]) -> str:
    out = io.StringIO()
    comparison.render(found, Console(file=out, width=200))
    return out.getvalue()


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("pass", "fail", "broken"),
        ("skip", "crash", "broken"),
        ("pass", "xfail", "broken"),
        ("fail", "pass", "fixed"),
        ("xfail", "pass", "fixed"),
        ("timeout", "pass", "fixed"),
        ("pass", "error", "lost"),
        ("xfail", "blocked", "lost"),
        ("skip", "miss", "lost"),
        ("fail", "unstable", "lost"),
        ("pass", "quarantined", "changed"),
        ("pass", "skip", "changed"),
        ("skip", "pass", "changed"),
        ("fail", "skip", "changed"),
        ("fail", "crash", "changed"),
        ("xfail", "fail", "changed"),
        ("error", "fail", "changed"),
        ("miss", "pass", "changed"),
        (None, "fail", "new"),
        ("fail", None, "gone"),
        ("crash", "crash", "unchanged"),
    ],
)
def test_change_of(before: str | None, after: str | None, change: str) -> None:
    assert change_of(before and Verdict(before), after and Verdict(after)) == change


def test_every_pair_of_verdicts_has_its_change() -> None:
    """What is fixed the one way is broken the other, only the same verdict is unchanged, and what broke fails the comparison."""
    for before, after in itertools.product(Verdict, repeat=2):
        change = change_of(before, after)
        assert (change is Change.UNCHANGED) == (before is after)
        if change is Change.FIXED:
            assert change_of(after, before) is Change.BROKEN
        worse = comparison.is_worse(before, after, change)
        assert worse or change not in (Change.BROKEN, Change.LOST) or before.is_failure
        assert not worse or change in (Change.BROKEN, Change.LOST, Change.CHANGED)


def test_an_issue_that_need_not_show_breaks_nothing() -> None:
    assert change_of(Verdict.PASS, Verdict.XFAIL, intermittent=True) is Change.CHANGED
    assert change_of(Verdict.XFAIL, Verdict.PASS, intermittent=True) is Change.CHANGED
    assert change_of(Verdict.PASS, Verdict.FAIL, intermittent=True) is Change.BROKEN
    first, second = run(("LINK-A-01", "pass")), run(("LINK-A-01", "xfail"))
    assert compare(first, second)["exit_status"] == 1
    issue = {"title": "t", "link": "l", "requirement": "LINK-A-01", "showed": 1, "unseen": False}
    issue |= {"tests": [first["results"][0]["test"]], "intermittent": True}
    found = compare(first, {**second, "known_issues": [issue]})
    assert (found["counts"]["changed"], found["exit_status"]) == (1, 0)


def test_two_runs() -> None:
    first = run(("LINK-A-01", "pass"), ("LINK-B-01", "fail"), ("LINK-C-01", "pass"), ("LINK-D-01", "skip"))
    second = run(("LINK-B-01", "pass"), ("LINK-A-01", "fail"), ("LINK-E-01", "pass"), ("LINK-D-01", "skip"))
    found = compare(first, second)
    assert [(row["change"], row["requirement"]) for row in found["tests"]] == [
        ("broken", "LINK-A-01"),
        ("fixed", "LINK-B-01"),
        ("new", "LINK-E-01"),
        ("gone", "LINK-C-01"),
    ]
    assert {change: count for change, count in found["counts"].items() if count} == {
        "broken": 1,
        "fixed": 1,
        "new": 1,
        "gone": 1,
        "unchanged": 1,
    }
    assert (found["reasons"], found["exit_status"]) == ([], 1)
    assert found["tests"][2]["before"] is None
    assert found["first"]["name"] == "a"
    assert compare(first, first)["tests"] == []


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ({"reason": "41 frames of 64"}, {"reason": "7 frames of 64"}, False),
        ({"reason": "41 frames of 64"}, {"reason": "41 bytes of 64"}, True),
        ({"reason": "41"}, {"reason": "41 (second attempt: no carrier)"}, False),
        ({"problems": [OOPS.format("f")]}, {"problems": [OOPS.format("f").replace("a0", "b8")]}, False),
        ({"problems": [OOPS.format("f")]}, {"problems": [OOPS.format("g")]}, True),
    ],
)
def test_the_same_verdict_for_another_reason(one: dict[str, Any], other: dict[str, Any], differ: bool) -> None:
    found = compare(run(("LINK-A-01", "crash"), **one), run(("LINK-A-01", "crash"), **other))
    assert (found["counts"]["unchanged"], len(found["reasons"]), found["exit_status"]) == (1, int(differ), 0)


def test_another_known_issue_is_another_reason() -> None:
    issues = [{"reason": f"gve: {what}", "link": "https://example.org/1"} for what in ("off by one", "off by two")]
    runs = [run(("LINK-A-01", "xfail"), reason="1", known_issue=issue) for issue in issues]
    assert len(compare(*runs)["reasons"]) == 1
    assert compare(runs[0], run(("LINK-A-01", "xfail"), reason="2", known_issue=issues[0]))["reasons"] == []


@pytest.mark.parametrize("options", [{"falsify": True}, {"faults": ["link.report.stuck"]}], ids=str)
def test_a_run_with_faults_is_refused(options: dict[str, Any]) -> None:
    history = History()
    history.events[0]["options"].update(options)
    history.end()
    with pytest.raises(UsageError, match=r"^b: expected a run of the driver as it is, found one with faults armed"):
        compare(run(), history.document())


def test_what_is_printed() -> None:
    first = run(("LINK-A-01", "pass"), *((f"LINK-N-{number:02}", "pass") for number in range(1, 31)))
    second = run(("LINK-A-01", "fail"), reason=f"{HOSTILE} {'long ' * 100}")
    text = printed(compare(first, second))
    assert "broken" in text
    assert "<script>alert('x')</script>" in text
    assert "\x1b[31m" not in text
    assert re.search(r"l\w* ?…", text)
    assert "and 5 more; --json has all" in text
    assert "first: a: ixgbe (kr) on Linux 7.3.4+deb13-amd64, 2026-09-21 14:13 UTC" in text
    assert text.splitlines()[-1] == "1 broken, 30 gone, 0 for another reason (exit status 1)"
    assert printed(compare(run(), run())).splitlines()[-1] == "no tests, 0 for another reason (exit status 0)"


def test_an_incomplete_run_is_named(history) -> None:
    history.plan("LINK-A-01")
    history.stop("interrupted", 130)
    found = compare(run(("LINK-A-01", "pass")), history.document())
    assert (found["counts"]["lost"], found["exit_status"]) == (1, 1)
    assert "second: b: ixgbe (kr) on Linux 7.3.4+deb13-amd64, 2026-09-21 14:13 UTC; incomplete: interrupted" in printed(
        found
    )
