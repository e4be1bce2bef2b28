# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine under test: guest, NIC and wire."""

from __future__ import annotations

import base64
import errno
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from plugfest.deadline import Deadline, poll, scaled
from plugfest.errors import InfrastructureError
from plugfest.faults import Interposer, is_models
from plugfest.location import recipes_root
from plugfest.machine import tap as taps
from plugfest.machine import time_stamp_counter
from plugfest.machine.agent import AgentClient, AgentError, AgentTimeout
from plugfest.machine.call_log import CallLog
from plugfest.machine.console import Console
from plugfest.machine.guest import BOOT_TIMEOUT, Guest
from plugfest.machine.interface import CARRIES_FRAMES
from plugfest.machine.link_watch import LinkWatch
from plugfest.machine.model import ModelClient, ModelProcess
from plugfest.machine.qemu import PORTS, QemuCommand, emulated_device, port_address, tap_netdev, vfio_user_device
from plugfest.machine.remote import Recording, Remote
from plugfest.machine.snapshot import Snapshots
from plugfest.machine.ssh import CommandFailed, CommandResult, GuestGone, SshSession
from plugfest.machine.tap import Tap
from plugfest.requirements import drivers as registry
from plugfest.requirements.drivers import Driver, ModelSubject, QemuSubject
from plugfest.run.run_delay import RunDelay

if TYPE_CHECKING:
    from plugfest.run.plan import RunPlan

DUT_MAC = "02:70:66:00:00:01"
SECOND_MAC, SECOND_WIRE = "02:70:66:00:00:02", "wire1"

PROBE_TIMEOUT = 10.0
"""Seconds from loading the driver until its netdev exists, on a guest of speed 1."""

PROBE_FAILED = 1.0
"""Seconds without a driver on the device, on a guest of speed 1, after which it has refused it: while it probes, sysfs shows it."""

_NETDEV = "network"
_EXTRA_MODULES = "/run/plugfest/modules"
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


def kernel_arguments(acceleration: str) -> str:
    """Return the guest's kernel command line, from guest-images/kernel-arguments: one or more words per line, # comments.

    An emulated guest also gets the frequency of its time stamp counter, where that can be measured; KVM passes it by itself.
    """
    text = (recipes_root() / "kernel-arguments").read_text()
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    megahertz = time_stamp_counter.frequency() if acceleration == "tcg" else None
    return " ".join([*words, f"tsc_early_khz={megahertz * 1000}"] if megahertz else words)


def model_options(plan: RunPlan) -> list[str]:
    """Return a model's further options: the faults that are armed from the start."""
    return [word for name in plan.faults if is_models(name) for word in ("--fault", name)]


def qemu_command(plan: RunPlan) -> QemuCommand:
    """Return the QEMU command of a plan's guest."""
    return QemuCommand(
        toolchain=plan.toolchain,
        kernel=plan.kernel,
        root=plan.root,
        acceleration=plan.acceleration,
        arguments=kernel_arguments(plan.acceleration),
        cpus=plan.cpus,
        memory=plan.memory,
    )


