# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark says of a run's seconds: working, waiting for the driver, waiting for nothing."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

sys.path.append(str(Path(__file__).parents[1] / "bench"))

import suite_cost
from suite_cost import SuiteCost

REPORT = {
    "results": [
        {"seconds": 10.0, "calls": 7, "waited": 6.0, "idle": 1.5},
        {"seconds": 2.5, "calls": 3, "waited": 0.5, "idle": 0.0},
        {"seconds": 0.0},
    ]
}


def test_seconds_are_split_in_three() -> None:
    cost = SuiteCost.of(REPORT, 9.0)
    assert (cost.working, cost.waiting, cost.idle) == (6.0, 5.0, 1.5)
    assert (cost.wall, cost.tests, cost.calls) == (9.0, 12.5, 10)
    assert cost.working + cost.waiting + cost.idle == cost.tests


def test_last_run_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "bench" / "ixgbe.json"
    first, second = SuiteCost(9, 8, 7, 6, 5), SuiteCost(19, 18, 17, 16, 15)
    assert suite_cost.replaced(kept, first) is None
    assert suite_cost.replaced(kept, second) == first
    assert suite_cost.replaced(kept, first) == second


@pytest.mark.parametrize("text", ["", "[]", '{"seconds": 1}', '{"wall": 1'])
def test_file_of_another_version_is_no_last_run(tmp_path: Path, text: str) -> None:
    kept = tmp_path / "ixgbe.json"
    kept.write_text(text)
    now = SuiteCost(9, 8, 7, 6, 5)
    assert suite_cost.replaced(kept, now) is None
    assert suite_cost.replaced(kept, now) == now


def test_both_runs_are_shown_side_by_side() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    console.print(suite_cost.table(SuiteCost(301, 500, 200, 20, 12345), SuiteCost(920, 910, 700, 400, 9)))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.getvalue().splitlines() if "│" in line]
    assert cells == [
        ["from the command to its end, s", "301", "920"],
        ["tests in all guests, s", "500", "910"],
        ["working, s", "300", "210"],
        ["waiting for the driver, s", "180", "300"],
        ["waiting for nothing, s", "20", "400"],
        ["calls of the agent", "12,345", "9"],
    ]
