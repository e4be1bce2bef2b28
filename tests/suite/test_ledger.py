# SPDX-License-Identifier: GPL-2.0-or-later
"""The three accounts over one stretch, against a machine that counts what it is told to."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.faults import LocalFaults
from plugfest.machine.agent import AgentError
from plugfest.statistics.accounts import Ledger, Stretch, explain
from plugfest.statistics.queue_counters import Account, QueueCounters
from plugfest.traffic.traffic import check_same

FRAME = b"\xaa" * 60


class Nic:
    """Counts frames by queue on the driver's side and the device's."""

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


def ledger_of(nic: Nic, *faults: str, model: bool = True) -> Ledger:
    armed = LocalFaults()
    for name in faults:
        armed.arm(name)
    machine = SimpleNamespace(agent=nic, dut=nic, wire=nic, model=nic if model else None)
    return Ledger(machine, armed)  # type: ignore[arg-type]


def test_a_stretch_has_what_every_side_saw_and_nothing_before_it() -> None:
    nic = Nic()
    nic.deliver(0)
    ledger = ledger_of(nic)
    with ledger.stretch() as stretch:
        nic.deliver(1)
        nic.deliver(1)
    assert stretch.wire_rx == stretch.link_rx == Account(2, 120)
    assert stretch.queues == stretch.device == QueueCounters({1: Account(2, 120)}, {})
    assert stretch.from_dut == []
    assert "2 frames/120 octets in" in explain(stretch)


def test_without_a_model_the_device_says_nothing() -> None:
    nic = Nic()
    with ledger_of(nic, model=False).stretch() as stretch:
        nic.deliver(0)
    assert stretch.device == QueueCounters()
    assert stretch.queues.rx == {0: Account(1, 60)}


def test_netlinks_counters_go_first() -> None:
    nic = Nic(netlink=True)
    nic.rx = [4, 0]
    assert ledger_of(nic).queues().rx[0] == Account(4, 240)


@pytest.mark.parametrize(
    ("fault", "rx"),
    [
        ("program:qstat.wrong-queue", {1: Account(1, 60)}),
        ("program:qstat.frame-missing", {0: Account(0, 0)}),
        ("program:qstat.octets-short", {0: Account(1, 46)}),
    ],
)
def test_faults_bend_the_drivers_account_alone(fault: str, rx: dict[int, Account]) -> None:
    nic = Nic()
    with ledger_of(nic, fault).stretch() as stretch:
        nic.deliver(0)
    assert stretch.queues.rx == rx
    assert stretch.device.rx == {0: Account(1, 60)}
    assert stretch.wire_rx == Account(1, 60)


def test_a_refusal_that_means_something_else_is_raised() -> None:
    nic = Nic()
    nic.call = lambda method, **_: (_ for _ in ()).throw(AgentError(method, "NetlinkError", "no", errno.EPERM))  # type: ignore[method-assign]
    with pytest.raises(AgentError, match="no"):
        ledger_of(nic).queues()


def test_a_comparison_says_what_is_missing_and_what_is_too_many() -> None:
    check_same([b"a", b"b"], [b"b", b"a"], "frames")
    with pytest.raises(AssertionError, match=r"frames: expected 2, found 2; 1 missing \(1 octets 62…\), 1 too many"):
        check_same([b"a", b"c"], [b"a", b"b"], "frames")
    with pytest.raises(AssertionError, match="1 too many"):
        check_same([b"a", b"a"], [b"a"], "frames")


def test_short_frames_may_be_padded_on_their_way() -> None:
    short = Stretch(to_dut=[bytes(54), bytes(100)])
    assert short.arrived == (Account(2, 154), Account(2, 160))
