# SPDX-License-Identifier: GPL-2.0-or-later
"""How each known issue shows, against reasons that runs measured: known_issue_reasons.tsv."""

from __future__ import annotations

import measured_reasons
import pytest
from plugfest.requirements.known_issues import Subject, load

MEASURED = tuple(measured_reasons.read())
ISSUES = load()
PARAMETERS = {parameter for issue in ISSUES for parameter in issue.parameters}
UNMEASURED = frozenset(
    {
        "gve: no zero-copy AF_XDP socket can be bound if the device's maximum MTU exceeds a chunk",
        "gve: reading the statistics while the interface goes down dereferences NULL",
        "gve: the MTU can be raised under an XDP program, which then sees the first 2048 bytes of a frame",
        "gve: zero-copy AF_XDP is advertised and refused, whatever the MTU",
        "virtio_net: detaching an XDP program removes queues that zero-copy AF_XDP pools are bound to",
        "xgbe: a link poll racing with ndo_stop leaves the carrier on without a link",
    }
)
"""Issues whose pattern follows the text of the test: no reason has been recorded since the tests say what they say now."""
_STOPPED = (
    "gve: a failed CREATE_RX_QUEUE leaves all queues stopped, without a reset",
    "gve: a failed DESTROY_RX_QUEUE leaves all queues stopped, without a reset",
    "gve: an admin queue command that times out wedges the interface",
)
SAME_SYMPTOM = {
    frozenset(
        {
            "gve: frames that XDP drops, sends back or redirects are in no receive count",
            "gve: frames that XDP sends back or redirects are missing from netlink's receive counts",
        }
    ),
    frozenset(
        {
            "xgbe: the user's RSS indirection table is lost when the interface goes down and up",
            "xgbe: the user's RSS indirection table is lost when the number of channels changes",
        }
    ),
    frozenset(
        {
            "ixgbe: the user's RSS indirection table is lost when the interface goes down and up",
            "ixgbe: the user's RSS indirection table is lost when the number of channels changes",
        }
    ),
    frozenset(
        {
            "vmxnet3: an attached XDP program stops running after down and up, a ring resize or a change of MTU",
            "vmxnet3: the MTU can be raised under an XDP program, which then sees no frame",
        }
    ),
    # Each leaves the queues stopped; the fault that the test injects tells which.
    *(frozenset({first, second}) for first in _STOPPED for second in _STOPPED),
    # Concurrent readers may see the error counts go back and forth, too.
    frozenset(
        {
            "xgbe: reading the statistics loses frames from the statistics",
            "xgbe: rx_errors and tx_errors jump to 2^64 - 8 and back",
        }
    ),
}
"""Issues of one driver that show alike; their requirements tell them apart."""


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
    """Remove from `UNMEASURED` what has been measured."""
    assert {issue.title for issue in ISSUES} - {title for row in MEASURED for title in shown(row)} == UNMEASURED


def test_no_pattern_accounts_for_another_issues_reason() -> None:
    """What another bug of the same driver does, to whatever requirement, is not how an issue shows."""
    wrong = {
        frozenset({issue.title, title})
        for row in MEASURED
        for title in shown(row)
        for issue in ISSUES
        if row["driver"] in issue.drivers
        and issue.title != title
        and any(pattern.search(row["reason"]) for pattern in issue.shows.values())
    }
    assert wrong <= SAME_SYMPTOM


def test_reasons_are_taken_from_reports() -> None:
    known = {"reason": "igb: off by one", "link": "https://e.org"}
    reason = "igb: off by one, https://e.org (found: {})"
    results = [
        {
            "requirement": "A-B-01",
            "test": "a/test_a.py::test_a[x]",
            "known_issue": known,
            "reason": reason.format("fail: off (by 1)"),
        },
        {
            "requirement": "A-B-02",
            "test": "a/test_a.py::test_b",
            "known_issue": known,
            "reason": reason.format("crash: BUG (and 2 more)"),
        },
        {"requirement": "A-B-03", "test": "a/test_a.py::test_c", "known_issue": None, "reason": "off by 1"},
        {
            "requirement": "A-B-04",
            "test": "a/test_a.py::test_d",
            "known_issue": known,
            "reason": "known issue did not show: x",
        },
    ]
    run = {"driver": "igb", "subject": {"profile": None}, "kernel": {"release": "7.3.4+deb13-amd64"}}
    rows = list(measured_reasons.measured({"run": run, "results": results}))
    assert [(row["requirement"], row["test"], row["kernel"], row["reason"]) for row in rows] == [
        ("A-B-01", "test_a[x]", "7.3.4", "off (by 1)"),
        ("A-B-02", "test_b", "7.3.4", "BUG"),
    ]
    assert measured_reasons.merged([rows[1], rows[0], {**rows[0], "reason": "later"}]) == rows
