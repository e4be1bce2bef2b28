# SPDX-License-Identifier: GPL-2.0-or-later
"""Gets the interface of a real machine, and the far end of its wire, for a run, and gives them back as they were.

On the machine a keeper takes the interface (guest-images/agent/hardware/keeper.py), on the far end's host a relay takes the other
(guest-images/agent/hardware/far_end.py). Both put everything back by themselves when the connection ends, however that comes about.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.errors import UsageError
from plugfest.location import recipes_root
from plugfest.machine.events import Event, Events, LineEvents, MessageEvents
from plugfest.machine.ssh_host import LendingError, SshHost

NETNS = "netns:"
"""What the name of a far end begins with that is a network namespace of this host."""
READY_TIMEOUT = 240.0
"""Seconds for a keeper or a far end to have its interface."""
RETURN_TIMEOUT = 240.0
"""Seconds for it to be given back: drivers take tens of seconds for a reset, and the carrier is waited for."""
_PLAIN = re.compile(r"\w[\w.+~-]*", re.ASCII)
"""What names of a machine are like that become part of paths here."""
_NAME = re.compile(r"[^\s/:]{1,15}")


@dataclass(frozen=True)
class Endpoints:
    """What the user named.

    Attributes:
        dut: the machine under test, as ``root@host``.
        ifname: its interface.
        remote: the far end's host, as ``root@host2``, or ``netns:NAME``.
        remote_ifname: the interface there, or ``to ADDRESS``.
        ssh_config: file in place of the user's ssh_config; None for that.
    """

    dut: str
    ifname: str
    remote: str
    remote_ifname: str
    ssh_config: Path | None = None

    def check(self) -> None:
        """Check the names' form.

        Raises:
            UsageError: one cannot be a name of such a thing.
        """
        for option, name in (("--ifname", self.ifname), ("--remote-ifname", self.remote_ifname)):
            if not name.startswith("to ") and not _NAME.fullmatch(name):
                raise UsageError(f"{option} {name}: expected the name of an interface, found something else")
        namespace = self.remote.removeprefix(NETNS)
        if namespace != self.remote and not _NAME.fullmatch(namespace) and not re.fullmatch(r"[\w.-]+", namespace):
            raise UsageError(f"--remote {self.remote}: expected netns:NAME, found something else")


class Lending:
    """The two interfaces, on loan from `take` on, until `give_back`.

    Attributes:
        device: of the machine under test, as guest-images/agent/hardware/device.py describes it.
        release: ``uname -r`` there.
        cpus: how many it has.
        remote: the far end as the user named it, with the interface's name.
        remote_mtu: the MTU of its interface.
        sockets: the folder of the sockets that reach the machine.
    """

    def __init__(self, ends: Endpoints) -> None:
        """Borrow nothing yet.

        Args:
            ends: which two.
        """
        self._ends = ends
        self._folder = Path(tempfile.mkdtemp(prefix="plugfest-"))
        self.sockets = self._folder / "dut"
        self._hosts: list[SshHost] = []
        self._keeper: subprocess.Popen[bytes] | None = None
        self._far: subprocess.Popen[bytes] | None = None
        self._stream: socket.socket | None = None
        self._keeper_events: Events | None = None
        self._far_events: Events | None = None
        self._log = (self._folder / "errors.log").open("ab")

    def take(self, archive: Callable[[], Path]) -> None:
        """Connect, and get both interfaces. Whatever becomes of it, `give_back` is to follow.

        Args:
            archive: returns what the machines get (`plugfest.provision.agent_archive`), once they are found to be fit.

        Raises:
            UsageError: a name is none.
            InfrastructureError: one of the two does not lend its interface.
        """
        ends = self._ends
        dut = self._host(ends.dut, "--dut", "dut")
        dut.check(tools=True)
        far = None if ends.remote.startswith(NETNS) else self._host(ends.remote, "--remote", "far")
        if far is not None:
            far.check(tools=False)
            far.put(archive())
        dut.put(archive())
        dut.forward()
        self._start_far_end(far)
        self._start_keeper(dut)

    def _host(self, name: str, option: str, folder: str) -> SshHost:
        place = self._folder / folder
        place.mkdir()
        host = SshHost(name, option, place, self._ends.ssh_config)
        self._hosts.append(host)
        return host

    def _start_far_end(self, host: SshHost | None) -> None:
        self._stream, theirs = socket.socketpair()
        self._far_events = MessageEvents(self._stream)
        ends = self._ends
        with theirs:
            if host is not None:
                command = host.command("far_end", ends.remote_ifname, "lent")
                self._far = host.ssh.start(command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._log)
            else:
                self._far = self._start_here(theirs.fileno())
        ready = self._far_events.next(READY_TIMEOUT)
        where = f"--remote {ends.remote} --remote-ifname {ends.remote_ifname}"
        if ready is None or ready["event"] != "ready":
            raise LendingError(f"{where}: {self._why(ready)}")
        self.remote = f"{ends.remote} {ready['ifname']}"
        self.remote_mtu = int(ready["mtu"])

    def _start_here(self, stream: int) -> subprocess.Popen[bytes]:
        name = self._ends.remote.removeprefix(NETNS)
        path = Path("/run/netns") / name
        if not path.exists():
            raise LendingError(
                f"--remote {self._ends.remote}: expected the network namespace {name} (ip netns list), found none; create it"
            )
        nsenter = shutil.which("nsenter")
        if nsenter is None or os.geteuid() != 0:
            lacking = "another account" if nsenter else "no nsenter"
            raise LendingError(f"--remote {self._ends.remote}: expected root and the program nsenter, found {lacking}")
        argv = [
            nsenter,
            f"--net={path}",
            sys.executable,
            "-S",
            "-m",
            "agent.hardware.far_end",
            self._ends.remote_ifname,
            "here",
        ]
        environment = {**os.environ, "PYTHONPATH": str(recipes_root()), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            argv, env=environment, stdin=stream, stdout=stream, stderr=self._log, start_new_session=True
        )

    def _start_keeper(self, host: SshHost) -> None:
        reading, theirs_out = os.pipe()
        theirs_in, writing = os.pipe()
        self._keeper_out, self._keeper_in = os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0)
        self._keeper_events = LineEvents(self._keeper_out)
        try:
            command = host.command("keeper", self._ends.ifname, host.folder)
            self._keeper = host.ssh.start(command, stdin=theirs_in, stdout=theirs_out, stderr=self._log)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        ready = self._keeper_events.next(READY_TIMEOUT)
        if ready is None or ready["event"] != "ready":
            raise LendingError(f"--dut {self._ends.dut} --ifname {self._ends.ifname}: {self._why(ready)}")
        self.device: dict[str, Any] = ready["device"]
        self.release: str = ready["release"]
        self.cpus: int = ready["cpus"]
        for what, name in {
            "kernel release": self.release,
            "driver": self.device["driver"],
            "module": self.device["module"],
            "interface": self.device["ifname"],
        }.items():
            if not _PLAIN.fullmatch(name):
                raise LendingError(f"--dut {self._ends.dut}: expected the name of its {what}, found {name!r}")

    @property
    def stream(self) -> int:
        """Descriptor of the stream of frames."""
        assert self._stream is not None
        return self._stream.fileno()

    def _why(self, event: Event | None) -> str:
        if event is not None:
            left = [f"not restored: {each}" for each in event.get("failures", ())]
            return "; ".join([str(event["reason"]), *left] if "reason" in event else left)
        gone = next((f"{host.ssh.name}: {found}" for host in self._hosts if (found := host.ssh.gone())), None)
        self._log.flush()
        lines = (self._folder / "errors.log").read_text(errors="replace").strip().splitlines()
        return f"expected it to lend the interface, found: {gone or (lines[-1] if lines else 'no answer')}"

    def give_back(self) -> list[str]:
        """Give both interfaces back and disconnect; returns a line for each thing that is not as it was. Idempotent."""
        failures: list[str] = []
        keeper, self._keeper = self._keeper, None
        if keeper is not None and self._keeper_events is not None:
            known = self._keeper_events.last
            with suppress(OSError):
                self._keeper_in.write(b"end\n")
                self._keeper_in.close()
            failures += self._left(self._keeper_events, known, f"{self._ends.dut} {self._ends.ifname}")
            _end(keeper)
            self._keeper_out.close()
        far, self._far = self._far, None
        if far is not None and self._stream is not None and self._far_events is not None:
            known = self._far_events.last
            with suppress(OSError):
                self._stream.shutdown(socket.SHUT_WR)
            failures += self._left(self._far_events, known, f"{self._ends.remote} {self._ends.remote_ifname}")
            _end(far)
        if self._stream is not None:
            self._stream.close()
        for host in self._hosts:
            host.close()
        self._hosts.clear()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        return failures

    def _left(self, events: Events, known: Event | None, name: str) -> list[str]:
        """Return a line for each thing that is not as it was.

        Args:
            events: of the machine.
            known: the last of them before it was asked to end: one that is no `ready` is in the error that ended the run.
            name: of the interface.
        """
        event = events.returned(RETURN_TIMEOUT)
        if event is None:
            gone = next((found for host in self._hosts if (found := host.ssh.gone())), "no answer")
            return [
                f"{name}: expected it to be given back as it was, found: {gone}; look there for the kernel's log of plugfest"
            ]
        return [] if event is known else [f"{name}: {each}" for each in event.get("failures", ())]


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(10.0)
    if process.poll() is None:
        process.kill()
        process.wait()
