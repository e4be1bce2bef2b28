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

AGAIN = 30.0
"""Seconds, on a guest of speed 1, after which `BudgetExceeded` is raised again while the body still runs.

Whatever the body undoes on its way out has this long. It may also have lost the exception: Python prints and drops one that is raised
in a destructor or in a callback of C code.
"""

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
    """Raise `BudgetExceeded` in the main thread if the body takes longer, again and again until it ends.

    A signal interrupts whatever the test waits for, system calls and locks too. Phases do not nest. A body that has exceeded its budget
    ends with `BudgetExceeded`, even if it lost the exception and went on.

    Args:
        seconds: the limit, on a guest of speed 1.
        what: whose limit it is, as ``call``.
        speed: the guest's speed.
        lost: returns the seconds that the host has lost so far, which do not count.
        note: takes how much of the budget a body used that ended without an exception.
    """
    begin = time.monotonic()
    deadline = next_raise = Deadline.after(seconds, speed=speed, lost=lost)
    exceeded = ended = False

    def failure() -> BudgetExceeded:
        return BudgetExceeded(f"{what} took more than its {deadline.seconds:.0f} s")

    def expire(_number: int, _frame: FrameType | None) -> None:
        nonlocal exceeded, next_raise
        if ended:
            return
        left = next_raise.remaining
        if left > _WORTH_WAITING:
            signal.setitimer(signal.ITIMER_REAL, left)
            return
        exceeded = True
        next_raise = Deadline.after(AGAIN, speed=speed, lost=lost)
        signal.setitimer(signal.ITIMER_REAL, next_raise.seconds)
        raise failure()

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, deadline.seconds)
    try:
        yield
        if exceeded:
            raise failure()
        used = time.monotonic() - begin
        note(Wait(f"the test's {what} ends", used, deadline.seconds + deadline.extension))
    except Exception as error:
        if exceeded:
            raise failure() from error
        raise
    finally:
        ended = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
