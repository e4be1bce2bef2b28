# SPDX-License-Identifier: GPL-2.0-or-later
"""The guard's client: a guest that is not there yet, answers late, twice, or never."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.machine import guard as guards
from plugfest.machine.guard import Guard

KEY = "ssh-ed25519 AAAA plugfest"


class FakeGuest:
    """The guest's end of the second serial port."""

    def __init__(self) -> None:
        near, self.port = socket.socketpair()
        self.guard = Guard(near)
        self.seen: list[str] = []
        self.thread: threading.Thread | None = None

    def serve(self, answer: Callable[[str], str | None]) -> None:
        def loop() -> None:
            for line in self.port.makefile("r"):
                self.seen.append(line.strip())
                reply = answer(line.strip())
                if reply is not None:
                    self.port.sendall(reply.encode())

        self.thread = threading.Thread(target=loop, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.port.shutdown(socket.SHUT_RDWR)
        self.guard.close()
        if self.thread is not None:
            self.thread.join()
        self.port.close()


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGuest]:
    monkeypatch.setattr(guards, "_RETRY_INTERVAL", 0.05)
    monkeypatch.setattr(guards, "_SETTLE_TIME", 0.05)
    made = FakeGuest()
    yield made
    made.close()


def test_key_is_authorized(guest: FakeGuest) -> None:
    guest.serve(lambda line: "ready ssh-ed25519 HOST\r\n" if line == f"authorize {KEY}" else None)
    assert guest.guard.authorize(KEY, Deadline.after(5)) == "ssh-ed25519 HOST"
    assert f"authorize {KEY}" in guest.seen


def test_request_is_repeated_until_the_guest_listens(guest: FakeGuest) -> None:
    lost = iter(range(6))
    guest.serve(
        lambda line: (
            "something else\nready K H\n" if line.startswith("authorize") and next(lost, None) is None else None
        )
    )
    assert guest.guard.authorize(KEY, Deadline.after(10)) == "K H"


def test_request_is_repeated_at_once_when_the_guest_reports_that_it_listens(guest: FakeGuest) -> None:
    """A cold boot does not wait for the retry interval."""
    asked: list[float] = []

    def answer(line: str) -> str | None:
        if line.startswith("authorize"):
            asked.append(time.monotonic())
            return "listening\n" if len(asked) == 1 else "ready K H\n"
        return None

    guest.serve(answer)
    assert guest.guard.authorize(KEY, Deadline.after(10)) == "K H"
    assert asked[1] - asked[0] < guards._RETRY_INTERVAL / 2


def test_request_after_half_a_request_is_whole(guest: FakeGuest) -> None:
    """Half a request of an earlier attempt does not corrupt the next."""
    guest.guard._port.send(b"autho")
    guest.serve(lambda line: "ready K H\n" if line.startswith("authorize ") else None)
    guest.guard.authorize(KEY, Deadline.after(5))
    assert guest.seen[:2] == ["autho", f"authorize {KEY}"]


def test_answer_to_an_earlier_request_is_not_taken_for_this_ones(guest: FakeGuest) -> None:
    guest.port.sendall(b"ready OLD KEY\n")
    guest.serve(lambda line: "ready NEW KEY\n" if line.startswith("authorize") else None)
    assert guest.guard.authorize(KEY, Deadline.after(5)) == "NEW KEY"


def test_settle_discards_late_replies(guest: FakeGuest) -> None:
    guest.port.sendall(b"ready A B\nready A B\n")
    guest.guard.settle(Deadline.after(5))
    assert guest.guard._line(0) is None


def test_guest_that_does_not_reply(guest: FakeGuest) -> None:
    with pytest.raises(InfrastructureError, match="expected the guest to boot within 0 s, found no reply"):
        guest.guard.authorize(KEY, Deadline.after(0.2))


def test_guest_that_does_not_even_read(guest: FakeGuest) -> None:
    guest.guard._port.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with pytest.raises(InfrastructureError, match="found no reply"):
        guest.guard.authorize("k" * 100_000, Deadline.after(0.3))


def test_guest_that_is_gone(guest: FakeGuest) -> None:
    with pytest.raises(InfrastructureError, match=r"found QEMU ended with exit status 1; see console\.log"):
        guest.guard.authorize(KEY, Deadline.after(60), lambda: "QEMU ended with exit status 1")
