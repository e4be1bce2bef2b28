# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: the command line that makes the guest's machine, and the process."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.machine.console import Console
from plugfest.machine.qmp import Qmp
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain

MANAGEMENT_MAC = "52:55:00:d1:55:01"
GUEST_ADDRESS = "10.0.2.15"
"""Of the management NIC, as slirp hands it out and as the guest's init sets it."""

SSH_PORT = 2222
"""On the run's own loopback, where nothing else listens."""

PORTS = 6
"""PCIe root ports: a device that was removed from one is followed by the next in another."""

CHANNELS = ("serial0", "serial1", "monitor")
"""Console, guard, QMP: each a socket pair that exists before QEMU does, so that no byte is lost and no name is taken."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_FAST_ACCELERATOR = {"kvm": "host", "tcg": "max"}


def die_with_parent() -> None:
    """Have this process killed when the thread that forked it ends: for ``preexec_fn``."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def port_name(number: int) -> str:
    """Return the id of a root port, from 0."""
    return f"port{number}"


def port_address(number: int) -> str:
    """Return the guest's PCI address of a root port."""
    return f"0000:00:{0x10 + number:02x}.0"


@dataclass(frozen=True)
class Machinery(ABC):
    """A machine that QEMU can run, with the three channels that the runner watches it by.

    Attributes:
        toolchain: QEMU.
        kernel: the kernel with its initramfs and modules.
    """

    toolchain: Toolchain
    kernel: Kernel

    @abstractmethod
    def machine(self) -> list[str]:
        """Return the part of the command line that a snapshot depends on."""

    def network(self) -> list[str]:
        """Return the options of the management network's far end."""
        return []

    def argv(self, *, channels: Mapping[str, int] | Path, incoming: bool = False) -> list[str]:
        """Build the command line.

        Args:
            channels: inherited file descriptor of each of `CHANNELS`; or a folder in which QEMU listens on sockets of
                their names, which is what ``--dry-run`` prints.
            incoming: wait for a snapshot instead of booting.
        """
        argv = [*self.toolchain.qemu, *self.machine()]
        for name in CHANNELS:
            where = (
                f"path={channels / name},server=on,wait=off" if isinstance(channels, Path) else f"fd={channels[name]}"
            )
            argv += ["-chardev", f"socket,id={name},{where}"]
        argv += ["-serial", "chardev:serial0", "-serial", "chardev:serial1", "-mon", "chardev=monitor,mode=control"]
        argv += self.network()
        if incoming:
            argv += ["-incoming", "defer"]
        return argv


@dataclass(frozen=True)
class QemuCommand(Machinery):
    """What the guest's machine is made of.

    Attributes:
        root: the root file system.
        acceleration: ``kvm`` or ``tcg``.
        arguments: the kernel's command line.
        cpus: number of CPUs.
        memory: MiB.
        ssh_port: on 127.0.0.1, forwarded to the guest's port 22.
    """

    root: GuestRoot
    acceleration: str
    arguments: str
    cpus: int = 2
    memory: int = 1024
    ssh_port: int = SSH_PORT

    def network(self) -> list[str]:
        """Return slirp: the guest may reach nothing by it, since what it fetched would decide verdicts."""
        forward = f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-{GUEST_ADDRESS}:22"
        return ["-netdev", f"user,id=management,ipv6=off,restrict=on,{forward}"]

    def machine(self) -> list[str]:
        """Return the part of the command line that a snapshot depends on."""
        accelerator = "tcg,thread=multi" if self.acceleration == "tcg" else self.acceleration
        options = [
            *("-nodefaults", "-no-user-config", "-display", "none"),
            # A guest that resets itself has crashed; a reboot that a test asks for is allowed by QMP first.
            *("-action", "reboot=shutdown,shutdown=poweroff,panic=none,watchdog=none"),
            *("-accel", accelerator, "-cpu", _FAST_ACCELERATOR[self.acceleration], "-smp", str(self.cpus)),
            *("-m", f"{self.memory}M"),
            *("-object", f"memory-backend-memfd,id=memory,size={self.memory}M,share=on"),
            *("-machine", "q35,memory-backend=memory,vmport=off,smbus=off,sata=off,usb=off"),
            *("-kernel", str(self.kernel.image), "-initrd", str(self.kernel.initramfs), "-append", self.arguments),
            # A restored guest must not repeat the random numbers of its twins.
            *("-device", "vmgenid,guid=auto"),
        ]
        for name, image, slot in (("root", self.root.image, 2), ("modules", self.kernel.modules, 3)):
            options += ["-blockdev", f"driver=file,node-name={name}-file,filename={_escaped(image)},read-only=on"]
            options += ["-blockdev", f"driver=raw,node-name={name},file={name}-file,read-only=on"]
            options += ["-device", f"virtio-blk-pci,drive={name},serial={name},addr=0x{slot:x}"]
        options += ["-device", f"virtio-net-pci,netdev=management,mac={MANAGEMENT_MAC},romfile=,addr=0x4"]
        for number in range(PORTS):
            options += [
                "-device",
                f"pcie-root-port,id={port_name(number)},chassis={number + 1},slot={number + 1},addr=0x{0x10 + number:x}",
            ]
        return options


def _escaped(path: Path) -> str:
    """Return a path as a value in QEMU's key=value lists, where a comma is doubled."""
    return str(path).replace(",", ",,")


def vfio_user_device(identifier: str, port: int, path: Path, *, timeout_ms: int = 1000) -> dict[str, Any]:
    """Return ``device_add``'s arguments for a device that a model serves.

    Args:
        identifier: QEMU's id of it.
        port: number of the root port.
        path: the model's socket.
        timeout_ms: how long QEMU lets the model take for one answer before it gives it up.
    """
    return {
        "driver": "vfio-user-pci",
        "id": identifier,
        "bus": port_name(port),
        "socket": {"type": "unix", "path": str(path)},
        "x-msg-timeout": timeout_ms,
    }


