# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without the NIC under test: booted or restored from a snapshot, with a connection to its agent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.faults import Interposer
from plugfest.machine.agent import REPLY_TIMEOUT, AgentClient, AgentError, AgentTimeout
from plugfest.machine.call_count import CallCount
from plugfest.machine.call_log import CallLog
from plugfest.machine.console import Console
from plugfest.machine.guard import Guard
from plugfest.machine.qemu import Qemu, QemuCommand
from plugfest.machine.snapshot import Snapshot, SnapshotError, Snapshots
from plugfest.machine.ssh import GuestGone, KeyPair, NotAuthorized, SshSession
from plugfest.run.run_delay import RunDelay

BOOT_TIMEOUT = 180.0
"""Seconds for a cold boot: thirty times its duration under TCG on two idle cores."""

RESTORE_TIMEOUT = 60.0

HUNG_TASK_SECONDS, HUNG_TASK_MAX = 12, 120
"""Hung task timeout in seconds, in a guest of speed 1 and at most. The kernel checks at the same interval, so it reports a hung task
within twice that, and within the 30 seconds of a test."""

LOCKUP_SECONDS, LOCKUP_MAX = 10, 60
"""``watchdog_thresh``, in a guest of speed 1 (the kernel's default) and at most (its limit). A CPU that runs one thing for twice as long is
a soft lockup (Documentation/admin-guide/lockup-watchdogs.rst): on an emulated CPU some thousands of register accesses take that long."""

REFERENCE_SECONDS = 0.0018
"""Seconds that the agent's benchmark takes on a guest of speed 1: KVM on a laptop a few years old."""

_BENCHMARKS = 3
"""How often it runs; the fastest counts, which the guest's other work disturbed least."""

_CLOCK_ERROR = 0.1
"""Seconds that the guest's clock may lag behind the host's."""

_AGENT_INTERVAL = 0.2
"""Seconds between two attempts to reach an agent that does not listen yet."""


