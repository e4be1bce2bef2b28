# SPDX-License-Identifier: GPL-2.0-or-later
"""What other plugins may replace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugfest.faults import Interposer
    from plugfest.machine.machine import Machine
    from plugfest.run.plan import Plan


@pytest.hookspec(firstresult=True)
def pytest_plugfest_boot(config: pytest.Config, plan: Plan, interposer: Interposer | None) -> Machine | None:
    """Boot the machine that has the device under test.

    Raises:
        PlugfestError: it does not boot; the run then ends with that error's exit status.
    """
