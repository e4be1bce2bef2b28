# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs. Methods ``process.*``."""

from __future__ import annotations

import os
import signal as signals
import subprocess
from contextlib import suppress
from typing import Any

from agent import handle
from agent.methods import exposed


class Running:
    """A program in the background, with its output in anonymous files.

    Args:
        command: program and arguments.
    """

    def __init__(self, command: list[str]) -> None:
        """Start the program in a session of its own."""
        self.output = os.fdopen(os.memfd_create("stdout"), "wb")
        self.errors = os.fdopen(os.memfd_create("stderr"), "wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors, start_new_session=True
        )

    def close(self) -> None:
        """Kill the program and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signals.SIGKILL)
        self.process.wait()
        self.output.close()
        self.errors.close()

    def text(self) -> dict[str, str]:
        """Return stdout and stderr so far."""
        found = {}
        for name, file in (("stdout", self.output), ("stderr", self.errors)):
            found[name] = os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")
        return found


@exposed
def run(command: list[str], input: str | None = None, timeout: float = 60) -> dict[str, Any]:  # noqa: A002
    """Run a program to its end; returns exit_status, stdout and stderr. A non-zero exit status is no error here."""
    result = subprocess.run(
        command, input=input, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
    )
    return {"exit_status": result.returncode, "stdout": result.stdout, "stderr": result.stderr}


@exposed
def start(command: list[str]) -> dict[str, int]:
    """Start a program in the background; returns its handle and pid. Closing the handle kills it."""
    running = Running(command)
    return {"handle": handle.keep(running), "pid": running.process.pid}


@exposed
def poll(process: int) -> dict[str, Any]:
    """Return exit_status (null while the program runs), and stdout and stderr so far."""
    running = handle.get(process, Running)
    return {"exit_status": running.process.poll(), **running.text()}
