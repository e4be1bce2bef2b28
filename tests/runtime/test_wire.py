# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire to a real machine: the run's tap, joined by two processes with an interface somewhere else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plugfest.deadline import Deadline, poll
from plugfest.errors import InfrastructureError
from plugfest.machine.agent import NeedsModelError
from plugfest.machine.events import MessageEvents
from plugfest.machine.far_end import FarEnd
from plugfest.machine.messages import FRAME, HEADER, SYNC, MessageReader, message
from plugfest.machine.remote import Capture
from plugfest.machine.tap import Tap
from plugfest.machine.wire import Wire

RECIPES = Path(__file__).parents[2] / "guest-images"
HEAD = bytes.fromhex("027066000001 0270660000fe 88b5")
FRAMES = [HEAD + bytes([number & 0xFF]) * (46 + number % 1400) for number in range(3000)]

Inside = Callable[[Callable[[], object]], None]


def event(stream: socket.socket) -> dict[str, Any] | None:
    """The next event of the far end; what frames come before it are dropped."""
    return MessageEvents(stream).next(20)


@dataclass
class Joined:
    remote: FarEnd
    stream: socket.socket
    process: subprocess.Popen[bytes]


def operstates() -> list[str]:
    """Of both ends of the veth pair."""
    shown = subprocess.run(["ip", "-j", "link", "show", "type", "veth"], capture_output=True, text=True, check=True)
    return [each["operstate"] for each in json.loads(shown.stdout)]


@contextmanager
def joined(ifname: str = "left") -> Iterator[Joined]:
    """The tap of a run, joined with one end of a veth pair."""
    for command in (
        "link add left type veth peer name right",
        "link set left up mtu 1400",
        "link set right up mtu 9000",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    Path("/proc/sys/net/ipv6/conf/right/disable_ipv6").write_text("1")
    ours, theirs = socket.socketpair()
    environment = os.environ | {"PYTHONPATH": str(RECIPES)}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.hardware.far_end", ifname, "here"],
            stdin=theirs,
            stdout=theirs,
            env=environment,
        )
    tap = Tap()
    wire: Wire | None = None
    try:
        ready = event(ours)
        assert ready is not None
        assert ready["event"] == "ready", ready
        wire = Wire(tap.name, ours.fileno())
        # Before the kernel has processed the carrier, some time later on a busy host, a queue drops all without an error.
        assert poll(lambda: operstates() == ["UP", "UP"], Deadline.after(20)), operstates()
        yield Joined(FarEnd(tap, wire, ready["mtu"], "the far end"), ours, process)
    finally:
        if wire is not None:
            wire.close()
        tap.close()
        ours.setblocking(True)
        ours.close()
        process.wait(10)


@contextmanager
def _capture(interface: str) -> Iterator[Capture]:
    seen = Capture(interface)
    try:
        yield seen
    finally:
        seen.stop()


def test_frames_go_both_ways_whole_and_in_order(inside: Inside) -> None:
    def check() -> None:
        with joined() as ends, _capture("right") as other:
            right = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            right.bind(("right", 0))
            with ends.remote.capture() as seen:
                ends.remote.send(FRAMES)
                for frame in FRAMES:
                    right.send(frame[6:12] + frame[:6] + frame[12:])
                # Nothing is waited for: what was on the wire is there.
                back = [frame for frame in seen.received() if frame[12:14] == HEAD[12:14]]
                assert back == [frame[6:12] + frame[:6] + frame[12:] for frame in FRAMES]
                # A tag, which the kernel takes off.
                tagged = HEAD[:12] + bytes.fromhex("81002064") + HEAD[12:] + bytes(60)
                right.send(tagged)
                assert tagged in seen.received()
            ends.remote.mtu = 9000
            ends.remote.send(HEAD + bytes(9000))
            lost = ends.remote.settle()
            arrived = [each.data for each in other.frames() if each.received and each.data[12:14] == HEAD[12:14]]
            assert (lost, len(arrived)) == (0, len(FRAMES) + 1)
            assert arrived == [*FRAMES, HEAD + bytes(9000)], "other frames, or in another order"
            with pytest.raises(NeedsModelError, match="a remote end with an MTU of 60000: the far end has 16000"):
                ends.remote.mtu = 60_000

    inside(check)


def test_the_interface_is_given_back_as_it_was(inside: Inside) -> None:
    def check() -> None:
        def state() -> str:
            shown = subprocess.run(["ip", "-j", "address", "show", "left"], capture_output=True, text=True, check=True)
            (found,) = json.loads(shown.stdout)
            ipv6 = Path("/proc/sys/net/ipv6/conf/left/disable_ipv6").read_text().strip()
            return f"{found['mtu']} {found['txqlen']} {ipv6}"

        with joined() as ends:
            assert state() == "16000 10000 1"
            ends.remote._wire.close()
            ends.stream.setblocking(True)
            ends.stream.shutdown(socket.SHUT_WR)
            assert event(ends.stream) == {"event": "returned", "failures": []}
            assert state() == "1400 1000 0"

    inside(check)


def test_a_far_end_that_dies_is_an_error_of_the_run(inside: Inside) -> None:
    def check() -> None:
        with joined() as ends:
            ends.process.kill()
            ends.process.wait()
            with pytest.raises(InfrastructureError, match="the far end: expected the far end of the wire to answer"):
                ends.remote.settle()

    inside(check)


def test_an_interface_that_another_host_lends() -> None:
    """What `joined` does with one that stays where it is; this one is in a namespace of its own meanwhile."""
    if os.geteuid():
        pytest.skip("a network namespace needs root")
    ours, theirs = socket.socketpair()
    script = RECIPES.parent / "tests" / "agent" / "keeper_of_veth.py"
    with theirs:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, str(script)],
            stdin=theirs,
            stdout=theirs,
            env=os.environ | {"PYTHONPATH": str(RECIPES)},
        )
    with ours:
        assert event(ours) == {"event": "ready", "ifname": "eth9", "mtu": 16000}
        ours.sendall(message(FRAME, FRAMES[0]) + message(SYNC, b"mark"))
        messages = MessageReader(ours)
        while (found := messages.next(time.monotonic() + 20)) is not None and found[0] == FRAME:
            pass  # of the other end's own stack
        assert found == (SYNC, b"mark" + bytes(4))
        ours.shutdown(socket.SHUT_WR)
        assert event(ours) == {"event": "returned", "failures": []}
    assert process.wait(10) == 0


def test_an_interface_that_is_not_there() -> None:
    if os.geteuid():
        pytest.skip("a network namespace needs root")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "agent.hardware.far_end", "wrong", "here"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(RECIPES)},
        check=False,
    )
    assert json.loads(done.stdout[HEADER.size :]) == {
        "event": "refused",
        "reason": "expected the interface wrong, found none; correct its name",
    }
