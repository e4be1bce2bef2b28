# SPDX-License-Identifier: GPL-2.0-or-later
"""Sending from a packet socket while the interface's queue is full."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import SimpleNamespace
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
    """A socket whose queue is full so many times before each frame, or that fails with another error."""

    def __init__(self, times: int, number: int = errno.ENOBUFS) -> None:
        self.times, self.number = times, number
        self.left = times
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        if self.left:
            self.left -= 1
            raise OSError(self.number, "no")
        self.left = self.times
        self.sent.append(frame)


def source(full: Full) -> Any:
    return SimpleNamespace(socket=full, refused=0)


def test_a_full_queue_is_waited_for_and_its_refusals_are_counted(packet: Any) -> None:
    full = Full(5)
    sender = source(full)
    packet.transmit(sender, [b"one", b"two"], 5.0)
    assert (full.sent, sender.refused) == ([b"one", b"two"], 10)


def test_a_queue_that_stays_full_is_an_error(packet: Any) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
        packet.transmit(source(Full(-1)), [b"frame"], 0.02)
    assert caught.value.errno == errno.ENOBUFS


def test_the_time_is_that_of_all_frames(packet: Any) -> None:
    """Each frame is refused for less than the time, all together for longer."""
    full = Full(5)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
        packet.transmit(source(full), [b"frame"] * 1000, 0.05)
    assert caught.value.errno == errno.ENOBUFS
    assert len(full.sent) < 11


def test_time_in_which_the_queue_has_room_does_not_count(packet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(packet, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=lambda _: None))
    full = Full(0)
    sender = source(full)

    def frames() -> Iterator[bytes]:
        yield b"one"
        now[0] += 100
        full.left = 1
        yield b"two"

    packet.transmit(sender, frames(), 5.0)
    assert (full.sent, sender.refused) == ([b"one", b"two"], 1)


def test_another_error_is_not_waited_for(packet: Any) -> None:
    full = Full(1, errno.ENETDOWN)
    sender = source(full)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
        packet.transmit(sender, [b"frame"], 5.0)
    assert (caught.value.errno, full.sent, sender.refused) == (errno.ENETDOWN, [], 0)
