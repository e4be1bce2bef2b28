# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that stands for a real machine: reached over SSH on a port of this host, its NIC's wire a tap in a network namespace.

By hand, as root: ``python tests/hardware/machine_stand_in.py ixgbe /tmp/stand-in`` boots it, and prints the options that test it. Ctrl-C
ends it and removes the namespace. More arguments name the namespace and the port, for a second one beside it, and the model's profile.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from plugfest.machine import model
from plugfest.machine.guest import Guest
from plugfest.machine.qemu import vfio_user_device
from plugfest.machine.snapshot import Snapshots
from plugfest.machine.virtual import DUT_MAC, qemu_command
from plugfest.requirements import drivers
from plugfest.requirements.drivers import ModelSubject
from plugfest.run.plan import RunPlan

WIRE = "wire0"
LOAD_TIMEOUT = 60.0


@dataclass(frozen=True)
class StandIn:
    """What reaches it.

    Attributes:
        guest: the guest.
        dut: for ``--dut``.
        remote: for ``--remote``.
        ssh_config: for ``--ssh-config``.
    """

    guest: Guest
    dut: str
    remote: str
    ssh_config: Path

    def options(self) -> list[str]:
        """The options of plugfest run."""
        return [
            *("--dut", self.dut, "--ifname", "eth0", "--remote", self.remote, "--remote-ifname", WIRE),
            *("--ssh-config", str(self.ssh_config)),
        ]


def run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, capture_output=True)


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """A network namespace with a tap, which is silent."""
    run("ip", "netns", "del", name, check=False)
    run("ip", "netns", "add", name)
    try:
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "tuntap", "add", "dev", WIRE, "mode", "tap")
        run(*inside, "ip", "link", "set", WIRE, "up")
        yield
    finally:
        run("ip", "netns", "del", name, check=False)


@contextmanager
def stand_in(plan: RunPlan, folder: Path, *, name: str = "peer", port: int = 2222) -> Iterator[StandIn]:
    """Boot it: the guest of a plan whose driver runs on one of our models, which the guest's user knows nothing of.

    Args:
        plan: which guest.
        folder: for sockets, logs and keys.
        name: of the namespace.
        port: of SSH on 127.0.0.1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subject = drivers.find(plan.driver).subject
    assert isinstance(subject, ModelSubject)
    socket = folder / "nic.vfio-user"
    argv = model.command(
        subject.model,
        vfio_user=socket,
        control=folder / "nic.control",
        files=folder / "nic.files",
        tap=WIRE,
        mac=DUT_MAC,
        profile=plan.profile or subject.profile,
    )
    with namespace(name), (folder / "model.log").open("ab") as log:
        process = subprocess.Popen(["ip", "netns", "exec", name, *argv], stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"ready", (folder / "model.log").read_text()
            command = replace(qemu_command(plan), ssh_port=port, agent_port=port + 1)
            snapshots = None if plan.snapshots is None else Snapshots(plan.snapshots)
            guest = Guest(command, log=folder / "console.log", snapshots=snapshots, cwd=folder)
            try:
                yield _ready(guest, plan.driver, socket, folder, name, port)
            finally:
                guest.close()
        finally:
            process.terminate()
            process.wait(10)


def _ready(guest: Guest, driver: str, socket: Path, folder: Path, name: str, port: int) -> StandIn:
    guest.qemu.qmp.execute("device_add", vfio_user_device("nic", 0, socket))
    guest.agent.call("process.run", command=["modprobe", drivers.find(driver).module], timeout=LOAD_TIMEOUT)
    end = time.monotonic() + LOAD_TIMEOUT
    while "eth0" not in guest.agent.call("link.list_all"):
        assert time.monotonic() < end, "no netdev"
        time.sleep(0.1)
    guest.authorize()
    guest.key.write(folder / "key")
    config = folder / "ssh_config"
    config.write_text(
        f"Host *\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
        "  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    )
    return StandIn(guest, f"root@127.0.0.1:{port}", f"netns:{name}", config)


def main(driver: str, folder: str, name: str = "peer", port: str = "2222", profile: str | None = None) -> int:
    from plugfest.cli.prepare import GuestOptions, plan

    options = GuestOptions("trixie-backports", "auto", profile, (), 2, 1024, False, (), False, None, None, None)
    made = plan(driver, options, Path(folder))
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background process ignores the first otherwise
        signal.signal(number, signal.default_int_handler)
    with stand_in(made, Path(folder), name=name, port=int(port)) as standing:
        sys.stdout.write(f"plugfest run {' '.join(standing.options())}\n")
        sys.stdout.flush()
        try:
            while standing.guest.gone() is None:
                time.sleep(1)
        except KeyboardInterrupt:
            pass
        sys.stdout.write(f"the guest ended: {standing.guest.gone()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
