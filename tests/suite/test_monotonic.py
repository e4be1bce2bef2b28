# SPDX-License-Identifier: GPL-2.0-or-later
"""Monotonic counters, and the operations between two readings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.dut.operations import Operations
from plugfest.machine.agent import AgentError
from plugfest.statistics.accounts import Measurement, differences
from plugfest.statistics.monotonic import counter_snapshot, lost


def accounting() -> Any:
    return SimpleNamespace(
        qstats=lambda: [{"ifindex": 2, "queue-type": "rx", "queue-id": 1, "rx-packets": 4, "rx-alloc-fail": 1}],
        ethtool=lambda: [["rx_queue_1_packets", 4], ["rx_queue_1_bytes", 400], ["temperature", 7]],
        read=lambda: SimpleNamespace(link={"rx_packets": 4}),
        netlink_device=lambda: {"rx-packets": 9},
    )


def test_every_scope_is_read() -> None:
    found = counter_snapshot(accounting())
    assert found.interface == {"rx_packets": 4}
    assert found.device == {"rx-packets": 9}
    assert found.by_netlink == {"rx 1 rx-packets": 4, "rx 1 rx-alloc-fail": 1}
    assert found.by_ethtool == {"rx 1 packets": 4, "rx 1 bytes": 400}


def test_a_counter_that_went_back_is_lost_and_one_not_reported_is_not() -> None:
    assert lost({"a": 5, "b": 2, "c": 1}, {"a": 4, "b": 2}) == ["a was 5, is 4"]


def test_differences_name_the_counter() -> None:
    measured = Measurement(netlink={"tx-needs-csum": 4})
    assert differences(measured, ["tx-needs-csum"], {"tx-needs-csum": 4}) == []
    assert differences(measured, ["tx-needs-csum", "tx-stop"], {"tx-needs-csum": 5, "tx-stop": 0}) == [
        "tx-needs-csum rose by 4, expected 5"
    ]


class Dut:
    """Records the requested settings; rejects a change of channels."""

    ifname = "eth0"
    mtu = 1500

    def __init__(self, rings: dict[str, int] | None) -> None:
        self.rings = rings
        self.requested: list[Any] = []

    def try_restart_autoneg(self) -> AgentError | None:
        return AgentError("ethtool.restart_negotiation", "OSError", "Operation not supported", 95)

    def get(self, what: str) -> dict[str, int] | None:
        return self.rings if what == "rings" else {"combined-count": 2, "combined-max": 4}

    def ask(self, what: str, **values: Any) -> AgentError | None:
        self.requested.append((what, values))
        return AgentError("ethtool.set", "NetlinkError", "no", 22) if what == "channels" else None

    def set(self, what: str, **values: Any) -> None:
        self.requested.append((what, values))

    def set_link(self, **changes: Any) -> None:
        self.requested.append(changes)


@pytest.mark.parametrize(("most", "other"), [(512, 512), (256, 128)])
def test_only_supported_operations_are_done_and_all_are_undone(most: int, other: int) -> None:
    dut = Dut({"rx": 256, "tx": 256, "rx-max": most, "tx-max": most})
    operations = Operations(
        dut,  # type: ignore[arg-type]
        SimpleNamespace(ready=lambda: None, try_set_without_undo=dut.ask, set_without_undo=dut.set),  # type: ignore[arg-type]
        SimpleNamespace(features=set),  # type: ignore[arg-type]
    )
    done = list(operations.one_by_one())
    assert done == ["the interface goes down and up", "the rings are resized", "the MTU changes"]
    assert dut.requested == [
        {"up": False},
        {"up": True},
        ("rings", {"rx": other, "tx": other}),
        ("rings", {"rx": 256, "tx": 256}),
        ("channels", {"combined_count": 1}),
        {"mtu": 1400},
        {"mtu": 1500},
    ]
    assert set(operations.not_offered) == {
        "the number of channels changes",
        "an XDP program is attached and detached",
        "the device is reset by a restart of autonegotiation",
    }
