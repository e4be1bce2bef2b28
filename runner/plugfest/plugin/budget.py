# SPDX-License-Identifier: GPL-2.0-or-later
"""A limit on the time of one phase of a test."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from plugfest.deadline import Deadline, Wait, never
from plugfest.requirements.verdict import BudgetExceeded

DEFAULT = 30.0
"""Seconds that a test may take on a guest of speed 1, unless ``@pytest.mark.budget(seconds)`` says otherwise."""

_WORTH_WAITING = 0.01
"""Seconds: a timer for less would only interrupt."""


@contextmanager
def budget(
    seconds: float,
    what: str,
    *,
    speed: float = 1.0,
    lost: Callable[[], float] = never,
    note: Callable[[Wait], object] = lambda _wait: None,
) -> Iterator[None]:
    """Raise `BudgetExceeded` in the main thread if the body takes longer.

    A signal interrupts whatever the test waits for, system calls and locks too. Phases do not nest.

    Args:
        seconds: the limit, on a guest of speed 1.
        what: whose limit it is, as ``call``.
        speed: the guest's speed.
        lost: returns the seconds that the host has lost so far, which do not count.
        note: takes how much of the budget a body used that ended without an exception.
    """
    begin = time.monotonic()
    deadline = Deadline.after(seconds, speed=speed, lost=lost)

    def expire(_number: int, _frame: FrameType | None) -> None:
        left = deadline.remaining
        if left > _WORTH_WAITING:
            signal.setitimer(signal.ITIMER_REAL, left)
            return
        raise BudgetExceeded(f"{what} took more than its {deadline.seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, deadline.seconds)
    try:
        yield
        used = time.monotonic() - begin
        note(Wait(f"the test's {what} ends", used, deadline.seconds + deadline.extension))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
