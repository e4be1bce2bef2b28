# SPDX-License-Identifier: GPL-2.0-or-later
"""A synchronous QMP client: `qemu.qmp`, which uses asyncio, in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from qemu.qmp import ExecInterruptedError, ExecuteError, QMPClient, QMPError, Runstate, StateError

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError

Value = TypeVar("Value")


class QmpError(InfrastructureError):
    """QEMU returned an error for a command, or has ended."""


class Qmp:
    """A connection to QEMU's monitor. Thread-safe."""

    def __init__(self, monitor: socket.socket, *, dead: Callable[[], str] = lambda: "the connection is closed") -> None:
        """Connect and read QEMU's greeting.

        Args:
            monitor: connected to QEMU's monitor; this object owns and closes it.
            dead: returns why QEMU ended, for error messages.

        Raises:
            QmpError: QEMU sent no greeting.
        """
        self._dead = dead
        self._events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._listener: concurrent.futures.Future[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient("guest")
        monitor.setblocking(False)
        try:
            self._wait(self._client.connect(monitor), 30.0)
        except (QMPError, OSError, TimeoutError) as error:
            self.close()
            raise QmpError(f"expected QEMU to start, found: {dead()}") from error
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)

    def _wait(self, work: Coroutine[Any, Any, Value], timeout: float) -> Value:
        # wait_for inside the loop: when it times out, the coroutine has been cancelled.
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self._loop).result()

    async def _shut_down(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
        if self._client.runstate is not Runstate.IDLE:
            await self._client.disconnect()

    async def _listen(self) -> None:
        with suppress(asyncio.CancelledError):
            async for event in self._client.events:
                with self._changed:
                    self._events.append(dict(event))
                    self._changed.notify_all()

    def execute(self, command: str, arguments: dict[str, Any] | None = None, *, timeout: float = 30.0) -> Any:
        """Execute a command and return its result.

        Raises:
            QmpError: QEMU returned an error, did not reply in time, or has ended.
        """
        try:
            return self._wait(self._client.execute(command, arguments or {}), timeout)
        except ExecuteError as error:
            raise QmpError(f"QEMU returned an error for {command} {arguments or ''}: {error}") from error
        except TimeoutError as error:
            raise QmpError(f"expected a reply to {command} from QEMU within {timeout:.0f} s, found none") from error
        except (ExecInterruptedError, StateError, OSError, QMPError) as error:
            raise QmpError(f"QEMU did not execute {command}: {self._dead()}") from error

    @property
    def mark(self) -> int:
        """The number of events received so far."""
        with self._changed:
            return len(self._events)

    def events(self, mark: int = 0) -> list[dict[str, Any]]:
        """Return the events received since a mark."""
        with self._changed:
            return self._events[mark:]

    def wait_event(self, *names: str, deadline: Deadline, mark: int = 0) -> dict[str, Any] | None:
        """Wait for the first event with one of these names since a mark; return None if the deadline passes first."""
        at = mark
        with self._changed:
            while True:
                while at < len(self._events):
                    event = self._events[at]
                    at += 1
                    if event["event"] in names:
                        return event
                if deadline.passed or self._closed:
                    return None
                self._changed.wait(min(0.5, deadline.remaining))

    def close(self) -> None:
        """Disconnect and end the thread. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with suppress(QMPError, OSError, TimeoutError, EOFError):
            self._wait(self._shut_down(), 5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()
        with self._changed:
            self._changed.notify_all()
