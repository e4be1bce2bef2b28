# SPDX-License-Identifier: GPL-2.0-or-later
"""``index.html`` of a bundle: what was certified, against what, with which exceptions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from plugfest.certify.certificate import Certificate
from plugfest.certify.group import RUNS, WARNED, Group
from plugfest.report import pages
from plugfest.requirements.verdict import WORST_FIRST, Verdict


@dataclass(frozen=True)
class _Row:
    """A requirement, or one of upstream's tests.

    Attributes:
        requirement: of the document.
        verdict: the worst of its tests.
        reasons: what its tests found, each once.
        cases: in the first run, how many of its tests, or cases, have each verdict that occurs, worst first.
    """

    requirement: dict[str, Any]
    verdict: Verdict
    reasons: list[str]
    cases: dict[Verdict, int]


@dataclass(frozen=True)
class _Upstream:
    """Upstream's tests on the page.

    Attributes:
        counts: what the legend says.
        rows: the tests that do not just pass or skip, failures first.
        passed: those that pass.
        skipped: those of which each case was skipped.
    """

    counts: list[tuple[str, int, str]]
    rows: list[_Row]
    passed: list[_Row]
    skipped: list[_Row]


def render(certificate: Certificate) -> bytes:
    """Return the page."""
    suite = certificate.suite
    page = pages.render(
        "certificate.html",
        script=None,
        result=certificate.result,
        tone={"PASSED": "pass", "WARNED": "xfail", "FAILED": "fail"}[certificate.result],
        manifest=certificate.manifest,
        runs=RUNS,
        counts=_counts(suite, "are not claimed by the driver, or not offered by the kernel"),
        total=len(suite.verdicts),
        failed=_rows(suite, suite.failed),
        warned=_rows(suite, suite.requirements(*WARNED)),
        skipped=_rows(suite, suite.requirements(Verdict.SKIP)),
        upstream=None if certificate.selftests is None else _upstream(certificate.selftests),
    )
    return page.encode()


def _upstream(group: Group) -> _Upstream:
    return _Upstream(
        _counts(group, "were skipped: they do not apply, or this testbed lacks what they need"),
        _rows(group, [*group.failed, *group.requirements(*WARNED)]),
        _rows(group, group.requirements(Verdict.PASS)),
        _rows(group, group.requirements(Verdict.SKIP)),
    )


def _counts(group: Group, skipped: str) -> list[tuple[str, int, str]]:
    return [
        ("pass", len(group.requirements(Verdict.PASS)), "pass in all runs"),
        ("xfail", len(group.requirements(*WARNED)), "are exceptions, listed below"),
        ("fail", len(group.failed), "fail"),
        ("skip", len(group.requirements(Verdict.SKIP)), skipped),
    ]


def _rows(group: Group, wanted: list[str]) -> list[_Row]:
    reasons: dict[str, dict[str, None]] = {identity: {} for identity in wanted}
    for run in group.runs:
        for result in run.document["results"]:
            if result["requirement"] in reasons and result["verdict"] == group.verdicts[result["requirement"]]:
                issue = result["known_issue"]
                known = issue is not None and result["verdict"] == Verdict.XFAIL
                reasons[result["requirement"]].setdefault(issue["reason"] if known else result["reason"])
    described = {each["id"]: each for each in group.document["requirements"]}
    found: dict[str, Counter[Verdict]] = {identity: Counter() for identity in wanted}
    for result in group.document["results"]:
        if result["requirement"] in found:
            found[result["requirement"]][Verdict(result["verdict"])] += 1
    return [
        _Row(
            described[each],
            group.verdicts[each],
            [reason for reason in reasons[each] if reason],
            {verdict: found[each][verdict] for verdict in WORST_FIRST if found[each][verdict]},
        )
        for each in wanted
    ]
