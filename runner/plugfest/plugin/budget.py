# SPDX-License-Identifier: GPL-2.0-or-later
"""A limit on the time of one phase of a test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from plugfest.requirements.verdict import BudgetExceeded

DEFAULT = 30.0
"""Seconds that a test may take on a guest of speed 1, unless ``@pytest.mark.budget(seconds)`` says otherwise."""


@contextmanager
def budget(seconds: float, what: str) -> Iterator[None]:
    """Raise `BudgetExceeded` in the main thread if the body takes longer.

    A signal interrupts whatever the test waits for, system calls and locks too. Phases do not nest.

    Args:
        seconds: the limit.
        what: whose limit it is, as ``call``.
    """

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise BudgetExceeded(f"{what} took more than its {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
