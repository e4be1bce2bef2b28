# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of backplane negotiation share: a DUT that negotiates, and a link partner that can be told anything."""

from __future__ import annotations

import pytest
from plugfest.backplane import MODES, SPEEDS, FarEnd, best

CONVERGED = 12.0
"""Seconds, on a guest of speed 1, in which a driver that runs the exchange itself has come to a link: its own patience may be 5 s."""


@pytest.fixture
def far(guest, model, dut, faults, defer, change, unclaimed):
    """The link partner of a backplane port; skips where the driver claims none."""
    modes = dut.link_modes()
    if modes is None or not {"Autoneg", "Backplane"} <= modes.supported or not MODES.keys() & modes.supported:
        unclaimed("negotiation on a backplane (clause 73)", evidence={"link modes": modes})
    if "negotiations" not in model.call("link.get"):
        unclaimed("a link partner that negotiates", evidence={"link.get": model.call("link.get")})
    change.ready()
    defer(change.ready)
    return FarEnd(guest.machine, faults, defer)


@pytest.fixture
def local(dut, far):  # noqa: ARG001 - skips where there is no backplane
    """The clause's technologies that the driver advertises, by ethtool's names."""
    return {mode: name for mode, name in MODES.items() if mode in dut.link_modes().advertised}


@pytest.fixture
def several(local, unclaimed):
    """Skips where the port has a single technology."""
    if len(local) < 2:
        unclaimed("several technologies", evidence={"advertised": sorted(local)})


@pytest.fixture
def kr(local, unclaimed):
    """Skips where the port has no 10GBASE-KR."""
    if "10GBASE-KR" not in local.values():
        unclaimed("10GBASE-KR", evidence={"advertised": sorted(local)})


@pytest.fixture
def highest(far, local):
    """What the ends come to when nothing is in the way."""
    return best(local.values(), far.abilities["technologies"])


@pytest.fixture
def start_over(far, until):
    """``start_over(latency=0.02)`` tells the partner that, and to start over; waits until it does."""

    def tell(**change):
        before = far.negotiations
        far.tell(**change, restart=True)
        until(lambda: far.negotiations > before, what="the partner starts over", timeout=2)

    return tell


@pytest.fixture
def linked(dut, far, until):
    """``linked("10GBASE-KR")`` waits until both ends have that link, and the driver says so; ``linked(None)``, until none has."""

    def wait(technology):
        def there():
            told = dut.link_modes()
            if technology is None:
                return far.technology is None and not dut.carrier and told.speed is None
            return far.technology == technology and dut.carrier and told.speed == SPEEDS[technology]

        until(there, what=f"the link is {technology or 'down'} to both ends", timeout=CONVERGED)

    return wait


@pytest.fixture
def gives_up(dut, far, until):
    """``gives_up()`` waits until the ends have tried once more in vain, without a link or a carrier at any time asked."""

    def wait():
        until(lambda: not dut.carrier, what="there is no carrier", timeout=5)
        before = far.negotiations
        seen = []

        def again():
            seen.append((dut.carrier, far.technology))
            return far.negotiations > before

        until(again, what="another negotiation begins", timeout=CONVERGED)
        assert set(seen) == {(False, None)}

    return wait


@pytest.fixture
def advertise(dut, far, defer, until):
    """``advertise("10000baseKR/Full")`` has the driver advertise these technologies, all else as before: it negotiates anew."""
    before = dut.link_modes()

    def change(*modes):
        others = {mode for mode in before.advertised if mode not in MODES}
        started = far.negotiations
        dut.set("linkmodes", autoneg=True, advertised=sorted(others | set(modes)))
        until(lambda: far.negotiations > started, what="the driver negotiates anew", timeout=5)

    defer(lambda: dut.ask("linkmodes", autoneg=True, advertised=sorted(before.advertised)))
    return change
