# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a run, which the command line passes to pytest inside the run's namespaces."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.requirements import drivers
from plugfest.requirements.drivers import Driver, HardwareSubject
from plugfest.run.journal import GUEST

VARIABLE = "PLUGFEST_PLAN"
"""Environment variable with the path of the plan's file."""


@dataclass(frozen=True, kw_only=True)
class Plan(ABC):
    """What one run does, on whatever machine.

    Attributes:
        driver: name in the registry (`plugfest.requirements.drivers`), as ``ixgbe``; on a real machine that of any module.
        profile: the model's profile, or None for its default.
        output: folder of the reports.
        scratch: private folder of the run (a tmpfs that ends with the run): sockets, keys.
        extra_modules: out-of-tree ``.ko`` files to load in place of the kernel's own.
        in_tree: the extra modules are builds of the kernel's own driver, whose known issues apply.
        series: names of the series of patches with which the extra module was built.
        falsify: arm each requirement's fault, and expect the test to fail.
        confirm: attempt a test again, in a fresh guest, before a verdict blames the driver.
        strict_waits: a wait that uses more than half of its deadline is a failure of the run.
        keep: keep the guest up when the tests have run, and run them again on request.
        strict_known: a known issue that applies and does not show is a failure of the run.
        faults: fault points to arm for the whole run.
        guests: how many guests run tests side by side, at most.
        guest: the number of the guest whose part of the run this is, from 1; 0 if it is the whole run's plan.
        seed: of the random order of the tests; None for the suite's.
        loaded: keep the host's cores busy during the run.
        areas: the areas of the suite that the user chose; none for all of the driver's.
        slow: run the tests that take minutes each, too.
        durations: file in the cache with the seconds of each test; None to keep none.
    """

    driver: str
    profile: str | None = None
    output: Path
    scratch: Path
    extra_modules: tuple[Path, ...] = ()
    in_tree: bool = False
    series: tuple[str, ...] = ()
    falsify: bool = False
    confirm: bool = True
    strict_waits: bool = False
    keep: bool = False
    strict_known: bool = False
    faults: tuple[str, ...] = ()
    guests: int = 1
    guest: int = 0
    seed: int | None = None
    loaded: bool = False
    areas: tuple[str, ...] = ()
    slow: bool = False
    durations: Path | None = None

    @property
    @abstractmethod
    def release(self) -> str:
        """``uname -r`` of the machine under test."""

    @property
    def tested(self) -> Driver:
        """The driver under test, as the registry describes it."""
        return drivers.find(self.driver)

    @property
    def guest_output(self) -> Path:
        """Folder of what belongs to one guest: its journal, ``console.log``, ``model.log``; the run's own if it has one guest."""
        return self.output / f"{GUEST}{self.guest}" if self.guest else self.output

    @property
    def cached(self) -> list[Path]:
        """The folders of the cache that a run adds to."""
        return [] if self.durations is None else [self.durations.parent]

    def writable(self) -> list[Path]:
        """Return the host's folders that a run writes to: its output, and of the cache what it can make and add to."""
        for folder in self.cached:
            with suppress(OSError):  # a run needs none of them
                folder.mkdir(parents=True, exist_ok=True)
        return [self.output, *(folder for folder in self.cached if folder.is_dir())]

    def of_guest(self, number: int) -> Self:
        """Return the plan of one guest of several, whose scratch folder is its own."""
        return dataclasses.replace(self, guest=number, scratch=self.scratch / f"{GUEST}{number}")

    def dump(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), default=str, indent=2))

    @staticmethod
    def _common(raw: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that all plans have, as they were before `dump`."""
        found = dict(raw)
        for name in ("output", "scratch"):
            found[name] = Path(raw[name])
        found["durations"] = Path(raw["durations"]) if raw["durations"] else None
        found["extra_modules"] = tuple(Path(path) for path in raw["extra_modules"])
        for name in ("faults", "areas", "series"):
            found[name] = tuple(raw[name])
        return found


@dataclass(frozen=True, kw_only=True)
class RunPlan(Plan):
    """A run in guests, provisioned and ready to boot.

    Attributes:
        toolchain: QEMU.
        root: the guest's root.
        kernel: the kernel, its modules and initramfs.
        acceleration: ``kvm`` or ``tcg``.
        acceleration_reason: why this one, in one sentence.
        snapshots: folder of the guest snapshots in the cache, or None to boot cold and store no snapshot.
        cpus: the guest's CPUs.
        memory: the guest's memory, MiB.
    """

    toolchain: Toolchain
    root: GuestRoot
    kernel: Kernel
    acceleration: str
    acceleration_reason: str
    snapshots: Path | None = None
    cpus: int = 2
    memory: int = 1024

    @property
    def release(self) -> str:
        """``uname -r`` of the guest."""
        return self.kernel.release

    @property
    def cached(self) -> list[Path]:
        """The folders of the cache that a run adds to."""
        return [*([] if self.snapshots is None else [self.snapshots]), *super().cached]

    @classmethod
    def load(cls, path: Path) -> RunPlan:
        """Read a plan that `dump` wrote."""
        return cls.of(json.loads(path.read_text()))

    @classmethod
    def of(cls, written: dict[str, Any]) -> RunPlan:
        """Return a plan from the JSON that `dump` wrote."""
        raw = cls._common(written)
        raw["toolchain"]["qemu"] = tuple(raw["toolchain"]["qemu"])
        raw["toolchain"] = Toolchain(**raw["toolchain"])
        root = raw["root"]
        folder = Path(root["folder"]) if root["folder"] else None
        raw["root"] = GuestRoot(Path(root["image"]), Path(root["packages"]), root["digest"], folder)
        kernel = raw["kernel"]
        for name in ("image", "initramfs", "modules"):
            kernel[name] = Path(kernel[name])
        kernel["config"] = Path(kernel["config"]) if kernel["config"] else None
        raw["kernel"] = Kernel(**kernel)
        raw["snapshots"] = Path(raw["snapshots"]) if raw["snapshots"] else None
        return cls(**raw)


@dataclass(frozen=True, kw_only=True)
class HardwarePlan(Plan):
    """A run on a real machine, whose interface is on loan to it.

    Attributes:
        dut: the machine, as the user named it: ``root@host``.
        remote: what is at the other end of the wire, as the user named it: ``root@host2 eth1``, ``netns:peer wire0``.
        remote_mtu: the longest MTU that the interface there takes.
        sockets: folder of the sockets that reach the agent (``agent.sock``), its keeper (``keeper.sock``) and the log (``log.sock``).
        stream: descriptor, inherited, of the stream of frames to and from the far end.
        kernel_release: of the machine.
        cpus: of the machine.
        device: the interface and its device, as guest-images/agent/hardware/device.py describes them.
    """

    dut: str
    remote: str
    remote_mtu: int
    sockets: Path
    stream: int
    kernel_release: str
    cpus: int
    device: Mapping[str, Any]

    @property
    def release(self) -> str:
        """``uname -r`` of the machine."""
        return self.kernel_release

    @property
    def subject(self) -> HardwareSubject:
        """The device."""
        return HardwareSubject(self.dut, self.device["ifname"], self.device["bus-address"], self.device["pci-id"])

    @property
    def tested(self) -> Driver:
        """The driver of the interface, whether the registry has it or not."""
        return drivers.of_hardware(self.driver, self.device["module"], self.subject)

    @classmethod
    def of(cls, written: dict[str, Any]) -> HardwarePlan:
        """Return a plan from the JSON that `dump` wrote."""
        raw = cls._common(written)
        raw["sockets"] = Path(raw["sockets"])
        return cls(**raw)


def load(path: Path) -> Plan:
    """Read a plan of either kind that `Plan.dump` wrote."""
    raw: dict[str, Any] = json.loads(path.read_text())
    return HardwarePlan.of(raw) if "dut" in raw else RunPlan.of(raw)
