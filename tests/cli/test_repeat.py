# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --repeat``, ``--shuffle`` and ``--load``: the runs' plans, and the comparison of their verdicts."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from plugfest.run import sandbox
from test_commands import END, IDENTITY, PLANNED, REQUIREMENT, result

OTHER = {**IDENTITY, "test": "smoke/test_it.py::test_other", "requirement": "SMOKE-A-02"}
BOTH = {
    **PLANNED,
    "requirements": [REQUIREMENT, {**REQUIREMENT, "id": "SMOKE-A-02"}],
    "tests": [IDENTITY, OTHER],
}
ATTEMPT = {"event": "attempt", **IDENTITY}


def both(first: str, second: str) -> list[dict]:
    return [BOTH, result(first), {**result(second), **OTHER}, END]


def comparison() -> dict[str, Any]:
    return json.loads(Path("results/latest/repeat.json").read_text())


def test_runs_that_agree(plugfest, runs) -> None:
    plans = runs(both("pass", "skip"), both("pass", "skip"), both("pass", "skip"))
    done = plugfest("run", "ixgbe", "--repeat", "3")
    assert done.status == 0
    assert done.out.splitlines()[-1] == "ixgbe: no verdicts of 2 varied in 3 runs (exit status 0)"
    assert [plan.output.name for plan in plans] == ["run-1", "run-2", "run-3"]
    assert {(plan.seed, plan.loaded) for plan in plans} == {(None, False)}
    for plan in plans:
        assert (plan.output / "report.html").is_file()
        assert plan.output.parent == Path("results/latest").resolve()
    found = comparison()
    assert (found["wanted"], found["complete"], found["tests"], found["varied"]) == (3, 3, 2, [])


def test_a_verdict_that_varies(plugfest, runs) -> None:
    runs(both("pass", "pass"), both("pass", "fail"), both("pass", "pass"))
    done = plugfest("run", "ixgbe", "--repeat", "3")
    assert done.status == 1
    assert "1 verdict of 2 varied in 3 runs, 1 run failed (exit status 1)" in done.out.splitlines()[-1]
    (row,) = comparison()["varied"]
    assert row["requirement"] == "SMOKE-A-02"
    assert [(cell["folder"], cell["verdict"]) for cell in row["verdicts"]] == [
        ("run-1", "pass"),
        ("run-2", "fail"),
        ("run-3", "pass"),
    ]
    page = Path("results/latest/repeat.html").read_text()
    assert 'href="run-2/report.html#SMOKE-A-02"' in page
    assert "SMOKE-A-01" not in page


def test_a_verdict_that_varies_between_good_ones_fails_too(plugfest, runs) -> None:
    runs(both("pass", "pass"), both("pass", "skip"))
    done = plugfest("run", "ixgbe", "--repeat", "2")
    assert (done.status, comparison()["exit_status"]) == (1, 1)


def test_a_quarantined_verdict_may_vary(plugfest, runs) -> None:
    runs(both("pass", "pass"), both("pass", "quarantined"), both("pass", "pass"))
    done = plugfest("run", "ixgbe", "--repeat", "3")
    assert done.status == 0
    assert done.out.splitlines()[-1] == "ixgbe: 1 verdict of 2 varied (1 quarantined) in 3 runs (exit status 0)"
    assert [row["quarantined"] for row in comparison()["varied"]] == [True]


def test_the_quarantine_hides_no_other_change(plugfest, runs) -> None:
    runs(both("pass", "pass"), both("pass", "quarantined"), both("pass", "skip"))
    done = plugfest("run", "ixgbe", "--repeat", "3")
    assert (done.status, [row["quarantined"] for row in comparison()["varied"]]) == (1, [False])


def listed(verdict: str, *, intermittent: bool) -> dict[str, Any]:
    """A result of the other test, which a known issue concerns."""
    issue = {"title": "It races.", "link": "https://example.org/race"}
    expected = [{**issue, "requirement": "SMOKE-A-02", "intermittent": intermittent, "showed": verdict == "xfail"}]
    known = {"reason": issue["title"], "link": issue["link"]}
    return {**result(verdict), **OTHER, "expected": expected, "known_issue": known}


@pytest.mark.parametrize(
    ("intermittent", "verdicts", "status"),
    [
        (True, ("pass", "xfail", "pass"), 0),
        (False, ("pass", "xfail", "pass"), 1),
        (True, ("pass", "xfail", "skip"), 1),
    ],
)
def test_an_intermittent_known_issue_may_show_or_not(plugfest, runs, intermittent, verdicts, status) -> None:
    runs(*([BOTH, result("pass"), listed(verdict, intermittent=intermittent), END] for verdict in verdicts))
    done = plugfest("run", "ixgbe", "--repeat", "3")
    (row,) = comparison()["varied"]
    assert (done.status, row["intermittent"], row["quarantined"]) == (status, not status, False)
    assert ("(1 by an intermittent known issue)" in done.out.splitlines()[-1]) == (not status)


def test_runs_that_agree_to_fail(plugfest, runs) -> None:
    runs(both("pass", "fail"), both("pass", "fail"))
    done = plugfest("run", "ixgbe", "--repeat", "2")
    assert done.status == 1
    assert "no verdicts of 2 varied in 2 runs, 2 runs failed" in done.out.splitlines()[-1]


