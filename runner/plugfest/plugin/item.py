# SPDX-License-Identifier: GPL-2.0-or-later
"""A collected test: which requirement it is of, and under which fault it runs."""

from __future__ import annotations

import pytest

from plugfest.requirements.requirement import SHAPE, Requirement, requirements_of

FAULT = "_plugfest_fault"
"""Parameter under ``--falsify``: the fault point that is armed during the call."""


def required(item: pytest.Item) -> Requirement:
    """Return the requirement of a test of the suite; of several the one whose variant is a parameter of the test.

    Raises:
        pytest.UsageError: it has none; the message shows the right form.
    """
    found = requirements_of(getattr(item, "function", None))
    if not found:
        raise pytest.UsageError(f"{item.nodeid}: a test of no requirement; expected {SHAPE}")
    parameters = parameters_of(item)
    mine = [each for each in found if not each.variant or each.variant in parameters]
    if len(mine) != 1:
        raise pytest.UsageError(
            f"{item.nodeid}: expected one of its parameters to be one of the variants "
            f"{', '.join(each.variant for each in found)}, found {parameters}"
        )
    return mine[0]


def parameters_of(item: pytest.Item) -> list[str]:
    """Return the names of the test's parameters: words, functions, and what else has a text."""
    callspec = getattr(item, "callspec", None)
    return [] if callspec is None else [getattr(value, "__name__", str(value)) for value in callspec.params.values()]


def fault_of(item: pytest.Item) -> str | None:
    """Return the fault point that the test runs under, or None."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(FAULT)
