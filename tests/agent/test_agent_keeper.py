# SPDX-License-Identifier: GPL-2.0-or-later
"""The keeper takes an interface, serves the runner, and gives the interface back when the runner is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

RECIPES = Path(__file__).parents[2] / "guest-images"
SCRIPT = Path(__file__).with_name("keeper_of_veth.py")


class Kept:
    """A keeper that has its interface."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        (folder / "bpf").mkdir(parents=True)
        environment = os.environ | {"PYTHONPATH": str(RECIPES)}
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, str(SCRIPT), str(folder), *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first = json.loads(self.process.stdout.readline())

    def call(self, name: str, method: str, **params: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / f"{name}.sock"))
            connection.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                found: dict[str, Any] = json.loads(lines.readline())
                return found

    def end(self, text: str = "") -> list[str]:
        """End its input, and return what it then prints, with what is left of the interface."""
        printed, _ = self.process.communicate(text, timeout=60)
        return str(printed).splitlines()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    if os.geteuid():
        pytest.skip("a network namespace for an interface needs root")
    made = Kept(tmp_path / "plugfest-0123abcd")
    yield made
    if made.process.poll() is None:
        made.end()


def test_from_before_a_run_to_after_it(kept: Kept) -> None:
    assert kept.first["event"] == "ready"
    with socket.socket(socket.AF_UNIX) as log:
        log.connect(str(kept.folder / "log.sock"))
        assert log.recv(1) == b"\n", "the log is read from now on"
        # The agent has the interface, and no other; sysfs shows the same.
        assert kept.call("agent", "link.list_all")["result"] == ["lo", "eth9"]
        assert kept.call("agent", "files.glob", path="/sys/class/net/*")["result"] == [
            "/sys/class/net/eth9",
            "/sys/class/net/lo",
        ]
        first = kept.call("agent", "agent.ping")["result"]["pid"]
        for name, value in (("up", True), ("mtu", 9000), ("address", "02:00:00:00:00:99")):
            assert "error" not in kept.call("agent", "link.set", ifname="eth9", **{name: value})
        kept.call("agent", "process.start", command=["sleep", "1000"])
        assert kept.call("keeper", "keeper.refresh", rebind=True, timeout=1)["result"] == {"error": None}
        assert kept.call("agent", "agent.ping")["result"]["pid"] != first, "another agent"
        assert not Path(f"/proc/{first}").exists()
        assert kept.call("keeper", "keeper.alive")["result"] is None
        assert "no method" in kept.call("keeper", "files.read", path="/etc/shadow")["error"]["message"]
        mark = f"plugfest: a test's mark {time.monotonic_ns():x}"
        kept.call("agent", "system.log_write", text=mark)
        log.settimeout(10)
        seen = b""
        while mark.encode() not in seen:
            seen += log.recv(4096)
    returned, address, *routes = kept.end()
    assert json.loads(returned) == {"event": "returned", "failures": []}
    assert not kept.folder.exists(), "nobody but the keeper may be there to remove it"
    assert "203.0.113.7/24" in address
    assert any(route.startswith("198.51.100.0/24 via 203.0.113.1 dev eth9") for route in routes)


def test_a_killed_agent_is_no_hindrance(kept: Kept) -> None:
    os.kill(kept.call("agent", "agent.ping")["result"]["pid"], 9)
    returned, address, *_ = kept.end("end\n")
    assert json.loads(returned) == {"event": "returned", "failures": []}
    assert "203.0.113.7/24" in address


def test_no_process_outlives_the_agent(kept: Kept) -> None:
    script = "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!"
    started = kept.call("agent", "process.run", command=["sh", "-c", script])["result"]
    path = Path("/proc", started["stdout"].strip())
    assert (path / "oom_score_adj").read_text() == "0\n"
    assert kept.call("keeper", "keeper.refresh", rebind=False)["result"] == {"error": None}
    assert not path.exists() or ") Z " in (path / "stat").read_text()


def test_the_machine_may_end_the_keeper(kept: Kept) -> None:
    kept.process.send_signal(signal.SIGTERM)
    assert kept.process.stdout is not None
    assert json.loads(kept.process.stdout.readline()) == {"event": "returned", "failures": []}


def test_it_waits_for_no_first_request_for_ever(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("a network namespace for an interface needs root")
    silent = Kept(tmp_path / "kept", "0.2")
    assert silent.process.stdout is not None
    assert json.loads(silent.process.stdout.readline()) == {"event": "returned", "failures": []}
    assert "203.0.113.7/24" in silent.end()[0]


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES))
    from agent.hardware import keeper as module

    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.setattr(module, "LOCK", tmp_path / "lock")
    return module


class FakeLoan:
    """A loan of an interface that is given back without failure."""

    def __init__(self, *_: str) -> None:
        self.ifname = "eth1"
        self.described = {"driver": "ixgbe"}
        self.given_back = 0

    def take(self, _work: Any) -> None:
        pass

    def give_back(self) -> list[str]:
        self.given_back += 1
        return []


