# SPDX-License-Identifier: GPL-2.0-or-later
"""The names that drivers give their XDP counters."""

from __future__ import annotations

from plugfest.xdp.counters import SEEN, SENT, by_verdict


def test_queue_number_as_suffix():
    """gve's names."""
    reported = [
        ["rx_xdp_drop[0]", 3],
        ["rx_xdp_drop[1]", 4],
        ["rx_xdp_tx[0]", 1],
        ["rx_xdp_tx_errors[0]", 9],
        ["tx_xdp_xmit[2]", 5],
    ]
    assert by_verdict(reported) == {"drop": 7, "tx": 1, SENT: 5}


def test_queue_number_as_prefix():
    """Names of virtio_net, veth and ena."""
    assert by_verdict([["rx0_xdp_drops", 3], ["rx1_xdp_drops", 4], ["rx0_xdp_packets", 8]]) == {"drop": 7, SEEN: 8}
    assert by_verdict([["rx_queue_0_xdp_redirect", 2]]) == {"redirect": 2}
    assert by_verdict([["queue_0_rx_xdp_aborted", 2], ["queue_1_rx_xdp_pass", 3]]) == {"aborted": 2, "pass": 3}


def test_queue_number_as_heading():
    """vmxnet3's names, each queue's the same."""
    reported = [
        ["Rx Queue#", 0],
        ["     xdp drops", 3],
        ["     xdp packets", 3],
        ["Rx Queue#", 1],
        ["     xdp drops", 4],
    ]
    assert by_verdict([*reported, ["     xdp tx", 1], ["  xdp xmit", 2]]) == {"drop": 7, SEEN: 3, "tx": 1, SENT: 2}


def test_sum_beside_queues():
    """mlx5 reports a sum and its parts: only the sum counts."""
    assert by_verdict([["rx_xdp_drop", 7], ["rx0_xdp_drop", 3], ["rx1_xdp_drop", 4]]) == {"drop": 7}


def test_no_xdp_counters():
    """A driver without such counters."""
    assert by_verdict([["rx_packets", 7], ["tx_xdp_errors", 1]]) == {}
