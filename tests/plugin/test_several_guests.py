# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests that run on several guests at once: who gets which, what is reported, and how the run ends."""

from __future__ import annotations

import ctypes
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from plugfest.run import journal

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

WAIT = """
def wait_for(name):
    '''Wait for a file that another test makes, which can only be if it runs at the same time.'''
    import pathlib
    deadline = time.monotonic() + 20
    while not pathlib.Path(name).exists():
        assert time.monotonic() < deadline, name
        time.sleep(0.01)

def touch(name):
    import pathlib
    pathlib.Path(name).touch()
"""


MEANWHILE = "touch('{}'); wait_for('{}')"


def some(*bodies: str, fixtures: str = "guest") -> str:
    """Tests test_1, test_2 …, each of a requirement of its own."""
    return WAIT + "".join(
        f"""
@requirement("AREA-TEST-{number:02}")
def test_{number}({fixtures}):
    '''Number {number}.'''
    {body}
"""
        for number, body in enumerate(bodies, 1)
    )


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """A worker enters a network namespace of its own: skip where the host allows none."""
    process = os.fork()
    if process == 0:
        os._exit(ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0)
    if os.waitpid(process, 0)[1] != 0:
        pytest.skip("no network namespaces")


@pytest.fixture
def several(suite):
    """Runs a suite on two guests, however short it is."""

    def run(body: str, *args: str, guests: int = 2, **plan: Any) -> Any:
        return suite.run(body, *args, forked=True, guests=guests, **plan)

    conftest = suite.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\nfrom plugfest.plugin import coordinator\ncoordinator.WORTH = 0.001\n")
    return run


def events(suite, kind: str) -> list[Mapping[str, Any]]:
    return [event for event in journal.read(suite.output) if event["event"] == kind]


def test_tests_run_at_the_same_time(suite, several) -> None:
    result = several(some("touch('one'); wait_for('two')", "touch('two'); wait_for('one')"))
    assert suite.verdicts() == {"test_1": "pass", "test_2": "pass"}
    assert {event["guest"] for event in events(suite, "result")} == {1, 2}
    assert result.ret == 0
    document = suite.document()
    assert document["run"]["complete"] is True
    assert {found["guest"] for found in document["results"]} == {1, 2}
    assert [boot["reason"] for boot in document["run"]["boots"]] == ["the first one", "the first one"]


def test_each_guest_has_a_network_of_its_own(suite, several) -> None:
    look = "evidence('net', __import__('os').readlink('/proc/self/ns/net'))"
    several(
        some(
            f"{look}; touch('one'); wait_for('two')",
            f"{look}; touch('two'); wait_for('one')",
            fixtures="guest, evidence",
        )
    )
    found = {event["evidence"][0]["text"] for event in events(suite, "result")}
    assert len(found) == 2
    assert str(Path("/proc/self/ns/net").readlink()) not in found


