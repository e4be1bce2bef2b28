# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine under test: what runs the driver, with its NIC and the wire."""

from __future__ import annotations

import errno
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from plugfest.deadline import Deadline, poll, scaled
from plugfest.errors import InfrastructureError
from plugfest.machine import tap as taps
from plugfest.machine.agent import AgentClient, AgentError, AgentTimeout, KernelLacksError
from plugfest.machine.call_log import CallLog
from plugfest.machine.console import Console, Problem
from plugfest.machine.interface import CARRIES_FRAMES
from plugfest.machine.link_watch import LINK_TIMEOUT, LinkWatch
from plugfest.machine.model import ModelClient
from plugfest.machine.remote import Recording, Remote
from plugfest.machine.ssh import CommandFailed, CommandResult
from plugfest.requirements.drivers import Driver

_DECOMPRESSORS = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
"""By suffix of a module's file (CONFIG_MODULE_COMPRESS_*)."""
_NO_PROGRAM = 127
_SEARCH = f"""
command -v "$1" > /dev/null || exit {_NO_PROGRAM}
program=$1 file=$2
shift 2
{{ "$program" -dcq -- "$file" || echo "$program failed" >&2; }} | "$@"
"""
"""What follows program and file, searches the module, all of which it must read: a pipe has the exit status of its last command alone."""
_KEEP_ADDRESSES = "/proc/sys/net/ipv6/conf/{}/keep_addr_on_down"


class DriverLoadError(AssertionError):
    """The driver created no netdev; this is a finding, not an infrastructure error."""


@dataclass(frozen=True)
class SecondNic:
    """A second NIC of the same kind, with the same driver.

    Attributes:
        ifname: its interface.
        remote: the host at the other end of its wire.
    """

    ifname: str
    remote: Remote


