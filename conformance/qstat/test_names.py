# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of per-queue counters, and the queues they cover."""

from __future__ import annotations

from collections import Counter

import pytest
from plugfest.dut.operations import NotOfferedError
from plugfest.requirements.requirement import requirement
from plugfest.statistics.accounts import explain
from plugfest.statistics.queue_counters import total
from plugfest.traffic.traffic import check_same, payloads

STATISTICS = "Documentation/networking/statistics.rst"


@requirement(
    "QSTAT-NAME-01",
    level="SHOULD",
    source=f"{STATISTICS}, driver-defined statistics; include/uapi/linux/ethtool.h, ETH_SS_STATS",
    falsified_by="program:qstat.name-twice",
)
def test_names_are_unique(accounting, step, skip_unsupported):
    """No two of the driver's ``ethtool -S`` statistics have the same name."""
    names = [name.strip() for name in accounting.names()]
    if not names:
        skip_unsupported("ethtool -S statistics", evidence=names)
    with step("Read the names of the driver's ethtool -S statistics: no name occurs twice"):
        assert {name: times for name, times in Counter(names).items() if times > 1} == {}


def numbering_errors(accounting, traffic):
    """Return the ``ethtool -S`` per-queue counters that are not numbered from 0 without a gap, or omit a queue that the kernel uses."""
    return [
        f"{direction} {name}: has queues {numbers}, expected at least 0 to {traffic.queues(direction) - 1}"
        for direction, counters in accounting.numbers_by_name().items()
        for name, numbers in counters.items()
        if sorted(numbers) != list(range(len(numbers))) or len(numbers) < traffic.queues(direction)
    ]


@pytest.fixture
def numbered_counters(accounting, skip_unsupported):
    """The accounts; skips if ``ethtool -S`` has no per-queue counters."""
    if not any(accounting.numbers_by_name().values()):
        skip_unsupported("per-queue counters in ethtool -S", evidence=accounting.names())
    return accounting


@requirement(
    "QSTAT-NAME-02",
    level="SHOULD",
    source=f"{STATISTICS}, drivers are advised to keep the number of statistics constant",
    falsified_by=("program:qstat.queue-missing",),
)
def test_every_queue_is_named(numbered_counters, traffic, step):
    """The ``ethtool -S`` per-queue counters are numbered from 0 without a gap and cover every queue that the kernel uses."""
    with step(
        "Read the per-queue counters of ethtool -S: they are numbered from 0 without a gap and cover every queue"
    ):
        assert numbering_errors(numbered_counters, traffic) == []


@requirement(
    "QSTAT-NAME-03",
    level="SHOULD",
    source=f"{STATISTICS}, drivers are advised to keep the number of statistics constant",
    falsified_by=("program:qstat.name-lost",),
)
def test_names_stay(accounting, traffic, dut, step, defer, settings, skip_unsupported):
    """The ``ethtool -S`` statistics keep their names and order after traffic, while the interface is down, and when it is up again."""
    before = accounting.names()
    if not before:
        skip_unsupported("ethtool -S statistics", evidence=before)
    with step("Send test frames both ways: the names are the same"):
        traffic.check_delivery()
        traffic.send_back()
        assert accounting.names() == before
    with step("Take the interface down: the names are the same"):
        defer(settings.ready)
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        assert accounting.names() == before
    with step("Take it up: the names are the same"):
        dut.set_link(up=True)
        settings.ready()
        assert accounting.names() == before


@requirement(
    "QSTAT-NAME-04",
    level="SHOULD",
    source=f"{STATISTICS}; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by=("program:qstat.queue-missing", "program:settings.not-set"),
)
def test_names_follow_the_channels(numbered_counters, traffic, operations, step, defer, skip_unsupported):
    """After a change of the number of channels, the per-queue counters are still numbered from 0 without a gap and cover every queue."""
    before = {direction: traffic.queues(direction) for direction in ("rx", "tx")}
    counts = bool(numbered_counters.queues())
    with step("Change the number of channels by one"):
        try:
            operations.other_channels(defer)
        except NotOfferedError as error:
            skip_unsupported("another number of channels", evidence=str(error))
    with step("The kernel uses another number of queues; the per-queue counters have no gap and cover every queue"):
        assert {direction: traffic.queues(direction) for direction in before} != before
        assert numbering_errors(numbered_counters, traffic) == []
    with step("Send test frames"), numbered_counters.measure() as measured:
        probes = traffic.probes()
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
    with step(
        "The sum of the receive queues' counters of frames and bytes, where there are such, rose by what the wire carried"
    ):
        assert not counts or total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)