def test_each_run_has_another_order(plugfest, runs) -> None:
    plans = runs(both("pass", "pass"), both("pass", "pass"))
    done = plugfest("run", "ixgbe", "--repeat", "2", "--shuffle", "41")
    assert [plan.seed for plan in plans] == [41, 42]
    assert "run 2 of 2, in the order of seed 42" in done.out
    assert [run["seed"] for run in comparison()["runs"]] == [41, 42]


def test_a_seed_of_its_own_is_printed(plugfest, runs) -> None:
    plans = runs(both("pass", "pass"))
    done = plugfest("run", "ixgbe", "--shuffle", "--load")
    assert f"in the order of seed {plans[0].seed}; --shuffle={plans[0].seed} repeats it" in done.out
    assert plans[0].loaded
    report = json.loads(Path("results/latest/report.json").read_text())
    assert report["run"]["options"]["seed"] == plans[0].seed
    assert report["run"]["options"]["load"] is True


@pytest.mark.parametrize(
    ("load", "loaded"), [(["--load"], [True] * 3), (["--load", "2"], [False, True, True]), ([], [False] * 3)], ids=str
)
def test_load_in_some_of_the_runs(plugfest, runs, load: list[str], loaded: list[bool]) -> None:
    plans = runs(*[both("pass", "pass")] * 3)
    plugfest("run", "ixgbe", "--repeat", "3", *load)
    assert [plan.loaded for plan in plans] == loaded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shuffle", "many"], "--shuffle many: expected a seed, a whole number"),
        (["--shuffle=-1"], "No such option"),
        (["--shuffle=1.5"], "--shuffle 1.5: expected a seed"),
        (["--repeat", "0"], "0 is not in the range x>=1"),
        (["--repeat", "x"], "'x' is not a valid integer"),
        (["--repeat", "2", "--load", "3"], "--load 3: expected how many of the runs are to be under load, from 1 to 2"),
        (["--load", "0"], "--load 0: expected how many of the runs are to be under load, from 1 to 1"),
        (["--repeat", "2", "--keep"], "--keep with --repeat: expected one of them"),
    ],
)
def test_bad_input(plugfest, inside, options: list[str], message: str) -> None:
    done = plugfest("run", "ixgbe", *options)
    assert done.status == 2
    assert message in done.line
    assert inside.payload is None


def test_an_interruption_leaves_the_runs_that_there_are(plugfest, runs) -> None:
    killed = sandbox.Outcome(130, signal.SIGTERM)
    plans = runs(both("pass", "pass"), both("fail", "pass"), ([BOTH, ATTEMPT], killed), both("pass", "pass"))
    done = plugfest("run", "ixgbe", "--repeat", "4")
    assert done.status == 143
    assert len(plans) == 3
    assert "2 of 4 runs are complete: interrupted (SIGTERM)" in done.out
    found = comparison()
    assert (found["wanted"], found["complete"], len(found["runs"])) == (4, 2, 3)
    (row,) = found["varied"]  # what the third run did not reach does not count
    assert [cell and cell["verdict"] for cell in row["verdicts"]] == ["pass", "fail", None]
    assert "2 of 4 runs are complete: interrupted (SIGTERM)." in Path("results/latest/repeat.html").read_text()


def test_a_run_without_a_guest_ends_it(plugfest, runs) -> None:
    no_guest = {"event": "stopped", "reason": "expected the guest to boot, found a panic", "exit_status": 3}
    plans = runs(both("pass", "pass"), [BOTH, ATTEMPT, no_guest, END], both("pass", "pass"))
    done = plugfest("run", "ixgbe", "--repeat", "3")
    assert done.status == 3
    assert len(plans) == 2
    assert "1 of 3 runs are complete: expected the guest to boot, found a panic" in done.out


def test_an_output_folder_in_use(plugfest, runs) -> None:
    runs(both("pass", "pass"), both("pass", "pass"))
    assert plugfest("run", "ixgbe", "--repeat", "2", "--output", "out").status == 0
    for options in ([], ["--repeat", "2"]):
        done = plugfest("run", "ixgbe", "--output", "out", *options)
        assert done.status == 2
        assert "found the journal of another run; choose another" in done.line


def test_report_compares_again(plugfest, runs) -> None:
    runs(both("pass", "pass"), both("pass", "skip"), both("pass", "pass"))
    plugfest("run", "ixgbe", "--repeat", "3")
    before = comparison()
    (Path("results/latest") / "run-2" / "report.json").unlink()
    done = plugfest("report")
    assert done.status == 1
    assert comparison() == before
    assert (Path("results/latest") / "run-2" / "report.json").exists()
    Path("results/latest/repeat.json").unlink()  # of a runner that was killed in its first run
    assert plugfest("report").status == 1
    assert comparison()["wanted"] == 3


def test_a_hostile_text_is_text(plugfest, runs) -> None:
    bad = {**result("fail"), "reason": "<script>alert(1)</script>"}
    runs([PLANNED, result("pass"), END], [PLANNED, bad, END])
    plugfest("run", "ixgbe", "--repeat", "2")
    page = Path("results/latest/repeat.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
