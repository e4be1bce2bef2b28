# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP through each NIC of one guest, in turn, round after round: so that drift affects all of them alike."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from plugfest.deadline import Deadline, poll
from plugfest.machine.guest import Guest
from plugfest.machine.model import ModelProcess
from plugfest.machine.qemu import emulated_device, port_address, tap_netdev, vfio_user_device

CHUNK = 1 << 20
WARM_UP = 0.5
_BYTES_ACKED = struct.Struct("<120xQ")
"""tcpi_bytes_acked of struct tcp_info, include/uapi/linux/tcp.h."""

_UTIME = 11
"""Of the fields after the command's name in /proc/PID/stat; system time follows it (proc_pid_stat(5))."""


@dataclass
class Subject:
    """One NIC of the guest.

    Attributes:
        name: of the table's row.
        module: the guest's driver.
        model: plugfest's model; None for a device of QEMU's.
        device: QEMU's device.
        transmitted: the guest's transmit rate of each round, Mbit/s.
        received: the guest's receive rate of each round, Mbit/s.
        transmit_cost, receive_cost: CPU seconds of QEMU and the model for a gigabyte, of each round.
        probe_seconds: from plugging it to its netdev.
    """

    name: str
    module: str
    model: str | None = None
    device: str = ""
    transmitted: list[float] = field(default_factory=list)
    received: list[float] = field(default_factory=list)
    transmit_cost: list[float] = field(default_factory=list)
    receive_cost: list[float] = field(default_factory=list)
    probe_seconds: float = 0.0


def subjects() -> list[Subject]:
    """Return what is compared; ours first."""
    return [
        Subject("ixgbe (plugfest)", "ixgbe", model="ixgbe"),
        Subject("gve (plugfest)", "gve", model="gve"),
        Subject("xgbe (plugfest)", "amd_xgbe", model="xgbe"),
        Subject("igb (QEMU)", "igb", device="igb"),
        Subject("vmxnet3 (QEMU)", "vmxnet3", device="vmxnet3"),
        Subject("virtio-net-pci (QEMU)", "virtio_net", device="virtio-net-pci"),
    ]


class Plugged:
    """A subject with its tap, plugged into a port of its own.

    Every frame on its wire is complete, as in the suite: no device leaves checksums or segmentation to the host.
    """

    def __init__(self, subject: Subject, guest: Guest, number: int, scratch: Path, stack: ExitStack) -> None:
        """Plug it and set its addresses: 198.18.N.1 here, 198.18.N.2 in the guest (RFC 2544's range)."""
        self.subject = subject
        self.here, self.there = f"198.18.{number}.1", f"198.18.{number}.2"
        self._guest = guest
        self._pids = [guest.qemu.pid]
        tap, mac = f"bench{number}", f"02:70:66:00:01:{number:02x}"
        for arguments in (
            f"tuntap add {tap} mode tap",
            f"address add {self.here}/24 dev {tap}",
            f"link set {tap} up",
        ):
            subprocess.run(["ip", *arguments.split()], check=True)
        qmp = guest.qemu.qmp
        if subject.model is not None:
            process = ModelProcess(subject.model, folder=scratch, tap=tap, mac=mac, name=tap)
            stack.callback(process.close)
            process.wait_ready()
            self._pids.append(process.pid)
            device = vfio_user_device(tap, number, process.socket)
        else:
            qmp.execute("netdev_add", tap_netdev(f"net{number}", tap, 1))
            device = emulated_device(subject.device, tap, number, netdev=f"net{number}", mac=mac)
        begin = time.monotonic()
        qmp.execute("device_add", device)
        ifname = self._interface(number)
        subject.probe_seconds = time.monotonic() - begin
        guest.ssh.run(f"ip address add {self.there}/24 dev {ifname} && ip link set {ifname} up")
        poll(lambda: guest.ssh.run(f"ping -c1 -W1 {self.here}", check=False).exit_status == 0, Deadline.after(30))

    def _interface(self, number: int) -> str:
        self._guest.ssh.run(f"modprobe {self.subject.module}")
        pattern = f"/sys/bus/pci/devices/{port_address(number)}/0000:*"
        command = f"ls -d {pattern}/net/* {pattern}/virtio*/net/* 2>/dev/null | head -n1"
        found = poll(self._guest.ssh.run(command, check=False).stdout.strip, Deadline.after(30))
        assert found, f"{self.subject.name} created no netdev"
        return Path(str(found)).name

    def transmit(self, seconds: float) -> None:
        """Let the guest send."""
        with socket.create_server((self.here, 0)) as listener:
            connection = self._connect(listener, "dd if=/dev/zero bs=262144 >/dev/tcp/{}")
            with connection:
                buffer = bytearray(CHUNK)
                self._drain(connection, buffer, WARM_UP)
                before = self._cpu()
                count, taken = self._drain(connection, buffer, seconds)
                spent = self._cpu() - before
        self.subject.transmitted.append(count * 8e-6 / taken)
        self.subject.transmit_cost.append(spent / (count * 1e-9))

    @staticmethod
    def _drain(connection: socket.socket, buffer: bytearray, seconds: float) -> tuple[int, float]:
        count, begin = 0, time.monotonic()
        while (taken := time.monotonic() - begin) < seconds:
            count += connection.recv_into(buffer)
        return count, taken

    def receive(self, seconds: float) -> None:
        """Let the guest receive; what it acknowledged counts."""
        with socket.create_server((self.here, 0)) as listener:
            connection = self._connect(listener, "dd of=/dev/null bs=262144 </dev/tcp/{}")
            with connection:
                data = bytes(CHUNK)
                self._fill(connection, data, WARM_UP)
                before, acknowledged = self._cpu(), _acknowledged(connection)
                taken = self._fill(connection, data, seconds)
                spent, count = self._cpu() - before, _acknowledged(connection) - acknowledged
        self.subject.received.append(count * 8e-6 / taken)
        self.subject.receive_cost.append(spent / (count * 1e-9))

    @staticmethod
    def _fill(connection: socket.socket, data: bytes, seconds: float) -> float:
        begin = time.monotonic()
        while (taken := time.monotonic() - begin) < seconds:
            connection.send(data)
        return taken

    def _cpu(self) -> float:
        """CPU seconds of QEMU and the model since they began."""
        ticks = 0
        for pid in self._pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[_UTIME]) + int(fields[_UTIME + 1])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _connect(self, listener: socket.socket, command: str) -> socket.socket:
        listener.settimeout(30)
        address = f"{self.here}/{listener.getsockname()[1]}"
        # /dev/tcp is bash's; what it runs here it runs until the connection is closed.
        self._guest.ssh.run(f"bash -c '{command.format(address)}' >/dev/null 2>&1 </dev/null &")
        connection, _ = listener.accept()
        connection.settimeout(30)
        return connection


def _acknowledged(connection: socket.socket) -> int:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    return int(_BYTES_ACKED.unpack(info)[0])


def measure(guest: Guest, compared: Sequence[Subject], scratch: Path, *, rounds: int, seconds: float) -> None:
    """Plug all subjects into one guest and fill in their rates."""
    with ExitStack() as stack:
        plugged = [Plugged(subject, guest, number, scratch, stack) for number, subject in enumerate(compared)]
        for _ in range(rounds):
            for each in plugged:
                each.transmit(seconds)
            for each in plugged:
                each.receive(seconds)
