# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept of a test that did not pass: its calls, console, dmesg, the model's register trace and state, counters, wire, traceback.

Each is text that a browser shows by its name, except for the capture.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugfest.machine.machine import Machine
    from plugfest.machine.model import ModelClient

TRACE_LIMIT = 4000
"""Register accesses kept, the last ones."""
STATE = ("model.counters", "model.queues", "model.blocks")
"""Control methods that return the device's state; a model need not have each."""
PATIENCE = 10.0
"""Seconds that a program of the guest may take, and the agent beyond that."""
COUNTERS = "ip -s -s link; nstat -as; cat /proc/net/softnet_stat /proc/interrupts /proc/meminfo"
"""What the guest's kernel has counted: of each interface, protocol (since boot, but zeros), CPU and interrupt; and its memory."""


def slug(test: str) -> str:
    """Turn a test's id into the name of its folder."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", test).strip("-")[:120]


class Recorder:
    """Records one test on the model and the wire, and keeps the recording if the test did not pass.

    Recording must never decide a verdict: where an artifact cannot be had, a text in its place says why.
    """

    def __init__(self, output: Path, test: str, attempt: int = 1) -> None:
        """Record into ``artifacts/<test>`` of the run's output folder; a second attempt into ``attempt-2`` of that."""
        self._output = output
        self.folder = output / "artifacts" / slug(test)
        if attempt > 1:
            self.folder /= f"attempt-{attempt}"
        self._recording: Machine | None = None
        self._missing: dict[str, str] = {}

    def start(self, machine: Machine) -> None:
        """Begin to record the wire and the registers."""
        self._recording = machine
        self.folder.mkdir(parents=True, exist_ok=True)
        self._try("wire.pcap", lambda: machine.record_wire(self.folder / "wire.pcap"))
        if machine.model is not None:
            model = machine.model
            self._try("trace.txt", lambda: model.call("trace.start"))

    def look(self) -> None:
        """Keep how device and guest stand now: a test has just failed, and nothing is undone yet."""
        machine = self._recording
        if machine is None:
            return
        machine.calls.end()
        if machine.model is not None:
            model = machine.model
            self._try("model.json", lambda: self._write("model.json", json.dumps(_state(model), indent=1) + "\n"))
        if machine.alive():
            self._try("counters.txt", lambda: self._write("counters.txt", _output(machine, "sh", "-c", COUNTERS)))

    def drop(self) -> None:
        """Stop, and delete what was recorded."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, *, console: str, tracebacks: Mapping[str, str]) -> dict[str, str]:
        """Stop, and keep everything there is.

        Args:
            console: the guest's console during the test.
            tracebacks: of each phase that failed.

        Returns:
            Name of each artifact and its path within the output folder.
        """
        machine = self._recording
        if machine is not None and machine.model is not None:
            model = machine.model
            self._try(
                "trace.txt", lambda: self._write("trace.txt", format_trace(model.call("trace.read", limit=TRACE_LIMIT)))
            )
        self._stop()
        if machine is not None:
            self._write("calls.txt", machine.calls.text())
        self._write("console.txt", console)
        if machine is not None and machine.alive():
            self._try("dmesg.txt", lambda: self._write("dmesg.txt", _output(machine, "dmesg")))
        elif machine is not None:
            self._missing["dmesg.txt"] = "the guest is gone; see console.txt"
        if tracebacks:
            text = "\n\n".join(f"--- {phase} ---\n{trace}" for phase, trace in tracebacks.items())
            self._write("traceback.txt", text)
        for name, reason in self._missing.items():
            self._write(f"{Path(name).stem}.missing.txt", reason + "\n")
        return {
            path.name: str(path.relative_to(self._output))
            for path in sorted(self.folder.iterdir())
            if path.is_file() and path.stat().st_size
        }

    def _stop(self) -> None:
        machine, self._recording = self._recording, None
        if machine is None:
            return
        self._try("wire.pcap", machine.stop_recording)
        if machine.model is not None:
            model = machine.model
            self._try("trace.txt", lambda: model.call("trace.stop"))

    def _write(self, name: str, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8", errors="replace")

    def _try(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except (
            Exception
        ) as error:  # an artifact that cannot be had must not turn the verdict; what failed is written down
            self._missing[name] = f"{type(error).__name__}: {error}"


def _output(machine: Machine, *command: str) -> str:
    """Return a program's output, by a connection of its own: a call of the test's may hang."""
    agent = machine.agent.another()
    agent.reply_timeout = PATIENCE
    try:
        return str(agent.call("process.run", command=command, timeout=PATIENCE)["stdout"])
    finally:
        agent.close()


def _state(model: ModelClient) -> dict[str, Any]:
    return {method: model.call(method) for method in STATE if model.offers(method)}


def format_trace(entries: list[dict[str, Any]]) -> str:
    """Lay out a model's register trace, one access a line.

    An offset that is no register's stands in the place of the name.

    Args:
        entries: what the control method ``trace.read`` returns.
    """
    lines = []
    for entry in entries:
        index = "" if entry.get("index") is None else f"[{entry['index']}]"
        register = entry["register"] or f"0x{entry['offset']:05x}"
        decoded = entry.get("decoded") or f"0x{entry['value']:08x}"
        lines.append(f"{entry['time']:12.6f} {entry['op']} {register}{index}: {decoded}\n")
    return "".join(lines)
