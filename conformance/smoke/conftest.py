# SPDX-License-Identifier: GPL-2.0-or-later
"""What the smoke tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from plugfest.dut.dut import Dut
from plugfest.traffic.check import TrafficCheck
from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.traffic import Traffic

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote


@pytest.fixture
def check_traffic_after(
    guest: Machine, remote: Remote, until: Until, defer: Callable[..., None]
) -> Callable[[], TrafficCheck]:
    """``check_traffic_after()()`` checks traffic of a guest or an interface that a test took away and brought back."""

    def make() -> TrafficCheck:
        dut = Dut(guest)
        traffic = Traffic(guest, dut, remote, until, defer)
        return TrafficCheck(traffic, PacketSender(guest.agent, dut.ifname, defer), until)

    return make
