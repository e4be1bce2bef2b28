# SPDX-License-Identifier: GPL-2.0-or-later
"""What the concurrent readers report, against a fake agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from falsified import Falsified
from plugfest.machine.agent import KernelLacksError
from plugfest.statistics.queue_counters import Account
from plugfest.statistics.readers import GONE, ReaderReport, concurrent_readers

FIRST = {"rx_packets": 5, "rx_bytes": 300, "tx_packets": 1, "tx_bytes": 60}
LAST = {"rx_packets": 7, "rx_bytes": 420, "tx_packets": 1, "tx_bytes": 60}


class Agent:
    """Counts attempts, and reports one process that saw `LAST`."""

    def __init__(self, **report: Any) -> None:
        self.report = {"kind": "rtnetlink", "readings": 9, "first": FIRST, "last": LAST, **report}
        self.calls: list[str] = []
        self.operations: list[str] | None = ["dev-get", "qstats-get"]
        self.kinds: list[str] = []

    def call(self, method: str, **params: Any) -> Any:
        self.calls.append(method)
        if method == "netdev.operations":
            if self.operations is None:
                raise KernelLacksError("the generic netlink family netdev", "No such file or directory")
            return self.operations
        if method == "readers.start":
            self.kinds += params["kinds"]
        if method == "readers.attempts":
            return {"rtnetlink": len(self.calls)}
        return {"readers.start": 3, "readers.stop": [self.report]}.get(method)


def until(condition: Callable[[], Any], *, what: str, timeout: float = 5.0) -> Any:
    for _ in range(20):
        if condition():
            return True
    raise AssertionError(what)


def read(agent: Agent, *faults: str) -> Any:
    with concurrent_readers(Falsified(agent, *faults), "eth0", until, 1.0) as seen:  # type: ignore[arg-type]
        seen.goes_on()
    return seen


def test_risen_is_the_difference_of_last_and_first_reading() -> None:
    seen = read(Agent())
    assert seen.risen() == {"the interface by rtnetlink": (Account(2, 120), Account())}
    assert seen.problems() == []
    carried = (Account(2, 120), Account())
    assert seen.differences(carried, carried) == []
    (text,) = seen.differences((Account(3, 180), Account()), (Account(3, 180), Account()))
    assert text.startswith("the interface by rtnetlink: received 2 frames/120 bytes, the wire carried 3")


def test_a_kind_that_is_listed_several_times_has_as_many_processes() -> None:
    agent = Agent()
    with concurrent_readers(agent, "eth0", until, 1.0, ["rtnetlink"] * 4) as seen:  # type: ignore[arg-type]
        assert list(seen.attempts()) == [f"rtnetlink {number}" for number in range(4)]
    assert (agent.calls.count("readers.start"), len(seen.reports)) == (4, 4)
    carried = (Account(2, 120), Account())
    assert seen.differences(carried, carried) == []
    assert len(seen.differences((Account(3, 180), Account()), (Account(3, 180), Account()))) == 4


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("program:qstat.reader-back", "rtnetlink: rx_packets went back from 8 to 7"),
        ("program:qstat.reader-torn", f"rtnetlink: rx_packets leapt from 7 to {7 + (1 << 32)}"),
    ],
)
def test_falsifications_change_a_readers_report(fault: str, problem: str) -> None:
    assert read(Agent(), fault).problems() == [problem]


def test_a_frame_that_a_reader_misses_shows() -> None:
    carried = (Account(2, 120), Account())
    assert read(Agent(), "program:qstat.reader-short").differences(carried, carried)


def test_errors_count_unless_the_state_explains_them() -> None:
    seen = read(Agent(errors={"ENODEV": 2, "EOPNOTSUPP": 7, "EINTR": 1, "EAGAIN": 1}))
    assert seen.problems() == ["rtnetlink: 2 times ENODEV", "rtnetlink: 1 times EINTR"]
    assert seen.problems(allowed=GONE) == ["rtnetlink: 1 times EINTR"]


def test_a_broken_reader_is_a_problem() -> None:
    report = ReaderReport("netlink", broken="KeyError: 'x'")
    assert report.problems(allowed=GONE) == ["netlink: the reader broke: KeyError: 'x'"]
    assert report.risen() == {}


def test_counters_of_queues_may_restart_where_that_is_allowed_and_never_leap() -> None:
    moves = {"device rx-packets": (5, 4, 1), "rx 0 rx-packets": (5, 0, 1)}
    report = ReaderReport("netlink", back=moves, leapt={"rx 1 rx-bytes": (0, 1 << 33, 2)})
    assert report.problems(queues_restart=True) == [
        "netlink: device rx-packets went back from 5 to 4",
        "netlink: rx 1 rx-bytes leapt from 0 to 8589934592, 2 times",
    ]
    assert len(report.problems()) == 3


def test_only_ethtool_names_of_queues_must_be_monotonic() -> None:
    moves = {"rx_queue_0_packets": (2, 1, 1), "temperature": (50, 40, 1), "  ucast pkts rx#2": (9, 8, 1)}
    assert ReaderReport("ethtool", back=moves).problems() == [
        "ethtool: rx_queue_0_packets went back from 2 to 1",
        "ethtool:   ucast pkts rx#2 went back from 9 to 8",
    ]


def test_each_kind_has_its_accounts() -> None:
    first = {"rx 0 rx-packets": 1, "rx 0 rx-bytes": 60, "rx 1 rx-packets": 1, "rx 1 rx-bytes": 60}
    first |= {f"device {way}-{what}": 2 for way in ("rx", "tx") for what in ("packets", "bytes")}
    last = {**first, "rx 1 rx-packets": 3, "rx 1 rx-bytes": 200, "device rx-packets": 4}
    assert ReaderReport("netlink", first=first, last=last).risen() == {
        "the device by netlink": (Account(2, 0), Account()),
        "the queues by netlink": (Account(2, 140), Account()),
    }
    blocks = (
        "Rx Queue#",
        "  ucast pkts rx",
        "  ucast bytes rx",
        "Rx Queue##2",
        "  ucast pkts rx#2",
        "  ucast bytes rx#2",
    )
    before = dict(zip(blocks, (0, 1, 60, 1, 0, 0), strict=True))
    after = dict(zip(blocks, (0, 1, 60, 1, 2, 120), strict=True))
    assert ReaderReport("ethtool", first=before, last=after).risen() == {
        "the queues by ethtool": (Account(2, 120), Account())
    }


@pytest.mark.parametrize(
    ("operations", "kinds", "expected"),
    [
        (["qstats-get"], ["netlink", "procfs"], ["netlink", "procfs"]),
        (["dev-get"], ["netlink", "procfs"], ["procfs"]),
        (None, ["netlink", "procfs"], ["procfs"]),
        (None, ["netlink"] * 2, ["netlink"] * 2),
    ],
)
def test_a_way_that_the_kernel_lacks_is_left_out_if_there_is_another(
    operations: list[str] | None, kinds: list[str], expected: list[str]
) -> None:
    agent = Agent()
    agent.operations = operations
    with concurrent_readers(agent, "eth0", until, 1.0, kinds):  # type: ignore[arg-type]
        assert agent.kinds == expected


def test_the_processes_end_when_the_test_fails() -> None:
    agent = Agent()
    with pytest.raises(ZeroDivisionError), concurrent_readers(agent, "eth0", until, 1.0):  # type: ignore[arg-type]
        raise ZeroDivisionError
    assert agent.calls[-1] == "handle.close"


def test_a_reader_that_stalls_fails_the_test() -> None:
    agent = Agent()
    answers: dict[str, Any] = {"readers.attempts": {"rtnetlink": 1}, "netdev.operations": []}
    agent.call = lambda method, **_: answers.get(method, 3)  # type: ignore[method-assign]
    with (
        pytest.raises(AssertionError, match="each reader has read 1 times"),
        concurrent_readers(agent, "eth0", until, 1.0),  # type: ignore[arg-type]
    ):
        pass
