# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of per-queue statistics share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.machine.worker import Worker
from plugfest.queues.memory_provider import DeviceMemory
from plugfest.statistics.accounts import Ledger
from plugfest.statistics.readers import ALL, Reading, reading

SOURCES = {"ethtool": "own", "netlink": "netlink"}
"""Fixtures by the source of the counters, which is the variant of a requirement."""

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.dut.settings import Changes
    from plugfest.faults import LocalFaults
    from plugfest.plugin.fixtures import Guest, Until


@pytest.fixture
def by_queue(ledger: Ledger, unclaimed: Callable[..., NoReturn]) -> Ledger:
    """The accounts, where the driver has any by queue, by netlink or its own; skips where it has none."""
    if not ledger.queues():
        evidence = {
            "ethtool -S": [name for name, _ in ledger.ethtool()],
            "netdev qstats-get, scope queue": ledger.qstats(),
        }
        unclaimed("per-queue frame and byte counters", evidence=evidence)
    return ledger


@pytest.fixture
def own(guest: Guest, faults: LocalFaults, unclaimed: Callable[..., NoReturn]) -> Ledger:
    """The accounts, the driver's by its own statistics; skips where these have no frames and octets by queue."""
    ledger = Ledger(guest.machine, faults, "ethtool")
    if not ledger.queues():
        unclaimed("per-queue counters by ethtool", evidence={"ethtool -S": [name for name, _ in ledger.ethtool()]})
    return ledger


@pytest.fixture
def netlink(guest: Guest, faults: LocalFaults, unclaimed: Callable[..., NoReturn]) -> Ledger:
    """The accounts, the driver's by the kernel's queue statistics; skips where it has none."""
    ledger = Ledger(guest.machine, faults, "netlink")
    if not ledger.qstats():
        unclaimed("netlink queue statistics", evidence={"netdev qstats-get, scope queue": ledger.qstats()})
    return ledger


@pytest.fixture(params=SOURCES)
def counted(request: pytest.FixtureRequest) -> Ledger:
    """The accounts, the driver's by each source of counters by queue in turn; skips where that has none."""
    return request.getfixturevalue(SOURCES[request.param])


@pytest.fixture
def readers(
    guest: Guest, dut: Dut, faults: LocalFaults, until: Until
) -> Callable[..., AbstractContextManager[Reading]]:
    """``with readers() as seen:`` has four processes of the guest read the statistics all the while, each by another way.

    ``readers(["procfs"] * 4)``: by these ways.
    """
    return lambda kinds=ALL: reading(guest.agent, dut.ifname, faults, until, guest.speed, kinds)


@pytest.fixture
def restart_queue(
    guest: Guest, dut: Dut, change: Changes, faults: LocalFaults, defer: Callable[..., None]
) -> Callable[[int], None] | None:
    """``restart_queue(3)`` stops and starts one receive queue, twice, by binding memory to it and taking it away again.

    None where header split, which bound memory needs, cannot be turned on.
    """
    if "tcp-data-split" not in (dut.get("rings") or {}):
        return None
    if change.try_settings("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED) is not None:
        return None

    def restart(queue: int) -> None:
        worker = Worker(guest.agent)
        defer(worker.close)
        memory = DeviceMemory(worker, dut.ifname, faults)
        memory.bind(queue)
        memory.unbind()

    return restart
