# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake machine without a guest, to test the plugin.

Its shell has a few commands: ``oops`` and ``warn`` log a problem of the kernel, ``die`` ends the guest, ``false`` fails,
``missing`` is no program, ``hang`` never answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from plugfest.errors import InfrastructureError
from plugfest.faults import Interposer, is_models
from plugfest.machine.call_count import CallCount
from plugfest.machine.call_log import CallLog
from plugfest.machine.console import Problem, find_problems
from plugfest.machine.model import ModelError
from plugfest.machine.ssh import CommandFailed, CommandResult, GuestGone
from plugfest.run.plan import RunPlan

OOPS = (
    "[   12.000000] BUG: kernel NULL pointer dereference, address: 0000000000000010",
    "[   12.000001] Oops: Oops: 0002 [#1] SMP NOPTI",
    "[   12.000002] RIP: 0010:ixgbe_poll+0x10/0x20 [ixgbe]",
    "[   12.000003] ---[ end trace 0000000000000000 ]---",
)
WARN = (
    "[   12.000000] ------------[ cut here ]------------",
    "[   12.000001] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 something+0x1/0x2",
    "[   12.000002] ---[ end trace 0000000000000000 ]---",
)


class FakeConsole:
    def __init__(self) -> None:
        self.lines = ["[    0.000000] Linux version 7.3.4"]

    def mark(self) -> int:
        return len(self.lines)

    def text_since(self, mark: int) -> str:
        return "".join(f"{line}\n" for line in self.lines[mark:])

    def problems_since(self, mark: int) -> list[Problem]:
        return find_problems(self.lines[mark:], mark)


class FakeModel:
    """A model with two fault points: ``value()`` returns 42, or 41 if ``value.wrong`` is armed."""

    def __init__(self) -> None:
        self.armed: dict[str, Any] = {}
        self.fired = {"value.wrong": 0, "value.unused": 0}
        self.tracing = False
        self.calls: list[str] = []

    def value(self, queue: int = 0) -> int:
        match = self.armed.get("value.wrong")
        if match is not None and all({"queue": queue}.get(key) == value for key, value in match.items()):
            self.fired["value.wrong"] += 1
            return 41
        return 42

    def offers(self, method: str) -> bool:
        return method in ("model.describe", "model.queues")

    def call(self, method: str, **params: Any) -> Any:
        self.calls.append(method)
        match method:
            case "model.describe":
                return {"name": "fake", "version": "1.2"}
            case "model.queues":
                return {"rx": [{"enabled": True}], "tx": []}
            case "faults.arm":
                if params["name"] not in self.fired:
                    raise ModelError(method, -32602, f"no fault point {params['name']!r}")
                self.armed[params["name"]] = params.get("match", {})
            case "faults.disarm":
                self.armed.pop(params["name"], None)
            case "trace.start":
                self.tracing = True
            case "trace.stop":
                self.tracing = False
            case "trace.read":
                assert self.tracing
                access = {
                    "time": 1.5,
                    "op": "R",
                    "register": "RDH",
                    "index": 3,
                    "value": 7,
                    "decoded": "RDH 0x00000007",
                }
                return [access, {**access, "op": "W", "index": None, "decoded": ""}]
        return [{"name": name, "fired": count} for name, count in self.fired.items()]


class FakeShell:
    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine
        self.commands: list[str] = []

    def run(self, command: str, *, check: bool = True, timeout: float | None = None) -> CommandResult:
        if not self._machine.alive():
            raise GuestGone("the guest is gone")
        self.commands.append(command)
        status = 0
        match command:
            case "oops":
                self._machine.console.lines += OOPS
            case "warn":
                self._machine.console.lines += WARN
            case "warn-late":
                self._machine.pending_lines += WARN
            case "die":
                self._machine.dead = True
                raise GuestGone("the guest is gone")
            case "false":
                status = 1
            case "missing":
                status = 127
            case "hang":
                time.sleep(timeout or 60)
        result = CommandResult(command, status, f"output of {command}\n", "", 0.1)
        if check and status:
            raise CommandFailed(result)
        return result