class Machine(ABC):
    """A machine with its NIC, connected to a remote host by a wire.

    Attributes:
        driver: the driver under test.
        remote: the host at the other end of the wire.
        model: the model's control client; None if the device is not one of our models.
        ifname: the interface under test.
        link_watch: waits for its link.
        load_error: why there is no interface; None if there is one. The machine keeps running, so that tests can gather more.
        seconds: duration of each part of the start, by name.
        calls: what the test does to the machine, the model and the wire.
        probe_timeout: seconds from loading the driver until its netdev exists, on a guest of speed 1.
        probe_failed: seconds without a driver on the device, on a guest of speed 1, after which it has refused it: while it probes,
            sysfs shows it.
        link_timeout: seconds for the link before a test begins, on a guest of speed 1.
    """

    probe_timeout = 10.0
    probe_failed = 1.0
    link_timeout = LINK_TIMEOUT
    remote: Remote

    def __init__(self, driver: Driver) -> None:
        """Start nothing yet."""
        self.driver = driver
        self.ifname = ""
        self.load_error: DriverLoadError | None = None
        self.link_watch = LinkWatch(self, self.link_timeout)
        self.seconds: dict[str, float] = {}
        self.model: ModelClient | None = None
        self.calls = CallLog()
        self._recording: Recording | None = None

    # --- what each kind of machine has ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def agent(self) -> AgentClient:
        """The machine's agent."""

    @property
    @abstractmethod
    def console(self) -> Console:
        """What the machine's kernel logs."""

    @property
    @abstractmethod
    def speed(self) -> float:
        """The machine's speed: 1 is a KVM guest on an idle laptop."""

    @property
    @abstractmethod
    def startup(self) -> str:
        """How the machine was started, for the journal."""

    @property
    @abstractmethod
    def mac(self) -> str:
        """The device's own hardware address."""

    @abstractmethod
    def lost(self) -> float:
        """Return the seconds that the run has lost because the host is busy: see `RunDelay`."""

    @abstractmethod
    def gone(self) -> str | None:
        """Return what happened to the machine; None while it is running."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether the machine, and all that it needs, is running."""

    def unusable(self, problems: Sequence[Problem]) -> str | None:  # noqa: ARG002 - what a real machine goes by
        """Return why no other machine can follow this one; None where one can.

        Args:
            problems: that the kernel has reported during the last test.
        """
        return None

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until `console` has received everything that the kernel has logged so far.

        Raises:
            InfrastructureError: it did not in time.
        """

    @contextmanager
    def _coming_up(self) -> Iterator[None]:
        """Note in `load_error` why the interface did not come up in this context."""
        try:
            yield
        except DriverLoadError as error:
            self.load_error = error
        except (AgentError, AgentTimeout) as error:  # modprobe hangs, for example
            self.load_error = DriverLoadError(f"{self.driver.module} did not come up: {error}")

    @abstractmethod
    def load_driver(self) -> None:
        """Load the driver under test, wait for its interface and configure it.

        Raises:
            DriverLoadError: the driver created no netdev.
        """

    @abstractmethod
    def reboot(self) -> None:
        """Reboot the machine, and load the driver again.

        Raises:
            InfrastructureError: it did not come back, or cannot be rebooted.
            DriverLoadError: the driver created no netdev.
        """

    @abstractmethod
    def plug_second(self) -> SecondNic:
        """Plug a second NIC of the same kind, with its own wire and no addresses. The machine cannot be used for another test.

        Raises:
            InfrastructureError: it cannot be plugged.
            DriverLoadError: the driver created no netdev.
        """

    @abstractmethod
    def set_link(self, *, up: bool) -> None:
        """Take the link at the other end of the wire down, or up, where no model does."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything. Idempotent."""

    @abstractmethod
    def _device_path(self) -> str:
        """Return the shell pattern of the folder in sysfs of the PCI device under test, with a slash at its end."""

    @abstractmethod
    def _shell(self, command: str, timeout: float | None) -> CommandResult:
        """Run a shell command in the machine, whatever its exit status."""

    # --- all machines ---------------------------------------------------------------------------------------------

    def deadline(self, seconds: float) -> Deadline:
        """Start a deadline of so many seconds on a machine of speed 1; it is longer on a slow machine and a busy host."""
        return Deadline.after(seconds, speed=self.speed, lost=self.lost)

    def driver_version(self) -> str | None:
        """The version that the driver reports, and the module's srcversion; None if it created no netdev."""
        if self.load_error is not None:
            return None
        version: str = self.agent.call("ethtool.driver_info", ifname=self.ifname)["version"]
        try:
            source = self.agent.call("files.read", path=f"/sys/module/{self.driver.module}/srcversion").strip()
        except AgentError:  # a built-in driver, or a kernel without srcversions
            return version
        return f"{version}, srcversion {source}"

    def run(self, command: str, *, check: bool = True, timeout: float | None = None) -> CommandResult:
        """Run a shell command in the machine; see `plugfest.machine.ssh.SshSession.run`."""
        try:
            result = self._shell(command, timeout)
        except Exception as error:
            self.calls.call("shell", command, {}, error=str(error))
            raise
        printed = {"output": result.stdout, "stderr": result.stderr}
        self.calls.call("shell", command, {}, result={"exit_status": result.exit_status, **printed})
        if check and result.exit_status:
            raise CommandFailed(result)
        return result

    def module_file(self) -> dict[str, str | None] | None:
        """What identifies the module of the driver under test, as far as the guest has it; None for a built-in driver.

        Returns:
            Its ``file`` name, the file's ``sha256``, and its ``srcversion`` and ``version`` as modinfo prints them, each None where
            the module has none.
        """
        path = self._module_path()
        if not self.agent.call("files.exists", path=path):
            return None
        commands = (["sha256sum", path], ["modinfo", "-F", "srcversion", path], ["modinfo", "-F", "version", path])
        found = [self.agent.call("process.run", command=command)["stdout"].split() for command in commands]
        checksum, source, version = (words[0] if words else None for words in found)
        return {"file": Path(path).name, "sha256": checksum, "srcversion": source, "version": version}

    def _module_path(self) -> str:
        """Return the path in the machine of the module of the driver under test; for a built-in driver it is none of a file."""
        command = ["modinfo", "-F", "filename", self.driver.module]
        path: str = self.agent.call("process.run", command=command)["stdout"].strip()
        return path

    def module_refers_to(self, function: str) -> bool | None:
        """Return whether the module of the driver under test refers to a function of the kernel; None for a built-in driver.

        Raises:
            KernelLacksError: the module is compressed, and the machine has no program for that.
            InfrastructureError: the module's file cannot be searched.
        """
        file = self._module_path()
        if not self.agent.call("files.exists", path=file):
            return None
        suffix = Path(file).suffix
        program = _DECOMPRESSORS.get(suffix)
        if program is None and suffix != ".ko":
            raise InfrastructureError(
                f"{file}: expected a module (.ko, or one compressed by {', '.join(_DECOMPRESSORS.values())}), found another file"
            )
        search = ["grep", "-acw", "--", function]
        command = [*search, file] if program is None else ["sh", "-c", _SEARCH, "sh", program, file, *search]
        found = self.agent.call("process.run", command=command)
        if found["exit_status"] == _NO_PROGRAM:
            raise KernelLacksError(
                "a sign of what a compressed driver claims", f"there is no {program} on the machine to read {file}"
            )
        if found["exit_status"] not in (0, 1) or found["stderr"]:
            raise InfrastructureError(f"{file}: expected grep to search it, found: {found['stderr'].strip()}")
        return bool(found["exit_status"] == 0)

    def unload_driver(self) -> None:
        """Unload the driver under test."""
        self._run_checked(["modprobe", "-r", self.driver.module])

    def configure(self) -> None:
        """Wait for the interface under test, set it up and add its addresses.

        Raises:
            DriverLoadError: there is no interface.
        """
        self.ifname = self._interface(self._device_path())
        # Without it the kernel removes static IPv6 addresses when the interface goes down.
        self.agent.call("files.write", path=_KEEP_ADDRESSES.format(self.ifname), text="1")
        self.agent.call("link.set", ifname=self.ifname, up=True)
        for address, prefix in ((taps.DUT_IPV4, taps.IPV4_PREFIX), (taps.DUT_IPV6, taps.IPV6_PREFIX)):
            try:
                self.agent.call("link.add_address", ifname=self.ifname, address=f"{address}/{prefix}")
            except AgentError as error:
                if error.errno != errno.EEXIST:  # a test's undo may find them there
                    raise

    def wait_for_link(self, timeout: float) -> dict[str, Any]:
        """Return the interface as soon as it carries frames, or after so many seconds."""
        found: dict[str, Any] = self.agent.call("link.wait", ifname=self.ifname, wanted=CARRIES_FRAMES, timeout=timeout)
        return found

    def link_changes(self) -> int | None:
        """How often the link has gone up or down by the model; None without one, or if it does not count them."""
        if self.model is None or not self.model.offers("link.changes"):
            return None
        return int(self.model.call("link.changes"))

    def link_looked(self) -> bool:
        """Whether the driver has read the state of the model's link since it last changed."""
        return self.model is not None and bool(self.model.call("link.looks"))

    def violations(self, since: float) -> list[str]:
        """Return what the model has noted of a driver that breaks the device's rules, each once, as ``tx.unowned (queue 0)``.

        Args:
            since: a moment of `time.monotonic`, whose clock the model shares.
        """
        found: dict[str, None] = {}
        for event in [] if self.model is None else self.model.call("events.read"):
            if event["event"] == "violation" and event["time"] >= since:
                queue = f" (queue {event['queue']})" if "queue" in event else ""
                found[f"{event['rule']}{queue}"] = None
        return list(found)

    def _interface(self, pattern: str) -> str:
        """Wait for the interface of a device, whose folder in sysfs matches a shell pattern; return its name."""
        deadline, begin = self.deadline(self.probe_timeout), time.monotonic()
        refused: Deadline | None = None

        def ended() -> list[str | None]:
            nonlocal refused
            name = self._registered(pattern)
            if name is not None:
                return [name]
            if not self._is_unbound(pattern):
                refused = None
            elif refused is None:
                refused = self.deadline(self.probe_failed)
            return [None] if refused is not None and refused.passed else []

        found = poll(ended, deadline)
        if not found or found[0] is None:
            self._no_interface(pattern, time.monotonic() - begin)
        return found[0]

    def _is_unbound(self, pattern: str) -> bool:
        """Whether the device is there and has no driver, not even one that probes it."""
        devices, drivers = (self.agent.call("files.glob", path=pattern + inside) for inside in ("", "driver"))
        return bool(devices) and not drivers

    def _registered(self, pattern: str) -> str | None:
        """Return the interface's name once IPv6 has registered it too: sysfs shows an interface before its registration is complete."""
        for inside in ("net/*", "virtio*/net/*"):
            for path in self.agent.call("files.glob", path=pattern + inside):
                name = Path(path).name
                if self.agent.call("files.glob", path=_KEEP_ADDRESSES.format(name)):
                    return name
        return None

    def _no_interface(self, pattern: str, seconds: float) -> NoReturn:
        functions = self.agent.call("files.glob", path=pattern)
        where = f"PCI device {Path(functions[0]).name}" if functions else "no PCI device there"
        log = [entry["text"] for entry in self.agent.call("system.log") if self.driver.module in entry["text"]]
        logged = f"; the driver logged: {log[-1]}" if log else "; the driver logged nothing"
        gone = self.gone()
        raise DriverLoadError(
            f"expected {self.driver.module} to create a netdev within {seconds:.0f} s, found {gone or where + ' without one'}{logged}"
        )

    def _run_checked(self, command: list[str]) -> None:
        timeout = scaled(self.probe_timeout, self.speed)
        result: dict[str, Any] = self.agent.call("process.run", command=command, timeout=timeout)
        if result["exit_status"] != 0:
            raise DriverLoadError(
                f"`{' '.join(command)}`: expected exit status 0, found {result['exit_status']}: {result['stderr'].strip()}"
            )

    # --- the wire -------------------------------------------------------------------------------------------------

    def record_wire(self, path: Path) -> None:
        """Capture the wire into a pcap file."""
        if self.model is not None:
            self.model.record_wire(path)
        else:
            self._recording = self.remote.record(path)

    def stop_recording(self) -> int:
        """Stop the capture; return the number of frames."""
        if self.model is not None:
            return self.model.stop_recording()
        recording, self._recording = self._recording, None
        return 0 if recording is None else recording.stop()

    def clear_warn_once(self) -> None:
        """Reset the kernel's one-time warnings (WARN_ONCE), so that each test sees its own."""
        self.agent.call("files.write", path="/sys/kernel/debug/clear_warn_once", text="1")

    def _close_recording(self) -> None:
        if self._recording is not None:
            self._recording.stop()
            self._recording = None
