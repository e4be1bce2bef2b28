# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets from the buffers of several AF_XDP sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from plugfest.xdp.af_xdp import XDP_PKT_CONTD, Received, Socket, data_of, receive_frames, receive_packets


class Queue:
    """A socket that returns its buffers in batches."""

    def __init__(self, *batches: Sequence[Received]) -> None:
        self.batches = list(batches)

    def take(self) -> Sequence[Received]:
        return self.batches.pop(0) if self.batches else []


def until(condition: Callable[[], Any], *, what: str, timeout: float = 5.0) -> Any:
    for _ in range(4):
        if found := condition():
            return found
    raise AssertionError(what)


def sockets() -> list[Socket]:
    first = Queue([Received(b"a", 0, XDP_PKT_CONTD, 0)], [Received(b"b", 0, XDP_PKT_CONTD, 0), Received(b"c", 0, 0, 0)])
    second = Queue([Received(b"d", 0, 0, 1)], [], [Received(b"e", 0, XDP_PKT_CONTD, 1)])
    return [cast("Socket", first), cast("Socket", second)]


def test_buffers_are_joined_per_socket_across_reads() -> None:
    packets = receive_packets(sockets(), {b"abc", b"d"}, until)
    assert [data_of(packet) for packet in packets] == [b"d", b"abc", b"e"]
    assert [len(packet) for packet in packets] == [1, 3, 1]


def test_buffers_that_are_not_joined_are_all_returned() -> None:
    assert sorted(each.data for each in receive_frames(sockets(), {b"nothing"}, until)) == [
        b"a",
        b"b",
        b"c",
        b"d",
        b"e",
    ]
