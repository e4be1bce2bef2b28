# SPDX-License-Identifier: GPL-2.0-or-later
"""One bug has one fingerprint, whatever varies around it; two bugs have two."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from plugfest.machine.console import FUNCTIONS
from plugfest.report.fingerprint import fingerprint, normalized

MEASURED = Path(__file__).parents[1] / "suite" / "known_issue_reasons.tsv"

# Of two runs of gve on Linux 7.3.4: the same bug in two tests.
WHILE_DOWN = """\
[   60.023630] BUG: kernel NULL pointer dereference, address: 00000000000000a0
[   60.024627] #PF: supervisor read access in kernel mode
[   60.026434] Oops: Oops: 0000 [#1] SMP NOPTI
[   60.027703] CPU: 0 UID: 0 PID: 192 Comm: python3 Not tainted 7.3.4+deb13-amd64 #1 PREEMPT(lazy)  Debian 7.3.4-1~bpo13+1
[   60.030359] RIP: 0010:gve_get_rx_queue_stats+0x17/0x50 [gve]
[   60.033230] RAX: ffffffffc04441f0 RBX: ffffffffc026c420 RCX: 0000000000000000
[   60.048000] Call Trace:
[   60.048503]  <TASK>
[   60.048778]  netdev_stat_queue_sum+0x120/0x250
[   60.051354]  netdev_nl_stats_by_netdev+0x21b/0x2d0
[   60.054812]  netdev_nl_qstats_get_dumpit+0xe4/0x240
[   60.055049]  genl_dumpit+0x39/0x90
[   60.055220]  netlink_dump+0x171/0x380
[   60.055593]  ? __pfx_genl_start+0x10/0x10
[   60.066931]  </TASK>
"""
WHILE_FLAPPING = """\
[   22.901997][  T197] BUG: kernel NULL pointer dereference, address: 0000000000000118
[   22.906224][  T197] CPU: 1 UID: 0 PID: 197 Comm: python3 Tainted: G      D  7.3.4+deb13-amd64 #1 PREEMPT(lazy)
[   22.907429][  T197] RIP: 0010:gve_get_rx_queue_stats.isra.0+0x21/0x60 [gve]
[   22.911337][  T197] Call Trace:
[   22.911634][  T197]  <TASK>
[   22.911870][  T197]  netdev_stat_queue_sum+0x124/0x258
[   22.912628][  T197]  netdev_nl_stats_by_netdev+0x21f/0x2d0
[   22.912801][  T197]  netdev_nl_qstats_get_dumpit+0xe8/0x240
[   22.912979][  T197]  genl_dumpit+0x39/0x90
[   22.913093][  T197]  </TASK>
"""
OTHER_OOPS = WHILE_DOWN.replace("gve_get_rx_queue_stats", "gve_rx_poll_dqo")
QSTATS = (
    "BUG: kernel NULL pointer dereference in gve_get_rx_queue_stats < netdev_stat_queue_sum < netdev_nl_stats_by_netdev < "
    "netdev_nl_qstats_get_dumpit < genl_dumpit"
)


def test_the_same_oops_in_two_runs() -> None:
    assert fingerprint(WHILE_DOWN) == fingerprint(WHILE_FLAPPING) == QSTATS
    assert fingerprint(OTHER_OOPS) != QSTATS


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (
            "WARNING: CPU: 1 PID: 256 at net/core/dev.h:398 page_pool_disable_direct_recycling+0x5e/0x70 [x]",
            "WARNING: CPU: 0 PID: 31 at net/core/dev.h:401 page_pool_disable_direct_recycling+0x60/0x80 [x]",
            "WARNING: at net/core/dev.h page_pool_disable_direct_recycling [x]",
        ),
        (
            "WARNING: net/core/dev.h:398 at page_pool_disable_direct_recycling+0x5e/0x70, CPU#1: python3/256",
            "WARNING: net/core/dev.h:398 at page_pool_disable_direct_recycling+0x5e/0x70, CPU#0: kworker/0:2/31",
            "WARNING: net/core/dev.h at page_pool_disable_direct_recycling",
        ),
        (
            "amd-xgbe 0000:01:00.0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5140 ms",
            "amd-xgbe 0000:01:00.0 eth0: NETDEV WATCHDOG: CPU: 0: transmit queue 3 timed out 10012 ms",
            "amd-xgbe # eth0: NETDEV WATCHDOG: CPU: #: transmit queue # timed out # ms",
        ),
        (
            "unregister_netdevice: waiting for eth0 to become free. Usage count = 3",
            "unregister_netdevice: waiting for eth0 to become free. Usage count = 12",
            "unregister_netdevice: waiting for eth0 to become free. Usage count = #",
        ),
        (
            "INFO: task ip:1234 blocked for more than 120 seconds.",
            "INFO: task kworker/0:2:31 blocked for more than 241 seconds.",
            "INFO: task blocked for more than # seconds.",
        ),
        (
            "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [python3:192]",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 104s! [kworker/u8:1:7]",
            "watchdog: BUG: soft lockup - CPU# stuck for #s!",
        ),
        (
            "BUG: unable to handle page fault for address: ffffc900005f7000",
            "BUG: unable to handle page fault for address: ffffc90000123000",
            "BUG: unable to handle page fault",
        ),
        (
            "UBSAN: array-index-out-of-bounds in drivers/net/ethernet/google/gve/gve_tx.c:123:4",
            "UBSAN: array-index-out-of-bounds in drivers/net/ethernet/google/gve/gve_tx.c:140:19",
            "UBSAN: array-index-out-of-bounds in drivers/net/ethernet/google/gve/gve_tx.c",
        ),
    ],
    ids=lambda text: text[:20],
)
def test_what_varies(one: str, other: str, found: str) -> None:
    assert fingerprint(f"[   12.345678] {one}\n") == fingerprint(f"[  999.000001] {other}\n") == found


def test_a_name_keeps_its_digits() -> None:
    assert normalized("ixgbe_82599 and ip6_rcv on eth0: 82599 times") == "ixgbe_82599 and ip6_rcv on eth0: # times"


def measured() -> list[dict[str, str]]:
    with MEASURED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_measured_complaints_keep_what_tells_them_apart() -> None:
    """Of all complaints that runs showed: without numbers, and two that name different functions stay two."""
    complaints = {row["reason"] for row in measured() if re.match(r"BUG: |WARNING: |.*NETDEV WATCHDOG", row["reason"])}
    assert len(complaints) >= 5
    functions = {reason.partition(" in ")[2] or reason for reason in complaints}
    assert len({normalized(reason) for reason in complaints}) == len(functions)
    assert not [reason for reason in complaints if re.search(r"0x|\b\d{3,}\b", normalized(reason))]


def test_measured_reasons_of_one_failure_agree() -> None:
    """A deadline that a busy host extended is the same failure."""
    busy = "expected that the carrier is off within 60.0 s and 57.1 s in which the host was busy; it did not"
    assert busy in {row["reason"].partition(" (step")[0] for row in measured()}
    assert normalized(busy) == normalized("expected that the carrier is off within 12.1 s; it did not")
    assert normalized(busy) != normalized(busy.replace("carrier", "link"))


def test_it_has_no_more_functions_than_a_reason() -> None:
    assert QSTATS.count(" < ") == FUNCTIONS - 1


@pytest.mark.parametrize("text", ["", "\n", "no complaint at all, 17 times\n"])
def test_a_text_without_a_complaint(text: str) -> None:
    assert fingerprint(text) == text.strip().replace("17", "#")
