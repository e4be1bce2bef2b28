# SPDX-License-Identifier: GPL-2.0-or-later
"""Two served models on one cable, without QEMU and drivers, negotiate with each other."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 20.0
LINK_UP = 1 << 30


class Served:
    """A process that serves an 82599, and its control socket."""

    def __init__(self, folder: Path, name: str, profile: str) -> None:
        command = [sys.executable, "-m", "nicmodels", "serve", "ixgbe", "--profile", profile]
        control = folder / f"{name}.control"
        command += ["--socket", f"{folder}/{name}.vfio", "--control", str(control), "--wire", f"pair:{folder}/cable"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(control))
        self._file = self._socket.makefile("rw")

    def call(self, method: str, **params: Any) -> Any:
        self._file.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
        self._file.flush()
        answer = json.loads(self._file.readline())
        if "error" in answer:
            raise ValueError(answer["error"]["message"])
        return answer["result"]

    def register(self, name: str) -> int:
        return self.call("registers.read", name=name)["value"]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._file.close()
        self._socket.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str, str], Served]]:
    running: list[Served] = []

    def start(name: str, profile: str) -> Served:
        running.append(Served(tmp_path, name, profile))
        return running[-1]

    yield start
    for served in running:
        served.end()


def until(condition: Callable[[], bool], *ends: Served) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, [end.call("link.get") for end in ends]
        time.sleep(0.01)


def technologies(*ends: Served) -> list[str | None]:
    return [link and link["technology"] for link in (end.call("link.get")["resolved"] for end in ends)]


@pytest.mark.parametrize(
    ("one", "other", "technology"),
    [("kr", "combo", "10GBASE-KR"), ("kx4", "combo", "10GBASE-KX4"), ("kx4", "kr", "1000BASE-KX")],
)
def test_the_best_that_both_have(serve: Callable[[str, str], Served], one: str, other: str, technology: str) -> None:
    near, far = serve("near", one), serve("far", other)
    until(lambda: technologies(near, far) == [technology, technology], near, far)
    for end, profile in ((near, other), (far, one)):
        assert end.register("LINKS") & LINK_UP
        received = end.register("ANLP2") >> 5 & 7
        assert received == {"kr": 0b101, "kx4": 0b011, "combo": 0b111}[profile], "KX, KX4, KR of the other"


def test_one_goes_and_returns(serve: Callable[[str, str], Served]) -> None:
    near, far = serve("near", "kr"), serve("far", "kr")
    until(lambda: technologies(near, far) == ["10GBASE-KR", "10GBASE-KR"], near, far)
    near.end()
    until(lambda: technologies(far) == [None], far)
    assert not far.register("LINKS") & LINK_UP
    again = serve("again", "kr")
    until(lambda: technologies(again, far) == ["10GBASE-KR", "10GBASE-KR"], again, far)


def test_each_belongs_to_its_own_driver(serve: Callable[[str, str], Served]) -> None:
    near = serve("near", "kr")
    assert near.call("link.get")["phase"] == "silent"
    with pytest.raises(ValueError, match="its own driver"):
        near.call("link.set", up=False)
