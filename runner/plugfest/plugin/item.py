# SPDX-License-Identifier: GPL-2.0-or-later
"""A collected test: which requirement it is of, and under which fault it runs."""

from __future__ import annotations

import pytest

from plugfest.requirement import SHAPE, Requirement, requirement_of

FAULT = "_plugfest_fault"
"""Parameter under ``--falsify``: the fault point that is armed during the call."""


def required(item: pytest.Item) -> Requirement:
    """Return the requirement of a test of the suite.

    Raises:
        pytest.UsageError: it has none; the message shows the right form.
    """
    found = requirement_of(getattr(item, "function", None))
    if found is None:
        raise pytest.UsageError(f"{item.nodeid}: a test of no requirement; expected {SHAPE}")
    return found


def fault_of(item: pytest.Item) -> str | None:
    """Return the fault point that the test runs under, or None."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(FAULT)
