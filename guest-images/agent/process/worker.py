# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that answer the agent's methods, for tests that kill or confine a process. Methods ``worker.*``.

A fork server, which the agent forks before it starts its first thread, forks the workers: a fork of a process with threads
may inherit a lock that no thread releases, and starting another Python takes a second in an emulated guest.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent import handle
from agent.methods import exposed
from agent.system.kernel import KernelLacksError

if TYPE_CHECKING:
    from collections.abc import Callable

_PID_SIZE = 4


class WorkerError(OSError):
    """A method failed in a worker with an error of the kernel; errno is that error."""


class WorkerGoneError(RuntimeError):
    """The worker has ended, or this process has no fork server."""


class ForkServer:
    """The process that forks workers.

    Args:
        serve: answers requests on a connection until its other end closes.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        """Fork the process; the caller must have no other thread yet."""
        self.lock = threading.Lock()
        self.socket, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self.socket.close()
            with suppress(KeyboardInterrupt):
                self._run(there, serve)
            os._exit(0)
        there.close()

    @staticmethod
    def _run(requests: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
        while True:
            data, descriptors, _, _ = socket.recv_fds(requests, 1, 1)
            if not data:
                return
            pid = os.fork()
            if pid == 0:
                requests.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    serve(socket.socket(fileno=descriptors[0]))
                finally:
                    os._exit(0)
            os.close(descriptors[0])
            requests.sendall(pid.to_bytes(_PID_SIZE, "little"))

    def fork(self, connection: socket.socket) -> int:
        """Fork a worker that answers on `connection`; returns its process id."""
        with self.lock:
            socket.send_fds(self.socket, [b"w"], [connection.fileno()])
            return int.from_bytes(self.socket.recv(_PID_SIZE, socket.MSG_WAITALL), "little")


class Worker:
    """A worker.

    Attributes:
        pid: its process id.
    """

    def __init__(self, fork_server: ForkServer) -> None:
        """Fork it."""
        self.socket, there = socket.socketpair()
        with there:
            self.pid = fork_server.fork(there)
        self.process = os.pidfd_open(self.pid)
        self.lines = self.socket.makefile("rb")
        self.lock = threading.Lock()

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """Call a method in the worker, one at a time.

        Raises:
            WorkerError: the method failed with an error of the kernel.
            KernelLacksError: the kernel has no such interface.
            RuntimeError: the method failed otherwise.
            WorkerGoneError: the worker has ended.
        """
        with self.lock:
            try:
                self.socket.sendall(json.dumps({"id": 0, "method": method, "params": params}).encode() + b"\n")
                line = self.lines.readline()
            except OSError as error:
                raise WorkerGoneError(f"worker {self.pid}: {error}") from error
        if not line:
            raise WorkerGoneError(f"worker {self.pid} ended during {method}")
        reply = json.loads(line)
        if "error" in reply:
            found = reply["error"]
            if found["type"] == KernelLacksError.__name__:
                raise KernelLacksError(found["message"])
            if found["errno"] is None:
                raise RuntimeError(f"{found['type']}: {found['message']}")
            raise WorkerError(found["errno"], found["message"])
        return reply["result"]

    def kill(self) -> None:
        """Send SIGKILL; a process that has ended is no error."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, signal.SIGKILL)

    def gone(self, timeout: float) -> bool:
        """Wait for its exit, after which all its files are closed; returns whether it has exited in time."""
        return bool(select.select([self.process], [], [], timeout)[0])

    def close(self) -> None:
        """Kill the worker."""
        self.kill()
        self.lines.close()
        self.socket.close()
        os.close(self.process)


_fork_server: list[ForkServer] = []


def prepare(serve: Callable[[socket.socket], None]) -> None:
    """Fork the fork server; called once, before the first thread starts."""
    _fork_server.append(ForkServer(serve))


@exposed
def start() -> dict[str, int]:
    """Start a worker; returns its handle and pid. Closing the handle kills it."""
    if not _fork_server:
        raise WorkerGoneError("this process has no fork server; call worker.start of the agent itself")
    started = Worker(_fork_server[0])
    return {"handle": handle.keep(started), "pid": started.pid}


@exposed
def call(worker: int, method: str, params: dict[str, Any] | None = None, timeout: float = 0) -> Any:  # noqa: ARG001
    """Call a method in a worker, and return its result; only the caller reads `timeout`."""
    return handle.get(worker, Worker).call(method, params or {})


@exposed
def end(worker: int, kill: bool = False, timeout: float = 10) -> bool:
    """End a worker, by closing its connection or by SIGKILL, and wait for its exit; returns whether it has exited in time."""
    found = handle.get(worker, Worker)
    if kill:
        found.kill()
    else:
        found.socket.shutdown(socket.SHUT_RDWR)
    return found.gone(timeout)
