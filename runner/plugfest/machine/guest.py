# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without its NIC under test: booted, or restored from a snapshot, and logged in to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.faults import Interposer
from plugfest.machine.agent import PATIENCE, AgentClient, AgentError, AgentTimeout
from plugfest.machine.console import Console
from plugfest.machine.guard import Guard
from plugfest.machine.qemu import Qemu, QemuCommand
from plugfest.machine.snapshot import Snapshot, SnapshotError, Snapshots
from plugfest.machine.ssh import GuestGone, KeyPair, NotAuthorized, SshSession

BOOT = 180.0
"""Seconds for a cold boot: thirty times what one takes in TCG on two idle cores."""

RESTORE = 60.0

HUNG, HUNG_AT_MOST = 12, 120
"""Seconds for which a task may hang in a guest of speed 1, and in the slowest one, before its kernel says so. It looks as often, so
it says so within twice that, and within a test's 30 seconds."""

_REFERENCE = 0.012
"""Seconds that the agent's fixed piece of work takes on a guest of speed 1: KVM on a laptop of some years."""

_CLOCK_ERROR = 0.1
"""Seconds that the guest's clock may be behind the host's."""

_PREPARE = """
for setting in accept_ra autoconf router_solicitations dad_transmits accept_dad; do
  echo 0 > /proc/sys/net/ipv6/conf/default/$setting
done
for family in ipv4 ipv6; do
  echo 86400000 > /proc/sys/net/$family/neigh/default/base_reachable_time_ms
  echo 86400 > /proc/sys/net/$family/neigh/default/delay_first_probe_time
done
echo 8 4 1 7 > /proc/sys/kernel/printk
echo -1 > /proc/sys/kernel/hung_task_warnings
"""
"""Run in the guest before its snapshot: the DUT says nothing unasked, nor asks again after a neighbour that it knows, and
the console hears each word of the kernel's."""


