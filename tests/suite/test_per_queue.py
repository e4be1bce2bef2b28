# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames for each queue, and counters that do not match them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from plugfest.dut.dut import Rss
from plugfest.frames.dissect import TCP, UDP, dissect, problems
from plugfest.frames.probe import Ends
from plugfest.frames.toeplitz import hashed, toeplitz
from plugfest.machine.agent import AgentError
from plugfest.statistics.accounts import Measurement
from plugfest.statistics.queue_counters import Account, QueueCounters
from plugfest.traffic.per_queue import frame_count, frames_for_queue, miscounted

ENDS = Ends("02:00:00:00:00:01", "02:00:00:00:00:02", {4: "198.18.0.2"}, {4: "198.18.0.0/16"})
KEY = bytes(range(40))
ALL = 0xF0


def dut_that_hashes(fields: int | AgentError) -> Any:
    def call(method: str, **_: Any) -> int:
        assert method == "ethtool.hash_fields"
        if isinstance(fields, AgentError):
            raise fields
        return fields

    return SimpleNamespace(agent=SimpleNamespace(call=call), ifname="eth0")


def test_source_ports_select_the_queue() -> None:
    rss = Rss((0, 1, 2, 1), KEY, 1, 3)
    aimed = frames_for_queue(dut_that_hashes(ALL), rss, ENDS)
    assert {queue: len(frames) for queue, frames in aimed.items()} == {queue: frame_count(queue) for queue in range(3)}
    flows = set()
    for queue, frames in aimed.items():
        for frame in frames:
            assert problems(frame) == []
            found = dissect(frame)
            assert rss.table[toeplitz(KEY, hashed(found, ALL)) % 4] == queue
            assert found.protocol == UDP
            flows.add((found.addresses, found.ports[1]))
    assert len(flows) == 1


def test_tcp_is_used_where_udp_ports_are_not_hashed_and_nothing_where_no_ports_are() -> None:
    unsupported = AgentError("ethtool.hash_fields", "OSError", "no", 95)
    aimed = frames_for_queue(dut_that_hashes(unsupported), Rss((0, 1), KEY, 1, 2), ENDS)
    assert {dissect(frame).protocol for frames in aimed.values() for frame in frames} == {TCP}
    assert frames_for_queue(dut_that_hashes(0x30), Rss((0, 1), KEY, 1, 2), ENDS) == {}


def test_a_counter_of_the_wrong_queue_is_reported() -> None:
    aimed = {0: [bytes(60)] * 5, 1: [bytes(100)] * 8}
    carried = [frame for frames in aimed.values() for frame in frames]
    right = Measurement(queues=QueueCounters({0: Account(5, 300), 1: Account(8, 800)}, {}), to_dut=carried)
    assert miscounted(right, aimed) == []
    crossed = Measurement(queues=QueueCounters({1: Account(5, 300), 0: Account(8, 800)}, {}), to_dut=carried)
    assert len(miscounted(crossed, aimed)) == 2
    short = Measurement(queues=QueueCounters({0: Account(5, 300), 1: Account(7, 700)}, {}), to_dut=carried)
    assert miscounted(short, aimed) == ["rx queue 1 counted 7 frames/700 bytes, was sent 8 frames/800 bytes"]


def test_background_traffic_may_be_counted_on_any_queue_but_only_once() -> None:
    aimed = {0: [bytes(60)]}
    background = [bytes(86)]
    once = Measurement(queues=QueueCounters({}, {0: Account(1, 60), 1: Account(1, 86)}), from_dut=aimed[0] + background)
    assert miscounted(once, aimed, "tx") == []
    twice = Measurement(
        queues=QueueCounters({}, {0: Account(1, 60), 1: Account(2, 172)}), from_dut=aimed[0] + background
    )
    assert miscounted(twice, aimed, "tx")
