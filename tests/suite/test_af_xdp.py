# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets from the buffers of several AF_XDP sockets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from plugfest.xdp.af_xdp import (
    XDP_PKT_CONTD,
    Received,
    Socket,
    Umem,
    data_of,
    receive_frames,
    receive_packets,
    take_all,
)


class Rings:
    """An agent whose sockets return their buffers in batches."""

    def __init__(self, *sockets: list[list[tuple[str, int]]]) -> None:
        self.sockets = sockets
        self.exchanges = 0

    def batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        self.exchanges += 1
        assert {(method, params["sockets"]) for method, params in calls} == {("af_xdp.receive", 7)}
        batches = [self.sockets[params["socket"]] for _, params in calls]
        return [
            [
                {"data": base64.b64encode(data.encode()).decode(), "offset": 0, "options": options}
                for data, options in (each.pop(0) if each else [])
            ]
            for each in batches
        ]


def until(condition: Callable[[], Any], *, what: str, timeout: float = 5.0) -> Any:
    for _ in range(4):
        if found := condition():
            return found
    raise AssertionError(what)


def sockets() -> list[Socket]:
    more = XDP_PKT_CONTD
    agent = Rings([[("a", more)], [("b", more), ("c", 0)]], [[("d", 0)], [], [("e", more)]])
    umem = Umem(SimpleNamespace(agent=agent), "eth0", until, 7)  # type: ignore[arg-type]
    return [Socket(umem, 0, 0), Socket(umem, 1, 1)]


def test_all_sockets_are_read_in_one_exchange() -> None:
    found = sockets()
    agent = cast("Rings", found[0].umem.agent)
    assert take_all(found) == [[Received(b"a", 0, XDP_PKT_CONTD, 0)], [Received(b"d", 0, 0, 1)]]
    assert agent.exchanges == 1
    assert take_all([]) == []
    assert found[0].take() == [Received(b"b", 0, XDP_PKT_CONTD, 0), Received(b"c", 0, 0, 0)]
    assert agent.exchanges == 2


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


def sockets_of(*batches: list[list[tuple[str, int]]]) -> list[Socket]:
    umem = Umem(SimpleNamespace(agent=Rings(*batches)), "eth0", until, 7)  # type: ignore[arg-type]
    return [Socket(umem, number, number) for number in range(len(batches))]


def test_sentinels_end_the_wait_for_frames_that_never_come() -> None:
    sent: list[str] = []
    rings = sockets_of([[("a", 0)]], [[("c", 0)]])

    def send() -> set[bytes]:
        sent.append("sentinels")
        cast("Rings", rings[0].umem.agent).sockets[0].append([("y", 0)])
        cast("Rings", rings[0].umem.agent).sockets[1].append([("z", 0)])
        return {b"y", b"z"}

    found = receive_frames(rings, {b"a", b"b", b"c"}, until, send)
    assert [each.data for each in found] == [b"a", b"c"]
    assert sent == ["sentinels"]


@pytest.mark.parametrize("driven_out", [[[("b", 0)], [("y", 0)]], [[("b", 0), ("y", 0), ("z", 0)]]])
def test_a_frame_that_a_sentinel_drives_out_is_a_fault(driven_out: list[list[tuple[str, int]]]) -> None:
    """A driver that leaves the last frame in its ring until another one raises an interrupt."""
    rings = sockets_of([[("a", 0)]])

    def send() -> set[bytes]:
        cast("Rings", rings[0].umem.agent).sockets[0].extend(driven_out)
        return {b"y", b"z"}

    with pytest.raises(AssertionError, match=r"^1 of 2 frames came only after another frame$"):
        receive_frames(rings, {b"a", b"b"}, until, send)


def test_no_sentinel_is_sent_while_all_frames_come() -> None:
    def send() -> set[bytes]:
        raise AssertionError("sent")

    assert [each.data for each in receive_frames(sockets_of([[("a", 0)]]), {b"a"}, until, send)] == [b"a"]
