# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of upstream's tests a run has, all or those that the user names, and in which order."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from plugfest.choice import advice
from plugfest.errors import UsageError
from plugfest.run.order import place
from plugfest.selftests.selftest import COLLECTIONS, Selftest

CASE = "::"
"""Between a test and the one of its cases that is wanted."""


@dataclass(frozen=True)
class Selected:
    """A test that is run.

    Attributes:
        test: the test.
        cases: the cases that are wanted, names or patterns of them; none for all.
    """

    test: Selftest
    cases: tuple[str, ...] = ()


def select(tests: Sequence[Selftest], wanted: Sequence[str]) -> list[Selected]:
    """Return the tests that are wanted, in upstream's order.

    Args:
        tests: all.
        wanted: names, each ``ping.py``, ``ping``, ``drivers/net:ping.py``, a pattern of such, a folder, or with ``::CASE``; none for all.

    Raises:
        UsageError: there is no such test; the message names one that is similar.
    """
    if not wanted:
        return [Selected(test) for test in tests]
    cases: dict[Selftest, list[str]] = {}
    whole: set[Selftest] = set()
    for word in wanted:
        name, _, case = word.partition(CASE)
        found = [test for test in tests if _is(test, name)]
        if not found:
            names = [test.name for test in tests]
            raise UsageError(
                f"{word}: expected one of upstream's tests, found none of that name; "
                f"{advice(name, names, 'plugfest selftests DRIVER --list prints them')}"
            )
        if case:
            found = [test for test in found if test.name.endswith(".py")]
        if not found:
            raise UsageError(
                f"{word}: expected a test that runs single cases, found a shell script; leave {CASE}{case} out"
            )
        for test in found:
            cases.setdefault(test, [])
            if case:
                cases[test].append(case)
            else:
                whole.add(test)
    return [Selected(test, () if test in whole else tuple(cases[test])) for test in tests if test in cases]


def in_order(selected: Sequence[Selected], seed: int | None) -> list[Selected]:
    """Return tests in the order of a seed; None for the order that they have."""
    return list(selected) if seed is None else sorted(selected, key=lambda each: place(seed, str(each.test)))


def _is(test: Selftest, name: str) -> bool:
    if name in COLLECTIONS:
        return test.collection == name
    forms = (test.name, test.name.rpartition(".")[0], str(test), f"{test.collection}/{test.name}")
    return any(fnmatch.fnmatchcase(form, name) for form in forms)
