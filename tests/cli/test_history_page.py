# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/history.md: each of its commands works, in the order of the page."""

from __future__ import annotations

import itertools
import re
import shlex
import sqlite3
from pathlib import Path
from types import SimpleNamespace

from plugfest.history.stability import STREAK
from plugfest.history.timeline import NEWEST
from plugfest.report.comparison import Change
from plugfest.report.fingerprint import fingerprint
from plugfest.run import journal
from plugfest.site.write import STALE, WINDOW
from test_commands import END, PLANNED, result

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")


def test_its_commands(plugfest, inside, monkeypatch) -> None:
    minutes = itertools.count(1_790_000_000, 60)
    monkeypatch.setattr(journal, "time", SimpleNamespace(time=lambda: next(minutes)))
    verdicts = iter(["pass", "fail"])
    done = {}
    for command in re.findall(r"^    plugfest (.*)$", PAGE, re.MULTILINE):
        arguments = shlex.split(command)
        if arguments[0] == "run":
            inside.events = [PLANNED, result(next(verdicts)), END]
        done[command] = plugfest(*arguments)
        assert done[command].err == "", command
    assert len(done) == 8
    assert [each.status for each in done.values()] == [0, 0, 1, 0, 0, 1, 1, 0]
    assert "1 broken" in done["history changes nightly/history.db"].out
    assert "Vendor&#39;s drivers, nightly" in Path("nightly/site/index.html").read_text()
    (query,) = re.findall(r"^    (SELECT .*?;)$", PAGE, re.DOTALL | re.MULTILINE)
    with sqlite3.connect("nightly/history.db") as connection:
        assert connection.execute(query).fetchall() == [("smoke/test_it.py::test_it", "", 1.0)]
    pages = [path.read_text() for path in Path("nightly/site/runs").iterdir()]
    assert sorted(set(re.findall(r'href="([^"]*report\.html)"', "".join(pages)))) == [
        f"../../results/gve-{number}/report.html" for number in (1, 2)
    ]


def test_its_numbers_and_words() -> None:
    assert f"after {STREAK} equal verdicts in a row" in PAGE
    assert f"the newest {WINDOW} of a configuration" in PAGE
    assert f"the newest {NEWEST} runs of each configuration" in PAGE
    assert f"in the {STALE.days} days before" in PAGE
    table = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert table == {Change.BROKEN, Change.LOST, Change.FIXED, Change.CHANGED, "flaky"}


def test_its_fingerprint_is_one() -> None:
    (text,) = re.findall(r"^    (BUG: .*)$", PAGE, re.MULTILINE)
    title, _, functions = text.partition(" in ")
    innermost, *callers = functions.split(" < ")
    console = [
        f"{title}, address: 00000000000000a0",
        f"RIP: 0010:{innermost}+0x17/0x50 [gve]",
        "Call Trace:",
        " <TASK>",
    ]
    console += [f" {caller}+0x21/0x30" for caller in callers]
    assert fingerprint("\n".join(f"[   1.000000] {line}" for line in [*console, " </TASK>"])) == text
