# SPDX-License-Identifier: GPL-2.0-or-later
"""What a matrix shows: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

from plugfest.matrix.attempt import Count, Tally
from plugfest.matrix.job import Job
from plugfest.matrix.ledger import Finished
from plugfest.matrix.progress import ConsoleDisplay
from rich.console import Console

JOB = Job("ixgbe", "kr", "trixie")


def finished(status: int, **more: object) -> Finished:
    values = {"reason": None, "where": None, "summary": {"pass": 3}, **more}
    return Finished(JOB, 1, Path("out"), status, 12.4, **values)


def shown(terminal: bool) -> tuple[ConsoleDisplay, io.StringIO]:
    text = io.StringIO()
    return ConsoleDisplay(Console(file=text, force_terminal=terminal, width=100, highlight=False), 2, 1), text


def test_bars() -> None:
    display, text = shown(terminal=True)
    display.began(JOB, 2, "worker-1")
    display.counted(JOB, Count(5, 38, 1))
    display._progress.refresh()
    assert "attempt 2 at ixgbe (kr) on trixie on worker-1" in text.getvalue()
    assert "5/38" in text.getvalue()
    assert "1/2" in text.getvalue()
    display.ended(finished(0))
    display.close()
    display.close()
    assert "ixgbe (kr) on trixie: 3 pass; 12 s" in text.getvalue()
    assert display._bars == {}


def test_lines() -> None:
    display, text = shown(terminal=False)
    display.began(JOB, 1, None)
    display.counted(JOB, Count(5, 38, 1))
    display.ended(finished(3, summary={}, reason="a guest\x1b[31m printed [this]"))
    display.close()
    assert text.getvalue() == (
        "began ixgbe (kr) on trixie\n[2/2] no result ixgbe (kr) on trixie: a guest\\x1b[31m printed [this]; 12 s\n"
    )


def test_a_tally_reads_what_is_added(tmp_path) -> None:
    tally = Tally(tmp_path)
    assert tally.look() == Count(0, 0, 0)
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"event": "planned", "tests": [1, 2, 3]}\n')
    assert tally.look() == Count(0, 3, 0)
    (tmp_path / "guest-1").mkdir()
    guest = tmp_path / "guest-1" / "journal.jsonl"
    guest.write_text('{"event": "result", "test": "a", "verdict": "pass"}\n{"event": "result", "test": "b", "ver')
    assert tally.look() == Count(1, 3, 0)
    with guest.open("a") as file:
        file.write('dict": "crash"}\n{"event": "boot"}\nnonsense\n')
    assert tally.look() == tally.look() == Count(2, 3, 1)
