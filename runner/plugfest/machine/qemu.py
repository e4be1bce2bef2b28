# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: its command line and its process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from plugfest.deadline import Deadline
from plugfest.errors import InfrastructureError
from plugfest.machine.console import Console
from plugfest.machine.qmp import Qmp
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain

MANAGEMENT_MAC = "52:55:00:d1:55:01"
GUEST_ADDRESS = "10.0.2.15"
"""Address of the management NIC: slirp offers it, and the guest's init sets it."""

SSH_PORT, AGENT_PORT = 2222, 2223
"""On the loopback of the run's network namespace, where nothing else listens, and which no other process can reach."""

GUEST_SSH_PORT, GUEST_AGENT_PORT = 22, 2223

PORTS = 6
"""Number of PCIe root ports; each plugged device uses the next one."""

CONSOLE = "serial0"
CHANNELS = ("serial1", "monitor")
"""Guard and QMP: each a socket pair created before QEMU starts, so that no byte is lost and no socket needs a path."""

_CONSOLE_ROOM = 1 << 20
"""Bytes that wait for a runner without a core. The kernel gives a serial port 10 ms for a character (serial8250's wait_for_lsr()) and
then writes the next one over it; QEMU writes each alone, and a Unix socket has room for 278 such writes. Hence a pipe, of the largest
size that a process without privileges may have (fs.pipe-max-size)."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_CPU = {"kvm": "host", "tcg": "max,erms=off,fsrm=off"}
"""The CPU by acceleration. Where one claims fast string instructions (ERMS, FSRM), the kernel clears pages and copies by ``rep stosb`` and
``rep movsb``, which TCG carries out byte by byte: 4 MiB take it six times as long as by words."""


def die_with_parent() -> None:
    """For ``preexec_fn``: have the kernel kill this process when the thread that forked it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def port_name(number: int) -> str:
    """Return the id of a root port, from 0."""
    return f"port{number}"


def port_address(number: int) -> str:
    """Return the guest's PCI address of a root port."""
    return f"0000:00:{0x10 + number:02x}.0"


@dataclass(frozen=True)
class MachineConfig(ABC):
    """A machine for QEMU to run, with the three channels that connect it to the runner.

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
        """Return the options of the management NIC's backend."""
        return []

    def argv(self, *, channels: Mapping[str, int] | Path, incoming: bool = False) -> list[str]:
        """Build the command line.

        Args:
            channels: inherited file descriptor of each of `CHANNELS`, and the pipe's of `CONSOLE`; or a folder in which QEMU listens
                on sockets with these names, and writes the console to a file, for ``--dry-run``.
            incoming: wait for a snapshot instead of booting.
        """
        argv = [*self.toolchain.qemu, *self.machine()]
        for name in CHANNELS:
            where = (
                f"path={channels / name},server=on,wait=off" if isinstance(channels, Path) else f"fd={channels[name]}"
            )
            argv += ["-chardev", f"socket,id={name},{where}"]
        if isinstance(channels, Path):
            output = str(channels / "console.log")
        else:
            argv += ["-add-fd", f"fd={channels[CONSOLE]},set=1"]
            output = "/dev/fdset/1,append=on"  # else QEMU would truncate it, which a pipe refuses
        argv += ["-chardev", f"file,id={CONSOLE},path={output}"]
        argv += ["-serial", f"chardev:{CONSOLE}", "-serial", "chardev:serial1", "-mon", "chardev=monitor,mode=control"]
        argv += self.network()
        if incoming:
            argv += ["-incoming", "defer"]
        return argv


