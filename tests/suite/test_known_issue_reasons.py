# SPDX-License-Identifier: GPL-2.0-or-later
"""How each known issue shows, against reasons that runs measured: known_issue_reasons.tsv."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from plugfest.requirements.known_issues import KnownIssues, Subject, load
from plugfest.requirements.verdict import Judgement, Verdict

with Path(__file__).with_name("known_issue_reasons.tsv").open(encoding="utf-8", newline="") as file:
    MEASURED = tuple(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
ISSUES = load()
PARAMETERS = {parameter for issue in ISSUES for parameter in issue.parameters}


def shown(row: dict[str, str]) -> set[str]:
    """Return the titles of the issues that account for a measured reason."""
    subject = Subject(row["driver"], row["kernel"], row["profile"] or None)
    parameters = {each for each in PARAMETERS if each in row["test"]}
    here = [issue for issue in ISSUES if issue.applies(row["requirement"], subject, parameters)]
    found = {issue.title for issue in here if issue.shows[row["requirement"]].search(row["reason"])}
    return found or {
        issue.title
        for issue in ISSUES
        if issue.has(subject) and issue.complaint is not None and issue.complaint.search(row["reason"])
    }


@pytest.mark.parametrize(
    "row", MEASURED, ids=lambda row: f"{row['requirement']}-{row['driver']}-{row['profile']}-{row['kernel']}"
)
def test_one_issue_accounts_for_what_was_measured(row: dict[str, str]) -> None:
    assert len(shown(row)) == 1


def test_each_issue_was_measured() -> None:
    assert {issue.title for issue in ISSUES} - {title for row in MEASURED for title in shown(row)} == set()


def test_each_requirement_of_an_issue_was_measured() -> None:
    """Except where a run need not show it."""
    measured = {(title, row["requirement"]) for row in MEASURED for title in shown(row)}
    listed = {(issue.title, each) for issue in ISSUES for each in issue.requirements if each not in issue.intermittent}
    assert listed - measured == set()


def test_no_pattern_accounts_for_another_issues_reason() -> None:
    """A pattern is that of its symptom: what another bug of the same driver does to another requirement does not match it.

    Two bugs may have one symptom.
    """
    wrong = {
        (issue.title, title)
        for row in MEASURED
        for title in shown(row)
        for issue in ISSUES
        if row["driver"] in issue.drivers
        and issue.title != title
        and any(pattern.search(row["reason"]) for pattern in issue.shows.values())
    }
    assert wrong <= SAME_SYMPTOM


SAME_SYMPTOM: set[tuple[str, str]] = set()


def test_the_fixture_is_of_failures() -> None:
    """A pass with such a text is none: the reasons are those of `fail`, `crash` and `timeout`."""
    row = MEASURED[0]
    subject = Subject(row["driver"], row["kernel"], row["profile"] or None)
    expected = KnownIssues(ISSUES, subject).expect(Judgement(Verdict.ERROR, row["reason"]), row["requirement"])
    assert expected.showed is None
