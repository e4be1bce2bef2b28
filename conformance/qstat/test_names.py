# SPDX-License-Identifier: GPL-2.0-or-later
"""The names and the set of per-queue counters."""

from __future__ import annotations

from collections import Counter

from plugfest.queue_counters import from_ethtool, total
from plugfest.requirement import requirement

STATISTICS = "Documentation/networking/statistics.rst"
QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats"


@requirement(
    "QSTAT-NAME-01",
    level="SHOULD",
    source=f"{STATISTICS}, driver-defined statistics; include/uapi/linux/ethtool.h, ETH_SS_STATS",
    falsified_by="program:qstat.name-twice",
)
def test_names_are_unique(ledger, step, unclaimed):
    """No two of the driver's own statistics have the same name."""
    names = [name.strip() for name in ledger.names()]
    if not names:
        unclaimed("statistics of its own", evidence=names)
    with step("Read the names of the driver's own statistics: none comes twice"):
        assert {name: times for name, times in Counter(names).items() if times > 1} == {}


@requirement(
    "QSTAT-NAME-02",
    level="MUST",
    source=f"{STATISTICS}, drivers are advised to keep the number of statistics constant",
    falsified_by=("program:qstat.queue-untold",),
)
def test_every_queue_is_named(ledger, traffic, step, unclaimed):
    """The driver's own per-queue counters are numbered from 0 without a gap and cover every queue the kernel uses."""
    if not from_ethtool(ledger.ethtool()):
        unclaimed("per-queue counters by ethtool", evidence=ledger.names())
    with step("Read the driver's own per-queue counters"):
        counters = ledger.by_ethtool()
    with step("Their numbers have no gap, and there are as many as queues or more"):
        for direction, queues in (("rx", counters.rx), ("tx", counters.tx)):
            assert sorted(queues) == list(range(len(queues))), direction
            assert len(queues) >= traffic.queues(direction), direction


@requirement(
    "QSTAT-NL-01",
    level="MUST",
    source=f"{QSTATS}, queue-id, queue-type: only currently active queues",
    falsified_by=("program:qstat.queue-untold",),
)
def test_netlink_queues(ledger, traffic, step, unclaimed):
    """Netlink's queue statistics have one entry for each queue that the kernel uses, and none else."""
    if not ledger.qstats():
        unclaimed("netlink queue statistics", evidence=ledger.qstats())
    with step("Read netlink's statistics: there is an entry for each receive and transmit queue, numbered from 0"):
        for direction in ("rx", "tx"):
            assert ledger.netlink_queues(direction) == list(range(traffic.queues(direction))), direction


@requirement(
    "QSTAT-NL-02",
    level="MUST",
    source=f"{QSTATS}, scope",
    falsified_by=("program:qstat.total-differs",),
)
def test_netlink_scopes(ledger, traffic, step, unclaimed):
    """Netlink's device-wide statistics rise by what those of its queues rise by."""
    before = ledger.whole_device()
    if not before:
        unclaimed("netlink queue statistics of device scope", evidence=ledger.qstats("device"))
    with step("Send test frames both ways"), ledger.stretch() as stretch:
        traffic.check_delivery()
        traffic.send_back()
    with step("The device-wide statistics rose by as much as the queues' together"):
        after = ledger.whole_device_later()
        rx, tx = total(stretch.queues.rx.values()), total(stretch.queues.tx.values())
        queues = {"rx-packets": rx.frames, "rx-bytes": rx.octets, "tx-packets": tx.frames, "tx-bytes": tx.octets}
        told = {name: rise for name, rise in queues.items() if name in after}
        assert {name: after[name] - before[name] for name in told} == told
