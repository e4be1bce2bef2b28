# SPDX-License-Identifier: GPL-2.0-or-later
"""Every counter of frames and bytes at one moment, by scope, so that two moments can be compared.

Source: Documentation/networking/statistics.rst (statistics persist); Documentation/netlink/specs/netdev.yaml, qstats, scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from plugfest.statistics.accounts import ENTRY
from plugfest.statistics.queue_counters import QueueCounters, from_ethtool

if TYPE_CHECKING:
    from plugfest.statistics.accounts import Accounting


@dataclass(frozen=True)
class CounterSnapshot:
    """Counters that only grow.

    Attributes:
        interface: struct rtnl_link_stats64.
        device: netlink's statistics of device scope; empty where there are none.
        by_netlink: those of queue scope, as ``rx 0 rx-packets``.
        by_ethtool: the driver's own of each queue, as ``rx 0 packets``.
    """

    interface: Mapping[str, int] = field(default_factory=dict)
    device: Mapping[str, int] = field(default_factory=dict)
    by_netlink: Mapping[str, int] = field(default_factory=dict)
    by_ethtool: Mapping[str, int] = field(default_factory=dict)

    def by(self, source: Literal["netlink", "ethtool"]) -> Mapping[str, int]:
        """Return those of the queues by the source of an accounting."""
        return self.by_netlink if source == "netlink" else self.by_ethtool


def counter_snapshot(accounting: Accounting) -> CounterSnapshot:
    """Read all of them now."""
    queues = {
        f"{entry['queue-type']} {entry['queue-id']} {name}": value
        for entry in accounting.qstats()
        for name, value in entry.items()
        if name not in ENTRY and isinstance(value, int)
    }
    own = named(from_ethtool(accounting.ethtool()))
    return CounterSnapshot(accounting.read().link, accounting.netlink_device(), queues, own)


def named(queues: QueueCounters) -> dict[str, int]:
    """Return counters by queue as values by name."""
    return {
        f"{direction} {queue} {what}": value
        for direction, side in (("rx", queues.rx), ("tx", queues.tx))
        for queue, account in side.items()
        for what, value in (("packets", account.frames), ("bytes", account.bytes))
    }


def lost(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Return which counters went back; one that is no longer reported is not among them.

    A queue that is not active has no counters (netdev.yaml, qstats), and a driver's statistics may become fewer with its queues.
    """
    return [f"{name} was {value}, is {after[name]}" for name, value in before.items() if after.get(name, value) < value]
