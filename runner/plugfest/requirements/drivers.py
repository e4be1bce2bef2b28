# SPDX-License-Identifier: GPL-2.0-or-later
"""The drivers that plugfest can test, and the device that each runs on."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from plugfest.choice import advice
from plugfest.errors import InfrastructureError, UsageError


@cache
def models() -> Mapping[str, Mapping[str, str]]:
    """Return each NIC model's profiles and their texts, as ``python -m nicmodels list --json`` prints them.

    Raises:
        InfrastructureError: the command failed.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "nicmodels", "list", "--json"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        last = (listed.stderr.strip().splitlines() or ["nothing"])[-1]
        raise InfrastructureError(
            f"python -m nicmodels list: expected exit status 0, found {listed.returncode}: {last}; "
            "install plugfest again"
        )
    return {model["name"]: model["profiles"] for model in json.loads(listed.stdout)}


@dataclass(frozen=True)
class ModelSubject:
    """One of plugfest's NIC models, served over vfio-user.

    Attributes:
        model: name, as ``python -m nicmodels list`` prints it.
        profile: the default profile for this driver.
    """

    model: str
    profile: str

    @property
    def profiles(self) -> Mapping[str, str]:
        """Every profile of the model, and its text."""
        return models()[self.model]

    def __str__(self) -> str:
        """Return its description, for reports and messages."""
        return f"plugfest's model of {self.model} ({self.profile})"


@dataclass(frozen=True)
class QemuSubject:
    """A device that QEMU emulates itself.

    Attributes:
        device: QEMU's name for it.
        properties: added to ``-device``.
        queues: number of queue pairs, which is also the tap's, if the device takes the number from its backend.
    """

    device: str
    properties: Mapping[str, str | int | bool] = field(default_factory=dict)
    queues: int = 1

    def __str__(self) -> str:
        """Return its description, for reports and messages."""
        several = f" with {self.queues} queue pairs" if self.queues > 1 else ""
        return f"QEMU's {self.device}{several}"


@dataclass(frozen=True)
class HardwareSubject:
    """A device of a real machine.

    Attributes:
        machine: as the user named it: ``root@host``.
        ifname: its interface.
        bus_address: as ``0000:03:00.0``.
        pci_id: vendor and device, as ``8086:10f8``; None on another bus.
    """

    machine: str
    ifname: str
    bus_address: str
    pci_id: str | None

    def __str__(self) -> str:
        """Return its description, for reports and messages."""
        identity = f", {self.pci_id}" if self.pci_id else ""
        return f"{self.ifname} of the real machine {self.machine} ({self.bus_address}{identity})"


@dataclass(frozen=True)
class Driver:
    """One driver under test.

    Attributes:
        name: as the user types it.
        module: the kernel module to load.
        source: its place in the kernel's source: the folder that is built as this one module, or a file.
        subject: the device it drives.
        pci_ids: (vendor, device) of that device.
        areas: folders of the suite that apply to it.
        claims: features beyond plain networking, from the driver's source: for readers, not for tests, which read what the driver
            advertises.
        title: one line for ``plugfest drivers``.
    """

    name: str
    module: str
    source: str
    subject: ModelSubject | QemuSubject | HardwareSubject
    pci_ids: tuple[tuple[int, int], ...]
    areas: tuple[str, ...]
    claims: tuple[str, ...]
    title: str


_EVERYWHERE = ("smoke", "offload", "xdp", "qstat", "qapi", "keep", "link", "backplane")

