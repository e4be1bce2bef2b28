# SPDX-License-Identifier: GPL-2.0-or-later
"""Sending from a packet socket while the interface's queue is full."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES = Path(__file__).parents[2] / "guest-images"


@pytest.fixture
def packet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The agent's module, in this process."""
    monkeypatch.syspath_prepend(str(RECIPES))
    from agent.sockets import packet as module

    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "agent"]:
        del sys.modules[name]


class Full:
    """A socket that fails so many times with an error."""

    def __init__(self, times: int, number: int = errno.ENOBUFS) -> None:
        self.times, self.number = times, number
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        if self.times:
            self.times -= 1
            raise OSError(self.number, "no")
        self.sent.append(frame)


def test_a_full_queue_is_waited_for(packet: Any) -> None:
    sock = Full(5)
    packet.transmit(sock, b"frame")
    assert (sock.times, sock.sent) == (0, [b"frame"])


def test_a_queue_that_stays_full_is_an_error(packet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet, "FULL_TIMEOUT", 0.02)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
        packet.transmit(Full(-1), b"frame")
    assert caught.value.errno == errno.ENOBUFS


def test_another_error_is_not_waited_for(packet: Any) -> None:
    sock = Full(1, errno.ENETDOWN)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
        packet.transmit(sock, b"frame")
    assert (caught.value.errno, sock.sent) == (errno.ENETDOWN, [])