def test_one_line_a_test_and_one_count(suite, several) -> None:
    result = several(some("pass", "assert False, 'no'", "pass"))
    lines = [line for line in result.outlines if line.startswith("[")]
    assert [line.split()[0] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"]
    assert sorted(line.split()[1] for line in lines) == ["fail", "pass", "pass"]
    assert any(line.strip() == "no" for line in result.outlines)
    assert result.ret == 1


def test_artifacts_lie_where_those_of_one_guest_do(suite, several) -> None:
    several(some("assert False", "pass"))
    failed = next(result for result in suite.document()["results"] if result["verdict"] == "fail")
    assert (suite.output / failed["artifacts"]["console.txt"]).is_file()
    assert failed["artifacts"]["console.txt"].startswith("artifacts/")


def test_output_of_one_test_is_not_anothers(suite, several) -> None:
    body = "print('mine', '{0}', sep=': '); touch('{0}'); wait_for('{1}'); assert False"
    several(
        some(body.format("one", "two"), body.format("two", "one")), "--junitxml=junit.xml", "-o", "junit_logging=all"
    )
    text = (suite.pytester.path / "junit.xml").read_text()
    assert (text.count("mine: one"), text.count("mine: two")) == (1, 1)


def test_durations_are_kept_for_the_next_run(suite, several, tmp_path) -> None:
    durations = tmp_path / "durations.json"
    several(some("time.sleep(0.3)", "pass"), durations=durations)
    known = json.loads(durations.read_text())
    assert len(known) == 2
    assert known["area/test_it.py::test_1"] >= 0.3


def test_the_longest_first_by_the_last_runs_times(suite, several, tmp_path) -> None:
    durations = tmp_path / "durations.json"
    durations.write_text(json.dumps({f"area/test_it.py::test_{number}": 1 + number % 2 for number in range(1, 5)}))
    several(
        some(MEANWHILE.format("one", "three"), "pass", MEANWHILE.format("three", "one"), "pass"), durations=durations
    )
    assert first_two(suite) == {"test_1", "test_3"}


def test_an_unmeasured_test_counts_with_its_budget(suite, several, tmp_path) -> None:
    durations = tmp_path / "durations.json"
    body = (
        some("pass", MEANWHILE.format("two", "long"), "pass")
        + f"""
@pytest.mark.budget(100)
@requirement("AREA-LONG-01")
def test_long(guest):
    '''Long.'''
    {MEANWHILE.format("long", "two")}
"""
    )
    durations.write_text(json.dumps({"area/test_it.py::test_2": 50}))
    several(body, durations=durations)
    assert first_two(suite) == {"test_long", "test_2"}


def first_two(suite) -> set[str]:
    """Return the tests that began first: each must wait for the other, or one guest may begin its second before the other its first."""
    return {event["test"].rpartition("::")[2] for event in events(suite, "attempt")[:2]}


def test_damaged_durations_are_none(suite, several, tmp_path) -> None:
    durations = tmp_path / "durations.json"
    durations.write_text("[1, 2")
    several(some("pass", "pass"), durations=durations)
    assert len(json.loads(durations.read_text())) == 2


def test_tests_that_ask_for_a_fresh_guest_follow_each_other(suite, several) -> None:
    fresh = "".join(
        f"""
@pytest.mark.fresh_guest
@requirement("AREA-FRESH-{number:02}")
def test_fresh_{number}(guest):
    '''Fresh.'''
    time.sleep(0.1)
"""
        for number in range(1, 5)
    )
    several(some(*["time.sleep(0.02)"] * 10) + fresh)
    assert set(suite.verdicts().values()) == {"pass"}
    assert len(events(suite, "boot")) <= 6  # four, and one more of each guest for the other tests


def test_a_fixture_of_the_session_lives_on_and_one_of_a_module_is_undone(suite, several) -> None:
    several(
        """
counts = {"session": 0, "module": 0}

@pytest.fixture(scope="session")
def session():
    counts["session"] += 1
    yield
    print("session undone")

@pytest.fixture(scope="module")
def module():
    counts["module"] += 1
    yield counts["module"]
    counts["module"] -= 1
"""
        + some(*["assert counts['session'] == module == 1"] * 6, fixtures="session, module, guest")
    )
    assert set(suite.verdicts().values()) == {"pass"}


def test_x_ends_the_run_when_the_running_tests_have_ended(suite, several) -> None:
    result = several(some("wait_for('two'); assert False", "touch('two'); time.sleep(1)", *["pass"] * 4), "-x")
    assert suite.verdicts() == {"test_1": "fail", "test_2": "pass", **{f"test_{n}": "miss" for n in range(3, 7)}}
    assert suite.document()["run"]["interrupted"] == "stopping after 1 failures"
    assert result.ret == 1


def test_maxfail_counts_the_failures_of_all_guests(suite, several) -> None:
    several(some(*["guest.run('warn')"] * 2, *["assert False"] * 8), "--maxfail=3")
    verdicts = list(suite.verdicts().values())
    assert 3 <= verdicts.count("fail") + verdicts.count("crash") <= 4
    assert verdicts.count("miss") >= 6


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interruption_ends_all_workers(suite, several, number: str) -> None:
    several(
        some(
            f"touch('one'); wait_for('two'); import os, signal; os.kill(os.getppid(), signal.{number}); time.sleep(20)",
            "defer(touch, 'undone'); touch('two'); time.sleep(20)",
            "pass",
            fixtures="guest, defer",
        )
    )
    assert set(suite.verdicts().values()) == {"miss"}
    assert suite.document()["run"]["interrupted"] == "interrupted"
    assert suite.document()["run"]["exit_status"] == 130
    assert (suite.pytester.path / "undone").exists()


def test_an_interruption_right_after_the_fork_ends_the_worker_alone(suite, several) -> None:
    """It must not unwind into the coordinator's code, which would end the run and write its end a second time."""
    conftest = suite.pytester.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "import os, signal\n"
        + "def interrupt():\n"
        + "    os.kill(os.getpid(), signal.SIGINT)\n"
        + "def pytest_collection_finish(session):\n"
        + "    os.register_at_fork(after_in_child=interrupt)\n"
    )
    several(some("pass", "pass"))
    assert len(events(suite, "end")) == 1
    assert [event["reason"] for event in events(suite, "stopped")] == ["interrupted"]
    assert suite.document()["run"]["exit_status"] == 130


