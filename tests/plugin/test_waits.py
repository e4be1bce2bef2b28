# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test costs, and which of its waits were tight."""

from __future__ import annotations

import pytest

LATE = """
@requirement()
def test_it(guest, until):
    '''The carrier comes up.'''
    end = time.monotonic() + 0.3
    until(lambda: time.monotonic() > end, what="the carrier comes up", timeout={timeout})
"""


@pytest.mark.parametrize(("timeout", "tight"), [(0.4, True), (10, False)])
def test_wait_above_half_of_its_deadline_is_tight(suite, timeout: float, tight: bool) -> None:
    suite.run(LATE.format(timeout=timeout))
    result = suite.only()
    assert result["verdict"] == "pass"
    assert 0.3 <= result["waited"] < 5
    assert [(wait["what"], wait["limit"]) for wait in result["tight_waits"]] == [("the carrier comes up", 0.4)] * tight
    assert all(wait["share"] > 0.5 for wait in result["tight_waits"])


def test_limit_of_the_requirement_itself_is_never_tight(suite) -> None:
    suite.run(LATE.format(timeout="0.4, required=True"))
    assert suite.only()["tight_waits"] == []


def test_deadline_that_passed_is_a_failure_and_not_a_tight_wait(suite) -> None:
    suite.run(LATE.format(timeout=0.1))
    result = suite.only()
    assert (result["verdict"], result["tight_waits"]) == ("fail", [])


def test_test_that_uses_more_than_half_of_its_budget_is_tight(suite) -> None:
    suite.run("""
@pytest.mark.budget(0.5)
@requirement()
def test_it(guest):
    '''It takes its time.'''
    time.sleep(0.35)
""")
    result = suite.only()
    assert [wait["what"] for wait in result["tight_waits"]] == ["the test's call ends"]


@pytest.mark.parametrize("strict", [False, True])
def test_tight_wait_fails_a_strict_run(suite, strict: bool) -> None:
    suite.run(LATE.format(timeout=0.4), strict_waits=strict)
    assert suite.document()["run"]["exit_status"] == strict


@pytest.mark.parametrize(
    ("body", "idle"),
    [
        ("until(later(0.2), what='it comes')", 0),
        ("until(later(0.2), what='it stays', idle=lambda: 0.15)", 0.15),
        ("in_vain(0.2)", 0.2),
        ("until(lambda: in_vain(0.05) or passed(), what='it comes')", 0),
        ("until(lambda: call_in_vain() or passed(), what='it comes')", 0),
        ("call_in_vain()", 0.05),
    ],
    ids=["came", "stayed", "in vain", "came after a wait in vain", "came after a call in vain", "call in vain"],
)
def test_waits_for_time_itself_are_idle(suite, body: str, idle: float) -> None:
    suite.run(f"""
from contextlib import suppress

def later(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end

@requirement()
def test_it(guest, until):
    '''It waits.'''
    passed = later(0.15)
    def in_vain(seconds):
        with suppress(AssertionError):
            until(lambda: False, what="something else comes", timeout=seconds)
    def call_in_vain():
        guest.agent.count.waiting += 0.05
        guest.agent.count.idle += 0.05
    {body}
""")
    result = suite.only()
    assert result["verdict"] == "pass"
    assert idle <= result["idle"] <= (idle + 1) * bool(idle)


def test_calls_of_the_agent_are_counted(suite) -> None:
    suite.run("""
@requirement()
def test_it(guest):
    '''It asks the agent.'''
    for _ in range(3):
        guest.agent.call("netdev.monitor_read")
""")
    result = suite.only()
    assert (result["calls"], result["waited"]) == (3, 0)


def test_budget_is_extended_by_what_the_host_loses(suite) -> None:
    suite.run("""
@pytest.fixture(autouse=True)
def busy(_machine, monkeypatch):
    begin = time.monotonic()
    monkeypatch.setattr(type(_machine), "lost", lambda self: (time.monotonic() - begin) * 0.8)

@pytest.mark.budget(0.2)
@requirement("AREA-TEST-01")
def test_in_time(guest):
    '''It takes its time.'''
    time.sleep(0.5)

@pytest.mark.budget(0.2)
@requirement("AREA-TEST-02")
def test_too_long(guest):
    '''It takes too long.'''
    time.sleep(3)
""")
    assert suite.verdicts() == {"test_in_time": "pass", "test_too_long": "timeout"}
