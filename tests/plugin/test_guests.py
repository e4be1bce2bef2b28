# SPDX-License-Identifier: GPL-2.0-or-later
"""Which guest a test gets, and what happens when there is none."""

from __future__ import annotations

import importlib

import pytest
from plugfest.run import journal

TWO = """
@requirement("AREA-TEST-01")
def test_first(guest, defer, remains):
    '''First.'''
    {first}

@requirement("AREA-TEST-02")
def test_second(guest, defer):
    '''Second.'''
    {second}
"""


@pytest.mark.parametrize(
    ("first", "guests"),
    [
        ("pass", 1),
        ("assert False", 1),
        ("pytest.skip('bare')", 1),
        ("guest.run('oops')", 2),
        ("guest.run('warn')", 2),
        ("guest.run('die')", 2),
        ("raise RuntimeError", 2),
        ("defer(guest.run, 'false')", 2),
        ("defer(remains, 'a feature on')", 2),
    ],
)
def test_a_broken_guest_is_replaced(suite, first: str, guests: int) -> None:
    suite.run(TWO.format(first=first, second="assert guest.alive()"), confirm=False)
    assert len(suite.machines) == guests
    assert all(machine.closed for machine in suite.machines)
    assert suite.verdicts()["test_second"] == "pass"
    assert len(suite.document()["run"]["boots"]) == guests


def test_a_problem_between_tests_belongs_to_the_next(suite) -> None:
    conftest = suite.pytester.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + """
def pytest_runtest_logstart(nodeid):
    if "test_second" in nodeid:
        fakes.FakeMachine.booted[0].console.lines += fakes.WARN
"""
    )
    suite.run(TWO.format(first="pass", second="pass"), confirm=False)
    assert suite.verdicts() == {"test_first": "pass", "test_second": "crash"}


def test_a_link_that_an_undo_has_reset_is_awaited(suite) -> None:
    suite.run(TWO.format(first="defer(setattr, guest.link_watch, 'up', False)", second="assert guest.link_watch.up"))
    assert suite.verdicts() == {"test_first": "pass", "test_second": "pass"}
    assert len(suite.machines) == 1


def test_fresh_guest(suite) -> None:
    suite.run("""
@requirement("AREA-TEST-01")
def test_first(guest):
    '''First.'''

@pytest.mark.fresh_guest
@requirement("AREA-TEST-02")
def test_fresh(guest):
    '''Fresh.'''
    assert guest.number == 1

@requirement("AREA-TEST-03")
def test_last(guest):
    '''Last.'''
    assert guest.number == 2
""")
    assert set(suite.verdicts().values()) == {"pass"}
    reasons = [boot["reason"] for boot in suite.document()["run"]["boots"]]
    assert reasons == ["the first one", "test_fresh asks for a fresh one", "test_fresh had a guest of its own"]
    boots = [event for event in journal.read(suite.output) if event["event"] == "boot"]
    assert [boot["module"] and boot["module"]["file"] for boot in boots] == ["ixgbe.ko", None, None]


def test_what_skips_in_its_fixtures_needs_no_fresh_guest(suite) -> None:
    suite.run("""
@requirement("AREA-TEST-01")
def test_first(guest):
    '''First.'''

@pytest.fixture
def feature(guest, skip_unsupported):
    skip_unsupported("the feature", evidence=guest.number)

@pytest.mark.fresh_guest
@requirement("AREA-TEST-02")
def test_skipped(guest, feature):
    '''Skipped.'''

@requirement("AREA-TEST-03")
def test_last(guest):
    '''Last.'''
    assert guest.number == 0
""")
    assert suite.verdicts() == {"test_first": "pass", "test_skipped": "skip", "test_last": "pass"}
    assert len(suite.machines) == 1


@pytest.mark.parametrize(
    "fails",
    [
        "pass",
        "assert guest.number == 1",
        "guest.run('false' if guest.number == 0 else 'true')",
        "guest.run('warn' if guest.number == 0 else 'true')",
    ],
)
def test_fresh_guest_sets_its_fixtures_up_again(suite, fails: str) -> None:
    """Whatever they met in the used guest; there nothing is undone, and only what its kernel complained of is reported."""
    suite.run(f"""
@requirement("AREA-TEST-01")
def test_first(guest):
    '''First.'''

@pytest.fixture
def changed(guest, defer, evidence):
    evidence("set up in", guest.number)
    print("set up in", guest.number)
    defer(guest.run, "undo")
    {fails}

@pytest.mark.fresh_guest
@requirement("AREA-TEST-02")
def test_fresh(guest, changed):
    '''Fresh.'''
    assert guest.number == 1
""")
    assert suite.verdicts() == {"test_first": "pass", "test_fresh": "pass"}
    used, fresh = suite.machines
    assert used.closed
    assert "undo" in fresh.ssh.commands
    if fails == "pass":
        assert "undo" not in used.ssh.commands
    (result,) = (each for each in suite.document()["results"] if "test_fresh" in each["test"])
    assert [each["text"] for each in result["evidence"]] == ["1"]
    reasons = [boot["reason"] for boot in suite.document()["run"]["boots"]]
    assert reasons[0] == "the first one"
    asks, _, complaint = reasons[1].partition("; while its fixtures were set up in a used one, the kernel reported: ")
    assert asks == "test_fresh asks for a fresh one"
    assert complaint.startswith("WARNING: ") == ("warn" in fails)


