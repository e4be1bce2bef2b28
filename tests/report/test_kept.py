# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of settings and operations: one row for each setting, one cell for each test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from history import History
from plugfest.report import html, kept


@pytest.fixture
def matrix(history: History) -> History:
    """A run of two settings, one of which has no test with one of the operations."""
    for operation, verdict in (("down-and-up", "pass"), ("MTU", "fail")):
        test = history.plan("KEEP-VLAN-01", f"test_vlan[{operation}]", keeps="VLAN filter")
        history.result(test, verdict, "lost" if verdict == "fail" else "")
    history.result(history.plan("KEEP-MTU-01", "test_mtu[down-and-up]", keeps="MTU"), "skip", "not supported")
    history.result(history.plan("LINK-A-01"), "pass")
    history.end()
    return history


def test_each_setting_has_a_row_with_the_verdict_of_each_operation(matrix: History) -> None:
    assert matrix.document()["kept"] == [
        {
            "setting": "VLAN filter",
            "requirement": "KEEP-VLAN-01",
            "operations": [
                {"operation": "down-and-up", "verdict": "pass", "test": "keep/test_keep.py::test_vlan[down-and-up]"},
                {"operation": "MTU", "verdict": "fail", "test": "keep/test_keep.py::test_vlan[MTU]"},
            ],
        },
        {
            "setting": "MTU",
            "requirement": "KEEP-MTU-01",
            "operations": [
                {"operation": "down-and-up", "verdict": "skip", "test": "keep/test_keep.py::test_mtu[down-and-up]"}
            ],
        },
    ]


def test_rows_are_filled_up_to_the_columns(matrix: History) -> None:
    document = matrix.document()
    assert kept.columns(document) == ["down-and-up", "MTU"]
    assert [verdicts for _, verdicts in kept.rows(document)] == [["pass", "fail"], ["skip", None]]


def test_the_page_has_it_where_a_requirement_names_a_setting(matrix: History, tmp_path: Path) -> None:
    page = html.render(matrix.document(), tmp_path)
    table = page.partition('<section id="kept">')[2].partition("</section>")[0]
    assert re.findall(r'chip (\w+)"', table) == ["pass", "fail", "skip"]
    assert '<a href="#KEEP-VLAN-01">VLAN filter</a>' in table


def test_the_page_leaves_it_out_elsewhere(history: History, tmp_path: Path) -> None:
    history.result(history.plan("LINK-A-01"), "pass")
    history.end()
    assert 'id="kept"' not in html.render(history.document(), tmp_path)
