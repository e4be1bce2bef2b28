# SPDX-License-Identifier: GPL-2.0-or-later
"""The order of a seed, and the load beside a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugfest.run import capacity, journal

EIGHT = "".join(
    f"""
@requirement("AREA-TEST-{number:02}")
def test_{number}(guest):
    '''Number {number}.'''
"""
    for number in range(1, 9)
)
BASE = """
@requirement("AREA-BASE-01", base="link")
def test_base(guest):
    '''There is a link.'''
"""


def order(suite) -> list[str]:
    return [event["test"].rpartition("::")[2] for event in journal.read(suite.output) if event["event"] == "attempt"]


def test_the_order_is_the_seeds(suite) -> None:
    orders = []
    for seed in (1, 1, 2, None):
        suite.run(EIGHT, seed=seed)
        orders.append(order(suite))
    assert orders[0] == orders[1]
    assert len({tuple(each) for each in orders}) == 3
    assert orders[3] == [f"test_{number}" for number in range(1, 9)]
    assert sorted(orders[0]) == orders[3]


def test_two_tests_keep_their_order_whatever_else_is_selected(suite) -> None:
    suite.run(EIGHT, seed=5)
    every = order(suite)
    suite.run(EIGHT, "-k", "test_2 or test_5 or test_7", seed=5)
    assert order(suite) == [test for test in every if test in ("test_2", "test_5", "test_7")]


@pytest.mark.parametrize("seed", range(4))
def test_what_the_others_stand_on_is_first_in_any_order(suite, seed: int) -> None:
    suite.run(EIGHT + BASE, seed=seed)
    assert order(suite)[0] == "test_base"


def test_the_cores_are_busy_during_the_run_and_no_longer(suite) -> None:
    suite.run(
        """
@requirement()
def test_it(guest):
    '''It sees the load.'''
    import json, os, pathlib
    busy = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_text()
        except OSError:
            continue
        if parent == os.getpid() and "while True" in command:
            busy.append(path.name)
    pathlib.Path("busy.json").write_text(json.dumps(busy))
""",
        forked=True,
        loaded=True,
    )
    busy = json.loads((suite.pytester.path / "busy.json").read_text())
    assert len(busy) == capacity.cores()
    assert not any(Path("/proc", process).exists() for process in busy)
