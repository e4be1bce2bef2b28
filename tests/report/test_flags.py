# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
from pathlib import Path

import pytest
from history import History
from plugfest.report import console, html
from plugfest.report.flags import untested
from plugfest.requirements.netdev_flags import FLAGS, MAX_SEGS, advertised, of
from rich.console import Console


@pytest.fixture
def flagged(history: History) -> History:
    """A driver with the basic flags, which also advertises redirect during one test."""
    works = history.plan("XDP-BASIC-01", proves=["xdp-act:basic"])
    other = history.plan("XDP-BASIC-02", proves=["xdp-act:basic"])
    rejected = history.plan("XDP-FEAT-03", refuses=["xdp-act:hw-offload"])
    unsupported = history.plan("XDP-ZC-01", proves=["xdp-act:xsk-zerocopy"])
    history.plan("XDP-LAST-01", proves=["xdp-act:redirect"])
    history.result(works, "pass", advertised=["xdp-act:basic"])
    history.result(other, "fail", "3 missing", advertised=["xdp-act:basic", "xdp-act:redirect"])
    history.result(rejected, "pass", advertised=["xdp-act:basic"])
    history.result(unsupported, "skip", "not supported", advertised=["xdp-act:basic"])
    history.end()
    return history


def test_each_flag_has_a_row_made_of_the_results_that_name_it(flagged) -> None:
    rows = {row["flag"]: row for row in flagged.document()["flags"]}
    assert tuple(rows) == FLAGS
    assert rows["xdp-act:basic"]["works"] == {"pass": 1, "fail": 1}
    assert rows["xdp-act:hw-offload"] == {
        "flag": "xdp-act:hw-offload",
        "advertised": False,
        "works": {},
        "refused": {"pass": 1},
        "requirements": ["XDP-FEAT-03"],
    }
    # Advertised while one of the programs was attached, and its test never ran.
    assert rows["xdp-act:redirect"]["advertised"] is True
    assert rows["xdp-act:redirect"]["works"] == {"miss": 1}


def test_what_no_requirement_tested(flagged) -> None:
    missing = {row["flag"]: untested(row) for row in flagged.document()["flags"]}
    assert missing["xdp-act:basic"] is None
    assert missing["xdp-act:hw-offload"] is None
    assert missing["xdp-act:xsk-zerocopy"] == "refused"


def test_no_test_read_the_flags(history) -> None:
    history.result(history.plan("LINK-A-01"), "pass")
    history.end()
    rows = history.document()["flags"]
    assert {row["advertised"] for row in rows} == {None}
    assert {untested(row) for row in rows} == {None}


def test_console_and_page_show_it_where_a_requirement_names_a_flag(flagged, tmp_path: Path) -> None:
    file = io.StringIO()
    console.render(flagged.document(), Console(file=file, width=120))
    line = next(line for line in file.getvalue().splitlines() if "xdp-act:basic" in line)
    assert line.split() == ["xdp-act:basic", "yes", "1", "pass", "1", "fail", "·"]
    page = html.render(flagged.document(), tmp_path)
    assert "<code>xdp-act:hw-offload</code></td><td>no</td>" in page


def test_console_and_page_leave_it_out_elsewhere(history, tmp_path: Path) -> None:
    history.result(history.plan("LINK-A-01"), "pass")
    history.end()
    file = io.StringIO()
    console.render(history.document(), Console(file=file, width=120))
    assert "xdp-act" not in file.getvalue()
    assert "xdp-act" not in html.render(history.document(), tmp_path)


def test_no_matrix_of_results_under_faults() -> None:
    history = History(falsify=True)
    history.result(history.plan("LINK-A-01", fault="link.report.stuck"), "fail")
    history.end()
    assert "flags" not in history.document()


def test_flags_of_an_answer() -> None:
    answer = {
        "xdp-features": ["basic", "bit9"],
        "xdp-zc-max-segs": 17,
        "xdp-rx-metadata-features": ["hash"],
        "xsk-features": ["tx-checksum"],
    }
    assert advertised(answer) == {"xdp-act:basic", "xdp-rx-metadata:hash", "xsk-flags:tx-checksum", MAX_SEGS}
    assert advertised({"xdp-features": [], "xdp-zc-max-segs": 1}) == frozenset()
    assert of("xdp-act", advertised(answer)) == {"basic"}
