# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest, NIC and wire put together."""

from __future__ import annotations

import base64
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from plugfest.deadline import Deadline, poll, scaled
from plugfest.errors import InfrastructureError
from plugfest.faults import Interposer, is_models
from plugfest.location import recipes_root
from plugfest.machine import tap as taps
from plugfest.machine.agent import AgentClient, AgentError, AgentTimeout
from plugfest.machine.console import Console
from plugfest.machine.guest import BOOT, Guest
from plugfest.machine.model import ModelClient, ModelProcess
from plugfest.machine.qemu import PORTS, QemuCommand, emulated_device, port_address, tap_netdev, vfio_user_device
from plugfest.machine.remote import Recording, Remote
from plugfest.machine.snapshot import Snapshots
from plugfest.machine.ssh import CommandResult, GuestGone, SshSession
from plugfest.machine.tap import Tap
from plugfest.requirements import drivers as registry
from plugfest.requirements.drivers import Driver, ModelSubject, QemuSubject

if TYPE_CHECKING:
    from plugfest.run.plan import RunPlan

DUT_MAC = "02:70:66:00:00:01"
SECOND_MAC, SECOND_WIRE = "02:70:66:00:00:02", "wire1"

PROBE = 10.0
"""Seconds from loading the driver to its netdev, on a guest of speed 1."""

_NETDEV = "network"
_KEEP_ADDRESSES = "/proc/sys/net/ipv6/conf/{}/keep_addr_on_down"


class DriverLoadError(AssertionError):
    """The driver did not make an interface of the device: that says something of the driver."""


@dataclass(frozen=True)
class SecondNic:
    """Another NIC of the machine, of the same kind and with the same driver.

    Attributes:
        ifname: its interface.
        wire: the other end of its wire.
    """

    ifname: str
    remote: Remote


def kernel_arguments() -> str:
    """Return the guest's kernel command line, from guest-images/kernel-arguments: one or more words a line, # comments."""
    text = (recipes_root() / "kernel-arguments").read_text()
    return " ".join(word for line in text.splitlines() for word in line.partition("#")[0].split())


def model_options(plan: RunPlan) -> list[str]:
    """Return what a model is told beside its wire and profile: the faults that it has from its start."""
    return [word for name in plan.faults if is_models(name) for word in ("--fault", name)]


def qemu_command(plan: RunPlan) -> QemuCommand:
    """Return the guest's machine for a plan."""
    return QemuCommand(
        toolchain=plan.toolchain,
        kernel=plan.kernel,
        root=plan.root,
        acceleration=plan.acceleration,
        arguments=kernel_arguments(),
        cpus=plan.cpus,
        memory=plan.memory,
    )