_DRIVERS = (
    Driver(
        name="ixgbe",
        module="ixgbe",
        source="drivers/net/ethernet/intel/ixgbe",
        subject=ModelSubject("ixgbe", "kr"),
        pci_ids=((0x8086, 0x1517), (0x8086, 0x10F7), (0x8086, 0x10F8)),
        areas=_EVERYWHERE,
        claims=("RSS", "TSO", "RSC", "XDP", "AF_XDP zero copy", "SR-IOV", "IPsec"),
        title="Intel 82599 10 Gigabit, backplane",
    ),
    Driver(
        name="gve",
        module="gve",
        source="drivers/net/ethernet/google/gve",
        subject=ModelSubject("gve", "std"),
        pci_ids=((0x1AE0, 0x0042),),
        areas=_EVERYWHERE,
        claims=("RSS", "TSO", "HW-GRO", "XDP", "AF_XDP zero copy", "header split", "queue API", "queue statistics"),
        title="Google virtual NIC (gVNIC)",
    ),
    Driver(
        name="xgbe",
        module="amd-xgbe",
        source="drivers/net/ethernet/amd/xgbe",
        subject=ModelSubject("xgbe", "v2a"),
        pci_ids=((0x1022, 0x1458), (0x1022, 0x1459)),
        areas=_EVERYWHERE,
        claims=("RSS", "TSO", "split header", "DCB", "PTP", "Clause 73 by the driver"),
        title="AMD XGBE 10 Gigabit, backplane",
    ),
    Driver(
        name="igb",
        module="igb",
        source="drivers/net/ethernet/intel/igb",
        subject=QemuSubject("igb"),
        pci_ids=((0x8086, 0x10C9),),
        areas=_EVERYWHERE,
        claims=("RSS", "TSO", "XDP", "AF_XDP zero copy", "SR-IOV"),
        title="Intel 82576 Gigabit",
    ),
    Driver(
        name="e1000e",
        module="e1000e",
        source="drivers/net/ethernet/intel/e1000e",
        subject=QemuSubject("e1000e"),
        pci_ids=((0x8086, 0x10D3),),
        areas=_EVERYWHERE,
        claims=("TSO",),
        title="Intel 82574L Gigabit",
    ),
    Driver(
        name="vmxnet3",
        module="vmxnet3",
        source="drivers/net/vmxnet3",
        subject=QemuSubject("vmxnet3"),
        pci_ids=((0x15AD, 0x07B0),),
        areas=_EVERYWHERE,
        claims=("RSS", "TSO", "LRO", "XDP"),
        title="VMware's paravirtual NIC",
    ),
    Driver(
        name="virtio_net",
        module="virtio_net",
        source="drivers/net/virtio_net.c",
        # A vector for each queue, one for the control queue and one for changes of the configuration. VIRTIO_F_ACCESS_PLATFORM, since
        # only with it the driver maps memory by the DMA API, which zero-copy AF_XDP needs (virtqueue_dma_dev).
        subject=QemuSubject(
            "virtio-net-pci",
            {"mq": True, "rss": True, "vectors": 2 * 4 + 2, "iommu_platform": True},
            queues=4,
        ),
        pci_ids=((0x1AF4, 0x1000), (0x1AF4, 0x1041)),
        areas=_EVERYWHERE,
        claims=("RSS", "TSO", "GRO", "XDP", "queue statistics over netlink"),
        title="virtio's paravirtual NIC",
    ),
)


def drivers() -> Mapping[str, Driver]:
    """Return the registry by name."""
    return {driver.name: driver for driver in _DRIVERS}


def find(name: str) -> Driver:
    """Return the driver of this name; ``-`` and ``_`` are equivalent, as in module names.

    Raises:
        UsageError: there is none; the message suggests similar names and lists all.
    """
    known = drivers()
    wanted = name.strip().lower().replace("-", "_")
    if wanted in known:
        return known[wanted]
    hint = advice(wanted, known, "see plugfest drivers")
    raise UsageError(f"no driver {name!r}: expected one of {', '.join(known)}; {hint}")


def of_hardware(name: str, module: str, subject: HardwareSubject) -> Driver:
    """Return the driver of a device of a real machine: the registry's on that device; one without claims if the registry has none.

    Args:
        name: of the driver, as sysfs has it.
        module: the kernel module.
        subject: the device.
    """
    names = {each.replace("-", "_") for each in (name, module)}
    known = next((each for each in _DRIVERS if each.module.replace("-", "_") in names), None)
    if known is not None:
        return dataclasses.replace(known, subject=subject, module=module)
    return Driver(name, module, "", subject, (), _EVERYWHERE, (), f"driver of {subject}")


def check_profile(driver: Driver, profile: str | None) -> str | None:
    """Return the profile to use: the requested one, else the driver's default (None for a device that QEMU emulates).

    Raises:
        UsageError: the device has no such profile.
    """
    if not isinstance(driver.subject, ModelSubject):
        if profile is not None:
            raise UsageError(
                f"--profile {profile}: {driver.name} runs on {driver.subject}, which has no profiles; omit it"
            )
        return None
    if profile is None:
        return driver.subject.profile
    if profile not in driver.subject.profiles:
        known = driver.subject.profiles
        raise UsageError(
            f"--profile {profile}: expected one of {', '.join(known)}, which {driver.name} has; "
            f"{advice(profile, known, 'plugfest models lists and describes them')}"
        )
    return profile
