# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the smoke tests."""

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
def check_traffic_after_reboot(
    guest: Machine, remote: Remote, until: Until, defer: Callable[..., None]
) -> Callable[[], None]:
    """``check_traffic_after_reboot()``: as ``check_traffic()``, with sockets and agent of the guest as it is when called."""

    def check() -> None:
        dut = Dut(guest)
        traffic = Traffic(guest, dut, remote, until, defer)
        TrafficCheck(traffic, PacketSender(guest, dut.ifname, defer), until)()

    return check
