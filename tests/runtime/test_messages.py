# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages and events on a stream that several read, one after the other."""

from __future__ import annotations

import json
import os
import socket
import time

from plugfest.machine.events import LineEvents, MessageEvents
from plugfest.machine.messages import EVENT, FRAME, SYNC, MessageReader, message, take

READY, RETURNED = {"event": "ready", "mtu": 9000}, {"event": "returned", "failures": []}


def framed(event: dict[str, object]) -> bytes:
    return message(EVENT, json.dumps(event).encode())


def test_an_event_leaves_what_comes_behind_it_for_the_next_reader() -> None:
    ours, theirs = socket.socketpair()
    frame = message(FRAME, bytes(range(200)) * 5)
    with ours, theirs:
        theirs.sendall(frame * 3 + framed(READY) + frame[:100])
        assert MessageEvents(ours).next(5) == READY
        theirs.sendall(frame[100:])
        assert ours.recv(len(frame), socket.MSG_WAITALL) == frame


def test_an_event_that_comes_in_pieces_is_read_in_spite_of_a_timeout() -> None:
    ours, theirs = socket.socketpair()
    whole = message(FRAME, bytes(60)) + framed(READY)
    with ours, theirs:
        events = MessageEvents(ours)
        theirs.sendall(whole[:70])
        assert events.next(0.05) is None
        theirs.sendall(whole[70:] + framed(RETURNED))
        assert events.returned(5) == RETURNED


def test_a_stream_that_ends_or_has_something_else() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(message(FRAME, bytes(60))[:20])
        assert MessageEvents(ours).next(5) is None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"Last login: Mon Nov 30 2026\n")
        assert MessageReader(ours).next(time.monotonic() + 5) is None


def test_whole_messages_are_taken() -> None:
    incoming = bytearray(message(FRAME, b"one") + message(SYNC, b"") + message(FRAME, b"three")[:-1])
    assert list(take(incoming)) == [(FRAME, b"one"), (SYNC, b"")]
    incoming += b"e"
    assert list(take(incoming)) == [(FRAME, b"three")]
    assert not incoming


def test_lines_may_come_together_and_between_others() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        events = LineEvents(stream)
        os.write(
            writing, b"Welcome!\n[]\n" + json.dumps(READY).encode() + b"\n" + json.dumps(RETURNED).encode() + b"\n"
        )
        assert events.next(5) == READY
        assert events.returned(5) == RETURNED
        os.close(writing)
        assert events.next(5) is None
        assert events.returned(5) == RETURNED, "again"