def test_a_test_that_uses_no_guest_boots_none(suite) -> None:
    suite.run("""
@requirement()
def test_it(kernel, driver):
    '''It needs none.'''
    assert kernel.release.startswith("7.3.4")
    assert driver.module == "ixgbe"
""")
    assert suite.machines == []
    assert suite.only()["verdict"] == "pass"


def test_no_boot_ends_the_run_with_status_3(suite) -> None:
    result = suite.run(TWO.format(first="pass", second="pass"), release="7.3.4-broken")
    assert result.ret == 3
    document = suite.document()
    assert suite.verdicts() == {"test_first": "miss", "test_second": "miss"}
    assert document["run"]["exit_status"] == 3
    assert document["run"]["interrupted"] == (
        "the guest: expected an SSH server within 60 s, found a panic; see console.log"
    )
    assert document["results"][0]["reason"].startswith("this test was running when the run ended")
    assert document["results"][1]["reason"].startswith("never started")


def test_no_second_boot_ends_the_run_too(suite) -> None:
    suite.run(TWO.format(first="guest.run('oops')", second="pass"), release="7.3.4-flaky", confirm=False)
    assert suite.verdicts() == {"test_first": "crash", "test_second": "miss"}
    assert suite.document()["run"]["exit_status"] == 3


def test_a_run_that_dies_has_a_report(suite) -> None:
    suite.run(
        TWO.format(first="pass", second="import os; os.kill(os.getpid(), 9)")
        + """
@requirement("AREA-TEST-03")
def test_third(guest):
    '''Third.'''
""",
        forked=True,
    )
    document = suite.document()
    assert suite.verdicts() == {"test_first": "pass", "test_second": "miss", "test_third": "miss"}
    assert document["results"][1]["reason"].startswith("this test was running when the run ended: the run ended")
    assert document["run"]["complete"] is False
    assert document["run"]["exit_status"] == 3


def test_the_model_fixture_skips_on_a_device_of_qemus(suite) -> None:
    suite.run(
        """
@requirement()
def test_it(model):
    '''It asks the model.'''
""",
        driver="igb",
    )
    result = suite.only()
    assert result["verdict"] == "skip"
    assert result["evidence"][0]["text"] == "driver igb runs on QEMU's igb"


def test_the_wire_is_recorded_without_a_model_too(suite) -> None:
    suite.run(
        """
@requirement()
def test_it(guest):
    '''It fails.'''
    assert False
""",
        driver="igb",
    )
    assert set(suite.only()["artifacts"]) == {"console.txt", "counters.txt", "dmesg.txt", "traceback.txt", "wire.pcap"}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("where", ["call", "undo"])
def test_an_interrupted_run_stops_and_reports_it(suite, where: str, number: str) -> None:
    """Also where pytest would hide the interruption in a group: two finalizers that fail."""
    kill = f"import os, signal; os.kill(os.getpid(), signal.{number})"
    suite.run(
        f"""
@pytest.fixture
def other(guest):
    yield
    raise RuntimeError

@requirement("AREA-TEST-01")
def test_first(guest, other, defer):
    '''First.'''
    def interrupt():
        {kill}
    if "{where}" == "undo":
        defer(interrupt)
    else:
        interrupt()

@requirement("AREA-TEST-02")
def test_second(guest):
    '''Second.'''
""",
        forked=True,
    )
    document = suite.document()
    assert suite.verdicts() == {"test_first": "miss", "test_second": "miss"}
    assert document["run"]["interrupted"] == "interrupted"
    assert document["run"]["exit_status"] == 130


@pytest.fixture
def worn(suite, monkeypatch) -> None:
    """Machines that none can follow once their kernel is beyond use."""

    def unusable(_self, problems) -> str | None:
        return next((f"beyond use: {each.title}; reboot it" for each in problems if each.fatal), None)

    monkeypatch.setattr(importlib.import_module("fakes").FakeMachine, "unusable", unusable)


@pytest.mark.usefixtures("worn")
@pytest.mark.parametrize("confirm", [True, False])
def test_a_machine_that_none_can_follow_ends_the_run_and_what_was_found_stands(suite, confirm: bool) -> None:
    """A real machine whose kernel is beyond use: no second attempt, no other test, and no result that was made is lost."""
    suite.run(TWO.format(first="guest.run('oops')", second="pass"), confirm=confirm)
    assert suite.verdicts() == {"test_first": "crash", "test_second": "miss"}
    found = suite.document()["run"]
    assert (found["exit_status"], found["complete"]) == (3, False)
    assert "beyond use: BUG: kernel NULL pointer dereference" in found["interrupted"]
    assert len(suite.machines) == 1


@pytest.mark.usefixtures("worn")
def test_a_machine_that_another_can_follow_is_confirmed_in(suite) -> None:
    suite.run(TWO.format(first="guest.run('warn')", second="pass"))
    assert suite.verdicts() == {"test_first": "crash", "test_second": "pass"}
    assert len(suite.machines) == 3


def test_what_a_real_machine_does_not_have_is_skipped(suite) -> None:
    suite.run("""
from plugfest.machine.agent import NeedsModelError

@requirement("AREA-TEST-01")
def test_first(guest):
    '''First.'''
    raise NeedsModelError("a second NIC of the same kind", "eth1 of the real machine root@dut")
""")
    assert suite.verdicts() == {"test_first": "skip"}
    (result,) = suite.document()["results"]
    assert result["reason"] == "needs the model: a second NIC of the same kind"
    assert [each["text"] for each in result["evidence"]] == ["eth1 of the real machine root@dut"]
