# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine without a guest: its shell is this machine's, and a test can make its kernel complain, or end it."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from plugfest.deadline import Deadline, until
from plugfest.machine.console import Problem, find_problems
from plugfest.machine.ssh import CommandResult

WARN = (
    "[   12.000000] ------------[ cut here ]------------",
    "[   12.000001] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 something+0x1/0x2",
    "[   12.000002] ---[ end trace 0000000000000000 ]---",
)
SYNCHRONIZED = "synchronized"
PANIC = "[   13.000000] Kernel panic - not syncing: Fatal exception"

RUNNER = """\
run_many()
{
	for path in "$@"; do
		name=${path##*/}
		words=KSELFTEST_$(echo "$name" | tr a-z. A-Z_)_ARGS
		echo "# timeout set to $kselftest_override_timeout"
		echo "# selftests: ${PWD#"$BASE_DIR"/}: $name"
		timeout "$kselftest_override_timeout" $path ${!words} 2>&1 | sed -u 's/^/# /'
		status=${PIPESTATUS[0]}
		case $status in
		0) echo "ok 1 selftests: ${PWD#"$BASE_DIR"/}: $name" ;;
		4) echo "ok 1 selftests: ${PWD#"$BASE_DIR"/}: $name # SKIP" ;;
		124) echo "not ok 1 selftests: ${PWD#"$BASE_DIR"/}: $name # TIMEOUT $kselftest_override_timeout seconds" ;;
		*) echo "not ok 1 selftests: ${PWD#"$BASE_DIR"/}: $name # exit=$status" ;;
		esac
	done
}
"""
"""What upstream's kselftest/runner.sh prints."""


class FakeConsole:
    """A console that prints what is written into a pipe, in place of the kernel's log."""

    def __init__(self, log: Path) -> None:
        self.lines: list[str] = []
        self.lost = ""  # a line that ends so does not arrive
        log.unlink(missing_ok=True)
        os.mkfifo(log)
        self._pipe = os.open(log, os.O_RDWR)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with open(self._pipe) as lines:  # noqa: PTH123 - a descriptor
            for line in lines:
                if not self.lost or not line.rstrip("\n").endswith(self.lost):
                    self.lines.append(line.rstrip("\n"))

    def mark(self) -> int:
        return len(self.lines)

    def text_since(self, mark: int) -> str:
        return "".join(f"{line}\n" for line in self.lines[mark:])

    def problems_since(self, mark: int) -> list[Problem]:
        return find_problems(self.lines[mark:], mark)

    def join(self) -> None:
        pass


class FakeShell:
    """Runs commands on this machine."""

    connected = True

    def channel(self, command: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        subprocess.Popen(["bash", "-c", command], stdout=theirs, stdin=theirs, start_new_session=True)
        theirs.close()
        return ours

    def run(self, command: str, *, check: bool = True, timeout: float | None = None) -> CommandResult:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=check, timeout=timeout)
        return CommandResult(command, done.returncode, done.stdout, done.stderr, 0.0)


class FakeMachine:
    """One guest of several."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "console"
        self.console = FakeConsole(self.log)
        self.ssh = FakeShell()
        self.speed, self.ifname, self.startup = 1.0, "lo", "started"
        self.load_error = self.model = None
        self.closed = False
        self.files: dict[str, str] = {}
        self.guest = SimpleNamespace(gone=self._gone)
        self.agent = SimpleNamespace(call=self._call)

    def _gone(self) -> str | None:
        panic = next((line for line in self.console.lines if "panic" in line), None)
        return f"the guest's kernel panicked: {panic}" if panic else None

    def _call(self, method: str, **params: Any) -> Any:
        if method == "files.put":
            self.files[params["path"]] = base64.b64decode(params["data"]).decode()
        return {"exit_status": 0, "stdout": "", "stderr": ""}

    def alive(self) -> bool:
        return self._gone() is None

    def deadline(self, seconds: float) -> Deadline:
        return Deadline.after(seconds)

    def synchronize(self) -> None:
        with self.log.open("a") as log:
            log.write(f"{SYNCHRONIZED}\n")
        until(lambda: SYNCHRONIZED in self.console.lines, what="the console has the line")
        self.console.lines.remove(SYNCHRONIZED)

    def driver_version(self) -> str:
        return "1"

    def module_file(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True
