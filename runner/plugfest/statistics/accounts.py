# SPDX-License-Identifier: GPL-2.0-or-later
"""The same traffic as the driver, the device and the wire count it, over one interval.

The capture on the wire is the reference: it holds background traffic (neighbour discovery) too, so that the other two can be
compared to the frame and the byte.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from plugfest.machine.agent import AgentError, KernelLacksError
from plugfest.statistics.queue_counters import (
    Account,
    Direction,
    QueueCounters,
    from_ethtool,
    from_model,
    from_qstats,
    numbers_by_name,
    of_frames,
    total,
)

if TYPE_CHECKING:
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Capture


Source = Literal["either", "netlink", "ethtool"]
"""Whose counters by queue: netlink's where it has them and else the driver's own, or those of one alone."""
Call = tuple[str, Mapping[str, Any]]
"""A method of the agent's and its parameters."""
NONE_SUCH = {
    "ethtool.stats_list": frozenset({errno.EOPNOTSUPP}),
    "netdev.qstats_get": frozenset({errno.EOPNOTSUPP, errno.ENOENT}),
    "link.stats64": frozenset[int](),
}
"""By method, the errors of a driver without the statistics that were asked for; every driver has struct rtnl_link_stats64."""
ENTRY = frozenset({"ifindex", "queue-type", "queue-id"})
"""The attributes that identify an entry of netlink's."""
SHORTEST = 60
"""Bytes of the shortest Ethernet frame, without FCS (IEEE 802.3, 4A.4.2)."""
PLAIN = frozenset({"rx-packets", "rx-bytes", "tx-packets", "tx-bytes"})
REGISTER_NAMES = (
    ("rx_pkts_nic", "rx_bytes_nic", "tx_pkts_nic", "tx_bytes_nic"),
    ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes"),
)


@dataclass(frozen=True)
class CounterReading:
    """What driver and device count at one moment.

    Attributes:
        queues: the driver's counters by queue.
        device: the model's, empty where the subject is no model.
        carried: likewise, but of a transmit queue what left, after segmentation.
        link: struct rtnl_link_stats64.
        netlink: each counter of netlink's queue statistics, summed over the queues.
        netlink_device: netlink's statistics of device scope.
    """

    queues: QueueCounters
    device: QueueCounters
    carried: QueueCounters
    link: Mapping[str, int]
    netlink: Mapping[str, int] = field(default_factory=dict)
    netlink_device: Mapping[str, int] = field(default_factory=dict)

    @property
    def link_rx(self) -> Account:
        """The interface's received frames and bytes."""
        return Account(self.link["rx_packets"], self.link["rx_bytes"])

    @property
    def link_tx(self) -> Account:
        """The interface's transmitted frames and bytes."""
        return Account(self.link["tx_packets"], self.link["tx_bytes"])


@dataclass
class Measurement:
    """The differences over one interval; filled in when it ends.

    Attributes:
        queues: the driver's, without queues that did not move.
        device: the device's, likewise.
        carried: likewise, but of a transmit queue what left, after segmentation.
        link_rx: of struct rtnl_link_stats64.
        link_tx: of struct rtnl_link_stats64.
        netlink: each counter of netlink's queue statistics, summed over the queues.
        netlink_device: netlink's statistics of device scope.
        to_dut: the frames that the remote end sent.
        from_dut: the frames that the DUT sent.
    """

    queues: QueueCounters = field(default_factory=QueueCounters)
    device: QueueCounters = field(default_factory=QueueCounters)
    carried: QueueCounters = field(default_factory=QueueCounters)
    link_rx: Account = field(default_factory=Account)
    link_tx: Account = field(default_factory=Account)
    netlink: Mapping[str, int] = field(default_factory=dict)
    netlink_device: Mapping[str, int] = field(default_factory=dict)
    to_dut: list[bytes] = field(default_factory=list)
    from_dut: list[bytes] = field(default_factory=list)

    @property
    def wire_rx(self) -> Account:
        """What the wire carried to the DUT."""
        return of_frames(self.to_dut)

    @property
    def arrived(self) -> tuple[Account, Account]:
        """What the wire carried to the DUT: as the tap has it, and with short frames padded to 60 bytes.

        A host's stack passes unpadded frames to a tap; whether the device pads them is up to the device.
        """
        return self.wire_rx, of_frames(frame.ljust(SHORTEST, b"\0") for frame in self.to_dut)

    @property
    def wire_tx(self) -> Account:
        """What the wire carried from the DUT."""
        return of_frames(self.from_dut)


