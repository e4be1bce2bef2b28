# SPDX-License-Identifier: MIT
"""Serves one model in a process: `python -m nicmodels serve NAME --socket S --control C --wire W`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import marshal
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nicmodels.events import EventLog
from nicmodels.faults.points import FaultPoints, UnknownFaultError
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.phy import RemoteSegment
from nicmodels.server import privileges
from nicmodels.server.control import ControlServer
from nicmodels.server.log_limit import LogLimit
from nicmodels.server.methods import CommonMethods
from nicmodels.server.reactor import Reactor
from nicmodels.vfio_user.server import Server
from nicmodels.wire import NullWire, PairWire, PcapRecorder, TapWire

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.registry import Model
    from nicmodels.phy import LinkSegment
    from nicmodels.wire import Wire

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29


class ServeError(Exception):
    """The model cannot be served; the message is one line."""


@dataclass
class ServeOptions:
    """The options of the command line.

    Attributes:
        socket: path of the vfio-user socket.
        control: path of the control socket; None for none.
        wire: `tap:NAME`, `pair:PATH` or `null`.
        model: options for the model.
        faults: names of the fault points to arm from the start.
        profiler: file to write cProfile statistics to; None for none.
        unprivileged: the folder to work in without privileges once all is open; None to keep them.
    """

    socket: Path
    control: Path | None = None
    wire: str = "null"
    model: Options = field(default_factory=Options)
    faults: tuple[str, ...] = ()
    profiler: Path | None = None
    unprivileged: Path | None = None


def open_wire(text: str) -> Wire:
    """Open the wire `tap:NAME`, `pair:PATH` or `null`.

    Raises:
        ServeError: an unknown wire, or it cannot be opened.
    """
    kind, _, place = text.partition(":")
    try:
        if kind == "tap" and place:
            return TapWire(place)
        if kind == "pair" and place:
            return PairWire.at(Path(place))
    except OSError as error:
        raise ServeError(f"wire {text}: {error.strerror or error}") from error
    if text == "null":
        return NullWire()
    raise ServeError(f"wire {text!r}: expected tap:NAME, pair:PATH or null")


def _open_link_segment(text: str, reactor: Reactor, stack: contextlib.ExitStack) -> LinkSegment | None:
    """Open the link segment of a `pair:PATH` wire, at PATH.line; other wires have none."""
    kind, _, place = text.partition(":")
    if kind != "pair":
        return None
    try:
        wire = PairWire.at(Path(f"{place}.line"))
    except OSError as error:
        raise ServeError(f"wire {text}: {error.strerror or error}") from error
    stack.callback(wire.close)
    segment = RemoteSegment(reactor, wire)
    fd = wire.fileno()
    assert fd is not None
    reactor.add_reader(fd, segment.port.readable)
    return segment


def serve(model: Model, options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent dies; prints `ready` once the sockets listen.

    Raises:
        ServeError: an invalid option, or a socket or wire cannot be opened.
    """
    parent = os.getppid()
    die_with_parent(parent)
    reactor = Reactor()
    events = EventLog(reactor.now)
    with contextlib.ExitStack() as stack:
        stack.callback(reactor.close)
        recorder = PcapRecorder(open_wire(options.wire))
        stack.callback(recorder.close)
        slot = Slot(clock=reactor, wire=recorder, events=events, faults=FaultPoints(events=events))
        reactor.failed = slot.failures.add
        slot.link_segment = _open_link_segment(options.wire, reactor, stack)
        try:
            device = model.create(slot, options.model)
        except ValueError as error:
            raise ServeError(f"{model.name}: {error}") from error
        stack.callback(device.close)
        try:
            for name in options.faults:
                slot.faults[name].arm()
        except UnknownFaultError as error:
            raise ServeError(str(error)) from error
        device.restart(ResetCause.POWER_ON)
        try:
            server = Server(device, options.socket, reactor)
            stack.callback(server.close)
            if options.control is not None:
                methods = CommonMethods(device, slot, server, recorder).table()
                stack.callback(ControlServer(options.control, reactor, methods).close)
        except OSError as error:
            raise ServeError(error.strerror or str(error)) from error
        fd = recorder.fileno()
        if fd is not None:
            reactor.add_reader(fd, device.frame_arrived, edge=True)
        _stop_on_signals(reactor, stack)
        profile = None if options.profiler is None else _Profile(options.profiler)
        if options.unprivileged is not None:
            _give_up_privileges(options.unprivileged, parent)
        # All current objects live until the end: the collector does not need to examine them again.
        gc.collect()
        gc.freeze()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if profile is None:
            reactor.run()
        else:
            profile.run(reactor.run)


def _give_up_privileges(folder: Path, parent: int) -> None:
    """Raises ServeError where the kernel does not allow it."""
    privileges.limit()
    try:
        privileges.give_up(folder)
    except OSError as error:
        raise ServeError(f"expected to give up privileges, found: {error.strerror}") from error
    # The kernel clears the parent-death signal when a process changes its user.
    die_with_parent(parent)


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process with its parent, and set the timer slack to a nanosecond."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before prctl
        raise ServeError("the parent process is gone")


def _stop_on_signals(reactor: Reactor, stack: contextlib.ExitStack) -> None:
    """SIGTERM and SIGINT stop the reactor; a byte in a socket wakes it."""
    waked, waker = socket.socketpair()
    waked.setblocking(False)
    waker.setblocking(False)
    stack.callback(waked.close)
    stack.callback(waker.close)
    signal.set_wakeup_fd(waker.fileno())
    stack.callback(signal.set_wakeup_fd, -1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: reactor.stop())
    reactor.add_reader(waked.fileno(), lambda: waked.recv(64))


class _Profile:
    """What the reactor's turns cost, for ``--profiler``. Opened while files can be: see `privileges`."""

    def __init__(self, path: Path) -> None:
        """Raises ServeError if the file cannot be written."""
        from cProfile import Profile  # noqa: PLC0415 - only with --profiler

        self._profile = Profile()
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise ServeError(f"{path}: {error.strerror}") from error

    def run(self, work: Callable[[], None]) -> None:
        """Do the work, then write the statistics, as `Profile.dump_stats` does."""
        with self._file:
            self._profile.runcall(work)
            self._profile.create_stats()
            marshal.dump(self._profile.stats, self._file)


def configure_logging(level: str) -> None:
    """Log to standard error, one line a record, and not more than `log_limit` allows."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(LogLimit())
    logging.basicConfig(level=level, format="%(name)s: %(message)s", handlers=[handler])