class Machine:
    """A guest with its NIC, connected to a remote host by a wire.

    Attributes:
        plan: the plan of the run.
        driver: the driver under test.
        guest: the guest.
        remote: the host at the other end of the wire.
        model: the model's control client; None if QEMU emulates the device.
        ifname: the interface under test.
        link_watch: waits for its link.
        load_error: why there is no interface; None if there is one. The guest keeps running, so that tests can gather more.
        seconds: duration of each part of the start, by name.
        calls: what the test does to the guest, the model and the wire.
    """

    def __init__(self, plan: RunPlan, *, interposer: Interposer | None = None) -> None:
        """Start everything; use `boot`.

        Raises:
            InfrastructureError: guest, model or wire did not start.
        """
        self.plan = plan
        self._interposer = interposer
        self.driver: Driver = registry.find(plan.driver)
        self.ifname = ""
        self.load_error: DriverLoadError | None = None
        self.link_watch = LinkWatch(self)
        self.seconds: dict[str, float] = {}
        self.model: ModelClient | None = None
        self._process: ModelProcess | None = None
        self._processes: list[ModelProcess] = []
        self._recording: Recording | None = None
        self._ports = iter(range(PORTS))
        self._port = 0
        self._numbers = itertools.count(1)
        self._device = ""
        self._delay = RunDelay()
        self.calls = CallLog()
        subject = self.driver.subject
        self.tap = Tap(multi_queue=isinstance(subject, QemuSubject) and subject.queues > 1)
        self._taps = [self.tap]
        self._wires: list[Remote] = []
        try:
            self.remote = Remote(self.tap, interposer, self._delay.seconds, self.calls)
            self._wires.append(self.remote)
            self._start_model()
            snapshots = None if plan.snapshots is None else Snapshots(plan.snapshots)
            self.guest = Guest(
                qemu_command(plan),
                log=plan.guest_output / "console.log",
                snapshots=snapshots,
                cwd=plan.scratch,
                interposer=interposer,
                delay=self._delay,
                log_of_calls=self.calls,
            )
            self.seconds["guest"] = self.guest.seconds
            try:
                self.plug()
            except DriverLoadError as error:
                self.load_error = error
            except (AgentError, AgentTimeout) as error:
                # modprobe hangs, for example, or the interface does not come up.
                self.load_error = DriverLoadError(f"{self.driver.module} did not come up: {error}")
            except GuestGone as error:
                # A kernel that its driver crashes is a finding; a QEMU that dies is not.
                if self.guest.console.panic is None:
                    self.guest.close()
                    raise
                self.load_error = DriverLoadError(str(error))
            except BaseException:
                self.guest.close()
                raise
        except BaseException:
            self._close_subject()
            raise

    @property
    def ssh(self) -> SshSession:
        """The guest's shell."""
        return self.guest.ssh

    @property
    def agent(self) -> AgentClient:
        """The guest's agent."""
        return self.guest.agent

    @property
    def console(self) -> Console:
        """The guest's console."""
        return self.guest.console

    @property
    def speed(self) -> float:
        """The guest's speed: 1 is a KVM guest on an idle laptop."""
        return self.guest.speed

    def lost(self) -> float:
        """Return the seconds that the run has lost because the host is busy: see `RunDelay`."""
        return self.guest.lost()

    def deadline(self, seconds: float) -> Deadline:
        """Start a deadline of so many seconds on a guest of speed 1; it is longer on a slow guest and a busy host."""
        return self.guest.deadline(seconds)

    @property
    def startup(self) -> str:
        """How the guest was started, for the journal."""
        return self.guest.startup

    @property
    def device(self) -> str:
        """QEMU's id for the NIC under test."""
        return self._device

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
        """Run a shell command in the guest; see `plugfest.machine.ssh.SshSession.run`."""
        try:
            result = self.ssh.run(command, check=False, timeout=timeout)
        except Exception as error:
            self.calls.call("shell", command, {}, error=str(error))
            raise
        printed = {"output": result.stdout, "stderr": result.stderr}
        self.calls.call("shell", command, {}, result={"exit_status": result.exit_status, **printed})
        if check and result.exit_status:
            raise CommandFailed(result)
        return result

    def alive(self) -> bool:
        """Whether both guest and model are running."""
        return self.guest.gone() is None and (self._process is None or self._process.alive())

    # --- the device -----------------------------------------------------------------------------------------------

    def _start_model(self) -> None:
        """Start the model; it starts up in parallel with the guest."""
        self._process = self._model_on(self.tap, DUT_MAC)
        if self._process is not None:
            self.model = ModelClient(
                self._process.control, process=self._process, interposer=self._interposer, log=self.calls
            )

    def _model_on(self, tap: Tap, mac: str) -> ModelProcess | None:
        """Start a model of the device on a tap; None if QEMU emulates the device."""
        subject = self.driver.subject
        if not isinstance(subject, ModelSubject):
            return None
        process = ModelProcess(
            subject.model,
            folder=self.plan.scratch,
            tap=tap.name,
            mac=mac,
            profile=self.plan.profile or subject.profile,
            options=model_options(self.plan),
            log=self.plan.guest_output / "model.log",
            name=f"model{len(self._processes)}",
        )
        self._delay.watch(process.pid)
        self._processes.append(process)
        return process

    def plug(self) -> None:
        """Plug the NIC into the next free port, load its driver, set its addresses.

        Raises:
            InfrastructureError: QEMU or the model reported an error, or all ports have been used.
            DriverLoadError: the driver created no netdev.
        """
        begin = time.monotonic()
        self._port, self._device = self._plug_into_port(self.tap, self._process, DUT_MAC)
        self.load_driver()
        self.seconds["netdev"] = time.monotonic() - begin

    def _plug_into_port(self, tap: Tap, process: ModelProcess | None, mac: str) -> tuple[int, str]:
        """Plug a NIC into the next free port; return the port, and QEMU's id for the NIC."""
        try:
            port = next(self._ports)
        except StopIteration:
            raise InfrastructureError(
                f"expected a free PCIe port, found all {PORTS} used; boot a fresh guest"
            ) from None
        identifier = f"dut{next(self._numbers)}"
        subject = self.driver.subject
        if isinstance(subject, QemuSubject):
            netdev = f"{_NETDEV}{identifier}"
            self.guest.qemu.qmp.execute("netdev_add", tap_netdev(netdev, tap.name, subject.queues))
            device = emulated_device(
                subject.device, identifier, port, netdev=netdev, mac=mac, properties=subject.properties
            )
        else:
            assert process is not None
            process.wait_ready()
            device = vfio_user_device(identifier, port, process.socket)
        self.guest.qemu.qmp.execute("device_add", device)
        return port, identifier

    def plug_second(self) -> SecondNic:
        """Plug a second NIC of the same kind, with its own wire and no addresses. The guest cannot be used for another test.

        Raises:
            InfrastructureError: QEMU or the model reported an error, or all ports have been used.
            DriverLoadError: the driver created no netdev.
        """
        subject = self.driver.subject
        several = isinstance(subject, QemuSubject) and subject.queues > 1
        tap = Tap(SECOND_WIRE, multi_queue=several, addresses=False)
        self._taps.append(tap)
        port, _ = self._plug_into_port(tap, self._model_on(tap, SECOND_MAC), SECOND_MAC)
        ifname = self._interface(port)
        self.agent.call("link.set", ifname=ifname, up=True)
        remote = Remote(tap, self._interposer, self._delay.seconds)
        self._wires.append(remote)
        return SecondNic(ifname, remote)

    def load_driver(self) -> None:
        """Load the driver under test, wait for its interface and configure it.

        Raises:
            DriverLoadError: the driver created no netdev.
        """
        self._load_module()
        self.configure()

    def _load_module(self) -> None:
        if self.plan.extra_modules:
            self._insert_modules()
        else:
            self._run_checked(["modprobe", self.driver.module])

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
        """Return the path in the guest of the module of the driver under test; for a built-in driver it is none of a file."""
        name = f"{self.driver.module}.ko"
        if name in (path.name for path in self.plan.extra_modules):
            return f"{_EXTRA_MODULES}/{name}"
        command = ["modinfo", "-F", "filename", self.driver.module]
        path: str = self.agent.call("process.run", command=command)["stdout"].strip()
        return path

    def module_refers_to(self, function: str) -> bool | None:
        """Return whether the module of the driver under test refers to a function of the kernel; None for a built-in driver.

        Raises:
            InfrastructureError: the module's file cannot be searched.
        """
        file = self._module_path()
        if not self.agent.call("files.exists", path=file):
            return None
        if not file.endswith(".ko"):
            raise InfrastructureError(
                f"{file}: expected an uncompressed module (.ko), found another file; decompress it"
            )
        found = self.agent.call("process.run", command=["grep", "-qw", function, file])
        if found["exit_status"] not in (0, 1):
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
        self.ifname = self._interface(self._port)
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
        if self.model is None or not self._model_counts_changes:
            return None
        return int(self.model.call("link.changes"))

    @cached_property
    def _model_counts_changes(self) -> bool:
        return self.model is not None and "link.changes" in self.model.call("control.methods")

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

    def _interface(self, port: int) -> str:
        """Wait for the interface of the NIC in a port; return its name."""
        deadline, begin = self.deadline(PROBE_TIMEOUT), time.monotonic()
        refused: Deadline | None = None
        pattern = f"/sys/bus/pci/devices/{port_address(port)}/0000:??:??.?/"

        def ended() -> list[str | None]:
            nonlocal refused
            name = self._registered(pattern)
            if name is not None:
                return [name]
            if not self._is_unbound(pattern):
                refused = None
            elif refused is None:
                refused = self.deadline(PROBE_FAILED)
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
        where = f"PCI device {Path(functions[0]).name}" if functions else "no PCI device behind the port"
        log = [entry["text"] for entry in self.agent.call("system.log") if self.driver.module in entry["text"]]
        logged = f"; the driver logged: {log[-1]}" if log else "; the driver logged nothing"
        gone = self.guest.gone()
        raise DriverLoadError(
            f"expected {self.driver.module} to create a netdev within {seconds:.0f} s, found {gone or where + ' without one'}{logged}"
        )

    def _run_checked(self, command: list[str]) -> None:
        timeout = scaled(PROBE_TIMEOUT, self.speed)
        result: dict[str, Any] = self.agent.call("process.run", command=command, timeout=timeout)
        if result["exit_status"] != 0:
            raise DriverLoadError(
                f"`{' '.join(command)}`: expected exit status 0, found {result['exit_status']}: {result['stderr'].strip()}"
            )

    def _insert_modules(self) -> None:
        for path in self.plan.extra_modules:
            there = f"{_EXTRA_MODULES}/{path.name}"
            self.agent.call("files.put", path=there, data=base64.b64encode(path.read_bytes()).decode())
            needs = self.agent.call("process.run", command=["modinfo", "-F", "depends", there])["stdout"].strip()
            if needs:
                self._run_checked(["modprobe", "-a", *needs.split(",")])
            self._run_checked(["insmod", there])

    def replace_nic(self) -> None:
        """Remove the NIC through the guest's sysfs, and plug another into the next port.

        QEMU 11.1.3 aborts on device_del of a vfio-user device with MSI-X, so the guest removes it, and the old model is ended.
        """
        for path in self.agent.call(
            "files.glob", path=f"/sys/bus/pci/devices/{port_address(self._port)}/0000:??:??.?/remove"
        ):
            self.agent.call("files.write", path=path, text="1")
        if isinstance(self.driver.subject, QemuSubject):
            # Only one device at a time can open a tap: the old one must be gone before the next opens it.
            mark = self.guest.qemu.qmp.mark
            self.guest.qemu.qmp.execute("device_del", {"id": self._device})
            self.guest.qemu.qmp.wait_event("DEVICE_DELETED", deadline=self.deadline(5), mark=mark)
            self.guest.qemu.qmp.execute("netdev_del", {"id": f"{_NETDEV}{self._device}"})
        elif self._process is not None:
            if self.model is not None:
                self.model.close()
            self._process.close()
            self._start_model()
        self.plug()

    def reboot(self) -> None:
        """Reboot the guest with the NIC plugged, and load the driver again.

        Raises:
            InfrastructureError: the guest did not come back, or cannot be rebooted after a replaced NIC.
            DriverLoadError: the driver created no netdev.
        """
        if len(self._processes) > 1:
            # QEMU 11.1.3 aborts when it resets a vfio-user device whose server is gone.
            raise InfrastructureError(
                "expected a guest whose NIC was never replaced, found one that QEMU cannot reset; boot a fresh guest"
            )
        self.guest.reboot(Deadline.after(BOOT_TIMEOUT, lost=self.lost))
        self.load_driver()

    # --- the wire -------------------------------------------------------------------------------------------------

    def record_wire(self, path: Path) -> None:
        """Capture the wire into a pcap file."""
        if self.model is not None:
            self.model.call("wire.record", path=str(path.resolve()))
        else:
            self._recording = self.remote.record(path)

    def stop_recording(self) -> int:
        """Stop the capture; return the number of frames."""
        if self.model is not None:
            return int(self.model.call("wire.stop")["frames"])
        recording, self._recording = self._recording, None
        return 0 if recording is None else recording.stop()

    def synchronize(self) -> None:
        """Wait until the console has printed everything that the kernel has logged: see `Guest.synchronize`."""
        self.guest.synchronize()

    def clear_warn_once(self) -> None:
        """Reset the kernel's one-time warnings (WARN_ONCE), so that each test sees its own."""
        self.agent.call("files.write", path="/sys/kernel/debug/clear_warn_once", text="1")

    def close(self) -> None:
        """Stop everything. Idempotent."""
        if self._recording is not None:
            self._recording.stop()
            self._recording = None
        with suppress(InfrastructureError):
            self.guest.close()
        self._close_subject()

    def _close_subject(self) -> None:
        """Stop the models and remove the wires."""
        if self.model is not None:
            self.model.close()
        for process in self._processes:
            process.close()
        for remote in self._wires:
            remote.close()
        for tap in self._taps:
            tap.close()
        self._delay.close()


def boot(plan: RunPlan, *, interposer: Interposer | None = None) -> Machine:
    """Boot a guest, or restore one, with the plan's NIC on the wire, and let its link come up. Needs the run's network namespace.

    Args:
        plan: what to boot.
        interposer: what the clients of agent, model and wire consult; None where the run falsifies nothing on this side.

    Raises:
        InfrastructureError: the guest, the model or the wire did not start. A driver that creates no netdev is not such an error:
            see `Machine.load_error`.
    """
    machine = Machine(plan, interposer=interposer)
    if machine.load_error is None:
        machine.link_watch.wait()
    return machine
