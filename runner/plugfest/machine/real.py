# SPDX-License-Identifier: GPL-2.0-or-later
"""A real machine under test: its interface is on loan, in a network namespace of its own, and its agent reached over SSH.

What brings it there is done before a run's namespaces are entered (`plugfest.machine.lending`). Here are the agent, the kernel's log
and the wire, by sockets in a folder and an inherited stream. There is no snapshot, QEMU or model. A fresh machine is the same one with
its driver bound anew and another agent.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from plugfest.errors import InfrastructureError
from plugfest.faults import Interposer
from plugfest.machine import one_wire
from plugfest.machine.agent import AgentClient, AgentError, AgentTimeout, NeedsModelError
from plugfest.machine.call_count import CallCount
from plugfest.machine.call_log import CallLog
from plugfest.machine.console import Console, Problem
from plugfest.machine.far_end import FarEnd
from plugfest.machine.guest import HUNG_TASK_SECONDS, REFERENCE_SECONDS
from plugfest.machine.machine import DriverLoadError, Machine, SecondNic
from plugfest.machine.ssh import CommandResult, CommandTimeout, GuestGone
from plugfest.machine.tap import Tap
from plugfest.machine.wire import Wire
from plugfest.run.run_delay import RunDelay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugfest.run.plan import HardwarePlan

AGENT, KEEPER, LOG = "agent.sock", "keeper.sock", "log.sock"
"""The sockets by which a machine is reached (guest-images/agent/hardware/keeper.py)."""
HEARTBEAT = 5.0
"""Seconds between two signs of life to the keeper."""
KEEPER_TIMEOUT = 60.0
"""Seconds for an answer of the keeper, which does one thing at a time."""
REFRESH_TIMEOUT = 300.0
"""Seconds for the driver to be unbound and bound, and for another agent: firmware may be loaded meanwhile."""
_SPEED_RUNS = 5
_ONE_WIRE = "one-wire"
"""File in the run's folder: the two ends have been found to be on one wire."""


