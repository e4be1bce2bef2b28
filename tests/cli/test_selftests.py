# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest selftests``: the runs' plans, their order, and the comparison of their verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_certify import pinged
from test_repeat import comparison

NAMES = ["drivers/net:ping.py", "drivers/net:queues.py", "drivers/net:stats.py"]


def test_runs_that_agree(plugfest, runs, upstream) -> None:
    plans = runs(*[pinged("pass")] * 2)
    done = plugfest("selftests", "ixgbe", "--repeat", "2")
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1] == "ixgbe: no verdicts of 1 varied in 2 runs (exit status 0)"
    assert [(plan.output.name, plan.seed) for plan in plans] == [("run-1", None), ("run-2", None)]
    assert Path("results/latest/run-2/helpers.log").is_file()
    assert Path("results/latest/repeat.html").is_file()


def test_a_case_whose_verdict_varies(plugfest, runs, upstream) -> None:
    runs(pinged("pass"), pinged("skip"))
    done = plugfest("selftests", "ixgbe", "--repeat", "2")
    assert done.status == 1
    (row,) = comparison()["varied"]
    assert (row["requirement"], row["test"]) == ("drivers/net:ping.py", "drivers/net/ping.py[test_v4]")


def test_each_run_has_another_order(plugfest, inside, runs, upstream, monkeypatch) -> None:
    orders = []
    plans = runs(*[pinged("pass")] * 4)
    enter = inside.enter

    def note(payload, **more):
        outcome = enter(payload, **more)
        orders.append([str(each.test) for each in inside.payload])
        return outcome

    monkeypatch.setattr(inside, "enter", note)
    done = plugfest("selftests", "ixgbe", "--repeat", "4", "--shuffle", "1")
    assert done.status == 0, done.err
    assert [plan.seed for plan in plans] == [1, 2, 3, 4]
    assert "run 4 of 4, in the order of seed 4" in done.out
    assert [run["seed"] for run in comparison()["runs"]] == [1, 2, 3, 4]
    assert all(sorted(order) == NAMES for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_a_single_run(plugfest, runs, upstream) -> None:
    plans = runs(pinged("pass"), pinged("pass"))
    assert plugfest("selftests", "ixgbe", "--", "ping.py").status == 0
    report = json.loads(Path("results/latest/report.json").read_text())["run"]
    assert (report["options"]["pytest"], report["options"]["seed"]) == (["ping.py"], None)
    assert (report["options"]["disruptive"], report["options"]["time_limit"]) == (True, 600.0)
    more = ("--not-disruptive", "--time-limit", "60", "--output", "out")
    done = plugfest("selftests", "ixgbe", "--shuffle", *more, "--", "ping.py")
    seed = plans[-1].seed
    assert f"in the order of seed {seed}; --shuffle={seed} repeats it" in done.out
    options = json.loads(Path("out/report.json").read_text())["run"]["options"]
    assert (options["seed"], options["disruptive"], options["time_limit"]) == (seed, False, 60.0)


def test_variables_for_pytest_do_not_concern_them(plugfest, runs, upstream, monkeypatch) -> None:
    runs(pinged("pass"))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    assert plugfest("selftests", "ixgbe").status == 0
    assert json.loads(Path("results/latest/report.json").read_text())["run"]["options"]["pytest"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shuffle", "many"], "--shuffle many: expected a seed, a whole number"),
        (["--repeat", "0"], "0 is not in the range x>=1"),
        (["--", "pong.py"], "pong.py: expected one of upstream's tests, found none of that name; did you mean ping.py"),
        (["--", "ping::test_v9"], "drivers/net:ping.py::test_v9: expected one of the test's cases, found none"),
    ],
)
def test_bad_input(plugfest, inside, upstream, options: list[str], message: str) -> None:
    done = plugfest("selftests", "ixgbe", *options)
    assert done.status == 2
    assert message in done.line
    assert inside.payload is None


def test_an_output_folder_in_use(plugfest, runs, upstream) -> None:
    runs(*[pinged("pass")] * 2)
    assert plugfest("selftests", "ixgbe", "--repeat", "2", "--output", "out").status == 0
    for options in ([], ["--repeat", "2"]):
        done = plugfest("selftests", "ixgbe", "--output", "out", *options)
        assert done.status == 2
        assert "found the journal of another run; choose another" in done.line
