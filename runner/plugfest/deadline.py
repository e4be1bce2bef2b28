# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a condition, with a deadline longer on a slow guest, with a message when it passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

Value = TypeVar("Value")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25


def scaled(seconds: float, speed: float) -> float:
    """Turn seconds on a guest of speed 1 into seconds on this guest.

    Args:
        seconds: what a KVM guest on an idle laptop may take.
        speed: the guest's speed; one that is faster than 1 gets no less time, since the host's clock does not run faster.
    """
    return seconds / min(1.0, max(speed, 0.001))


class Until(Protocol):
    """Waits for a condition; `until` with the guest's speed."""

    def __call__(self, condition: Callable[[], Value], *, what: str, timeout: float = ...) -> Value:
        """Return the condition's first true value.

        Args:
            condition: called again and again.
            what: what is waited for, as "the carrier comes up"; part of the message when it does not come.
            timeout: seconds on a guest of speed 1; a slower guest gets more.

        Raises:
            AssertionError: it did not become true in time.
        """


@dataclass(frozen=True)
class Deadline:
    """A point in time that something must not pass.

    Attributes:
        seconds: how long it is after its start, on this guest.
        end: the point, of `time.monotonic`.
    """

    seconds: float
    end: float

    @classmethod
    def after(cls, seconds: float, *, speed: float = 1.0) -> Deadline:
        """Start one now.

        Args:
            seconds: on a guest of speed 1.
            speed: the guest's speed.
        """
        length = scaled(seconds, speed)
        return cls(length, time.monotonic() + length)

    @property
    def remaining(self) -> float:
        """Seconds left; 0 once it has passed."""
        return max(0.0, self.end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.end


def poll(condition: Callable[[], Value], deadline: Deadline) -> Value | None:
    """Call the condition until its value is true or the deadline passes; returns that value, or None.

    The pauses in between grow from 5 ms to a quarter of a second. The condition is asked at least once, and once more after
    the deadline, so that a host that stood still does not decide.
    """
    pause = _FIRST_PAUSE
    while True:
        late = deadline.passed
        value = condition()
        if value:
            return value
        if late:
            return None
        time.sleep(min(pause, deadline.remaining))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def until(condition: Callable[[], Value], *, what: str, timeout: float = 5.0, speed: float = 1.0) -> Value:
    """Wait for something that the driver under test must do.

    Args:
        condition: called again and again; its first true value is returned.
        what: what is waited for, as "the carrier comes up".
        timeout: seconds on a guest of speed 1.
        speed: the guest's speed; the time is divided by it.

    Raises:
        AssertionError: it did not become true in time: a finding about the driver.
    """
    deadline = Deadline.after(timeout, speed=speed)
    last: list[object] = [None]

    def ask() -> Value:
        value = condition()
        last[0] = value
        return value

    value = poll(ask, deadline)
    if value is None:
        found = "" if last[0] in (False, None) else f"; last seen: {last[0]!r}"
        raise AssertionError(f"expected that {what} within {deadline.seconds:.1f} s; it did not{found}")
    return value
