# SPDX-License-Identifier: GPL-2.0-or-later
"""What is no wire between the two ends of a run on a real machine, or one that others use."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.machine import one_wire
from plugfest.machine.agent import AgentError

DUT, REMOTE, SWITCH = "02:00:00:00:00:01", "02:70:66:00:00:fe", "00:1b:21:00:00:07"
HELLO = bytes.fromhex("0180c2000000" + SWITCH.replace(":", "") + "0026") + bytes(46)


class Bench:
    """A machine, its agent, the far end and its capture, in one."""

    ifname, mac = "eth1", DUT

    def __init__(self, *, there: bool = True, back: bool = True, others: bytes = b"", link: bool = True) -> None:
        self.there, self.back, self.link = there, back, link
        self.at_dut: list[bytes] = []
        self.at_remote = [others] if others else []
        self.open: set[int] = set()
        self.agent = self
        self.remote = SimpleNamespace(mac=REMOTE, send=self.send, capture=self.capture)

    def call(self, method: str, **parameters: Any) -> Any:
        if method == "link.get":
            return {"address": DUT}
        if method == "packet.open":
            self.open.add(7)
            return 7
        if method == "packet.send":
            if not self.link:
                raise AgentError(method, "OSError", "Network is down", 100)
            self.at_remote += [base64.b64decode(frame) for frame in parameters["frames"] * self.back]
        if method == "packet.receive":
            return [{"frame": base64.b64encode(frame).decode()} for frame in self.at_dut]
        if method == "handle.close":
            self.open.discard(parameters["handle"])
        return None

    def send(self, frame: bytes) -> None:
        self.at_dut += [frame] * self.there

    @contextmanager
    def capture(self) -> Iterator[Bench]:
        yield self

    def wait(self, condition: Callable[[list[bytes]], bool], _timeout: float) -> bool:
        return condition(self.at_remote)

    def received(self) -> list[bytes]:
        return self.at_remote

    def deadline(self, seconds: float) -> Deadline:
        assert seconds == one_wire.ARRIVAL_TIMEOUT
        return Deadline.after(0.05)

    def gone(self) -> None:
        return None


def check(bench: Bench) -> None:
    try:
        one_wire.check(bench, "root@dut eth1 and root@peer eth3")  # type: ignore[arg-type]
    finally:
        assert not bench.open


def test_both_arrive() -> None:
    check(Bench())


@pytest.mark.parametrize(
    ("bench", "where"),
    [
        (Bench(there=False), "found none at the machine;"),
        (Bench(back=False), "found none at the far end;"),
        (Bench(there=False, back=False), "found none at the machine and none at the far end;"),
        (Bench(link=False), "found none at the machine and none at the far end;"),
    ],
)
def test_one_does_not_arrive(bench: Bench, where: str) -> None:
    with pytest.raises(
        InfrastructureError,
        match=f"root@dut eth1 and root@peer eth3: expected both ends on one wire, a frame each way within 60 s, {where} join",
    ):
        check(bench)


def test_a_switch_is_named() -> None:
    with pytest.raises(
        InfrastructureError, match=f"expected a wire that nobody else uses, found frames of {SWITCH}; join"
    ):
        check(Bench(others=HELLO))