@dataclass(frozen=True)
class QemuCommand(MachineConfig):
    """The guest's machine.

    Attributes:
        root: the root file system.
        acceleration: ``kvm`` or ``tcg``.
        arguments: the kernel's command line.
        cpus: number of CPUs.
        memory: MiB.
        ssh_port: port on 127.0.0.1 that is forwarded to the guest's SSH server.
        agent_port: likewise to its agent.
        cpu: properties of the CPU beside the usual ones, as ``family=23``.
    """

    root: GuestRoot
    acceleration: str
    arguments: str
    cpus: int = 2
    memory: int = 1024
    ssh_port: int = SSH_PORT
    agent_port: int = AGENT_PORT
    cpu: str = ""

    def network(self) -> list[str]:
        """Return the slirp options; ``restrict=on`` keeps the guest offline, so that no verdict depends on the network."""
        ports = ((self.ssh_port, GUEST_SSH_PORT), (self.agent_port, GUEST_AGENT_PORT))
        forwards = [f"hostfwd=tcp:127.0.0.1:{here}-{GUEST_ADDRESS}:{there}" for here, there in ports]
        return ["-netdev", ",".join(["user,id=management,ipv6=off,restrict=on", *forwards])]

    def machine(self) -> list[str]:
        """Return the part of the command line that a snapshot depends on."""
        accelerator = "tcg,thread=multi" if self.acceleration == "tcg" else self.acceleration
        cpu = ",".join(filter(None, (_CPU[self.acceleration], self.cpu)))
        options = [
            *("-nodefaults", "-no-user-config", "-display", "none"),
            # A guest that resets on its own has crashed; before a reboot that a test requests, QMP changes this action.
            *("-action", "reboot=shutdown,shutdown=poweroff,panic=none,watchdog=none"),
            *("-accel", accelerator, "-cpu", cpu, "-smp", str(self.cpus)),
            *("-m", f"{self.memory}M"),
            *("-object", f"memory-backend-memfd,id=memory,size={self.memory}M,share=on"),
            *("-machine", "q35,memory-backend=memory,vmport=off,smbus=off,sata=off,usb=off"),
            *("-kernel", str(self.kernel.image), "-initrd", str(self.kernel.initramfs), "-append", self.arguments),
            # Guests restored from the same snapshot must not generate the same random numbers.
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
    """Escape a path for QEMU's key=value lists: a comma is doubled."""
    return str(path).replace(",", ",,")


REPLY_TIMEOUT_MS = 60_000
"""For how long QEMU waits for a reply from a model.

After it the device is gone for good: every read returns all ones. A model on a busy host may well need seconds; one that has ended
closes its socket, which QEMU notices at once.
"""


def vfio_user_device(identifier: str, port: int, path: Path) -> dict[str, Any]:
    """Return the arguments of ``device_add`` for a device that a model serves.

    Args:
        identifier: QEMU's id for it.
        port: number of the root port.
        path: the model's socket.
    """
    return {
        "driver": "vfio-user-pci",
        "id": identifier,
        "bus": port_name(port),
        "socket": {"type": "unix", "path": str(path)},
        "x-msg-timeout": REPLY_TIMEOUT_MS,
    }


def emulated_device(
    driver: str, identifier: str, port: int, *, netdev: str, mac: str, properties: Mapping[str, str | int | bool] = {}
) -> dict[str, Any]:
    """Return the arguments of ``device_add`` for a NIC that QEMU emulates itself."""
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
    """Return the arguments of ``netdev_add`` for an existing tap; several queues need a multi-queue tap.

    There is no vnet header, so that the wire carries real frames: with it, the device could leave checksums and segmentation to
    the host's kernel, and no test could check them.
    """
    found = {"type": "tap", "id": identifier, "ifname": tap, "script": "no", "downscript": "no", "vnet_hdr": False}
    return {**found, "queues": queues} if queues > 1 else found


def _console_pipe() -> tuple[FileIO, FileIO]:
    """Return the two ends of a pipe with room for `_CONSOLE_ROOM` bytes: the runner's, and QEMU's."""
    reader, writer = os.pipe()
    with suppress(OSError):  # a user who has too many of them already
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _CONSOLE_ROOM)
    return FileIO(reader, "rb"), FileIO(writer, "wb")


