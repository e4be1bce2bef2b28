# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a condition, with a deadline that is longer on a slow guest and on a busy host, with a message when it passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

Value = TypeVar("Value")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1
"""Seconds. A wait ends up to so much late; an exchange with an emulated guest takes a few tens of milliseconds."""

_LONGEST_EXTENSION = 9
"""Times its length by which a deadline is extended at most, so that it ends on a host that has no time for the run at all."""

TIGHT = 0.5
"""Share of its deadline above which a wait is tight: a slower host, or another order of things, may make a false verdict of it."""


def scaled(seconds: float, speed: float) -> float:
    """Turn seconds on a guest of speed 1 into seconds on this guest.

    Args:
        seconds: what a KVM guest on an idle laptop may take.
        speed: the guest's speed; one that is faster than 1 gets no less time, since the host's clock does not run faster.
    """
    return seconds / min(1.0, max(speed, 0.001))


def never() -> float:
    """Return no seconds: what a host loses that is never busy, or a wait in which something was to change throughout."""
    return 0.0


@dataclass(frozen=True)
class Wait:
    """A wait that ended before its deadline.

    Attributes:
        what: was waited for.
        seconds: that it took.
        limit: seconds that it could have taken, with what the host lost meanwhile.
    """

    what: str
    seconds: float
    limit: float

    @property
    def share(self) -> float:
        """The share of the deadline that it used."""
        return self.seconds / self.limit if self.limit > 0 else 1.0

    @property
    def tight(self) -> bool:
        """Whether it used so much of its deadline that a verdict hangs on luck."""
        return self.share > TIGHT


class Until(Protocol):
    """Waits for a condition; `until` with the guest's speed."""

    def __call__(
        self,
        condition: Callable[[], Value],
        *,
        what: str,
        timeout: float = ...,
        required: bool = ...,
        idle: Callable[[], float] = ...,
    ) -> Value:
        """Return the condition's first true value.

        Args:
            condition: called again and again.
            what: what is waited for, as "the carrier comes up"; part of the message when it does not come.
            timeout: seconds on a guest of speed 1; a slower guest gets more.
            required: whether the requirement itself sets the limit. To come close to it is then the driver's affair, and not tight.
            idle: returns, once the condition is true, the seconds of the wait in which nothing was to change: time itself was waited for.

        Raises:
            AssertionError: it did not become true in time.
        """


