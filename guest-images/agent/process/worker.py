# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that answer the agent's own methods, for what has to be killed or confined. Methods ``worker.*``.

Workers are forked by the nursery, a process that the agent leaves behind before it starts its first thread: a fork of a
process with threads may inherit a lock that nobody will release, and starting another Python costs a second in an emulated guest.
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

if TYPE_CHECKING:
    from collections.abc import Callable

_PID_SIZE = 4


class WorkerError(OSError):
    """A method failed in a worker as it would have here; errno is None where the failure was not the kernel's."""


class WorkerGoneError(RuntimeError):
    """There is no worker any more that could answer."""


class Nursery:
    """The process that forks workers.

    Args:
        serve: answers requests on a connection until its other end closes.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        """Fork it; the caller must have no other thread yet."""
        self.lock = threading.Lock()
        self.socket, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self.socket.close()
            with suppress(KeyboardInterrupt):
                self._rear(there, serve)
            os._exit(0)
        there.close()

    @staticmethod
    def _rear(orders: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
        while True:
            data, descriptors, _, _ = socket.recv_fds(orders, 1, 1)
            if not data:
                return
            pid = os.fork()
            if pid == 0:
                orders.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    serve(socket.socket(fileno=descriptors[0]))
                finally:
                    os._exit(0)
            os.close(descriptors[0])
            orders.sendall(pid.to_bytes(_PID_SIZE, "little"))

    def fork(self, connection: socket.socket) -> int:
        """Have a worker forked that answers on `connection`; returns its process id."""
        with self.lock:
            socket.send_fds(self.socket, [b"w"], [connection.fileno()])
            return int.from_bytes(self.socket.recv(_PID_SIZE, socket.MSG_WAITALL), "little")


class Worker:
    """One worker.

    Attributes:
        pid: its process id.
    """

    def __init__(self, nursery: Nursery) -> None:
        """Have it forked."""
        self.socket, there = socket.socketpair()
        with there:
            self.pid = nursery.fork(there)
        self.process = os.pidfd_open(self.pid)
        self.lines = self.socket.makefile("rb")
        self.lock = threading.Lock()

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """Have it carry out a method; one at a time."""
        with self.lock:
            try:
                self.socket.sendall(json.dumps({"id": 0, "method": method, "params": params}).encode() + b"\n")
                line = self.lines.readline()
            except OSError as error:
                raise WorkerGoneError(f"worker {self.pid}: {error}") from error
        if not line:
            raise WorkerGoneError(f"worker {self.pid} ended while it was asked for {method}")
        reply = json.loads(line)
        if "error" in reply:
            error = reply["error"]
            if error["errno"] is None:
                raise RuntimeError(f"{error['type']}: {error['message']}")
            raise WorkerError(error["errno"], error["message"])
        return reply["result"]

    def kill(self) -> None:
        """Send SIGKILL; a process that is gone is no error."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, signal.SIGKILL)

    def gone(self, timeout: float) -> bool:
        """Wait until it has exited, which is after it has closed everything; returns whether it has."""
        return bool(select.select([self.process], [], [], timeout)[0])

    def close(self) -> None:
        """Kill it."""
        self.kill()
        self.lines.close()
        self.socket.close()
        os.close(self.process)


_nursery: list[Nursery] = []


def prepare(serve: Callable[[socket.socket], None]) -> None:
    """Leave the nursery behind; called once, before the first thread."""
    _nursery.append(Nursery(serve))


@exposed
def start() -> dict[str, int]:
    """Start a worker; returns its handle and pid. Closing the handle kills it."""
    if not _nursery:
        raise WorkerGoneError("this process starts no workers; ask the agent itself")
    made = Worker(_nursery[0])
    return {"handle": handle.keep(made), "pid": made.pid}


@exposed
def call(worker: int, method: str, params: dict[str, Any] | None = None, timeout: float = 0) -> Any:  # noqa: ARG001
    """Have a worker carry out any of these methods, and return its result; `timeout` is for the asking end alone."""
    return handle.get(worker, Worker).call(method, params or {})


@exposed
def end(worker: int, kill: bool = False, timeout: float = 10) -> bool:
    """Have a worker end, by itself or by SIGKILL, and wait for it; returns whether it has ended in time."""
    found = handle.get(worker, Worker)
    if kill:
        found.kill()
    else:
        found.socket.shutdown(socket.SHUT_RDWR)
    return found.gone(timeout)
