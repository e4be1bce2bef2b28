# SPDX-License-Identifier: GPL-2.0-or-later
"""The limit on the time of a phase: a body that loses the exception still ends, and still counts as too slow."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable

import pytest
from plugfest.plugin import budget
from plugfest.requirements.verdict import BudgetExceeded


def wait() -> None:
    """Wait until the budget interrupts."""
    threading.Event().wait(10)
    raise AssertionError("the budget did not interrupt for 10 s")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "AGAIN", 0.3)


def within(body: Callable[[], object]) -> None:
    """Run a body with a budget of 50 ms."""
    with budget.budget(0.05, "call"):
        body()


def lose_it() -> None:
    """Wait, and lose the exception."""
    with contextlib.suppress(BudgetExceeded):
        wait()


def test_an_exception_that_was_lost_is_raised_again() -> None:
    def body() -> None:
        lose_it()
        lose_it()
        wait()

    with pytest.raises(BudgetExceeded, match=r"call took more than its 0 s"):
        within(body)


def test_a_body_that_goes_on_has_still_exceeded_its_budget() -> None:
    with pytest.raises(BudgetExceeded):
        within(lose_it)


def test_what_fails_after_the_budget_is_its_consequence() -> None:
    def body() -> None:
        lose_it()
        raise ValueError("the answer was cut off")

    with pytest.raises(BudgetExceeded) as caught:
        within(body)
    assert isinstance(caught.value.__cause__, ValueError)


def test_nothing_is_left_of_it() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with contextlib.suppress(BudgetExceeded), budget.budget(0.05, "call"):
        wait()
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_failure_within_the_budget_is_itself() -> None:
    with pytest.raises(ValueError, match="wrong"), budget.budget(30, "call"):
        raise ValueError("wrong")
