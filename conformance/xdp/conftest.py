# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of XDP share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from plugfest.adjustment import Adjustment
from plugfest.inlet import Inlet

if TYPE_CHECKING:
    from plugfest.dut import Dut
    from plugfest.faults import LocalFaults
    from plugfest.plugin.fixtures import Guest
    from plugfest.xdp import Xdp


@pytest.fixture
def inlet(guest: Guest, dut: Dut, defer: Callable[..., None]) -> Callable[..., Inlet]:
    """``inlet()`` takes whole frames as they come out of the driver, or out of the interface that is named."""
    return lambda ifname=dut.ifname: Inlet(guest, ifname, defer)


@pytest.fixture
def adjustment(native: Xdp, faults: LocalFaults) -> Adjustment:
    """The program that moves the ends of frames as it is told, attached in native mode."""
    found = Adjustment(native, faults)
    native.put(found.program)
    return found