@dataclass(frozen=True)
class Deadline:
    """A point in time that something must not pass.

    It moves by the time that the host loses: what waits for a core does not miss a deadline meanwhile.

    Attributes:
        seconds: how long it is after its start, on this guest and an idle host.
        end: the point, of `time.monotonic`, on an idle host.
        lost: returns the seconds that the host has lost so far, see `plugfest.run.run_delay`.
        lost_before: those that it had lost at the start.
    """

    seconds: float
    end: float
    lost: Callable[[], float] = never
    lost_before: float = 0.0

    @classmethod
    def after(cls, seconds: float, *, speed: float = 1.0, lost: Callable[[], float] = never) -> Deadline:
        """Start one now.

        Args:
            seconds: on a guest of speed 1.
            speed: the guest's speed.
            lost: returns the seconds that the host has lost so far.
        """
        length = scaled(seconds, speed)
        return cls(length, time.monotonic() + length, lost, lost())

    @property
    def extension(self) -> float:
        """Seconds by which the host has moved it so far."""
        return min(self.lost() - self.lost_before, _LONGEST_EXTENSION * self.seconds)

    @property
    def remaining(self) -> float:
        """Seconds left; 0 once it has passed."""
        return max(0.0, self.end + self.extension - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left. What the host has lost is asked for only if it decides."""
        return time.monotonic() >= self.end and self.remaining == 0.0


def poll(condition: Callable[[], Value], deadline: Deadline) -> Value | None:
    """Call the condition until its value is true or the deadline passes; returns that value, or None.

    The time from one call to the next grows from 5 ms to a tenth of a second, unless the call itself takes longer. The condition is
    asked at least once, and once more after the deadline, so that a host that stood still does not decide.
    """
    pause = _FIRST_PAUSE
    while True:
        late, begin = deadline.passed, time.monotonic()
        value = condition()
        if value:
            return value
        if late:
            return None
        time.sleep(max(0.0, min(begin + pause - time.monotonic(), deadline.remaining)))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def listen(receive: Callable[[float], Value], deadline: Deadline) -> Value | None:
    """Receive until something comes or the deadline passes; returns what came, or None.

    Whoever receives waits by a clock that no busy host stops: it is asked again for the time by which the host has moved the deadline,
    and at last for what is there.

    Args:
        receive: waits so many seconds of wall time at most; returns what came, something false if nothing did.
        deadline: the silence that ends it.
    """
    return poll(lambda: receive(deadline.remaining), deadline)


def until(
    condition: Callable[[], Value],
    *,
    what: str,
    timeout: float = 5.0,
    speed: float = 1.0,
    lost: Callable[[], float] = never,
    note: Callable[[Wait], object] = lambda _wait: None,
    missed: Callable[[float], object] = lambda _seconds: None,
) -> Value:
    """Wait for something that the driver under test must do.

    Args:
        condition: called again and again; its first true value is returned.
        what: what is waited for, as "the carrier comes up".
        timeout: seconds on a guest of speed 1.
        speed: the guest's speed; the time is divided by it.
        lost: returns the seconds that the host has lost so far.
        note: takes the wait, if it ended in time.
        missed: takes the seconds of the wait, if the deadline passed.

    Raises:
        AssertionError: it did not become true in time: a finding about the driver.
    """
    begin = time.monotonic()
    deadline = Deadline.after(timeout, speed=speed, lost=lost)
    last: list[object] = [None]

    def ask() -> Value:
        value = condition()
        last[0] = value
        return value

    value = poll(ask, deadline)
    if value is None:
        missed(time.monotonic() - begin)
        found = "" if last[0] in (False, None) else f"; last seen: {last[0]!r}"
        extended = deadline.extension
        busy = f" and {extended:.1f} s in which the host was busy" if extended > deadline.seconds / 10 else ""
        raise AssertionError(f"expected that {what} within {deadline.seconds:.1f} s{busy}; it did not{found}")
    note(Wait(what, time.monotonic() - begin, deadline.seconds + deadline.extension))
    return value


class Disturbance:
    """How busy the host was while something was going on that timers of the outside world judge.

    Attributes:
        seconds: that it took.
        lost: seconds of them that the host lost.
    """

    def __init__(self, lost: Callable[[], float]) -> None:
        """Measure nothing yet.

        Args:
            lost: returns the seconds that the host has lost so far.
        """
        self._lost = lost
        self.seconds = 0.0
        self.lost = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the block; one that raises is not what those timers judge, and counts as undisturbed."""
        begin, before = time.monotonic(), self._lost()
        yield
        self.seconds, self.lost = time.monotonic() - begin, self._lost() - before

    @property
    def share(self) -> float:
        """The seconds lost for each second that it took; several processes can lose more than one."""
        return self.lost / self.seconds if self.seconds > 0 else 0.0


def undisturbed(
    attempt: Callable[[Callable[[], AbstractContextManager[None]]], object],
    *,
    lost: Callable[[], float],
    allowance: float,
    tries: int = 2,
    note: Callable[[str], object] = lambda _why: None,
) -> None:
    """Make an attempt that timers of the outside world judge, which no busy host extends.

    One that fails while the host was busy shows nothing, and is made again; one that fails on an idle host, or the last, has failed.

    Args:
        attempt: raises AssertionError if it fails. It takes a function, and does what the timers judge within ``with function():``.
        lost: returns the seconds that the host has lost so far.
        allowance: share of that time that the host may lose in an attempt that counts.
        tries: attempts at most; with each, a driver that fails now and then is more likely to pass on a busy host.
        note: takes why an attempt does not count.

    Raises:
        AssertionError: that of the attempt that has failed.
    """
    for left in reversed(range(tries)):
        disturbance = Disturbance(lost)
        try:
            attempt(disturbance.measured)
        except AssertionError as error:
            if not left or disturbance.share <= allowance:
                raise
            note(
                f"the host was busy for {disturbance.lost:.2f} s in the {disturbance.seconds:.2f} s that count; {error}"
            )
        else:
            return
