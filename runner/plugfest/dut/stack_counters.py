# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters of the guest's stack: what it has dropped, and why.

Source: Documentation/networking/snmp_counter.rst; RFC 4113 (UDP), RFC 4022 (TCP).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugfest.machine.agent import AgentClient

_PATHS = {4: "/proc/net/snmp", 6: "/proc/net/snmp6"}


def read_counters(agent: AgentClient) -> dict[str, int]:
    """Return the counters by name: ``UdpInCsumErrors``, ``Udp6InCsumErrors``, ``TcpInCsumErrors`` (of both IP versions) …"""
    found = agent.call("files.read_many", paths=list(_PATHS.values()))
    return {**_pairs_of_lines(found[_PATHS[4]] or ""), **_columns(found[_PATHS[6]] or "")}


def _pairs_of_lines(text: str) -> dict[str, int]:
    """Read pairs of lines of one protocol: the names, then the values."""
    lines = [line.split() for line in text.splitlines()]
    return {
        f"{names[0].removesuffix(':')}{name}": int(value)
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }


def _columns(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}
