# SPDX-License-Identifier: GPL-2.0-or-later
"""A device served in a thread of the test, as `python -m nicmodels serve` serves it in a process."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from nicmodels.events import EventLog
from nicmodels.faults.points import FaultPoints
from nicmodels.nic.device import Device, Host, Slot
from nicmodels.pci import ResetCause
from nicmodels.server.reactor import Reactor
from nicmodels.vfio_user.server import Server
from nicmodels.wire import NullWire
from vfio_client import VfioClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nicmodels.wire import Wire

    Result = TypeVar("Result")


class ServedDevice:
    """A reactor in a thread with one device and its server.

    Attributes:
        may_fail: whether exceptions of the model are expected; others are an error when the device is closed.
    """

    def __init__(self, create: Callable[[Host], Device], path: Path, wire: Wire | None = None) -> None:
        self.path = path
        self.reactor = Reactor()
        events = EventLog(self.reactor.now)
        self.slot = Slot(clock=self.reactor, wire=wire or NullWire(), events=events, faults=FaultPoints(events=events))
        self.device = create(self.slot)
        self.device.restart(ResetCause.POWER_ON)
        self.may_fail = False
        self.reactor.failed = self.slot.failures.add
        self.server = Server(self.device, path, self.reactor)
        fd = self.slot.wire.fileno()
        if fd is not None:
            self.reactor.add_reader(fd, self.device.frame_arrived, edge=True)
        self._calls: list[Callable[[], None]] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self.reactor.add_reader(self._wake, self._run_calls)
        self._clients: list[VfioClient] = []
        self._thread = threading.Thread(target=self.reactor.run, daemon=True)
        self._thread.start()

    def client(self, **options: object) -> VfioClient:
        """A connected client that has negotiated the version; closed with the device."""
        client = self.connect()
        client.negotiate(**options)
        return client

    def connect(self) -> VfioClient:
        """A connected client that has sent nothing yet."""
        client = VfioClient(self.path)
        self._clients.append(client)
        return client

    def call(self, function: Callable[[], Result], timeout: float = 10.0) -> Result:
        """Run `function` on the reactor's thread; returns its result."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._calls.append(run)
        os.eventfd_write(self._wake, 1)
        return future.result(timeout)

    def close(self) -> None:
        """Stop the thread and close everything."""
        for client in self._clients:
            client.close()
        self.call(self.reactor.stop)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the reactor did not stop"
        self.server.close()
        self.device.close()
        self.slot.wire.close()
        failures = [each for each in self.slot.events.after() if each["event"] == "model.error"]
        assert self.may_fail or not self.slot.failures.count, f"the model failed: {failures}"
        self.reactor.close()
        os.close(self._wake)

    def _run_calls(self) -> None:
        os.eventfd_read(self._wake)
        while self._calls:
            self._calls.pop(0)()