class Qemu:
    """A running QEMU process.

    Attributes:
        console: the guest's console.
        guard: the runner's end of the second serial port.
        qmp: the monitor.
        command: the machine that it runs.
    """

    def __init__(self, command: MachineConfig, *, log: Path, incoming: bool = False, cwd: Path | None = None) -> None:
        """Start it.

        Args:
            command: the machine.
            log: file to append the console to.
            incoming: wait for a snapshot instead of booting.
            cwd: working directory.

        Raises:
            InfrastructureError: it did not start; the message has its output.
        """
        self.command = command
        with ExitStack() as failed, ExitStack() as theirs:
            self._output = failed.enter_context(tempfile.TemporaryFile())  # open for as long as QEMU may write to it
            console, output = _console_pipe()
            failed.callback(console.close)
            ends = {CONSOLE: theirs.enter_context(output).fileno()}
            ours = {}
            for name in CHANNELS:
                ours[name], end = socket.socketpair()
                failed.callback(ours[name].close)
                ends[name] = theirs.enter_context(end).fileno()
            argv = command.argv(channels=ends, incoming=incoming)
            try:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=self._output,
                    pass_fds=list(ends.values()),
                    cwd=cwd,
                    start_new_session=True,  # the runner, not QEMU, handles ^C in the terminal
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, which needs no lock
                )
            except (OSError, subprocess.SubprocessError) as error:
                reason = getattr(error, "strerror", None) or error
                raise InfrastructureError(
                    f"expected QEMU at {argv[0]}, found: {reason}; run plugfest cache verify"
                ) from error
            failed.callback(self._kill)
            theirs.close()
            self.guard = ours["serial1"]
            try:
                self.console = Console(console, log)
            except OSError as error:
                raise InfrastructureError(
                    f"{log}: expected to write the guest's console there, found: {error.strerror}"
                ) from error
            failed.callback(self.console.close)
            failed.callback(self._kill)  # before the console is closed, which reads until its end
            self.qmp = Qmp(ours["monitor"], dead=self.exit_reason)
            failed.pop_all()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return QEMU's standard output and error, stripped."""
        if self._output.closed:
            return ""
        # pread does not move the file offset, which is shared with QEMU.
        size = os.fstat(self._output.fileno()).st_size
        text = os.pread(self._output.fileno(), 1 << 16, max(0, size - (1 << 16))).decode("utf-8", "replace")
        return text.strip()

    def exit_reason(self) -> str:
        """Return on one line how QEMU ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        status = self._process.poll()
        if status is None:
            return "QEMU is running, but its monitor is closed"
        cause = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with exit status {status}"
        output = [line for line in self.output().splitlines() if line.strip() and ": warning: " not in line]
        lines = [line.removeprefix("qemu-system-x86_64: ") for line in output]
        return f"QEMU ended {cause}" + (f": {lines[-1]}" if lines else "")

    def migrate_to(self, path: Path, deadline: Deadline) -> None:
        """Write the stopped guest's state to a file, with RAM at fixed offsets (mapped-ram), so that zero pages become holes."""
        self._fix_ram_offsets()
        self.qmp.execute("migrate", {"uri": f"file:{path}"})
        self._finish_migration(deadline)

    def migrate_from(self, path: Path, deadline: Deadline) -> None:
        """Load a guest's state, which stays stopped. QEMU must have been started with `incoming`."""
        self._fix_ram_offsets()
        self.qmp.execute("migrate-incoming", {"uri": f"file:{path}", "exit-on-error": False})
        self._finish_migration(deadline)

    def _fix_ram_offsets(self) -> None:
        # "events" reports each change of the migration's state, so that there is no need to poll.
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
                    f"expected QEMU's migration to complete, found {status}: {found.get('error-desc') or self.output() or 'no reason'}"
                )
            if deadline.passed or not self.alive():
                raise InfrastructureError(
                    f"expected QEMU's migration to complete within {deadline.seconds:.0f} s, found {status or 'no status'}: {self.output()}"
                )
            event = self.qmp.wait_event("MIGRATION", deadline=Deadline.after(min(1.0, deadline.remaining)), mark=mark)
            if event is not None:
                mark = self.qmp.mark

    def quit(self) -> None:
        """Stop QEMU, whatever the guest is doing. Idempotent."""
        if self.alive():
            with suppress(InfrastructureError):
                self.qmp.execute("quit", timeout=2.0)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
        self._kill()
        self.qmp.close()
        self.console.close()
        self.guard.close()
        self._output.close()

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
