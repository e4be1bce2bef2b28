# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the per-queue statistics tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.machine.worker import Worker
from plugfest.queues.memory_provider import DmabufProvider
from plugfest.statistics.accounts import Accounting

SOURCES = {"ethtool": "ethtool_counters", "netlink": "netlink_counters"}
"""The fixture for each source of the counters; the source is the variant of a requirement."""

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.dut.settings import Settings
    from plugfest.machine.machine import Machine


@pytest.fixture
def per_queue_counters(accounting: Accounting, skip_unsupported: Callable[..., NoReturn]) -> Accounting:
    """The accounts, with per-queue counters from netlink or, without these, from ``ethtool -S``; skips if the driver has neither."""
    if not accounting.queues():
        evidence = {
            "ethtool -S": [name for name, _ in accounting.ethtool()],
            "netdev qstats-get, scope queue": accounting.qstats(),
        }
        skip_unsupported("per-queue frame and byte counters", evidence=evidence)
    return accounting


@pytest.fixture
def ethtool_counters(guest: Machine, dut: Dut, skip_unsupported: Callable[..., NoReturn]) -> Accounting:
    """The accounts, with per-queue counters from ``ethtool -S``; skips if these have no frames and bytes by queue."""
    counters = Accounting(guest, dut.ifname, "ethtool")
    if not counters.queues():
        skip_unsupported(
            "per-queue counters by ethtool", evidence={"ethtool -S": [name for name, _ in counters.ethtool()]}
        )
    return counters


@pytest.fixture
def netlink_counters(guest: Machine, dut: Dut, skip_unsupported: Callable[..., NoReturn]) -> Accounting:
    """The accounts, with per-queue counters from netlink's qstats-get; skips if the driver has none."""
    counters = Accounting(guest, dut.ifname, "netlink")
    if not counters.qstats():
        skip_unsupported("netlink queue statistics", evidence={"netdev qstats-get, scope queue": counters.qstats()})
    return counters


@pytest.fixture(params=SOURCES)
def queue_counters(request: pytest.FixtureRequest) -> Accounting:
    """The accounts, with per-queue counters from each source in turn; skips if the driver has none there."""
    return request.getfixturevalue(SOURCES[request.param])


@pytest.fixture
def restart_queue(
    guest: Machine, dut: Dut, settings: Settings, defer: Callable[..., None]
) -> Callable[[int], None] | None:
    """``restart_queue(3)`` stops and starts one receive queue twice, by binding memory to it and unbinding it.

    None if header split, which binding memory requires, cannot be turned on.
    """
    if "tcp-data-split" not in (dut.get("rings") or {}):
        return None
    if settings.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED) is not None:
        return None

    def restart(queue: int) -> None:
        worker = Worker(guest.agent)
        defer(worker.close)
        memory = DmabufProvider(worker, dut.ifname)
        memory.bind(queue)
        memory.unbind()

    return restart
