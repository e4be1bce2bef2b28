# SPDX-License-Identifier: GPL-2.0-or-later
"""Accounting over one measurement, against a fake machine."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from falsified import Falsified
from plugfest.machine.agent import AgentError
from plugfest.statistics.accounts import Accounting, Measurement, explain
from plugfest.statistics.queue_counters import Account, QueueCounters
from plugfest.traffic.traffic import check_same

FRAME = b"\xaa" * 60


class Nic:
    """A driver and a device that count frames per queue."""

    def __init__(self, *, netlink: bool = False) -> None:
        self.netlink = netlink
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.rx = [0, 0]
        self.pending: list[int] = []
        self.ifname = "eth0"

    def deliver(self, queue: int) -> None:
        self.sent.append(FRAME)
        self.pending += [queue]

    def call(self, method: str, **params: Any) -> Any:
        if method == "model.counters":
            rx = [{"frames": count, "bytes": 60 * count} for count in self.rx]
            return {"rx": rx, "tx": []}
        assert params["ifname"] == "eth0"
        if method == "link.stats64":
            count = sum(self.rx)
            return {"rx_packets": count, "rx_bytes": 60 * count, "tx_packets": 0, "tx_bytes": 0}
        if method == "netdev.qstats_get":
            if not self.netlink:
                raise AgentError(method, "NetlinkError", "Operation not supported", errno.EOPNOTSUPP)
            return [
                {"queue-type": "rx", "queue-id": number, "rx-packets": count, "rx-bytes": 60 * count}
                for number, count in enumerate(self.rx)
            ]
        assert method == "ethtool.stats_list"
        if self.pending:
            self.rx[self.pending.pop(0)] += 1
        names = []
        for number, count in enumerate(self.rx):
            names += [[f"rx_queue_{number}_packets", count], [f"rx_queue_{number}_bytes", 60 * count]]
        return names

    @contextmanager
    def capture(self) -> Iterator[Any]:
        yield SimpleNamespace(sent=lambda: self.sent, received=lambda: self.received)


def accounting_of(nic: Nic, *faults: str, model: bool = True) -> Accounting:
    machine = SimpleNamespace(agent=Falsified(nic, *faults), remote=nic, model=nic if model else None)
    return Accounting(machine, "eth0")  # type: ignore[arg-type]


def test_a_measurement_has_what_every_side_counted_and_nothing_before_it() -> None:
    nic = Nic()
    nic.deliver(0)
    accounting = accounting_of(nic)
    with accounting.measure() as measured:
        nic.deliver(1)
        nic.deliver(1)
    assert measured.wire_rx == measured.link_rx == Account(2, 120)
    assert measured.queues == measured.device == QueueCounters({1: Account(2, 120)}, {})
    assert measured.from_dut == []
    assert "2 frames/120 bytes in" in explain(measured)


def test_without_a_model_the_device_has_no_counters() -> None:
    nic = Nic()
    with accounting_of(nic, model=False).measure() as measured:
        nic.deliver(0)
    assert measured.device == QueueCounters()
    assert measured.queues.rx == {0: Account(1, 60)}


def test_netlink_counters_are_preferred() -> None:
    nic = Nic(netlink=True)
    nic.rx = [4, 0]
    assert accounting_of(nic).queues().rx[0] == Account(4, 240)


@pytest.mark.parametrize(
    ("fault", "rx"),
    [
        ("program:qstat.wrong-queue", {1: Account(1, 60)}),
        ("program:qstat.frame-missing", {0: Account(0, 30)}),
        ("program:qstat.bytes-short", {0: Account(1, 46)}),
    ],
)
def test_falsifications_change_the_drivers_counters_alone(fault: str, rx: dict[int, Account]) -> None:
    nic = Nic()
    with accounting_of(nic, fault).measure() as measured:
        nic.deliver(0)
    assert measured.queues.rx == rx
    assert measured.device.rx == {0: Account(1, 60)}
    assert measured.wire_rx == Account(1, 60)


def test_an_error_other_than_unsupported_is_raised() -> None:
    nic = Nic()
    nic.call = lambda method, **_: (_ for _ in ()).throw(AgentError(method, "NetlinkError", "no", errno.EPERM))  # type: ignore[method-assign]
    with pytest.raises(AgentError, match="no"):
        accounting_of(nic).queues()


@pytest.mark.parametrize(
    ("method", "number", "raised"),
    [
        ("ethtool.stats_list", errno.EOPNOTSUPP, False),
        ("ethtool.stats_list", errno.ENOENT, True),
        ("netdev.qstats_get", errno.EOPNOTSUPP, False),
        ("netdev.qstats_get", errno.ENOENT, False),
        ("netdev.qstats_get", errno.ENODEV, True),
        ("link.stats64", errno.EOPNOTSUPP, True),
        ("link.stats64", errno.ENOENT, True),
    ],
)
def test_each_source_may_lack_statistics_in_its_own_way(method: str, number: int, raised: bool) -> None:
    nic = Nic()
    before = nic.call

    def call(called: str, **params: Any) -> Any:
        if called == method:
            raise AgentError(method, "OSError", "no", number)
        return before(called, **params)

    nic.call = call  # type: ignore[method-assign]
    if raised:
        with pytest.raises(AgentError, match=method):
            accounting_of(nic).read()
    else:
        assert accounting_of(nic).read().netlink == {}


def test_a_comparison_reports_missing_and_extra_frames() -> None:
    check_same([b"a", b"b"], [b"b", b"a"], "frames")
    with pytest.raises(AssertionError, match=r"frames: expected 2, found 2; 1 missing \(1 bytes 62…\), 1 too many"):
        check_same([b"a", b"c"], [b"a", b"b"], "frames")
    with pytest.raises(AssertionError, match="1 too many"):
        check_same([b"a", b"a"], [b"a"], "frames")


@pytest.mark.parametrize(
    ("found", "wanted", "ending"),
    [
        ([b"aXXd", b"eXgXi"], [b"abcd", b"efghi"], "; changed at bytes 1-3"),
        ([b"Xbcdef", b"abcdXX"], [b"abcdef", b"abcdef"], "; changed at bytes 0"),
        ([b"aX", b"bbb"], [b"ab", b"cc"], ""),
        ([b"ab"], [b"ab", b"ab"], ""),
    ],
)
def test_a_comparison_says_which_bytes_changed(found: list[bytes], wanted: list[bytes], ending: str) -> None:
    with pytest.raises(AssertionError) as error:
        check_same(found, wanted, "frames")
    assert str(error.value).partition("; changed")[1:] == ending.partition("; changed")[1:]


def test_short_frames_may_be_padded_on_their_way() -> None:
    short = Measurement(to_dut=[bytes(54), bytes(100)])
    assert short.arrived == (Account(2, 154), Account(2, 160))