class Accounting:
    """Reads the accounts of one machine.

    Args:
        machine: whose.
        ifname: the interface under test.
        source: whose counters by queue to take.
    """

    def __init__(self, machine: Machine, ifname: str, source: Source = "either") -> None:
        """Read nothing yet."""
        self.source = source
        self._machine = machine
        self._agent = machine.agent
        self._ifname = ifname
        self._without_netlink = False

    def ethtool(self) -> list[list[Any]]:
        """The driver's own statistics, names and values in its order; empty where it has none."""
        found: list[list[Any]] = self._ask(self._ethtool_call())[0]
        return found

    def qstats(self, scope: str = "queue") -> list[dict[str, Any]]:
        """The kernel's queue statistics; empty where the driver has none.

        Raises:
            KernelLacksError: the kernel has none, of any driver, and no other source will do.
        """
        found: list[dict[str, Any]] = self._ask(self._qstats_call(scope))[0]
        return found

    def queues(self) -> QueueCounters:
        """The driver's counters by queue, by the source of this accounting; empty where that has none."""
        found = from_qstats(self.qstats()) if self.source != "ethtool" else QueueCounters()
        return found if found or self.source == "netlink" else from_ethtool(self.ethtool())

    def _ethtool_call(self) -> Call:
        return "ethtool.stats_list", {"ifname": self._ifname}

    def _qstats_call(self, scope: str) -> Call:
        return "netdev.qstats_get", {"ifname": self._ifname, "scope": scope}

    def _ask(self, *calls: Call) -> list[Any]:
        """Make calls in one exchange; returns their results, empty where there are no such statistics.

        Raises:
            KernelLacksError: the kernel has none, of any driver, and no other source will do.
        """
        found = self._agent.try_batch(calls)
        for at, ((method, _), each) in enumerate(zip(calls, found, strict=True)):
            lacks = isinstance(each, KernelLacksError) and self.source != "netlink"
            if lacks or (isinstance(each, AgentError) and each.errno in NONE_SUCH[method]):
                found[at] = []
            elif isinstance(each, Exception):
                raise each
        return found

    def registers(self) -> tuple[Account, Account] | None:
        """What the driver's counters of its device's registers have received and sent; None where none is known.

        Their names are not standard: ixgbe has ``rx_pkts_nic``; ``rx_packets`` of igb, e1000e and amd-xgbe are the device's
        too (stats.gprc, mmc_stats.rxframecount_gb). Bytes are as the register has them, which may be with FCS.
        """
        own = dict(self.ethtool())
        for names in REGISTER_NAMES:
            if own.keys() >= set(names):
                frames_in, bytes_in, frames_out, bytes_out = (int(own[name]) for name in names)
                return Account(frames_in, bytes_in), Account(frames_out, bytes_out)
        return None

    def names(self) -> list[str]:
        """The names of the driver's own statistics, in its order."""
        return [str(name) for name, _ in self.ethtool()]

    def numbers_by_name(self) -> Mapping[Direction, Mapping[str, list[int]]]:
        """The numbers of the queues that each of the driver's own counters has, by direction and counter."""
        return numbers_by_name(self.ethtool())

    def netlink_queues(self, direction: str) -> list[int]:
        """The numbers of the queues of a direction that netlink has statistics of, sorted."""
        return sorted(entry["queue-id"] for entry in self.qstats() if entry["queue-type"] == direction)

    def netlink_device(self) -> dict[str, int]:
        """Netlink's device-wide queue statistics, without the identifying attributes; empty where there are none."""
        return summed(self.qstats("device"))

    def read(self) -> CounterReading:
        """Read driver and device now."""
        model = self._machine.model
        device = carried = QueueCounters()
        if model:
            counters = model.call("model.counters")
            device, carried = from_model(counters), from_model(counters, left=True)
        calls: list[Call] = [("link.stats64", {"ifname": self._ifname})]
        if self.source != "ethtool":
            calls += [self._qstats_call("queue"), self._qstats_call("device")]
        if self.source == "ethtool" or self._without_netlink:
            calls.append(self._ethtool_call())
        link, *others = self._ask(*calls)
        entries, whole = others[:2] if self.source != "ethtool" else ([], [])
        queues = from_qstats(entries)
        if not queues and self.source != "netlink":
            queues = from_ethtool(others[-1] if calls[-1] == self._ethtool_call() else self.ethtool())
            self._without_netlink = True
        return CounterReading(queues, device, carried, link, summed(entries), summed(whole) if entries else {})

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        """Count what happens in the block, from a quiet moment to a quiet moment."""
        result = Measurement()
        with self._machine.remote.capture() as capture:
            before, sent, received = self._settled(capture)
            yield result
            after, sent_after, received_after = self._settled(capture)
        result.queues = after.queues.since(before.queues)
        result.device = after.device.since(before.device)
        result.carried = after.carried.since(before.carried)
        result.link_rx = after.link_rx - before.link_rx
        result.link_tx = after.link_tx - before.link_tx
        result.netlink = risen(before.netlink, after.netlink)
        result.netlink_device = risen(before.netlink_device, after.netlink_device)
        result.to_dut = sent_after[len(sent) :]
        result.from_dut = received_after[len(received) :]

    def stops(self, measured: Measurement) -> dict[str, int]:
        """What tx-stop and tx-wake rose by over an interval; one that is not reported is 0."""
        return {name: measured.netlink.get(name, 0) for name in ("tx-stop", "tx-wake")}

    def settle(self) -> None:
        """Wait until two readings in a row are the same, so that nothing is under way."""
        with self._machine.remote.capture() as capture:
            self._settled(capture)

    def _settled(self, capture: Capture) -> tuple[CounterReading, list[bytes], list[bytes]]:
        """Read everything until two readings in a row are the same, so that nothing is under way."""
        previous = None
        while True:
            current = (self.read(), list(capture.sent()), list(capture.received()))
            if current == previous:
                return current
            previous = current


