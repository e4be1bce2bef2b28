# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with a NIC model on the wire, and no Linux driver on it: its PCI device is bound to ``uio_pci_generic``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.machine.guest import Guest
from plugfest.machine.model import ModelClient, ModelProcess
from plugfest.machine.qemu import QemuCommand, port_address, vfio_user_device
from plugfest.machine.remote import Remote
from plugfest.machine.snapshot import Snapshots
from plugfest.machine.tap import Tap
from plugfest.machine.virtual import DUT_MAC

HUGE_PAGES = 160
"""Of 2 MiB: DPDK's memory. The guest has 1 GiB."""
_MOUNTED = "/dev/hugepages"
_UIO = "uio_pci_generic"
_LOAD_TIMEOUT = 60.0


@dataclass(frozen=True)
class Nic:
    """What is plugged into a guest.

    Attributes:
        model: its name.
        profile: of the model; None for its default.
        cpu: properties of the guest's CPU beside the usual ones.
        options: of testpmd.
        port: what the client's driver offers, of what not every one does: ``vlan``, ``jumbo``, ``reset`` …
        receives: whether the client's driver survives that.
    """

    model: str
    profile: str | None = None
    cpu: str = ""
    options: tuple[str, ...] = ()
    port: frozenset[str] = frozenset()
    receives: bool = True

    def __str__(self) -> str:
        return f"{self.model}-{self.profile}" if self.profile else self.model


class ClientMachine:
    """Guest, model and wire.

    Attributes:
        nic: what is plugged.
        guest: the guest.
        model: the model's control client.
        remote: the other end of the wire.
        mac: of the device.
        device: its PCI address in the guest.
    """

    mac = DUT_MAC

    def __init__(
        self,
        command: QemuCommand,
        nic: Nic,
        *,
        folder: Path,
        log: Path,
        snapshots: Path | None,
    ) -> None:
        """Start everything. Needs a run's network namespace.

        Args:
            command: QEMU's.
            nic: what is plugged.
            folder: for sockets.
            log: folder of ``console.log`` and ``model.log``.
            snapshots: the guest's; None boots it.

        Raises:
            InfrastructureError: guest, model or wire did not start.
        """
        self.nic = nic
        self._guest: Guest | None = None
        self.tap = Tap()
        self.remote = Remote(self.tap)
        self._process = ModelProcess(
            nic.model, folder=folder, tap=self.tap.name, mac=DUT_MAC, profile=nic.profile, log=log / "model.log"
        )
        self.model = ModelClient(self._process.control, process=self._process)
        try:
            stored = None if snapshots is None else Snapshots(snapshots)
            self.guest = self._guest = Guest(command, log=log / "console.log", snapshots=stored, cwd=folder)
            self._process.wait_ready()
            self.guest.qemu.qmp.execute("device_add", vfio_user_device("nic", 0, self._process.socket))
            self.device = self._bind()
        except BaseException:
            self.close()
            raise

    def _bind(self) -> str:
        agent = self.guest.agent
        agent.call("files.write", path="/proc/sys/vm/nr_hugepages", text=str(HUGE_PAGES))
        found = int(agent.call("files.read", path="/proc/sys/vm/nr_hugepages"))
        assert found == HUGE_PAGES, f"the guest has {found} huge pages"
        for command in (["modprobe", _UIO], ["mkdir", "-p", _MOUNTED], ["mount", "-t", "hugetlbfs", "none", _MOUNTED]):
            done = agent.call("process.run", command=command, timeout=_LOAD_TIMEOUT)
            assert done["exit_status"] == 0, done["stderr"]
        pattern = f"/sys/bus/pci/devices/{port_address(0)}/0000:??:??.?/"
        limit = self.guest.deadline(10)
        while not (folders := agent.call("files.glob", path=f"{pattern}driver_override")):
            assert not limit.passed, "the guest shows no PCI device"
        address = folders[0].split("/")[-2]
        agent.call("files.write", path=folders[0], text=_UIO)
        agent.call("files.write", path=f"/sys/bus/pci/drivers/{_UIO}/bind", text=address)
        return address

    def faulty(self) -> dict[str, Any]:
        """Return what the model counts of a driver, or of itself, that does what it must not."""
        counters = self.model.call("model.counters")
        state = self.model.call("server.state")
        return {
            "dma_errors": counters["dma_errors"],
            "violations": counters["violations"],
            "model_errors": state["model_errors"],
        }

    def close(self) -> None:
        """Stop everything."""
        if self._guest is not None:
            self._guest.close()
        self.model.close()
        self._process.close()
        self.remote.close()
        self.tap.close()