class Machine:
    """A guest with its NIC on the wire.

    Attributes:
        plan: what was asked for.
        driver: the driver under test.
        guest: the guest.
        wire: the other end of the wire.
        model: asks the device; None where QEMU emulates it.
        ifname: the interface under test.
        load_error: why there is no interface; None if there is one. The guest runs on, so that tests can say more.
        seconds: what each part of the start took, by name.
    """

    def __init__(self, plan: RunPlan, *, interposer: Interposer | None = None) -> None:
        """Bring it all up; use `boot`.

        Raises:
            InfrastructureError: some part of it did not come up.
        """
        self.plan = plan
        self._interposer = interposer
        self.driver: Driver = registry.find(plan.driver)
        self.ifname = ""
        self.load_error: DriverLoadError | None = None
        self.seconds: dict[str, float] = {}
        self.model: ModelClient | None = None
        self._process: ModelProcess | None = None
        self._processes: list[ModelProcess] = []
        self._recording: Recording | None = None
        self._ports = iter(range(PORTS))
        self._port = 0
        self._numbers = itertools.count(1)
        self._device = ""
        subject = self.driver.subject
        self.tap = Tap(several_queues=isinstance(subject, QemuSubject) and subject.queues > 1)
        self._taps = [self.tap]
        self._wires: list[Remote] = []
        try:
            self.remote = Remote(self.tap, interposer)
            self._wires.append(self.remote)
            self._serve()
            snapshots = None if plan.snapshots is None else Snapshots(plan.snapshots)
            self.guest = Guest(
                qemu_command(plan),
                log=plan.output / "console.log",
                snapshots=snapshots,
                cwd=plan.scratch,
                interposer=interposer,
            )
            self.seconds["guest"] = self.guest.seconds
            try:
                self.plug()
            except DriverLoadError as error:
                self.load_error = error
            except (AgentError, AgentTimeout) as error:
                # As when modprobe hangs, or the interface refuses to go up.
                self.load_error = DriverLoadError(f"{self.driver.module} did not come up: {error}")
            except GuestGone as error:
                # A kernel that dies of its driver is a finding; one that QEMU lost is not.
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
        """How fast the guest is: 1 is a KVM guest on an idle laptop."""
        return self.guest.speed

    @property
    def how(self) -> str:
        """How the guest came up, for the journal."""
        return self.guest.how

    @property
    def device(self) -> str:
        """QEMU's id of the NIC under test."""
        return self._device

    def driver_version(self) -> str | None:
        """What the driver says of its version, and the module's hash of its source; None where it made no interface."""
        if self.load_error is not None:
            return None
        told: str = self.agent.call("ethtool.driver_info", ifname=self.ifname)["version"]
        try:
            source = self.agent.call("files.read", path=f"/sys/module/{self.driver.module}/srcversion").strip()
        except AgentError:  # built in, or of a kernel that keeps none
            return told
        return f"{told}, srcversion {source}"

    def run(self, command: str, *, check: bool = True, timeout: float | None = None) -> CommandResult:
        """Run a shell command in the guest; see `plugfest.machine.ssh.SshSession.run`."""
        return self.ssh.run(command, check=check, timeout=timeout)

    def alive(self) -> bool:
        """Whether the guest lives, and the model with it."""
        return self.guest.gone() is None and (self._process is None or self._process.alive())

    # --- the device -----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Start the model; it comes up while the guest does."""
        self._process = self._model_on(self.tap, DUT_MAC)
        if self._process is not None:
            self.model = ModelClient(self._process.control, process=self._process, interposer=self._interposer)

    def _model_on(self, tap: Tap, mac: str) -> ModelProcess | None:
        """Start a model of the subject on a tap; None where QEMU emulates the device."""
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
            log=self.plan.output / "model.log",
            name=f"model{len(self._processes)}",
        )
        self._processes.append(process)
        return process

    def plug(self) -> None:
        """Plug the NIC into the next free port, load its driver, set its addresses.

        Raises:
            InfrastructureError: QEMU or the model refused, or all ports have been used.
            DriverLoadError: the driver made no interface.
        """
        begin = time.monotonic()
        self._port, self._device = self._add(self.tap, self._process, DUT_MAC)
        self.load_driver()
        self.seconds["netdev"] = time.monotonic() - begin

    def _add(self, tap: Tap, process: ModelProcess | None, mac: str) -> tuple[int, str]:
        """Plug a NIC into the next free port; returns the port, and QEMU's id of the NIC."""
        try:
            port = next(self._ports)
        except StopIteration:
            raise InfrastructureError(f"expected a free port, found all {PORTS} used; boot a fresh guest") from None
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
        """Plug a second NIC of the same kind, on a wire of its own; it has no addresses. For a guest that is given up afterwards.

        Raises:
            InfrastructureError: QEMU or the model refused, or all ports have been used.
            DriverLoadError: the driver made no interface.
        """
        subject = self.driver.subject
        several = isinstance(subject, QemuSubject) and subject.queues > 1
        tap = Tap(SECOND_WIRE, several_queues=several, addresses=False)
        self._taps.append(tap)
        port, _ = self._add(tap, self._model_on(tap, SECOND_MAC), SECOND_MAC)
        ifname = self._interface(port)
        self.agent.call("link.set", ifname=ifname, up=True)
        remote = Remote(tap, self._interposer)
        self._wires.append(remote)
        return SecondNic(ifname, remote)

    def load_driver(self) -> None:
        """Load the driver under test, wait for its interface, set that up.

        Raises:
            DriverLoadError: it made none.
        """
        self._load_module()
        self.configure()

    def _load_module(self) -> None:
        if self.plan.extra_modules:
            self._insert_modules()
        else:
            self._succeed(["modprobe", self.driver.module])

    def unload_driver(self) -> None:
        """Unload the driver under test."""
        self._succeed(["modprobe", "-r", self.driver.module])

    def configure(self) -> None:
        """Wait for the interface under test and give it its addresses.

        Raises:
            DriverLoadError: there is none.
        """
        self.ifname = self._interface(self._port)
        # Without it the kernel forgets a static IPv6 address when the interface goes down.
        self.agent.call("files.write", path=_KEEP_ADDRESSES.format(self.ifname), text="1")
        self.agent.call("link.set", ifname=self.ifname, up=True)
        for address, prefix in ((taps.DUT_IPV4, taps.IPV4_PREFIX), (taps.DUT_IPV6, taps.IPV6_PREFIX)):
            self.agent.call("link.add_address", ifname=self.ifname, address=f"{address}/{prefix}")

    def _interface(self, port: int) -> str:
        """Wait for the interface of the NIC in a port; returns its name."""
        deadline = Deadline.after(PROBE, speed=self.speed)
        pattern = f"/sys/bus/pci/devices/{port_address(port)}/0000:??:??.?/"
        found = poll(lambda: self._registered(pattern), deadline)
        if found is None:
            self._no_interface(pattern, deadline.seconds)
        return found

    def _registered(self, pattern: str) -> str | None:
        """The interface's name, once IPv6 has heard of it too: sysfs shows an interface before its registration is done."""
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
        said = f"; the driver said: {log[-1]}" if log else "; the driver said nothing"
        gone = self.guest.gone()
        raise DriverLoadError(
            f"expected an interface of {self.driver.module} within {seconds:.0f} s, found {gone or where + ' without one'}{said}"
        )

    def _succeed(self, command: list[str]) -> None:
        timeout = scaled(PROBE, self.speed)
        result: dict[str, Any] = self.agent.call("process.run", command=command, timeout=timeout)
        if result["exit_status"] != 0:
            raise DriverLoadError(
                f"`{' '.join(command)}`: expected exit status 0, found {result['exit_status']}: {result['stderr'].strip()}"
            )

    def _insert_modules(self) -> None:
        for path in self.plan.extra_modules:
            there = f"/run/plugfest/modules/{path.name}"
            self.agent.call("files.put", path=there, data=base64.b64encode(path.read_bytes()).decode())
            needs = self.agent.call("process.run", command=["modinfo", "-F", "depends", there])["stdout"].strip()
            if needs:
                self._succeed(["modprobe", "-a", *needs.split(",")])
            self._succeed(["insmod", there])

    def replug(self) -> None:
        """Take the NIC out as a user would, and plug another into the next port.

        QEMU aborts when a vfio-user device with MSI-X is taken out by it (11.1.3), so the guest removes it, and the old model
        is ended.
        """
        for path in self.agent.call(
            "files.glob", path=f"/sys/bus/pci/devices/{port_address(self._port)}/0000:??:??.?/remove"
        ):
            self.agent.call("files.write", path=path, text="1")
        if isinstance(self.driver.subject, QemuSubject):
            # A tap serves one device at a time: the old one must be gone before the next opens it.
            mark = self.guest.qemu.qmp.mark
            self.guest.qemu.qmp.execute("device_del", {"id": self._device})
            self.guest.qemu.qmp.wait_event("DEVICE_DELETED", deadline=Deadline.after(5, speed=self.speed), mark=mark)
            self.guest.qemu.qmp.execute("netdev_del", {"id": f"{_NETDEV}{self._device}"})
        elif self._process is not None:
            if self.model is not None:
                self.model.close()
            self._process.close()
            self._serve()
        self.plug()

    def reboot(self) -> None:
        """Reboot the guest with the NIC plugged, load the driver again.

        Raises:
            InfrastructureError: the guest did not come back, or cannot be rebooted any more.
            DriverLoadError: the driver made no interface.
        """
        if len(self._processes) > 1:
            # QEMU 11.1.3 aborts when it resets a vfio-user device whose server is gone.
            raise InfrastructureError(
                "expected a guest whose NIC was never replugged, found one that QEMU cannot reset; boot a fresh guest"
            )
        self.guest.reboot(Deadline.after(BOOT))
        self.load_driver()

    # --- the wire -------------------------------------------------------------------------------------------------

    def record_wire(self, path: Path) -> None:
        """Record what is on the wire into a pcap file."""
        if self.model is not None:
            self.model.call("wire.record", path=str(path.resolve()))
        else:
            self._recording = self.remote.record(path)

    def stop_recording(self) -> int:
        """Stop it; returns the number of frames."""
        if self.model is not None:
            return int(self.model.call("wire.stop")["frames"])
        recording, self._recording = self._recording, None
        return 0 if recording is None else recording.stop()

    def synchronize(self) -> None:
        """Wait until all that the kernel has said has come over the console: see `Guest.synchronize`."""
        self.guest.synchronize()

    def clear_once(self) -> None:
        """Let the kernel's one-time warnings (WARN_ONCE) fire again, so that each test sees its own."""
        self.agent.call("files.write", path="/sys/kernel/debug/clear_warn_once", text="1")

    def close(self) -> None:
        """End everything. Idempotent."""
        if self._recording is not None:
            self._recording.stop()
            self._recording = None
        with suppress(InfrastructureError):
            self.guest.close()
        self._close_subject()

    def _close_subject(self) -> None:
        """End the models and the wires."""
        if self.model is not None:
            self.model.close()
        for process in self._processes:
            process.close()
        for remote in self._wires:
            remote.close()
        for tap in self._taps:
            tap.close()


def boot(plan: RunPlan, *, interposer: Interposer | None = None) -> Machine:
    """Boot a guest, or restore one, with the plan's NIC on the wire. Needs the run's network namespace.

    Args:
        plan: what to boot.
        interposer: what the clients of agent, model and wire consult; None where the run falsifies nothing on this side.

    Raises:
        InfrastructureError: the guest, the model or the wire did not come up. A driver that made no interface is no such
            error: see `Machine.load_error`.
    """
    return Machine(plan, interposer=interposer)