def test_what_a_test_prints_is_seen_once(suite, several) -> None:
    conftest = suite.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "def pytest_collection_finish(session):\n    print('collected')\n")
    result = several(some("print('mine: 1')", "print('mine: 2')"), "-s")
    text = result.stdout.str()
    assert [text.count(each) for each in ("collected", "mine: 1", "mine: 2")] == [1, 1, 1]


@pytest.mark.parametrize("capture", ["no", "fd"])
def test_a_worker_finds_no_input(suite, several, capture: str) -> None:
    """The terminal would stop it, a process of its background, and with it the run."""
    conftest = suite.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "import os\nos.dup2(os.pipe()[0], 0)\n")
    several(some("breakpoint()", "pass"), f"--capture={capture}")
    assert suite.verdicts() == {"test_1": "error", "test_2": "pass"}  # BdbQuit


@pytest.mark.parametrize("option", ["--pdb", "--trace"])
def test_a_debugger_has_one_guest(suite, several, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", option)
    several(some("pass", "pass"))
    assert events(suite, "attempt")
    assert not (suite.output / "guest-1").exists()


def test_an_internal_error_of_a_worker_ends_the_run(suite, several) -> None:
    conftest = suite.pytester.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "import os\n"
        + "COORDINATOR = os.getpid()\n"
        + "def pytest_runtest_logreport(report):\n"
        + "    if os.getpid() != COORDINATOR:\n"
        + "        raise RuntimeError('a bug of this plugin')\n"
    )
    several(some("pass", "pass", "pass"))
    run = suite.document()["run"]
    assert (run["complete"], run["exit_status"]) == (False, 3)
    assert re.search(r"^expected guest [12]'s process to run the tests, found RuntimeError: a bug", run["interrupted"])


def test_an_internal_error_ends_all_workers(suite, several) -> None:
    conftest = suite.pytester.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "import os\n"
        + "COORDINATOR = os.getpid()\n"
        + "def pytest_runtest_logreport(report):\n"
        + "    if os.getpid() == COORDINATOR:\n"
        + "        raise RuntimeError('a bug of this plugin')\n"
    )
    result = several(
        some("touch('one'); defer(touch, 'undone'); time.sleep(20)", "wait_for('one')", "pass", fixtures="guest, defer")
    )
    assert (suite.pytester.path / "undone").exists()
    run = suite.document()["run"]
    assert (run["complete"], run["exit_status"]) == (False, 3)
    assert run["interrupted"] == "an internal error: RuntimeError: a bug of this plugin"
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert any("internal error: closing the guests" in line for line in result.outlines)


def test_a_worker_that_dies_takes_one_test_along(suite, several) -> None:
    result = several(some("import os; os.kill(os.getpid(), 9)", *["pass"] * 5))
    assert suite.verdicts() == {"test_1": "miss", **{f"test_{n}": "pass" for n in range(2, 7)}}
    reason = next(r["reason"] for r in suite.document()["results"] if r["verdict"] == "miss")
    assert re.fullmatch(
        r"this test was running when its process ended: expected guest [12]'s process to run this test to its end, "
        r"found that it was killed by SIGKILL; if memory ran out \(dmesg\), use fewer --guests",
        reason,
    )
    assert suite.document()["run"]["exit_status"] == 1
    assert any("was killed by SIGKILL" in line for line in result.outlines)


def test_no_guest_ends_the_run_with_status_3(suite, several) -> None:
    result = several(some("pass", "pass", "pass"), release="7.3.4-broken")
    assert result.ret == 3
    assert set(suite.verdicts().values()) == {"miss"}
    assert "expected an SSH server within 60 s" in suite.document()["run"]["interrupted"]
    assert suite.document()["run"]["exit_status"] == 3


def test_a_run_whose_coordinator_is_killed_has_a_report(suite, several) -> None:
    several(
        some(
            "pass",
            "pass",
            "wait_for('three'); import os; os.kill(os.getppid(), 9); time.sleep(0.5); os._exit(0)",
            "touch('three'); import os, time; parent = os.getppid(); exec('while os.getppid() == parent: time.sleep(0.01)'); os._exit(0)",
        )
    )
    assert suite.verdicts() == {"test_1": "pass", "test_2": "pass", "test_3": "miss", "test_4": "miss"}
    document = suite.document()
    assert document["run"]["complete"] is False
    assert document["results"][2]["reason"].startswith("this test was running when the run ended")


