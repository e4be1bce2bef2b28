# SPDX-License-Identifier: GPL-2.0-or-later
"""A link that will stay as it is: for how long it must have been so."""

from __future__ import annotations

import pytest
from plugfest import deadline
from plugfest.machine import stillness
from plugfest.machine.stillness import SETTLED, STEADY, Stillness


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(deadline, "time", made)
    monkeypatch.setattr(stillness, "time", made)
    return made


def seconds_until_it_stays(clock: Clock, watched: Stillness, state: object) -> float:
    begin = clock.now
    while not watched.stays(state):
        clock.now += 0.05
        assert clock.now < begin + 60
    return clock.now - begin


@pytest.mark.parametrize(("looked", "seconds"), [(True, SETTLED), (False, STEADY), (None, STEADY)])
def test_it_stays_soon_once_the_driver_has_looked(clock: Clock, looked: bool | None, seconds: float) -> None:
    assert seconds_until_it_stays(clock, Stillness(lambda: looked), "up") == pytest.approx(seconds, abs=0.1)


def test_what_the_driver_read_counts_from_its_look(clock: Clock) -> None:
    looks = [False]
    watched = Stillness(lambda: looks[0])
    watched.stays("up")
    clock.now += STEADY - 0.1
    looks[0] = True
    assert seconds_until_it_stays(clock, watched, "up") == pytest.approx(SETTLED, abs=0.1)


def test_time_that_the_host_loses_does_not_count(clock: Clock) -> None:
    begin = clock.now
    watched = Stillness(lambda: True, lost=lambda: (clock.now - begin) / 2)
    assert seconds_until_it_stays(clock, watched, "up") == pytest.approx(2 * SETTLED, abs=0.1)


@pytest.mark.parametrize("change", ["state", "disturbed"])
def test_a_change_begins_again(clock: Clock, change: str) -> None:
    watched = Stillness(lambda: None)
    watched.stays("up")
    clock.now += STEADY - 0.1
    if change == "state":
        assert not watched.stays("down")
    else:
        watched.disturbed()
    assert seconds_until_it_stays(clock, watched, "down") > STEADY - 0.1


def test_seconds_without_a_change_are_counted(clock: Clock) -> None:
    watched = Stillness(lambda: True)
    assert not watched.stays("down")
    clock.now += 0.3
    assert not watched.stays("up")
    seconds_until_it_stays(clock, watched, "up")
    assert watched.seconds == pytest.approx(SETTLED, abs=0.06)
