# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the link tests: how soon the carrier that the driver reports must follow the link."""

from __future__ import annotations

import pytest

UP_TIMEOUT = 2.0
"""Seconds on a guest of speed 1 within which the driver must report that the link is up."""
DOWN_TIMEOUT = 4.0
"""Seconds of wall time on any guest within which the driver must report that the link is down: after 5 s of a queue that does not move
the transmit watchdog fires (net/sched/sch_generic.c, dev_watchdog). A driver that has missed an interrupt looks at the link by its timer,
every 2 s in ixgbe, and the kernel may make its report known a second later (net/core/link_watch.c)."""


def down_timeout(speed):
    """Return within how many seconds on a guest of speed 1 a lost link must be known, on a guest of this speed."""
    return DOWN_TIMEOUT * min(1.0, speed)


@pytest.fixture
def carrier_timeout(guest):
    """``carrier_timeout(up)``: seconds to wait until the driver reports that carrier state, on a guest of speed 1."""
    return lambda up: UP_TIMEOUT if up else down_timeout(guest.speed)


@pytest.fixture
def wait_for_carrier(until, carrier_timeout, guest, dut):
    """``wait_for_carrier(up=True)`` waits until the driver reports the carrier and the operational state follows it."""

    def wait(*, up):
        state = "up" if up else "down"
        limit = guest.deadline(carrier_timeout(up))

        def is_reported():
            link = dut.link_when(carrier=up, operstates=[state], within=limit.remaining)
            return bool(link["carrier"]) is up and link["operstate"] == state

        until(
            is_reported,
            what=f"carrier and operational state of {dut.ifname} are {state}",
            timeout=carrier_timeout(up),
            required=True,
        )

    return wait