def summed(entries: list[dict[str, Any]]) -> dict[str, int]:
    """Add netlink's entries up, counter by counter."""
    found: dict[str, int] = {}
    for entry in entries:
        for name, value in entry.items():
            if name not in ENTRY and isinstance(value, int):
                found[name] = found.get(name, 0) + value
    return found


def risen(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return what each counter rose by; one that is new rose from 0."""
    return {name: value - before.get(name, 0) for name, value in after.items()}


def differences(measured: Measurement, names: Iterable[str], wanted: Mapping[str, int]) -> list[str]:
    """Return which of netlink's counters rose by another amount than expected.

    Args:
        measured: over which interval.
        names: the counters that the driver reports.
        wanted: what each must rise by.
    """
    return [
        f"{name} rose by {measured.netlink.get(name, 0)}, expected {wanted[name]}"
        for name in names
        if measured.netlink.get(name, 0) != wanted[name]
    ]


def explain(measured: Measurement) -> str:
    """Return every view of an interval on one line, for a failed comparison."""
    return (
        f"wire: {measured.wire_rx} in, {measured.wire_tx} out; driver's queues: {total(measured.queues.rx.values())} in, "
        f"{total(measured.queues.tx.values())} out; device: {total(measured.device.rx.values())} in, "
        f"{total(measured.device.tx.values())} out; interface: {measured.link_rx} in, {measured.link_tx} out"
    )
