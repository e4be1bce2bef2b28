# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters of the guest's stack, as the kernel writes them."""

from __future__ import annotations

from typing import Any, cast

from plugfest.dut.stack_counters import read_counters
from plugfest.machine.agent import AgentClient

SNMP = """Ip: Forwarding DefaultTTL InReceives
Ip: 2 64 10
Tcp: RtoAlgorithm MaxConn InSegs InCsumErrors
Tcp: 1 -1 7 3
Udp: InDatagrams InCsumErrors
Udp: 5 2"""
SNMP6 = """Ip6InReceives                   \t4
Udp6InCsumErrors                \t1"""


class Agent:
    """Answers as the guest's agent does."""

    def __init__(self, snmp6: str | None) -> None:
        self._snmp6 = snmp6

    def call(self, method: str, paths: list[str]) -> dict[str, Any]:
        assert method == "files.read_many"
        return dict(zip(paths, (SNMP, self._snmp6), strict=True))


def test_both_versions_are_read() -> None:
    counters = read_counters(cast("AgentClient", Agent(SNMP6)))
    assert counters["TcpMaxConn"] == -1
    assert {name: counters[name] for name in ("TcpInCsumErrors", "UdpInCsumErrors", "Udp6InCsumErrors")} == {
        "TcpInCsumErrors": 3,
        "UdpInCsumErrors": 2,
        "Udp6InCsumErrors": 1,
    }


def test_a_kernel_without_ipv6_has_the_counters_of_ipv4() -> None:
    assert read_counters(cast("AgentClient", Agent(None)))["UdpInDatagrams"] == 5
