# SPDX-License-Identifier: GPL-2.0-or-later
"""After how many failures a run ends: pytest's ``-x`` and ``--maxfail``."""

from __future__ import annotations

import pytest


def count_failures(session: pytest.Session, failures: int) -> None:
    """Note how many tests have failed so far, and end the run if those are as many as the user allows."""
    session.testsfailed = failures
    limit = session.config.getvalue("maxfail")
    if limit and failures >= limit and not session.shouldfail:
        session.shouldfail = f"stopping after {failures} failures"
