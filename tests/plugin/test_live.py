# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run shows while it goes on: lines, and on a terminal a bar."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from plugfest.plugin.live import LiveConsole
from plugfest.plugin.pace import Pace
from plugfest.requirements.verdict import Verdict

TESTS = ["a.py::test_a", "a.py::test_b", "a.py::test_c"]


@contextmanager
def _output_to(descriptor: int) -> Iterator[None]:
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _play(live: LiveConsole) -> None:
    live.plan(TESTS)
    live.note("guest: restored from a snapshot in 0.8 s")
    live.attempt(TESTS[0], "AREA-TEST-01")
    live.tick()
    live.result(Verdict.PASS, "AREA-TEST-01", "test_a", 1.0, "")
    live.ended(TESTS[0], 1.0)
    live.attempt(TESTS[1], "AREA-TEST-02")
    live.tick()
    live.result(Verdict.FAIL, "AREA-TEST-02", "test_b", 2.0, "expected 1, found [2]")
    live.ended(TESTS[1], 2.0)
    live.lost(TESTS[2], "the process of guest 2 was killed by SIGKILL")
    live.close()
    live.close()


@pytest.fixture
def played(tmp_path) -> Callable[[bool], str]:
    def play(terminal: bool, *, bar: bool = True) -> str:
        path = tmp_path / "output"
        if not terminal:
            with path.open("wb") as file, _output_to(file.fileno()):
                live = LiveConsole(Pace(None), bar=bar)
            _play(live)
            return path.read_text()
        ours, theirs = pty.openpty()
        with _output_to(theirs):
            live = LiveConsole(Pace(None), bar=bar)
        os.close(theirs)
        live.guests = 2
        _play(live)
        found = b""
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            found += data
        os.close(ours)
        return found.decode()

    return play


def test_plain_lines_in_a_file(played) -> None:
    lines = played(terminal=False).splitlines()
    assert [line.rstrip() for line in lines] == [
        "guest: restored from a snapshot in 0.8 s",
        "[1/3] pass    AREA-TEST-01       test_a 1.0 s",
        "[2/3] fail    AREA-TEST-02       test_b 2.0 s",
        "          expected 1, found [2]",
        "a.py::test_c: the process of guest 2 was killed by SIGKILL",
    ]


def test_a_bar_on_a_terminal(played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", played(terminal=True))
    assert re.search(r"0/3 .*0:0\d left AREA-TEST-01", text)
    assert re.search(r"1/3 .*0:0\d left AREA-TEST-02", text)
    assert "[2/3] fail    AREA-TEST-02" in text


def test_no_bar_where_a_debugger_may_ask(played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert " left" not in played(terminal=True, bar=False)