@pytest.mark.parametrize(("step", "event"), [("_start_agent", "refused"), ("serve", "returned")])
def test_whatever_fails_the_interface_is_given_back(
    keeper: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    step: str,
    event: str,
) -> None:
    loan = FakeLoan()

    def fail(_self: Any) -> None:
        raise RuntimeError("nobody expects this")

    logged: list[str] = []
    for owner, name, value in (
        (keeper, "Loan", lambda *_: loan),
        (keeper, "PARAMETERS", {}),
        (keeper.kernel_log, "write", logged.append),
        (keeper.Keeper, "_start_agent", lambda _self: None),
        (keeper.Keeper, step, fail),
    ):
        monkeypatch.setattr(owner, name, value)
    keeper.main("eth1", str(tmp_path))
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == event
    assert loan.given_back == 1
    assert logged == [
        {
            "returned": "eth1 was given back, since the keeper failed: RuntimeError: nobody expects this",
            "refused": "eth1 was not taken: nobody expects this",
        }[event]
    ]


def test_parameters_of_the_machine_are_put_back(
    keeper: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    panic, limit, pages = (tmp_path / name for name in ("hung_task_panic", "hung_task_timeout_secs", "nr_hugepages"))
    assert [Path(path).name for path in keeper.PARAMETERS][:2] == [panic.name, limit.name]
    before = {panic: "1\n", limit: "120\n", pages: "7\n"}
    for path, text in before.items():
        path.write_text(text)
    written: list[tuple[str, str]] = []
    write_text = Path.write_text

    def write(path: Path, text: str) -> int:
        written.append((path.name, text))
        return write_text(path, "5" if text == "9" else text)

    monkeypatch.setattr(keeper, "PARAMETERS", {str(panic): "0", str(limit): "30", str(tmp_path / "lacking"): "1"})
    monkeypatch.setattr(keeper, "CHANGED_BY_TESTS", (str(pages),))
    monkeypatch.setattr(keeper.Keeper, "_start_agent", lambda _self: None)
    kept = keeper.Keeper(FakeLoan(), tmp_path)
    monkeypatch.setattr(Path, "write_text", write)
    kept.begin()
    assert written == [(panic.name, "0"), (limit.name, "30")], (
        "no hung task panics the machine while the limit is short"
    )
    written.clear()
    write_text(pages, "64\n")
    assert kept.end() == []
    assert written == [(pages.name, "7"), (limit.name, "120"), (panic.name, "1")]
    kept._parameters[str(pages)] = "9"
    assert kept.end() == [f"{pages}: was 9, is 5"]


def test_trace_instances_of_a_killed_agent_are_removed(
    keeper: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keeper.trace, "TRACEFS", tmp_path)
    for name in ("plugfest-17-1", "plugfest-17-2", "another"):
        (tmp_path / "instances" / name).mkdir(parents=True)
    keeper.trace.remove_instances()
    assert [path.name for path in (tmp_path / "instances").iterdir()] == ["another"]


def test_one_run_at_a_time(keeper: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with keeper.lock():
        assert keeper.main("eth1", str(tmp_path)) == 1
    refused = json.loads(capsys.readouterr().out)
    assert refused["event"] == "refused"
    assert f"no other run has, found that one has it (pid {os.getpid()})" in refused["reason"]
    with keeper.lock():
        assert keeper.LOCK.read_text() == str(os.getpid()), "it is free again"


def test_no_other_folder_is_removed(keeper: ModuleType, tmp_path: Path) -> None:
    for name, gone in (("plugfest-0123abcd", True), ("plugfest", False), ("guest-images", False)):
        folder = tmp_path / name / "agent"
        folder.mkdir(parents=True)
        keeper.remove_folder(folder.parent)
        assert folder.exists() is not gone


class Far:
    """A far end that has its interface on loan."""

    def __init__(self) -> None:
        self.stream, theirs = socket.socketpair()
        self.stream.settimeout(20)
        with theirs:
            self.process = subprocess.Popen(
                ["unshare", "--net", "--mount", sys.executable, str(SCRIPT)],
                env=os.environ | {"PYTHONPATH": str(RECIPES)},
                stdin=theirs,
                stdout=theirs,
            )

    def event(self) -> dict[str, Any]:
        """Return the next event; frames on the way to it are dropped."""
        while True:
            kind, length = struct.unpack(">BI", self._read(5))
            contents = self._read(length)
            if kind == 2:
                found: dict[str, Any] = json.loads(contents)
                return found

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.stream.recv(size - len(data))
            assert part, "the stream ended"
            data += part
        return data


@pytest.fixture
def far() -> Iterator[Far]:
    if os.geteuid():
        pytest.skip("a network namespace for an interface needs root")
    made = Far()
    yield made
    made.stream.close()
    made.process.wait(20)


def test_the_machine_may_end_the_far_end(far: Far) -> None:
    assert far.event()["event"] == "ready"
    far.process.send_signal(signal.SIGTERM)
    assert far.event() == {"event": "returned", "failures": []}