def test_falsify(suite, several) -> None:
    several(some("assert model.value() == 42", "assert model.value() == 42", fixtures="model"), falsify=True)
    assert [row["outcome"] for row in suite.document()["falsification"]] == ["falsified", "falsified"]


def test_a_short_run_has_one_guest(suite) -> None:
    suite.run(some("pass", "pass"), forked=True, guests=4, durations=None)
    assert {event["guest"] for event in events(suite, "result") if "guest" in event} == set()
    assert not (suite.output / "guest-1").exists()


BASE = """
@requirement("AREA-NETDEV-01", base="netdev")
def test_base(guest):
    '''It is the base.'''
    time.sleep(0.5)
    {0}
"""
STANDING = """
@pytest.mark.stands_on("netdev")
@requirement("AREA-STANDS-{0:02}")
def test_standing_{0}(guest):
    '''It stands on the base.'''
"""


@pytest.mark.parametrize(("body", "verdict"), [("pass", "pass"), ("assert False, 'gone'", "blocked")])
def test_what_stands_on_a_base_waits_for_it(suite, several, body: str, verdict: str) -> None:
    result = several(WAIT + BASE.format(body) + "".join(STANDING.format(n) for n in range(1, 7)), guests=3)
    verdicts = suite.verdicts()
    verdicts.pop("test_base")
    assert verdicts == {f"test_standing_{n}": verdict for n in range(1, 7)}
    (base,) = (event["time"] for event in events(suite, "result") if event["requirement"] == "AREA-NETDEV-01")
    others = [event["time"] for event in events(suite, "attempt") if event["requirement"] != "AREA-NETDEV-01"]
    assert all(time >= base for time in others)
    assert result.ret == (0 if verdict == "pass" else 1)
    said = [line for line in result.outlines if line.startswith("blocked")]
    assert said == ([] if verdict == "pass" else ["blocked is all that stands on AREA-NETDEV-01, which is fail: gone"])


def test_a_worker_in_anothers_place_counts_its_own_failures(suite, several) -> None:
    die = "wait_for('four'); import os; os.kill(os.getpid(), 9)"
    several(
        some("assert False", "assert False", die, "touch('four')", *["time.sleep(0.3)"] * 6),
        "--maxfail=4",
        confirm=False,
    )
    expected = ["fail", "fail", "miss", *["pass"] * 7]
    assert suite.verdicts() == {f"test_{n}": verdict for n, verdict in enumerate(expected, 1)}


def test_a_lost_test_is_a_failure(suite, several) -> None:
    several(some("import os; os.kill(os.getpid(), 9)", *["time.sleep(0.5)"] * 8), "-x")
    assert suite.document()["run"]["interrupted"] == "stopping after 1 failures"
    assert list(suite.verdicts().values()).count("miss") >= 6


def test_a_worker_that_dies_in_a_base_holds_nobody_up(suite, several) -> None:
    several(WAIT + BASE.format("import os; os.kill(os.getpid(), 9)") + STANDING.format(1) + STANDING.format(2))
    assert suite.verdicts() == {"test_base": "miss", "test_standing_1": "pass", "test_standing_2": "pass"}


def test_a_failed_boot_in_a_base_ends_the_run(suite, several) -> None:
    result = several(WAIT + BASE.format("pass") + STANDING.format(1) + STANDING.format(2), release="7.3.4-broken")
    assert result.ret == 3
    assert set(suite.verdicts().values()) == {"miss"}


def test_a_test_is_confirmed_in_the_guest_of_its_worker(suite, several) -> None:
    result = several(some("assert guest.number, 'no'", "pass", "assert False, 'no'"))
    assert suite.verdicts() == {"test_1": "unstable", "test_2": "pass", "test_3": "fail"}
    assert [len(result["attempts"]) for result in suite.document()["results"]] == [2, 0, 2]
    assert result.ret == 1


def test_maxfail_counts_a_confirmed_failure_once(suite, several) -> None:
    several(some("assert False", "pass", *["time.sleep(0.2)"] * 4), "--maxfail=2")
    assert list(suite.verdicts().values()) == ["fail", *["pass"] * 5]
