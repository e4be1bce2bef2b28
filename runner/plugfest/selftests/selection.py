# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of upstream's tests a run has, all or those that the user names, and in which order."""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from plugfest.choice import advice
from plugfest.errors import UsageError
from plugfest.run.order import place
from plugfest.selftests.selftest import COLLECTIONS, Selftest, Selftests

CASE = "::"
"""Between a test and the one of its cases that is wanted."""

_RENAMED = re.compile(r"__name__ *=(?!=)|KsftCaseFunction")
"""Gives a case another name than that of a function."""
_VARIANTS = "variants"
"""What the source of a test has whose cases have parameters, ``ksft_variants``: ``FUNCTION.VARIANT`` is the name of each."""


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


def check_cases(tests: Selftests, selected: Sequence[Selected]) -> None:
    """Check, before a guest runs, the cases that are wanted against the tests' source.

    Only a guest knows all names of cases: what may be one is accepted here.

    Args:
        tests: the kernel's.
        selected: of these.

    Raises:
        UsageError: the tests run no single cases, or the source of one has nothing of that name.
    """
    for each in selected:
        if not each.cases:
            continue
        if not tests.lists_cases:
            raise runs_all(each)
        text = tests.text(each.test)
        names = _names(text)
        if names is None:
            continue
        for case in each.cases:
            if not any(_may_be(case, name, variants=_VARIANTS in text) for name in names):
                raise no_case(each.test, case, names)


def runs_all(selected: Selected) -> UsageError:
    """Return what to raise of single cases of a test that runs all."""
    reason = "expected a test that runs single cases, found that those of this kernel run all"
    return UsageError(f"{selected.test}{CASE}{selected.cases[0]}: {reason}; name the test alone")


def no_case(test: Selftest, case: str, names: Collection[str]) -> UsageError:
    """Return what to raise of a case that a test does not have.

    Args:
        test: the test.
        case: its name, or a pattern.
        names: of cases that the test may have.
    """
    reason = "expected one of the test's cases, found none of that name"
    return UsageError(f"{test}{CASE}{case}: {reason}; {advice(case, names, 'name the test alone')}")


def _names(text: str) -> set[str] | None:
    """Return the names in a test's source that may be those of its cases, without variants; None if it may give them others."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # of a newer Python: the guest has one
        return None
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return None if "*" in found or _RENAMED.search(text) else found


def _may_be(case: str, name: str, *, variants: bool) -> bool:
    """Whether a wanted case, which may be a pattern, may be the function of this name or a variant of it."""
    if fnmatch.fnmatchcase(name, case):
        return True
    # A wildcard of a pattern may stand for the dot before a variant, too.
    literal = re.split(r"[.*?[]", case, maxsplit=1)[0]
    exact = case[len(literal) :].startswith(".")
    return variants and (name == literal if exact else literal != case and name.startswith(literal))


def in_order(selected: Sequence[Selected], seed: int | None) -> list[Selected]:
    """Return tests in the order of a seed; None for the order that they have."""
    return list(selected) if seed is None else sorted(selected, key=lambda each: place(seed, str(each.test)))


def _is(test: Selftest, name: str) -> bool:
    if name in COLLECTIONS:
        return test.collection == name
    forms = (test.name, test.name.rpartition(".")[0], str(test), f"{test.collection}/{test.name}")
    return any(fnmatch.fnmatchcase(form, name) for form in forms)