class FakeAgent:
    """Reports one change of a device per call, and runs programs."""

    def __init__(self, interposer: Interposer | None, commands: list[str]) -> None:
        self._interposer = interposer
        self._commands = commands
        self.count = CallCount()
        self.reply_timeout = 60.0

    def another(self) -> FakeAgent:
        return FakeAgent(self._interposer, self._commands)

    def close(self) -> None:
        pass

    def call(self, method: str, **params: Any) -> Any:
        self.count.calls += 1
        if self._interposer is None:
            return self._answer(method, params)
        return self._interposer("agent", method, params, self._answer)

    def _answer(self, method: str, params: Mapping[str, Any]) -> Any:
        if method == "process.run":
            self._commands.append(params["command"][-1])
            return {"exit_status": 0, "stdout": f"output of {' '.join(params['command'])}\n", "stderr": ""}
        assert method == "netdev.monitor_read"
        return ["a change"]


class FakeRemote:
    def __init__(self, interposer: Interposer | None) -> None:
        self._interposer = interposer

    def delivers(self) -> bool:
        if self._interposer is None:
            return True
        sent = {"frame": b"a frame", "number": 0}
        return self._interposer("wire", "send", sent, lambda _, params: params["frame"]) is not None


class FakeLinkWatch:
    """The link of a machine, which a test may take down; it comes back as soon as someone waits for it."""

    def __init__(self) -> None:
        self.up = True

    def wait_until_steady(self) -> None:
        self.up = True


class FakeMachine:
    booted: ClassVar[list[FakeMachine]] = []

    def __init__(self, plan: RunPlan, interposer: Interposer | None) -> None:
        self.startup = "snapshot"
        self.speed = 1.0
        self.dead = self.closed = False
        self.console = FakeConsole()
        self.model = FakeModel() if plan.driver == "ixgbe" else None
        if self.model is not None:
            self.model.armed = {name: {} for name in plan.faults if is_models(name)}
        self.ssh = FakeShell(self)
        self.agent = FakeAgent(interposer, self.ssh.commands)
        self.calls = CallLog()
        self.ifname, self.load_error = "eth0", None
        self.link_watch = FakeLinkWatch()
        self.remote = FakeRemote(interposer)
        self.pending_lines: list[str] = []
        self.noted: list[str] = []
        self.number = len(self.booted)
        self._recording: Path | None = None
        self.booted.append(self)

    def run(self, command: str, *, check: bool = True, timeout: float | None = None) -> CommandResult:
        self.calls.call("shell", command, {})
        return self.ssh.run(command, check=check, timeout=timeout)

    def lost(self) -> float:
        return 0.0

    def driver_version(self) -> str:
        return "1.2-k"

    def module_file(self) -> dict[str, str | None]:
        return {"file": "ixgbe.ko", "sha256": "ab" * 32, "srcversion": None, "version": None}

    def alive(self) -> bool:
        return not self.dead and not self.closed

    def synchronize(self) -> None:
        self.console.lines += self.pending_lines
        self.pending_lines.clear()

    def unusable(self, problems: Sequence[Problem]) -> str | None:
        return None

    def clear_warn_once(self) -> None:
        if not self.alive():
            raise GuestGone("the guest is gone")

    def violations(self, since: float) -> list[str]:
        return self.noted

    def record_wire(self, path: Path) -> None:
        self._recording = path

    def stop_recording(self) -> None:
        assert self._recording is not None
        self._recording.write_bytes(b"pcap")
        self._recording = None

    def close(self) -> None:
        self.closed = True


def boot(plan: RunPlan, interposer: Interposer | None) -> FakeMachine:
    """Boot; a plan whose kernel's release ends in ``-broken`` does not, one with ``-flaky`` boots once."""
    if plan.kernel.release.endswith("-broken") or (plan.kernel.release.endswith("-flaky") and FakeMachine.booted):
        raise InfrastructureError("the guest: expected an SSH server within 60 s, found a panic; see console.log")
    return FakeMachine(plan, interposer)
