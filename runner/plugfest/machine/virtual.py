# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine under test that QEMU runs: guest, NIC and wire."""

from __future__ import annotations

import base64
import itertools
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.faults import Interposer, is_models
from plugfest.location import recipes_root
from plugfest.machine import time_stamp_counter
from plugfest.machine.agent import AgentClient
from plugfest.machine.console import Console
from plugfest.machine.guest import BOOT_TIMEOUT, Guest
from plugfest.machine.machine import DriverLoadError, Machine, SecondNic
from plugfest.machine.model import ModelClient, ModelProcess
from plugfest.machine.qemu import PORTS, QemuCommand, emulated_device, port_address, tap_netdev, vfio_user_device
from plugfest.machine.remote import Remote
from plugfest.machine.snapshot import Snapshots
from plugfest.machine.ssh import CommandResult, GuestGone, SshSession
from plugfest.machine.tap import Tap
from plugfest.requirements import drivers as registry
from plugfest.requirements.drivers import ModelSubject, QemuSubject
from plugfest.run.run_delay import RunDelay

if TYPE_CHECKING:
    from plugfest.run.plan import RunPlan

DUT_MAC = "02:70:66:00:00:01"
SECOND_MAC, SECOND_WIRE = "02:70:66:00:00:02", "wire1"

_NETDEV = "network"
_EXTRA_MODULES = "/run/plugfest/modules"


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


class VirtualMachine(Machine):
    """A guest with its NIC, connected to a remote host by a wire.

    Attributes:
        plan: the plan of the run.
        guest: the guest.
        tap: the wire's end on the host.
    """

    def __init__(self, plan: RunPlan, *, interposer: Interposer | None = None) -> None:
        """Start everything; use `boot`.

        Raises:
            InfrastructureError: guest, model or wire did not start.
        """
        super().__init__(registry.find(plan.driver))
        self.plan = plan
        self._interposer = interposer
        self._process: ModelProcess | None = None
        self._processes: list[ModelProcess] = []
        self._ports = iter(range(PORTS))
        self._port = 0
        self._numbers = itertools.count(1)
        self._device = ""
        self._delay = RunDelay()
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
                with self._coming_up():
                    self.plug()
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

    @property
    def startup(self) -> str:
        """How the guest was started, for the journal."""
        return self.guest.startup

    @property
    def mac(self) -> str:
        """The device's own hardware address."""
        return DUT_MAC

    def gone(self) -> str | None:
        """Return what happened to the guest; None while it is running."""
        return self.guest.gone()

    def alive(self) -> bool:
        """Whether both guest and model are running."""
        return self.guest.gone() is None and (self._process is None or self._process.alive())

    def _shell(self, command: str, timeout: float | None) -> CommandResult:
        return self.ssh.run(command, check=False, timeout=timeout)

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
        ifname = self._interface(_device_path(port))
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

    def _module_path(self) -> str:
        name = f"{self.driver.module}.ko"
        if name in (path.name for path in self.plan.extra_modules):
            return f"{_EXTRA_MODULES}/{name}"
        return super()._module_path()

    def _device_path(self) -> str:
        return _device_path(self._port)

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
        for path in self.agent.call("files.glob", path=self._device_path() + "remove"):
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

    def set_link(self, *, up: bool) -> None:
        """Plug QEMU's end of the cable of a device that QEMU emulates, or unplug it."""
        self.guest.qemu.qmp.execute("set_link", {"name": self._device, "up": up})

    def synchronize(self) -> None:
        """Wait until the console has printed everything that the kernel has logged: see `Guest.synchronize`."""
        self.guest.synchronize()

    def close(self) -> None:
        """Stop everything. Idempotent."""
        self._close_recording()
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


def _device_path(port: int) -> str:
    """Return the shell pattern of the folder in sysfs of the PCI device in a port."""
    return f"/sys/bus/pci/devices/{port_address(port)}/0000:??:??.?/"


def boot(plan: RunPlan, *, interposer: Interposer | None = None) -> VirtualMachine:
    """Boot a guest, or restore one, with the plan's NIC on the wire, and let its link come up. Needs the run's network namespace.

    Args:
        plan: what to boot.
        interposer: what the clients of agent, model and wire consult; None where the run falsifies nothing on this side.

    Raises:
        InfrastructureError: the guest, the model or the wire did not start. A driver that creates no netdev is not such an error:
            see `Machine.load_error`.
    """
    machine = VirtualMachine(plan, interposer=interposer)
    if machine.load_error is None:
        machine.link_watch.wait()
    return machine
