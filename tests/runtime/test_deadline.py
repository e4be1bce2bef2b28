# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting: deadlines, conditions, and the error when a condition does not hold in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from plugfest import deadline
from plugfest.deadline import Deadline, Wait, poll, scaled, undisturbed, until


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(deadline, "time", made)
    return made


def test_value_is_returned_at_once(clock: Time) -> None:
    assert until(lambda: "carrier", what="it comes") == "carrier"
    assert clock.pauses == []


def test_condition_is_tried_until_it_holds(clock: Time) -> None:
    assert until(lambda: clock.now > 103 and "up", what="it comes", timeout=5) == "up"
    assert 103 <= clock.now <= 103.1


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 2.0), (0.1, 20.0), (4.0, 2.0)])
def test_slow_guest_gets_more_time_and_a_fast_one_no_less(clock: Time, speed: float, seconds: float) -> None:
    with pytest.raises(
        AssertionError, match=rf"expected that the carrier comes up within {seconds:.1f} s; it did not$"
    ):
        until(lambda: False, what="the carrier comes up", timeout=2, speed=speed)
    assert clock.now == pytest.approx(100 + seconds)


def test_message_has_the_last_value(clock: Time) -> None:
    with pytest.raises(AssertionError, match=r"last seen: \[\]"):
        until(list, what="frames come", timeout=1)


def test_condition_is_tried_once_more_after_the_host_was_suspended(clock: Time) -> None:
    tried: list[float] = []

    def condition() -> bool:
        tried.append(clock.now)
        if len(tried) == 1:
            clock.now += 1000
        return len(tried) == 2

    assert poll(condition, Deadline.after(5)) is True


def test_exceptions_of_the_condition_come_through(clock: Time) -> None:
    def condition() -> bool:
        raise KeyError("x")

    with pytest.raises(KeyError):
        until(condition, what="it comes")


def test_pauses_grow_but_not_beyond_a_tenth(clock: Time) -> None:
    poll(lambda: False, Deadline.after(10))
    assert clock.pauses[0] == pytest.approx(0.005)
    assert max(clock.pauses) == pytest.approx(0.1)


def test_pause_is_shorter_by_what_the_condition_took(clock: Time) -> None:
    def condition() -> bool:
        clock.now += 0.06
        return clock.now > 105

    poll(condition, Deadline.after(10))
    assert clock.pauses[0] == 0
    assert max(clock.pauses) == pytest.approx(0.04)


def test_deadline_moves_by_what_the_host_loses(clock: Time) -> None:
    lost = [7.0]
    limit = Deadline.after(2, lost=lambda: lost[0])
    clock.now += 3
    assert limit.passed
    lost[0] += 1.5
    assert not limit.passed
    assert limit.remaining == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.passed


def test_host_is_not_asked_before_it_matters(clock: Time) -> None:
    asked: list[float] = []

    def lost() -> float:
        asked.append(clock.now)
        return 0.0

    limit = Deadline.after(2, lost=lost)
    clock.now += 1.9
    assert not limit.passed
    assert asked == [100.0]
    clock.now += 0.2
    assert limit.passed
    assert len(asked) == 2


def test_deadline_ends_on_a_host_that_has_no_time_at_all(clock: Time) -> None:
    with pytest.raises(AssertionError, match=r"within 2\.0 s and 18\.0 s in which the host was busy; it did not$"):
        until(lambda: False, what="the carrier comes up", timeout=2, lost=lambda: clock.now)
    assert clock.now == pytest.approx(120)


@pytest.mark.parametrize(("came", "tight"), [(0.6, False), (1.4, True)])
def test_wait_is_noted_with_its_share_of_the_deadline(clock: Time, came: float, tight: bool) -> None:
    noted: list[Wait] = []
    until(lambda: clock.now >= 100 + came, what="it comes", timeout=2, note=noted.append)
    [wait] = noted
    assert (wait.what, wait.limit) == ("it comes", 2.0)
    assert came <= wait.seconds == pytest.approx(2 * wait.share)
    assert wait.tight is tight


def test_share_is_of_the_deadline_that_the_host_has_moved(clock: Time) -> None:
    noted: list[Wait] = []
    until(
        lambda: clock.now >= 104, what="it comes", timeout=2, lost=lambda: (clock.now - 100) * 0.75, note=noted.append
    )
    [wait] = noted
    assert wait.limit == pytest.approx(5.0, abs=0.3)


def test_wait_that_failed_is_not_noted(clock: Time) -> None:
    noted: list[Wait] = []
    with pytest.raises(AssertionError):
        until(lambda: False, what="it comes", timeout=2, note=noted.append)
    assert noted == []


def test_deadline_counts_down() -> None:
    limit = Deadline.after(1000, speed=0.5)
    assert limit.seconds == 2000
    assert 1990 < limit.remaining <= 2000
    assert not limit.passed
    assert Deadline(0, time.monotonic() - 1).passed
    assert Deadline(0, time.monotonic() - 1).remaining == 0


def test_speed_of_zero_is_no_division_by_it() -> None:
    assert scaled(1, 0) == 1000


class Attempts:
    """Fails a number of times; in each attempt the timers judge two seconds, of which the host loses so many, and then it takes longer."""

    def __init__(self, clock: Time, failures: int, loses: float, *, early: bool = False) -> None:
        self.made, self.lost, self.notes = 0, 0.0, list[str]()
        self._clock, self._failures, self._loses, self._early = clock, failures, loses, early

    def __call__(self, timed: Callable[[], AbstractContextManager[None]]) -> None:
        self.made += 1
        self.lost += 40
        with timed():
            self._clock.now += 2
            self.lost += self._loses
            assert not self._early, f"attempt {self.made} had no end"
        self._clock.now += 40
        self.lost += 40
        assert self.made > self._failures, f"attempt {self.made} failed"

    def run(self) -> None:
        undisturbed(self, lost=lambda: self.lost, allowance=0.1, note=self.notes.append)


@pytest.mark.parametrize(("failures", "loses", "made"), [(0, 1.0, 1), (1, 0.3, 2), (1, 5.0, 2)])
def test_attempt_that_failed_on_a_busy_host_is_made_again(clock: Time, failures: int, loses: float, made: int) -> None:
    attempts = Attempts(clock, failures, loses)
    attempts.run()
    assert attempts.made == made
    assert [note.splitlines()[0] for note in attempts.notes] == [
        f"the host was busy for {loses:.2f} s in the 2.00 s that count; attempt {each + 1} failed"
        for each in range(failures)
    ]


@pytest.mark.parametrize(("failures", "loses", "made"), [(1, 0.1, 1), (2, 0.3, 2)])
def test_attempt_that_failed_on_an_idle_host_or_the_last_one_has_failed(
    clock: Time, failures: int, loses: float, made: int
) -> None:
    attempts = Attempts(clock, failures, loses)
    with pytest.raises(AssertionError, match=f"attempt {made} failed"):
        attempts.run()
    assert attempts.made == made


def test_attempt_whose_timers_judged_nothing_is_not_made_again(clock: Time) -> None:
    attempts = Attempts(clock, 0, 5.0, early=True)
    with pytest.raises(AssertionError, match="attempt 1 had no end"):
        attempts.run()
    assert attempts.made == 1
