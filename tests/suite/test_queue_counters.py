# SPDX-License-Identifier: GPL-2.0-or-later
"""Per-queue counters out of what drivers really print."""

from __future__ import annotations

from plugfest.statistics.queue_counters import (
    Account,
    QueueCounters,
    from_ethtool,
    from_model,
    from_qstats,
    numbers_by_name,
    of_frames,
    total,
)


def test_ixgbes_names() -> None:
    found = from_ethtool(
        [
            ["rx_packets", 99],
            ["tx_queue_0_packets", 3],
            ["tx_queue_0_bytes", 300],
            ["rx_queue_0_packets", 1],
            ["rx_queue_0_bytes", 60],
            ["rx_queue_11_packets", 2],
            ["rx_queue_11_bytes", 128],
            ["tx_pb_0_pxon", 7],
        ]
    )
    assert found == QueueCounters({0: Account(1, 60), 11: Account(2, 128)}, {0: Account(3, 300)})


def test_igbs_further_names_do_not_count() -> None:
    found = from_ethtool([["rx_queue_0_packets", 1], ["rx_queue_0_bytes", 60], ["rx_queue_0_drops", 5]])
    assert found.rx == {0: Account(1, 60)}


def test_other_spellings() -> None:
    for names in (
        ("rx3_packets", "rx3_bytes"),
        ("rx-3.packets", "rx-3.bytes"),
        ("rxq_3_packets", "rxq_3_bytes"),
        ("Rx_Queue_3_packets", "Rx_Queue_3_bytes"),
    ):
        assert from_ethtool([[names[0], 4], [names[1], 400]]).rx == {3: Account(4, 400)}, names


def test_vmxnet3s_blocks() -> None:
    found = from_ethtool(
        [
            ["Tx Queue#", 0],
            ["  TSO pkts tx", 1],
            ["  ucast pkts tx", 10],
            ["  ucast bytes tx", 1000],
            ["  mcast pkts tx", 1],
            ["  mcast bytes tx", 90],
            ["Rx Queue#", 0],
            ["  ucast pkts rx", 5],
            ["  ucast bytes rx", 500],
            ["Rx Queue#", 1],
            ["  ucast pkts rx", 6],
            ["  ucast bytes rx", 600],
            ["  bcast pkts rx", 1],
            ["  bcast bytes rx", 60],
            ["tx timeout count", 0],
        ]
    )
    assert found.tx == {0: Account(11, 1090)}
    assert found.rx == {0: Account(5, 500), 1: Account(7, 660)}


def test_a_queue_with_half_its_counters_is_none() -> None:
    assert not from_ethtool([["rx_queue_0_packets", 1], ["tx_restart_queue", 3]])


def test_netlinks_entries() -> None:
    found = from_qstats(
        [
            {"queue-type": "rx", "queue-id": 1, "rx-packets": 2, "rx-bytes": 120, "rx-alloc-fail": 0},
            {"queue-type": "tx", "queue-id": 0, "tx-packets": 3, "tx-bytes": 180},
            {"queue-type": "tx", "queue-id": 1, "tx-stop": 0},
        ]
    )
    assert found == QueueCounters({1: Account(2, 120)}, {0: Account(3, 180)})


def test_a_models_account() -> None:
    queues = [{"frames": 0, "bytes": 0}, {"frames": 2, "bytes": 120}]
    assert from_model({"rx": queues, "tx": []}) == QueueCounters({0: Account(), 1: Account(2, 120)}, {})


def test_what_left_a_models_queue_is_segments() -> None:
    queue = {"frames": 1, "bytes": 3000, "segments": 2, "segment_bytes": 3054}
    assert from_model({"rx": [], "tx": [queue]}, left=True).tx == {0: Account(2, 3054)}
    assert from_model({"rx": [], "tx": [queue]}).tx == {0: Account(1, 3000)}


def test_differences_leave_out_what_did_not_move() -> None:
    before = QueueCounters({0: Account(5, 300), 1: Account(1, 60)}, {})
    after = QueueCounters({0: Account(5, 300), 1: Account(3, 200), 2: Account(1, 60)}, {0: Account(0, 0)})
    assert after.since(before) == QueueCounters({1: Account(2, 140), 2: Account(1, 60)}, {})


def test_sums() -> None:
    assert total([Account(1, 60), Account(2, 200)]) == Account(3, 260)
    assert of_frames([b"a" * 60, b"b" * 61]) == Account(2, 121)
    assert str(Account(3, 260)) == "3 frames/260 bytes"


def test_numbers_by_name() -> None:
    found = numbers_by_name(
        [
            ["rx_queue_0_packets", 1],
            ["rx_queue_2_packets", 1],
            ["rx_bytes[1]", 9],
            ["tx_wake[0]", 0],
            ["tx_64_to_127", 3],
        ]
    )
    assert found == {"rx": {"packets": [0, 2], "bytes": [1]}, "tx": {"wake": [0]}}


def test_numbers_by_heading() -> None:
    found = numbers_by_name([["Rx Queue#", 0], ["  ucast pkts rx", 1], ["Rx Queue#", 1], ["  ucast pkts rx", 1]])
    assert found == {"rx": {"queue": [0, 1]}, "tx": {}}
