# SPDX-License-Identifier: GPL-2.0-or-later
"""Before a test the link is there, and the driver has noticed all that became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from plugfest import deadline
from plugfest.deadline import Deadline
from plugfest.machine import stillness
from plugfest.machine.agent import AgentTimeout
from plugfest.machine.link_watch import LINK_TIMEOUT, LinkWatch
from plugfest.machine.stillness import SETTLED, STEADY


class Bench:
    """A device, a driver that polls it, and a clock moved by hand.

    Attributes:
        now: the time.
        changes: times at which the link goes down and up again at once; None of a device that does not tell.
        period: seconds between two looks of the driver, which reports a loss that it finds 0.05 s later, and the link 0.1 s after that.
        up: whether there is a link at all.
    """

    def __init__(self, *, period: float = 1.0, tells: bool = True) -> None:
        self.now = 100.0
        self.changes: list[float] = []
        self.period = period
        self.tells = tells
        self.up = True
        self.waits = self.resets = 0
        self.failure: Exception | None = None

    # what a watch asks

    def wait_for_link(self, timeout: float) -> dict[str, Any]:
        self.waits += 1
        if self.failure is not None:
            raise self.failure
        end = self.now + timeout
        while not self._carrier() and self.now < end:
            self.now += 0.01
        carrier = self._carrier()
        return {
            "carrier": int(carrier),
            "operstate": "up" if carrier else "down",
            "local-routes": carrier,
            "carrier-changes": 2 * self.resets
            + sum(self.now >= when for change in self.changes for when in self._reports(change)),
        }

    def link_changes(self) -> int | None:
        return 2 * sum(self.now >= change for change in self.changes) if self.tells else None

    def link_looked(self) -> bool:
        return not self.changes or self.now >= self._look(self.changes[-1])

    def deadline(self, seconds: float) -> Deadline:
        return Deadline.after(seconds)

    def lost(self) -> float:
        return 0.0

    # the driver

    def _look(self, change: float) -> float:
        """When the driver next looks."""
        return change + self.period

    def _reports(self, change: float) -> tuple[float, float]:
        return self._look(change) + 0.05, self._look(change) + 0.15

    def _carrier(self) -> bool:
        return self.up and not any(down <= self.now < up for down, up in map(self._reports, self.changes))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    def make(**settings: Any) -> Bench:
        bench = Bench(**settings)
        monkeypatch.setattr(deadline, "time", bench)
        monkeypatch.setattr(stillness, "time", bench)
        return bench

    return make


def test_a_link_that_has_not_changed_costs_nothing(make_bench) -> None:
    bench = make_bench()
    watch = LinkWatch(bench)
    watch.wait()
    watch.wait_until_steady()
    assert bench.now == 100.0
    assert bench.waits == 2


def test_a_loss_that_the_driver_has_yet_to_notice_is_awaited(make_bench) -> None:
    bench = make_bench()
    watch = LinkWatch(bench)
    watch.wait()
    bench.changes.append(bench.now)
    bench.now += 0.3
    watch.wait_until_steady()
    assert bench.wait_for_link(0)["carrier-changes"] == 2
    assert bench.now - bench.changes[0] == pytest.approx(bench.period + 0.15 + SETTLED, abs=0.2)


def test_changes_that_the_driver_has_reported_are_not_awaited_again(make_bench) -> None:
    bench = make_bench()
    watch = LinkWatch(bench)
    watch.wait()
    bench.changes.append(bench.now)
    bench.now += 5
    begin = bench.now
    watch.wait_until_steady()
    watch.wait_until_steady()
    assert bench.now == begin


def test_a_loss_that_is_never_reported_is_forgotten(make_bench) -> None:
    """A driver that reads a status which is latched low twice may never learn of a short loss."""
    bench = make_bench(period=1000)
    watch = LinkWatch(bench)
    watch.wait()
    bench.changes.append(bench.now)
    watch.wait_until_steady()
    assert bench.now - bench.changes[0] == pytest.approx(STEADY, abs=0.2)
    begin = bench.now
    watch.wait_until_steady()
    assert bench.now == begin


def test_a_device_that_does_not_tell_is_only_waited_for(make_bench) -> None:
    bench = make_bench(tells=False)
    watch = LinkWatch(bench)
    bench.changes.append(bench.now - bench.period - 0.1)
    watch.wait_until_steady()
    assert bench.now == pytest.approx(100.05, abs=0.02)


@pytest.mark.parametrize("seconds", [LINK_TIMEOUT, 30.0])
def test_a_link_that_did_not_come_is_not_waited_for_again(make_bench, seconds: float) -> None:
    bench = make_bench()
    bench.up = False
    watch = LinkWatch(bench, seconds)
    watch.wait()
    assert bench.now - 100.0 == pytest.approx(seconds, abs=0.1)
    begin = bench.now
    watch.wait_until_steady()
    assert bench.now == begin
    bench.up = True
    watch.wait_until_steady()
    bench.changes.append(bench.now)
    watch.wait_until_steady()
    assert bench.now > begin + bench.period, "once it is there it is watched again"


def test_a_driver_that_reports_more_than_happened_is_not_waited_for(make_bench) -> None:
    """It takes the carrier off for a reset, over which the device's link stays."""
    bench = make_bench()
    watch = LinkWatch(bench)
    watch.wait()
    bench.resets = 1
    watch.wait_until_steady()
    assert bench.now == 100.0


def test_a_guest_that_does_not_answer_is_left_to_the_test(make_bench) -> None:
    bench = make_bench()
    bench.failure = AgentTimeout("no answer")
    LinkWatch(bench).wait_until_steady()
