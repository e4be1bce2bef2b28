# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the interface under test of a real machine, from before a run to after it: takes it, starts the agent beside it, gives it back.

``python3 -m agent.hardware.keeper IFNAME FOLDER``, over SSH. It reads nothing from its standard input but the end of it, or the line
``end``: then, or when nobody has asked for anything for `SILENCE`, it gives the interface back as it was, whatever became of the
runner. It writes JSON lines: ``{"event": "ready", …}`` or ``{"event": "refused", "reason": …}``, at the end
``{"event": "returned", "failures": […]}``.

The folder gets three Unix sockets: ``agent.sock`` (the agent's protocol), ``log.sock`` (`agent.hardware.kernel_log`) and
``keeper.sock``, which takes the agent's protocol, too, with the methods of `Keeper.METHODS`.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import Popen, run
from typing import Any, NoReturn, TextIO

from agent.hardware import kernel_log
from agent.hardware.device import RefusedError
from agent.hardware.loan import Loan, LoanError, remove_folder, unix_listener
from agent.hardware.namespace import InsideError
from agent.system import sysctl, trace

SILENCE = 300.0
"""Seconds without a request after which the runner is gone, though the connection seems to stand: it asks every few seconds."""
KILL_TIMEOUT = 20.0
"""Seconds for the agent's processes to end when they are killed: what holds them longer is the kernel."""
START_TIMEOUT = 60.0
"""Seconds for the agent to listen."""
LOCK = Path("/run/plugfest.lock")
"""Of the machine: its parameters are its own alone before the first run and after the last."""
PARAMETERS = {
    "/proc/sys/kernel/hung_task_panic": "0",
    "/proc/sys/kernel/hung_task_timeout_secs": "30",
    "/proc/sys/kernel/hung_task_warnings": "-1",
    "/proc/sys/net/core/default_qdisc": "pfifo_fast",
}
"""Kernel parameters of the whole machine during a run, put back after it: a hung task is reported within a minute, but not one that waits
while firmware is loaded, and it is no reason to panic; and no queueing discipline drops what a test sends (fq_codel drops frames that
wait for milliseconds)."""
CHANGED_BY_TESTS = ("/proc/sys/vm/nr_hugepages",)
"""Kernel parameters of the whole machine that tests change."""


class Keeper:
    """What serves the runner's requests."""

    METHODS = ("keeper.alive", "keeper.refresh")

    def __init__(self, loan: Loan, folder: Path) -> None:
        """Keep nothing yet."""
        self._loan = loan
        self._folder = folder
        self._agent: Popen[bytes] | None = None
        self._parameters: dict[str, str] = {}
        self._listener = unix_listener(str(folder / "keeper.sock"))
        self._connections: dict[socket.socket, bytearray] = {}
        self._heard = 0.0
        self._terminated = False
        signal.signal(signal.SIGTERM, self._terminate)

    def begin(self) -> None:
        """Take the interface, start the agent.

        Raises:
            LoanError: not so.
        """
        log = unix_listener(str(self._folder / "log.sock"))

        def hold() -> NoReturn:
            # Before the interface comes: it sends nothing unasked there, as in a guest.
            with suppress(OSError):  # a machine that refuses one sends a little more
                sysctl.silence()
            run(["ip", "link", "set", "lo", "up"], check=False, capture_output=True)
            kernel_log.serve(log)

        for path, value in PARAMETERS.items():
            if Path(path).exists():  # else a kernel without this detection
                self._parameters[path] = Path(path).read_text().strip()
                Path(path).write_text(value)
        for path in CHANGED_BY_TESTS:
            if Path(path).exists():
                self._parameters[path] = Path(path).read_text().strip()
        self._loan.take(hold)
        log.close()
        self._start_agent()
        self._heard = time.monotonic()

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def serve(self) -> str:
        """Answer requests until there is to be an end; returns why."""
        while not self._terminated:
            sources = [sys.stdin, self._listener, self._loan.monitor.netlink.socket, *self._connections]
            readable, _, _ = select.select(sources, [], [], min(1.0, SILENCE))
            if sys.stdin in readable:
                data = os.read(sys.stdin.fileno(), 4096)
                if not data:
                    return "the connection ended"
                if b"end" in data:
                    return "the run ended"
            if self._loan.monitor.netlink.socket in readable:
                with suppress(LoanError, InsideError, OSError):
                    self._loan.adopt()
            if self._listener in readable:
                connection, _ = self._listener.accept()
                self._connections[connection] = bytearray()
            for connection in [each for each in self._connections if each in readable]:
                self._receive(connection)
            if time.monotonic() - self._heard > SILENCE:
                return f"nobody asked for anything for {SILENCE:.0f} s"
        return "the machine ended the keeper (SIGTERM)"

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            del self._connections[connection]
            connection.close()
            return
        waiting = self._connections[connection]
        waiting += data
        while (newline := waiting.find(b"\n")) >= 0:
            line = bytes(waiting[:newline])
            del waiting[: newline + 1]
            with suppress(OSError):
                connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
            self._heard = time.monotonic()

    def _answer(self, line: bytes) -> dict[str, Any]:
        number: Any = None
        try:
            request = json.loads(line)
            number, method = request["id"], request["method"]
            if method not in self.METHODS:
                raise LookupError(f"no method {method!r} of the keeper")
            result = self.refresh(**request["params"]) if method == "keeper.refresh" else None
        except Exception as error:
            return {"id": number, "error": {"type": type(error).__name__, "message": str(error), "errno": None}}
        return {"id": number, "result": result}

    def refresh(self, rebind: bool, timeout: float = 0) -> dict[str, Any]:  # noqa: ARG002
        """End the agent and all that it holds, begin it anew; with `rebind` the driver, too. Only the caller reads `timeout`.

        Returns:
            ``{"error": …}``: why there is no interface, or null.

        Raises:
            LoanError: the agent does not end: the kernel holds it.
        """
        self._stop_agent()
        error = None
        if rebind:
            try:
                self._loan.rebind()
            except (LoanError, InsideError) as found:
                error = str(found)
        self._start_agent()
        return {"error": error}

    def _start_agent(self) -> None:
        path = self._folder / "agent.sock"
        path.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "PLUGFEST_AGENT_SOCKET": str(path),
            "PLUGFEST_BPF": str(self._folder / "bpf"),
            "PLUGFEST_PROGRAMS": str(self._folder / "programs"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        log = str(self._folder / "agent.log")
        self._agent = self._loan.namespace.start([sys.executable, "-S", "-m", "agent"], environment, log)
        end = time.monotonic() + START_TIMEOUT
        while not path.exists():
            if self._agent.poll() is not None or time.monotonic() > end:
                lines = Path(log).read_text(errors="replace").split("\n")
                last = next((line for line in reversed(lines) if line.strip()), "nothing")
                raise LoanError(f"expected the agent to listen, found that it has not; it printed: {last}")
            time.sleep(0.02)

    def _stop_agent(self) -> None:
        """Kill the agent and its processes, and wait until the kernel has closed all that they had open.

        Raises:
            LoanError: one does not end.
        """
        agent, self._agent = self._agent, None
        if agent is None:
            return
        session = _session(agent.pid)
        for pid in session:
            _kill(pid)
        end = time.monotonic() + KILL_TIMEOUT
        # What left the session is still inside.
        while (inside := self._loan.namespace.processes()) or agent.poll() is None or any(map(_is_there, session)):
            for pid in inside:
                _kill(pid)
            if time.monotonic() > end:
                raise LoanError(
                    f"expected the agent's processes to end within {KILL_TIMEOUT:.0f} s, found that the kernel holds one; "
                    "reboot the machine"
                )
            time.sleep(0.02)
        with suppress(InsideError, OSError):
            self._loan.namespace.do(trace.remove_instances)

    def end(self) -> list[str]:
        """Stop the agent, give the interface back, put the kernel's parameters back; returns a line for each thing that could not be."""
        failures = []
        try:
            self._stop_agent()
        except (LoanError, OSError) as error:
            failures.append(str(error))
        # Before the interface is up again, which then gets the queueing discipline that it had. The last first: a machine that is to
        # panic has its own limit by then.
        for path, value in reversed(self._parameters.items()):
            try:
                if Path(path).read_text().strip() != value:
                    Path(path).write_text(value)
                now = Path(path).read_text().strip()
            except OSError as error:
                failures.append(f"{path}: {error.strerror}")
            else:
                if now != value:  # as huge pages for which there is no room any more
                    failures.append(f"{path}: was {value}, is {now}")
        return failures + self._loan.give_back()


def _session(leader: int) -> list[int]:
    """Return the processes of a session, and those that they have started in sessions of their own."""
    parents, sessions = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)], sessions[int(path.parent.name)] = int(fields[1]), int(fields[3])
    found = {leader} | {pid for pid, session in sessions.items() if session == leader}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_there(pid: int) -> bool:
    """Whether a process still has files open: a zombie has none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def write_event(event: str, **fields: Any) -> None:
    """Write a line to the runner, if it is still there."""
    with suppress(OSError):
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def lock() -> TextIO:
    """Have this machine for this run alone, until the file that is returned is closed.

    Raises:
        RefusedError: another run has it.
    """
    file = LOCK.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise RefusedError(
            f"expected a machine that no other run has, found that one has it (pid {file.read() or 'unknown'}); wait until it ends"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def main(ifname: str, folder: str) -> int:
    """Keep the interface until the end; nothing stays of the run then."""
    try:
        return keep(ifname, Path(folder))
    finally:
        remove_folder(Path(folder))


def keep(ifname: str, folder: Path) -> int:
    """Keep the interface; returns the exit status."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        locked = lock()  # before anything is read that another run has changed
        loan = Loan(ifname, os.environ.get("SSH_CONNECTION", ""))
    except (RefusedError, OSError) as error:
        write_event("refused", reason=str(error))
        return 1
    keeper = Keeper(loan, folder)
    try:
        keeper.begin()
    except Exception as error:  # whatever it is, the interface is given back
        failures = keeper.end()
        kernel_log.write(
            f"{loan.ifname} was not taken: {error}" + "".join(f"; not restored: {each}" for each in failures)
        )
        write_event("refused", reason=str(error) or type(error).__name__, failures=failures)
        return 1
    write_event("ready", device=loan.described, release=os.uname().release, cpus=os.cpu_count())
    try:
        why = keeper.serve()
    except Exception as error:
        why = f"the keeper failed: {type(error).__name__}: {error}"
    failures = keeper.end()
    write_event("returned", failures=failures)
    kernel_log.write(
        f"{loan.ifname} was given back, since {why}" + "".join(f"; not restored: {each}" for each in failures)
    )
    locked.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