class RealMachine(Machine):
    """The machine.

    Attributes:
        plan: the plan of the run.
    """

    # Firmware is loaded, cables are trained and negotiate, other ports of the driver are probed before this one.
    probe_timeout = 60.0
    probe_failed = 10.0
    link_timeout = 30.0

    def __init__(self, plan: HardwarePlan, *, interposer: Interposer | None = None) -> None:
        """Have the driver bound anew and another agent, and connect to everything; use `boot`.

        Raises:
            InfrastructureError: the machine does not answer, or the agent does not start.
        """
        super().__init__(plan.tested)
        self.plan = plan
        self._gone: str | None = None
        self._closed = threading.Event()
        self._delay = RunDelay()
        self._count = CallCount()
        begin = time.monotonic()
        self._keeper = self._client(KEEPER, reply_timeout=KEEPER_TIMEOUT)
        self._agent = self._client(AGENT, interposer=interposer, calls=self.calls)
        self._speed = 1.0
        self._tap = Tap()
        try:
            self._wire = Wire(self._tap.name, plan.stream)
            self._delay.watch(self._wire.pid)
            self.remote = FarEnd(
                self._tap, self._wire, plan.remote_mtu, plan.remote, interposer, self._delay.seconds, self.calls
            )
            self._console = Console(self._connect(LOG), plan.guest_output / "console.log")
            self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._begin()
            self._heart.start()
        except BaseException:
            self.close()
            raise
        self.seconds["refresh"] = time.monotonic() - begin
        self._startup = f"driver bound anew and agent started in {self.seconds['refresh']:.1f} s on {plan.dut}"

    def _begin(self) -> None:
        try:
            error = self._keeper.call("keeper.refresh", rebind=True, timeout=REFRESH_TIMEOUT)["error"]
            self._speed = REFERENCE_SECONDS / min(self._agent.call("system.speed") for _ in range(_SPEED_RUNS))
        except (AgentError, AgentTimeout) as failure:
            raise InfrastructureError(
                f"{self.plan.dut}: expected an agent in a fresh state, found: {failure}; reboot the machine, and run again"
            ) from failure
        if error is not None:
            self.load_error = DriverLoadError(error)
            return
        with self._coming_up():
            self.configure()

    def _client(
        self,
        name: str,
        *,
        reply_timeout: float | None = None,
        interposer: Interposer | None = None,
        calls: CallLog | None = None,
    ) -> AgentClient:
        client = AgentClient(
            self.plan.sockets / name,
            alive=self.gone,
            interposer=interposer,
            lost=self._delay.seconds,
            count=self._count if calls is not None else None,
            log=calls,
        )
        if reply_timeout is not None:
            client.reply_timeout = reply_timeout
        return client

    def _connect(self, name: str) -> socket.socket:
        """Connect to a socket of the machine, and wait until the other end is there: SSH accepts before it knows.

        Raises:
            InfrastructureError: there is none.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(KEEPER_TIMEOUT)
        try:
            connection.connect(str(self.plan.sockets / name))
            first = connection.recv(1)
        except OSError as error:
            connection.close()
            raise InfrastructureError(f"{self.plan.dut}: expected its log over SSH, found: {error}") from error
        if not first:
            connection.close()
            raise InfrastructureError(
                f"{self.plan.dut}: expected its log over SSH, found that the connection was closed; "
                "sshd_config there must have AllowStreamLocalForwarding yes"
            )
        connection.settimeout(None)
        return connection

    def _beat(self) -> None:
        client = self._client(KEEPER, reply_timeout=KEEPER_TIMEOUT)
        while not self._closed.wait(HEARTBEAT):
            try:
                client.call("keeper.alive")
            except AgentTimeout:
                continue  # it is at something that takes longer; if the connection ends, that shows
            except (AgentError, InfrastructureError) as error:
                if not self._closed.is_set():
                    self._gone = f"{self.plan.dut} does not answer any more: {error}"
                return

    @property
    def agent(self) -> AgentClient:
        """The machine's agent."""
        return self._agent

    @property
    def console(self) -> Console:
        """The kernel's log from the machine's start on."""
        return self._console

    @property
    def speed(self) -> float:
        """The machine's speed: 1 is a KVM guest on an idle laptop."""
        return self._speed

    @property
    def startup(self) -> str:
        """How the machine was prepared, for the journal."""
        return self._startup

    @property
    def mac(self) -> str:
        """The device's own hardware address."""
        return str(self.plan.device["address"])

    def lost(self) -> float:
        """Return the seconds that the run has lost because the host is busy: see `RunDelay`."""
        return self._delay.seconds()

    def gone(self) -> str | None:
        """Return why the machine cannot be reached; None while it can."""
        if self._gone is not None:
            return self._gone
        if hasattr(self, "_console") and self._console.ended and not self._closed.is_set():
            return f"the connection to {self.plan.dut} ended"
        return None

    def alive(self) -> bool:
        """Whether the machine can be reached."""
        return self.gone() is None

    def unusable(self, problems: Sequence[Problem]) -> str | None:
        """Return why no test can run on this machine any more; None while one can."""
        gone = self.gone()
        if gone is not None:
            return f"{gone}; see to the machine, and run again"
        fatal = next((problem for problem in problems if problem.fatal), None)
        if fatal is None:
            return None
        return f"{self.plan.dut}: its kernel is beyond use ({fatal.title}); reboot the machine, and run again"

    def synchronize(self) -> None:
        """Wait until the kernel's log has come as far as it is now.

        Raises:
            InfrastructureError: it did not in time.
        """
        line = f"plugfest: mark {time.monotonic_ns():x}"
        mark = self._console.mark()
        self._agent.call("system.log_write", text=line)
        deadline = self.deadline(float(HUNG_TASK_SECONDS))
        if self._console.wait_for(lambda text: line in text, deadline, mark=mark) is None:
            raise InfrastructureError(
                f"{self.plan.dut}: expected its log to have a mark within {deadline.seconds:.0f} s, found none"
            )

    def clear_warn_once(self) -> None:
        """Reset the kernel's one-time warnings, where it lets root do so: a kernel that is locked does not."""
        with suppress(AgentError):
            super().clear_warn_once()

    def _registered(self, pattern: str) -> str | None:
        # Whoever names it otherwise, its keeper gives it its own name again.
        name = super()._registered(pattern)
        return name if name == self.plan.device["ifname"] else None

    def _device_path(self) -> str:
        return f"{Path(self.plan.device['device'])}/"

    def _shell(self, command: str, timeout: float | None) -> CommandResult:
        begin = time.monotonic()
        limit = {} if timeout is None else {"timeout": timeout}
        try:
            done: dict[str, Any] = self._agent.call("process.run", command=["sh", "-c", command], **limit)
        except AgentError as error:
            if error.type != "TimeoutExpired":
                raise
            seconds = time.monotonic() - begin
            raise CommandTimeout(CommandResult(command, -1, "", "", seconds)) from error
        return CommandResult(command, done["exit_status"], done["stdout"], done["stderr"], time.monotonic() - begin)

    def load_driver(self) -> None:
        """Load the driver under test, wait for its interface and configure it.

        Raises:
            DriverLoadError: the driver created no netdev.
        """
        self._run_checked(["modprobe", self.driver.module])
        self.configure()

    def reboot(self) -> NoReturn:
        """Not on a real machine, where others may be at work.

        Raises:
            NeedsModelError: always.
        """
        self._needs_model("a machine that may be rebooted")

    def plug_second(self) -> SecondNic:
        """Not on a real machine.

        Raises:
            NeedsModelError: always.
        """
        self._needs_model("a second NIC of the same kind")

    def set_link(self, *, up: bool) -> NoReturn:  # noqa: ARG002
        """Not on a real machine, whose cable nobody pulls.

        Raises:
            NeedsModelError: always.
        """
        self._needs_model("a link partner that takes the link down and up")

    def _needs_model(self, what: str) -> NoReturn:
        raise NeedsModelError(what, str(self.plan.subject))

    def close(self) -> None:
        """Disconnect; the interface stays on loan until the run is over. Idempotent."""
        self._closed.set()
        self._close_recording()
        for client in (self._agent, self._keeper):
            with suppress(GuestGone):
                client.close()
        if hasattr(self, "_console"):
            self._console.close()
        if hasattr(self, "remote"):
            self.remote.close()
        if hasattr(self, "_wire"):
            self._wire.close()
        self._tap.close()
        self._delay.close()


def boot(plan: HardwarePlan, *, interposer: Interposer | None = None) -> RealMachine:
    """Have the machine in a fresh state, and let its link come up. Needs the run's network namespace.

    Args:
        plan: the machine.
        interposer: what the clients of agent and wire consult; None where the run falsifies nothing.

    Raises:
        InfrastructureError: the machine does not answer, the agent does not start, or the far end is not at the other end of its wire.
            A driver that creates no netdev is not such an error: see `Machine.load_error`.
    """
    machine = RealMachine(plan, interposer=interposer)
    if machine.load_error is not None:
        return machine
    machine.link_watch.wait()
    # Once a run: when it has been shown, the tests judge a driver that passes no frame.
    shown = plan.scratch / _ONE_WIRE
    if not shown.exists():
        try:
            one_wire.check(machine, f"{plan.dut} {machine.ifname} and {plan.remote}")
        except (AgentError, AgentTimeout) as error:
            machine.close()
            raise InfrastructureError(f"{plan.dut}: expected frames on the wire, found: {error}") from error
        except BaseException:
            machine.close()
            raise
        shown.touch()
    return machine
