# SPDX-License-Identifier: GPL-2.0-or-later
"""The names and the set of per-queue counters."""

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
    """No two of the driver's own statistics have the same name."""
    names = [name.strip() for name in accounting.names()]
    if not names:
        skip_unsupported("statistics of its own", evidence=names)
    with step("Read the names of the driver's own statistics: none comes twice"):
        assert {name: times for name, times in Counter(names).items() if times > 1} == {}


def numbering_errors(accounting, traffic):
    """Say which of the driver's own counters by queue have a gap in their numbers, or leave out a queue that the kernel uses."""
    return [
        f"{way} {name}: {numbers}, expected 0 to {traffic.queues(way) - 1} at least"
        for way, counters in accounting.numbers_by_name().items()
        for name, numbers in counters.items()
        if sorted(numbers) != list(range(len(numbers))) or len(numbers) < traffic.queues(way)
    ]


@pytest.fixture
def numbered_counters(accounting, skip_unsupported):
    """The accounts, where the driver has counters by queue of its own; skips where it has none."""
    if not any(accounting.numbers_by_name().values()):
        skip_unsupported("per-queue counters by ethtool", evidence=accounting.names())
    return accounting


@requirement(
    "QSTAT-NAME-02",
    level="SHOULD",
    source=f"{STATISTICS}, drivers are advised to keep the number of statistics constant",
    falsified_by=("program:qstat.queue-untold",),
)
def test_every_queue_is_named(numbered_counters, traffic, step):
    """The driver's own per-queue counters are numbered from 0 without a gap and cover every queue the kernel uses."""
    with step(
        "Read the driver's own per-queue counters: their numbers have no gap, and there are as many as queues or more"
    ):
        assert numbering_errors(numbered_counters, traffic) == []


@requirement(
    "QSTAT-NAME-03",
    level="SHOULD",
    source=f"{STATISTICS}, drivers are advised to keep the number of statistics constant",
    falsified_by=("program:qstat.name-lost",),
)
def test_names_stay(accounting, traffic, dut, step, defer, settings, skip_unsupported):
    """The driver's own statistics have the same names, in the same order, after traffic, while the interface is down, and up again."""
    before = accounting.names()
    if not before:
        skip_unsupported("statistics of its own", evidence=before)
    with step("Send test frames both ways: the names are the same"):
        traffic.check_delivery()
        traffic.send_back()
        assert accounting.names_later() == before
    with step("Take the interface down: the names are the same"):
        defer(settings.ready)
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        assert accounting.names_later() == before
    with step("Take it up: the names are the same"):
        dut.set_link(up=True)
        settings.ready()
        assert accounting.names_later() == before


@requirement(
    "QSTAT-NAME-04",
    level="SHOULD",
    source=f"{STATISTICS}; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by=("program:qstat.queue-untold", "program:settings.not-set"),
)
def test_names_follow_the_channels(numbered_counters, traffic, operations, step, defer, skip_unsupported):
    """After a change of the number of channels the per-queue counters are numbered without a gap again and cover every queue."""
    before = {way: traffic.queues(way) for way in ("rx", "tx")}
    with step("Change the number of channels by one"):
        try:
            operations.other_channels(defer)
        except NotOfferedError as error:
            skip_unsupported("another number of channels", evidence=str(error))
    with step("The kernel has another number of queues; the per-queue counters have no gap, and cover each"):
        assert {way: traffic.queues(way) for way in before} != before
        assert numbering_errors(numbered_counters, traffic) == []
    with step("Frames are sent as before"), numbered_counters.measure() as measured:
        probes = traffic.probes()
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
    with step("The receive queues' counters rose by what the wire carried"):
        assert total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)
