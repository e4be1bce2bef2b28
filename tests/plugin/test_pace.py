# SPDX-License-Identifier: GPL-2.0-or-later
"""How long tests take, and how long the rest of a run will."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugfest.plugin import pace as paces
from plugfest.plugin.pace import UNKNOWN, Pace


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(paces.time, "monotonic", lambda: clock[0])
    return clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cache" / "durations.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"a": 10.0, "b": 4.0, "c": 6.0}))
    return path


def test_the_time_left_counts_down(file: Path, now: list[float]) -> None:
    pace = Pace(file)
    pace.plan(["a", "b", "c"])
    assert pace.left() == 20
    pace.begin("b")
    now[0] += 3
    assert pace.left() == 17
    now[0] += 3  # longer than the last time: nothing is left of it
    assert pace.left() == 16
    pace.end("b", 6)
    assert pace.left() == 16


def test_guests_share_it_but_no_test_is_cut(file: Path, now: list[float]) -> None:
    pace = Pace(file)
    pace.plan(["a", "b", "c"])
    assert pace.left(2) == 10
    assert pace.left(4) == 10
    pace.begin("a")
    now[0] += 8
    assert pace.left(2) == 6


def test_what_is_new_lasts_like_what_was_new(tmp_path: Path) -> None:
    pace = Pace(None)
    pace.plan(["a", "b", "c"])
    assert pace.left() == 3 * UNKNOWN
    pace.begin("a")
    pace.end("a", 7)
    assert pace.left() == 14
    pace.begin("b")
    pace.forget("b")
    assert pace.left() == 7


def test_what_was_measured_is_kept_beside_what_did_not_run(file: Path) -> None:
    pace = Pace(file)
    pace.end("b", 1.23456)
    pace.end("new", 2)
    pace.save()
    assert json.loads(file.read_text()) == {"a": 10.0, "b": 1.235, "c": 6.0, "new": 2}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("text", ["", "[1]", '{"a": "x"}', "7", '{"a": [1]}'])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "durations.json"
    path.write_text(text)
    pace = Pace(path)
    assert pace.known("a") is None
    pace.end("a", 1)
    pace.save()
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pace = Pace(tmp_path / "file" / "durations.json")
    pace.end("a", 1)
    pace.save()