def emulated_device(
    driver: str, identifier: str, port: int, *, netdev: str, mac: str, properties: Mapping[str, str | int | bool] = {}
) -> dict[str, Any]:
    """Return ``device_add``'s arguments for a NIC that QEMU emulates itself."""
    return {
        "driver": driver,
        "id": identifier,
        "bus": port_name(port),
        "netdev": netdev,
        "mac": mac,
        "romfile": "",
        **properties,
    }


def tap_netdev(identifier: str, tap: str, queues: int = 1) -> dict[str, Any]:
    """Return ``netdev_add``'s arguments for an existing tap, which must be a multi-queue one for more than one queue.

    Without a vnet header, so that the wire carries true frames: with it the device could leave checksums and segmentation to
    the host's kernel, and no test could tell whether they were right.
    """
    found = {"type": "tap", "id": identifier, "ifname": tap, "script": "no", "downscript": "no", "vnet_hdr": False}
    return {**found, "queues": queues} if queues > 1 else found


def command_line(device: Mapping[str, Any]) -> list[str]:
    """Return what ``-device`` would say in place of ``device_add``."""
    return ["-device", json.dumps(device)]


class Qemu:
    """A running QEMU.

    Attributes:
        console: the guest's console.
        guard: our end of the second serial port.
        qmp: the monitor.
        command: what was started.
    """

    def __init__(self, command: Machinery, *, log: Path, incoming: bool = False, cwd: Path | None = None) -> None:
        """Start it.

        Args:
            command: the machine.
            log: the console is appended to it.
            incoming: wait for a snapshot instead of booting.
            cwd: folder to run in.

        Raises:
            InfrastructureError: it did not start; the message has what it said.
        """
        self.command = command
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as QEMU may write to it
        pairs = {name: socket.socketpair() for name in CHANNELS}
        theirs = {name: pair[1] for name, pair in pairs.items()}
        argv = command.argv(channels={name: end.fileno() for name, end in theirs.items()}, incoming=incoming)
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[end.fileno() for end in theirs.values()],
                cwd=cwd,
                start_new_session=True,  # a terminal's ^C is the runner's to handle
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that a thread could hold
            )
        except OSError as error:
            for ours, _ in pairs.values():
                ours.close()
            raise InfrastructureError(
                f"expected QEMU at {argv[0]}, found: {error.strerror}; run plugfest cache verify"
            ) from error
        finally:
            for end in theirs.values():
                end.close()
        self.guard = pairs["serial1"][0]
        self.console = Console(pairs["serial0"][0], log)
        try:
            self.qmp = Qmp(pairs["monitor"][0], dead=self.epitaph)
        except BaseException:
            self._kill()
            self.console.close()
            self.guard.close()
            self._said.close()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def said(self) -> str:
        """Return what QEMU wrote to its standard output and error, stripped."""
        if self._said.closed:
            return ""
        # pread: the offset is shared with QEMU, which appends to the same open file.
        size = os.fstat(self._said.fileno()).st_size
        text = os.pread(self._said.fileno(), 1 << 16, max(0, size - (1 << 16))).decode("utf-8", "replace")
        return text.strip()

    def epitaph(self) -> str:
        """Say on one line how QEMU ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        status = self._process.poll()
        if status is None:
            return "QEMU runs, but its monitor is closed"
        how = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with exit status {status}"
        said = [line for line in self.said().splitlines() if line.strip() and ": warning: " not in line]
        lines = [line.removeprefix("qemu-system-x86_64: ") for line in said]
        return f"QEMU ended {how}" + (f": {lines[-1]}" if lines else "")

    def migrate_to(self, path: Path, deadline: Deadline) -> None:
        """Write the stopped guest's state into a file, RAM at fixed offsets so that zero pages are holes."""
        self._fix_ram_offsets()
        self.qmp.execute("migrate", {"uri": f"file:{path}"})
        self._finish_migration(deadline)

    def migrate_from(self, path: Path, deadline: Deadline) -> None:
        """Load a guest's state; it stays stopped. QEMU must have been started with `incoming`."""
        self._fix_ram_offsets()
        self.qmp.execute("migrate-incoming", {"uri": f"file:{path}", "exit-on-error": False})
        self._finish_migration(deadline)

    def _fix_ram_offsets(self) -> None:
        # Each change of the migration's state is an event: no polling.
        capabilities = [{"capability": name, "state": True} for name in ("mapped-ram", "events")]
        self.qmp.execute("migrate-set-capabilities", {"capabilities": capabilities})

    def _finish_migration(self, deadline: Deadline) -> None:
        mark = 0
        while True:
            found = self.qmp.execute("query-migrate")
            status = found.get("status")
            if status == "completed":
                return
            if status in ("failed", "cancelled"):
                raise InfrastructureError(
                    f"QEMU's migration {status}: {found.get('error-desc') or self.said() or 'no reason given'}"
                )
            if deadline.passed or not self.alive():
                raise InfrastructureError(
                    f"QEMU's migration is still {status or 'not begun'} after {deadline.seconds:.0f} s: {self.said()}"
                )
            event = self.qmp.wait_event("MIGRATION", deadline=Deadline.after(min(1.0, deadline.remaining)), mark=mark)
            if event is not None:
                mark = self.qmp.mark

    def quit(self) -> None:
        """End QEMU, whatever the guest does. Idempotent."""
        if self.alive():
            with suppress(InfrastructureError):
                self.qmp.execute("quit", timeout=2.0)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
        self._kill()
        self.qmp.close()
        self.console.close()
        self.guard.close()
        self._said.close()

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