class Guest:
    """A running guest.

    Attributes:
        qemu: the QEMU process.
        startup: ``restored from a snapshot in 0.8 s``, or ``booted in 5.1 s`` and why it was not restored.
        seconds: from the start of QEMU to the agent's first reply.
        speed: 1 is a KVM guest on an idle laptop a few years old, 0.1 is ten times slower.
    """

    def __init__(
        self,
        command: QemuCommand,
        *,
        log: Path,
        snapshots: Snapshots | None = None,
        cwd: Path | None = None,
        interposer: Interposer | None = None,
        delay: RunDelay | None = None,
        log_of_calls: CallLog | None = None,
    ) -> None:
        """Start it.

        Args:
            command: the QEMU command.
            log: file to append the console to.
            snapshots: where to find a snapshot to restore, or to store one after a cold boot; None boots cold and stores none.
            cwd: QEMU's working directory.
            interposer: consulted by the agent's client for each call of a run that falsifies.
            delay: counts what the host loses, QEMU's part too from now on; None for one of its own.
            log_of_calls: of the agent and the shell; None for one of its own.

        Raises:
            InfrastructureError: it did not start.
        """
        self.command = command
        self.key = KeyPair()
        self.startup = ""
        self.speed = 1.0
        self._log = log
        self._cwd = cwd
        self._interposer = interposer
        self._delay = RunDelay() if delay is None else delay
        self._calls = CallCount()
        self._call_log = CallLog() if log_of_calls is None else log_of_calls
        self._guard: Guard
        self._ssh: SshSession | None = None
        self.qemu: Qemu
        self.agent: AgentClient
        begin = time.monotonic()
        if snapshots is None:
            self._boot()
            startup, reason = "booted", "no snapshots requested"
        else:
            startup, reason = self._restore_or_store(snapshots)
        self.seconds = time.monotonic() - begin
        self.startup = f"{startup} in {self.seconds:.1f} s" + (f" ({reason})" if reason else "")
        self.speed = self._measure()

    @property
    def ssh(self) -> SshSession:
        """An SSH session, which its first user logs in: that costs an emulated guest a second, and few need one.

        Raises:
            InfrastructureError: no login.
        """
        if self._ssh is None:
            self._ssh = self._log_in(Deadline.after(RESTORE_TIMEOUT, lost=self.lost))
        return self._ssh

    @property
    def console(self) -> Console:
        """The serial console."""
        return self.qemu.console

    def lost(self) -> float:
        """Return the seconds that the run has lost because the host is busy: see `RunDelay`."""
        return self._delay.seconds()

    def deadline(self, seconds: float) -> Deadline:
        """Start a deadline, which is longer on a slow guest and a busy host.

        Args:
            seconds: on a guest of speed 1.
        """
        return Deadline.after(seconds, speed=self.speed, lost=self.lost)

    def gone(self) -> str | None:
        """Return what happened to the guest; None while it is running."""
        if self.qemu.console.panic is not None:
            return f"the guest's kernel panicked: {self.qemu.console.panic}"
        return None if self.qemu.alive() else self.qemu.exit_reason()

    def _start(self, *, incoming: bool) -> None:
        self.qemu = Qemu(self.command, log=self._log, incoming=incoming, cwd=self._cwd)
        self._delay.watch(self.qemu.pid)
        self._guard = Guard(self.qemu.guard)

    def _restore_or_store(self, snapshots: Snapshots) -> tuple[str, str]:
        """Restore a snapshot, or boot and store one; return which, and why it was not restored, if it was not."""
        reason = self._restore_from(snapshots)
        if reason is None:
            return "restored from a snapshot", ""
        with snapshots.making(
            self.command
        ):  # of several guests that find none, one boots, and the others restore what it stores
            if snapshots.find(self.command) is None or self._restore_from(snapshots) is not None:
                self._boot()
                return "booted", self._store(snapshots) or reason
        return "restored from a snapshot", "after another guest had stored it"

    def _restore_from(self, snapshots: Snapshots) -> str | None:
        """Restore a snapshot; return why that failed, or None."""
        found = snapshots.find(self.command)
        if found is None:
            return "there was no snapshot yet"
        try:
            self._restore(found)
        except InfrastructureError as error:
            snapshots.discard(found)
            return f"the snapshot did not restore and was deleted: {error}"
        return None

    def _restore(self, snapshot: Snapshot) -> None:
        verdict: list[SnapshotError] = []

        def verify() -> None:
            try:
                snapshot.verify()
            except SnapshotError as error:
                verdict.append(error)

        checking = threading.Thread(target=verify, name="snapshot-verify", daemon=True)
        checking.start()
        try:
            self._start(incoming=True)
        except BaseException:
            checking.join()
            raise
        try:
            self.qemu.migrate_from(snapshot.state, Deadline.after(RESTORE_TIMEOUT, lost=self.lost))
            checking.join()
            if verdict:
                raise verdict[0]
            self.qemu.qmp.execute("cont")
            self._connect(Deadline.after(RESTORE_TIMEOUT, lost=self.lost))
        except BaseException:
            self.qemu.quit()
            checking.join()
            raise

    def _boot(self) -> None:
        self._start(incoming=False)
        try:
            self._come_up(Deadline.after(BOOT_TIMEOUT, lost=self.lost))
        except BaseException:
            self.qemu.quit()
            raise

    def _come_up(self, deadline: Deadline) -> None:
        """Wait until a guest that boots has started everything, and prepare it."""
        self.authorize(deadline)
        self._connect(deadline)
        try:
            for method in ("sysctl.silence", "sysctl.log_everything"):
                self.agent.call(method)
        except AgentError as error:
            raise InfrastructureError(f"expected the guest's settings to be made, found: {error}") from error

    def authorize(self, deadline: Deadline | None = None) -> str:
        """Authorize the run's key for a login by SSH, whose server is running then; return the guest's host key.

        Raises:
            InfrastructureError: the guest ended or did not reply in time.
        """
        limit = Deadline.after(RESTORE_TIMEOUT, lost=self.lost) if deadline is None else deadline
        return self._guard.authorize(self.key.public, limit, self.gone)

    def _log_in(self, deadline: Deadline) -> SshSession:
        while True:
            host_key = self.authorize(deadline)
            try:
                return SshSession(
                    ("127.0.0.1", self.command.ssh_port),
                    self.key,
                    host_key,
                    timeout=max(1.0, deadline.remaining),
                    alive=self.gone,
                    lost=self.lost,
                )
            except NotAuthorized:
                # The reply was to an earlier request, of which there may be several: see `Guard.authorize`.
                if deadline.passed:
                    raise

    def _connect(self, deadline: Deadline) -> None:
        """Connect to the agent, and set the guest's clock."""
        self.agent = AgentClient(
            ("127.0.0.1", self.command.agent_port),
            alive=self.gone,
            reply_timeout=max(1.0, deadline.remaining),
            interposer=self._interposer,
            lost=self.lost,
            count=self._calls,
            log=self._call_log,
        )
        self._await_agent(deadline)
        self.agent.reply_timeout = REPLY_TIMEOUT
        self._set_clock()

    def _await_agent(self, deadline: Deadline) -> None:
        """Wait for the agent's first reply: a guest that boots has its network up before its agent listens."""
        while True:
            try:
                self.agent.call("agent.ping")
            except (AgentTimeout, GuestGone) as error:
                if self.gone():
                    raise
                starts = self.ssh.run("busybox pidof python3", check=False, timeout=BOOT_TIMEOUT).exit_status == 0
                if isinstance(error, GuestGone) and starts and not deadline.passed:
                    time.sleep(_AGENT_INTERVAL)
                    continue
                log = self.ssh.run("tail -n 1 /run/agent.log", timeout=BOOT_TIMEOUT).stdout.strip()
                raise InfrastructureError(
                    f"expected a reply from the guest's agent, found none; its log: {log or 'empty'}"
                ) from error
            else:
                return

    def _set_clock(self) -> None:
        """Set the guest's clock; in a restored guest it lags by the age of the snapshot."""
        for _ in range(3):
            begin = time.monotonic()
            self.agent.call("system.set_clock", realtime=time.time())
            if time.monotonic() - begin < _CLOCK_ERROR:
                return

    def _disconnect(self) -> None:
        self.agent.close()
        if self._ssh is not None:
            self._ssh.close()
            self._ssh = None

    def _store(self, snapshots: Snapshots) -> str | None:
        """Store a snapshot of the guest in its present state; return why that failed, or None. The guest continues in either case."""
        self._disconnect()
        self._guard.settle(Deadline.after(RESTORE_TIMEOUT, lost=self.lost))
        reason = None
        try:
            self.qemu.qmp.execute("stop")
            snapshots.create(
                self.command, lambda path: self.qemu.migrate_to(path, Deadline.after(RESTORE_TIMEOUT, lost=self.lost))
            )
        except InfrastructureError as error:
            reason = f"no snapshot was stored: {error}"
        try:
            self.qemu.qmp.execute("cont")
            self._connect(Deadline.after(RESTORE_TIMEOUT, lost=self.lost))
        except BaseException:
            self.qemu.quit()
            raise
        return reason

    def _measure(self) -> float:
        speed = REFERENCE_SECONDS / self._benchmark()
        for setting, seconds, most in (
            ("hung_task_timeout_secs", HUNG_TASK_SECONDS, HUNG_TASK_MAX),
            ("watchdog_thresh", LOCKUP_SECONDS, LOCKUP_MAX),
        ):
            text = str(min(most, max(seconds, round(seconds / speed))))
            with suppress(AgentError):  # a kernel without this detection
                self.agent.call("files.write", path=f"/proc/sys/kernel/{setting}", text=text)
        return speed

    def _benchmark(self) -> float:
        """Return the seconds that the agent's benchmark takes on an idle host.

        That is the time for which QEMU's threads have a core during the call, less that of a call which computes nothing. Where the
        host's kernel does not count it, and as an upper bound, it is what the benchmark takes by the guest's clock.
        """
        least: dict[str, float] = {}
        for _ in range(_BENCHMARKS):
            for method in ("agent.ping", "system.speed"):
                before = self._delay.ran(self.qemu.pid)
                result = self.agent.call(method)
                ran = self._delay.ran(self.qemu.pid) - before
                least[method] = min(ran, least.get(method, ran))
                if method == "system.speed":
                    least["clock"] = min(float(result), least.get("clock", float(result)))
        ran = least["system.speed"] - least["agent.ping"]
        return max(1e-5, min(ran, least["clock"]) if ran > 0 else least["clock"])

    def reboot(self, deadline: Deadline, *, before: Callable[[], None] = lambda: None) -> None:
        """Run ``reboot`` in the guest and wait until it is up again; plugged devices stay plugged.

        Args:
            deadline: for the reboot.
            before: called after the reset.

        Raises:
            InfrastructureError: it did not come back.
        """
        self.qemu.qmp.execute("set-action", {"reboot": "reset"})
        mark = self.qemu.qmp.mark
        try:
            # The reply is out before the guest's network is gone, unless the guest is slow: the event shows that it reboots.
            with suppress(GuestGone, AgentTimeout):
                self.agent.call("process.start", command=["sh", "-c", "sleep 0.5; exec busybox reboot -f"])
            if self.qemu.qmp.wait_event("RESET", deadline=deadline, mark=mark) is None:
                raise InfrastructureError(
                    f"expected the guest to reboot, found {self.gone() or 'it still running'}; see console.log"
                )
            self._disconnect()
            before()
            self._come_up(deadline)
        finally:
            if self.qemu.alive():
                self.qemu.qmp.execute("set-action", {"reboot": "shutdown"})

    def synchronize(self) -> None:
        """Wait until the console has printed everything that the kernel has logged so far.

        Writes a line to the kernel's log and waits for it on the console, which prints messages in order.

        Raises:
            InfrastructureError: the console did not print the line in time.
            GuestGone: the guest has ended.
        """
        line = f"plugfest: mark {time.monotonic_ns():x}"
        mark = self.console.mark()
        self.agent.call("system.log_write", text=line)
        deadline = self.deadline(1.0)
        if self.console.wait_for(lambda text: line in text, deadline, mark=mark) is None:
            raise InfrastructureError(
                f"expected the guest's console to print a mark within {deadline.seconds:.0f} s, found none; "
                "see console.log"
            )

    def close(self) -> None:
        """Stop the guest. Idempotent."""
        self._disconnect()
        self._guard.close()
        self.qemu.quit()
        self._delay.close()
