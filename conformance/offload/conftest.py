# SPDX-License-Identifier: GPL-2.0-or-later
"""What the offload tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.order_desk import OrderDesk

if TYPE_CHECKING:
    from plugfest.changes import Changes
    from plugfest.dut import Dut
    from plugfest.outlet import Outlet
    from plugfest.plugin.fixtures import Guest, Until
    from plugfest.traffic import Traffic
    from plugfest.wire import WireEnd


@pytest.fixture
def desk(guest: Guest, dut: Dut, outlet: Outlet, wire: WireEnd, traffic: Traffic, until: Until) -> OrderDesk:
    """Takes orders for the device to finish, and shows what was handed over and what came of it."""
    return OrderDesk(guest, dut, outlet, wire, traffic.ends_back, until)


@pytest.fixture
def active(dut: Dut, change: Changes, unclaimed: Callable[..., NoReturn]) -> Callable[..., list[str]]:
    """``active("rx-hashing")`` turns features on and returns which are; skips where the driver offers none of them."""

    def turn_on(*names: str) -> list[str]:
        features = dut.features()
        offered = [name for name in names if name in features.active or name in features.free]
        if not offered:
            unclaimed(" or ".join(names), evidence={"ethtool -k": str(features)})
        missing = {name: True for name in offered if name not in features.active}
        if missing:
            change.features(missing)
        return offered

    return turn_on


@pytest.fixture
def inactive(dut: Dut, change: Changes, unclaimed: Callable[..., NoReturn]) -> Callable[..., None]:
    """``inactive("rx-hashing")`` turns features off that are on; skips where the driver does not let them be turned off."""

    def turn_off(*names: str) -> None:
        features = dut.features()
        known = [name for name in names if name in features.active or name in features.free]
        fixed = [name for name in known if name not in features.free]
        if not known or fixed:
            unclaimed(f"turning off {' or '.join(fixed or names)}", evidence={"ethtool -k": str(features)})
        on = {name: False for name in known if name in features.active}
        if on:
            change.features(on)

    return turn_off