class Guest:
    """A running guest.

    Attributes:
        qemu: its machine.
        how: ``restored from a snapshot in 0.8 s``, or ``booted in 5.1 s`` and why it was not restored.
        seconds: from the start of QEMU to the first SSH command's end.
        speed: 1 is a KVM guest on an idle laptop of some years, 0.1 ten times slower.
    """

    def __init__(
        self,
        command: QemuCommand,
        *,
        log: Path,
        snapshots: Snapshots | None = None,
        cwd: Path | None = None,
        interposer: Interposer | None = None,
    ) -> None:
        """Bring it up.

        Args:
            command: the machine.
            log: the console is appended to it.
            snapshots: to restore from, or to store one in after a cold boot; None boots cold and stores none.
            cwd: QEMU's folder.
            interposer: consulted by the agent's client for each call of a run that falsifies.

        Raises:
            InfrastructureError: it did not come up.
        """
        self.command = command
        self.key = KeyPair()
        self.how = ""
        self.speed = 1.0
        self._log = log
        self._cwd = cwd
        self._interposer = interposer
        self._guard: Guard
        self.qemu: Qemu
        self.ssh: SshSession
        self.agent: AgentClient
        begin = time.monotonic()
        trouble = self._restore_from(snapshots) if snapshots is not None else "none was wanted"
        if trouble is None:
            how = "restored from a snapshot"
        else:
            self._boot()
            how = "booted"
            if snapshots is not None:
                trouble = self._store(snapshots) or trouble
        self.seconds = time.monotonic() - begin
        self.how = f"{how} in {self.seconds:.1f} s" + ("" if trouble is None else f" ({trouble})")
        self.speed = self._measure()

    @property
    def console(self) -> Console:
        """The serial console."""
        return self.qemu.console

    def gone(self) -> str | None:
        """Return what happened to the guest; None while it lives."""
        if self.qemu.console.panic is not None:
            return f"the guest's kernel panicked: {self.qemu.console.panic}"
        return None if self.qemu.alive() else self.qemu.epitaph()

    def _start(self, *, incoming: bool) -> None:
        self.qemu = Qemu(self.command, log=self._log, incoming=incoming, cwd=self._cwd)
        self._guard = Guard(self.qemu.guard)

    def _restore_from(self, snapshots: Snapshots) -> str | None:
        """Restore; return why not."""
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
            self.qemu.migrate_from(snapshot.state, Deadline.after(RESTORE))
            checking.join()
            if verdict:
                raise verdict[0]
            self.qemu.qmp.execute("cont")
            self._log_in(Deadline.after(RESTORE))
        except BaseException:
            self.qemu.quit()
            checking.join()
            raise

    def _boot(self) -> None:
        self._start(incoming=False)
        try:
            self._log_in(Deadline.after(BOOT))
            self.ssh.run(_PREPARE, timeout=BOOT)
        except BaseException:
            self.qemu.quit()
            raise

    def _log_in(self, deadline: Deadline) -> None:
        address = ("127.0.0.1", self.command.ssh_port)
        while True:
            host_key = self._guard.admit(self.key.public, deadline, self.gone)
            try:
                self.ssh = SshSession(
                    address, self.key, host_key, timeout=max(1.0, deadline.remaining), alive=self.gone
                )
            except NotAuthorized:
                # The answer was to an earlier request, of which there may be several: see `Guard.admit`.
                if deadline.passed:
                    raise
            else:
                break
        self.agent = AgentClient(
            self.ssh, alive=self.gone, patience=max(1.0, deadline.remaining), interposer=self._interposer
        )
        try:
            self.agent.call("agent.ping")  # opens the connection, so that it does not count below
        except (AgentTimeout, GuestGone) as error:
            if self.gone():
                raise
            log = self.ssh.run("tail -n 1 /run/agent.log", timeout=BOOT).stdout.strip()
            raise InfrastructureError(
                f"expected the guest's agent to answer, found that it does not: {log or 'it said nothing'}"
            ) from error
        self.agent.patience = PATIENCE
        self._set_clock()

    def _set_clock(self) -> None:
        """Set the guest's clock; a restored guest's is behind by the age of its snapshot."""
        for _ in range(3):
            begin = time.monotonic()
            self.agent.call("system.set_clock", realtime=time.time())
            if time.monotonic() - begin < _CLOCK_ERROR:
                return

    def _log_out(self) -> None:
        self.agent.close()
        self.ssh.close()

    def _store(self, snapshots: Snapshots) -> str | None:
        """Store a snapshot of the guest as it is now; return why not. The guest goes on in either case."""
        self._log_out()
        self._guard.settle(Deadline.after(RESTORE))
        trouble = None
        try:
            self.qemu.qmp.execute("stop")
            snapshots.create(self.command, lambda path: self.qemu.migrate_to(path, Deadline.after(RESTORE)))
        except InfrastructureError as error:
            trouble = f"no snapshot was stored: {error}"
        try:
            self.qemu.qmp.execute("cont")
            self._log_in(Deadline.after(RESTORE))
        except BaseException:
            self.qemu.quit()
            raise
        return trouble

    def _measure(self) -> float:
        speed = _REFERENCE / max(float(self.agent.call("system.speed")), 1e-4)
        seconds = min(HUNG_AT_MOST, max(HUNG, round(HUNG / speed)))
        with suppress(AgentError):  # a kernel that looks for no hung tasks
            self.agent.call("files.write", path="/proc/sys/kernel/hung_task_timeout_secs", text=str(seconds))
        return speed

    def reboot(self, deadline: Deadline, *, before: Callable[[], None] = lambda: None) -> None:
        """Have the guest reboot as its user would, and log in again; devices that were plugged stay so.

        Args:
            deadline: for all of it.
            before: called when the old system has ended and the new one begins.

        Raises:
            InfrastructureError: it did not come back.
        """
        self.qemu.qmp.execute("set-action", {"reboot": "reset"})
        mark = self.qemu.qmp.mark
        try:
            # The shell does not live to tell how it went.
            with suppress(InfrastructureError):
                self.ssh.channel("sync; (sleep 0.1; reboot -f || busybox reboot -f) < /dev/null > /dev/null 2>&1 &")
            if self.qemu.qmp.wait_event("RESET", deadline=deadline, mark=mark) is None:
                raise InfrastructureError(
                    f"expected the guest to reboot, found {self.gone() or 'that it runs on'}; see console.log"
                )
            self._log_out()
            before()
            self._log_in(deadline)
            self.ssh.run(_PREPARE, timeout=BOOT)
        finally:
            if self.qemu.alive():
                self.qemu.qmp.execute("set-action", {"reboot": "shutdown"})

    def synchronize(self) -> None:
        """See that all that the kernel has said until now has come over the console.

        A line is put into the kernel's log and waited for: what was said before it is printed before it.

        Raises:
            InfrastructureError: the line did not come.
            GuestGone: there is no guest any more.
        """
        line = f"plugfest: mark {time.monotonic_ns():x}"
        mark = self.console.mark()
        self.agent.call("system.log_write", text=line)
        deadline = Deadline.after(1.0, speed=self.speed)
        if self.console.wait_for(lambda text: line in text, deadline, mark=mark) is None:
            raise InfrastructureError(
                f"expected the guest's console to print a mark within {deadline.seconds:.0f} s, found none of it; "
                "see console.log"
            )

    def close(self) -> None:
        """End the guest. Idempotent."""
        self._log_out()
        self._guard.close()
        self.qemu.quit()
