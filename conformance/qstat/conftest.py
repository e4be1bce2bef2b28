# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of per-queue statistics share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.ledger import Ledger

if TYPE_CHECKING:
    from plugfest.faults import LocalFaults
    from plugfest.plugin.fixtures import Guest


@pytest.fixture
def ledger(guest: Guest, faults: LocalFaults) -> Ledger:
    """The accounts of driver, device and wire."""
    return Ledger(guest.machine, faults)


@pytest.fixture
def counted(ledger: Ledger, unclaimed: Callable[..., NoReturn]) -> Ledger:
    """The accounts, where the driver has any by queue; skips where it has none."""
    if not ledger.queues():
        evidence = {
            "ethtool -S": [name for name, _ in ledger.ethtool()],
            "netdev qstats-get, scope queue": ledger.qstats(),
        }
        unclaimed("per-queue frame and byte counters", evidence=evidence)
    return ledger
