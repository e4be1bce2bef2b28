# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of a requirement with several tests: the same in the report, in the site and in a certificate."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from plugfest.certify.group import Group, Kind
from plugfest.report.html import Row
from plugfest.report.repetition import Run
from plugfest.requirements.verdict import WORST_FIRST, Verdict, worst
from plugfest.site.requirement import cell

PAIRS = list(itertools.combinations_with_replacement(WORST_FIRST, 2))


def of_report(*verdicts: Verdict) -> Verdict:
    return Row({}, tuple({"verdict": each} for each in verdicts), open=False).verdict


def of_site(*verdicts: Verdict) -> Verdict:
    outcomes = {number: SimpleNamespace(verdict=each) for number, each in enumerate(verdicts)}
    run = SimpleNamespace(outcomes=outcomes, start="2026-09-21", id=1)
    found = cell(SimpleNamespace(runs=[run]), [SimpleNamespace(id=number) for number in outcomes])
    return found.verdict


def of_certificate(*verdicts: Verdict) -> Verdict:
    results = [{"requirement": "LINK-A-01", "verdict": str(each)} for each in verdicts]
    runs = (Run("run-1", {"requirements": [{"id": "LINK-A-01"}], "results": results}),)
    return Group(Kind.SUITE, runs).verdicts["LINK-A-01"]


def test_every_verdict_has_its_place() -> None:
    assert sorted(WORST_FIRST) == sorted(Verdict)


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        ("pass skip", "pass"),
        ("skip skip", "skip"),
        ("skip xfail pass", "xfail"),
        ("xfail quarantined", "quarantined"),
        ("pass miss", "miss"),
        ("error crash", "crash"),
        ("crash fail", "fail"),
    ],
)
def test_worst(verdicts: str, found: str) -> None:
    assert worst(Verdict(each) for each in verdicts.split()) is Verdict(found)


@pytest.mark.parametrize("place", [of_report, of_site, of_certificate])
def test_every_place_has_the_same(place) -> None:
    for pair in PAIRS:
        for each in (pair, pair[::-1]):
            assert place(*each) is worst(pair), each
