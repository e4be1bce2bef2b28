# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams to the DUT: which reach a socket, what the driver reported of them, and what the stack counted."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass

import pytest
from plugfest.dut.skb_trace import Skb
from plugfest.dut.stack_counters import read_counters
from plugfest.traffic.traffic import check_same

PORT = 42000


@dataclass(frozen=True)
class Reception:
    """What came of some frames.

    Attributes:
        payloads: of the datagrams that reached the socket, with counts.
        skbs: what the driver passed to the stack.
        counted: by how much the stack's counters rose (names as `read_counters` has them), those that did not left out.
    """

    payloads: Counter[bytes]
    skbs: list[Skb]
    counted: dict[str, int]

    def check(self, expected):
        """Expect that these payloads reached the socket, with counts, and no others."""
        check_same(list(self.payloads.elements()), list(expected.elements()), "datagrams at the socket")

    @property
    def bad_checksums(self) -> int:
        """How many datagrams the stack has dropped for their checksum, of both IP versions."""
        return sum(self.counted.get(name, 0) for name in ("UdpInCsumErrors", "Udp6InCsumErrors"))


@pytest.fixture
def receive_datagrams(guest, traffic, remote, trace_skbs, until, defer):
    """``reception = receive_datagrams(frames, last, payloads)`` sends frames to the DUT, and `last` ones behind them.

    It waits until the `payloads` of the latter have reached a UDP socket at `PORT`. Frames of a flow keep their order: when the last
    one of each flow has arrived, so have all before it.
    """
    opened = guest.agent.call("udp.open", address="::", port=PORT)
    defer(guest.agent.call, "handle.close", handle=opened["handle"])

    def receive(frames, last, payloads):
        found = []
        expected = set(payloads)

        def last_received():
            received = guest.agent.call(
                "udp.receive", socket_handle=opened["handle"], count=1000, timeout=0.2, idle=0.05
            )
            found.extend(base64.b64decode(each["data"]) for each in received)
            return not expected - set(found)

        traffic.ready()
        before = read_counters(guest.agent)
        with trace_skbs() as seen:
            remote.send([*frames, *last])
            until(
                last_received, what=f"the last datagram of each of {len(expected)} flows reaches the socket", timeout=1
            )
        after = read_counters(guest.agent)
        rise = {name: value - before[name] for name, value in after.items() if value != before.get(name, value)}
        return Reception(Counter(found), seen.received(), rise)

    return receive
