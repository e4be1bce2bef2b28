# SPDX-License-Identifier: GPL-2.0-or-later
"""The timeline: events at one instant, on a clock that advances while the process works."""

from __future__ import annotations

from nicmodels.clock import ManualClock
from nicmodels.phy import Timeline


class RunningClock(ManualClock):
    """A clock that advances by a millisecond with each reading."""

    def now(self) -> float:
        self.advance(1e-3)
        return super().now()


def test_an_instant_stands_still() -> None:
    timeline = Timeline(RunningClock())
    ran: list[str] = []
    with timeline.instant():
        begin = timeline.now()
        timeline.call_later(1e-9, lambda: ran.append("answer"))
        timeline.settle()
        with timeline.instant():
            assert timeline.now() == begin
        assert timeline.now() == begin
        assert ran == []
    assert timeline.now() > begin
    timeline.settle()
    assert ran == ["answer"]


def test_what_is_due_comes_before_an_instant() -> None:
    clock = ManualClock()
    timeline = Timeline(clock)
    ran: list[str] = []
    timeline.call_later(0.0, lambda: ran.append("due"))
    with timeline.instant():
        assert ran == ["due"]
