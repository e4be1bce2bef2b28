# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a run, which the command line passes to pytest inside the run's namespaces."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.run.journal import GUEST

VARIABLE = "PLUGFEST_PLAN"
"""Environment variable with the path of the plan's file."""


@dataclass(frozen=True)
class RunPlan:
    """One run, provisioned and ready to boot.

    Attributes:
        driver: name in the registry (`plugfest.requirements.drivers`), as ``ixgbe``.
        profile: the model's profile, or None for its default.
        toolchain: QEMU.
        root: the guest's root.
        kernel: the kernel, its modules and initramfs.
        acceleration: ``kvm`` or ``tcg``.
        acceleration_reason: why this one, in one sentence.
        output: folder of the reports.
        scratch: private folder of the run (a tmpfs that ends with the run): sockets, keys.
        snapshots: folder of the guest snapshots in the cache, or None to boot cold and store no snapshot.
        extra_modules: out-of-tree ``.ko`` files to load in place of the kernel's own.
        in_tree: the extra modules are builds of the kernel's own driver, whose known issues apply.
        series: names of the series of patches with which the extra module was built.
        falsify: arm each requirement's fault, and expect the test to fail.
        confirm: attempt a test again, in a fresh guest, before a verdict blames the driver.
        strict_waits: a wait that uses more than half of its deadline is a failure of the run.
        keep: keep the guest up when the tests have run, and run them again on request.
        strict_known: a known issue that applies and does not show is a failure of the run.
        faults: fault points to arm for the whole run.
        cpus: the guest's CPUs.
        memory: the guest's memory, MiB.
        guests: how many guests run tests side by side, at most.
        guest: the number of the guest whose part of the run this is, from 1; 0 if it is the whole run's plan.
        seed: of the random order of the tests; None for the suite's.
        loaded: keep the host's cores busy during the run.
        areas: the areas of the suite that the user chose; none for all of the driver's.
        slow: run the tests that take minutes each, too.
        durations: file in the cache with the seconds of each test; None to keep none.
    """

    driver: str
    profile: str | None
    toolchain: Toolchain
    root: GuestRoot
    kernel: Kernel
    acceleration: str
    acceleration_reason: str
    output: Path
    scratch: Path
    snapshots: Path | None = None
    extra_modules: tuple[Path, ...] = ()
    in_tree: bool = False
    series: tuple[str, ...] = ()
    falsify: bool = False
    confirm: bool = True
    strict_waits: bool = False
    keep: bool = False
    strict_known: bool = False
    faults: tuple[str, ...] = ()
    cpus: int = 2
    memory: int = 1024
    guests: int = 1
    guest: int = 0
    seed: int | None = None
    loaded: bool = False
    areas: tuple[str, ...] = ()
    slow: bool = False
    durations: Path | None = None

    @property
    def guest_output(self) -> Path:
        """Folder of what belongs to one guest: its journal, ``console.log``, ``model.log``; the run's own if it has one guest."""
        return self.output / f"{GUEST}{self.guest}" if self.guest else self.output

    def writable(self) -> list[Path]:
        """Return the host's folders that a run writes to: its output, and of the cache what it can make and add to."""
        cached = [each for each in (self.snapshots, self.durations and self.durations.parent) if each is not None]
        for folder in cached:
            with suppress(OSError):  # a run needs none of them
                folder.mkdir(parents=True, exist_ok=True)
        return [self.output, *(folder for folder in cached if folder.is_dir())]

    def of_guest(self, number: int) -> RunPlan:
        """Return the plan of one guest of several, whose scratch folder is its own."""
        return dataclasses.replace(self, guest=number, scratch=self.scratch / f"{GUEST}{number}")

    def dump(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), default=str, indent=2))

    @classmethod
    def load(cls, path: Path) -> RunPlan:
        """Read a plan that `dump` wrote."""
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["toolchain"]["qemu"] = tuple(raw["toolchain"]["qemu"])
        raw["toolchain"] = Toolchain(**raw["toolchain"])
        root = raw["root"]
        raw["root"] = GuestRoot(Path(root["image"]), Path(root["packages"]), root["digest"])
        kernel = raw["kernel"]
        for name in ("image", "initramfs", "modules"):
            kernel[name] = Path(kernel[name])
        kernel["config"] = Path(kernel["config"]) if kernel["config"] else None
        raw["kernel"] = Kernel(**kernel)
        for name in ("output", "scratch"):
            raw[name] = Path(raw[name])
        for name in ("snapshots", "durations"):
            raw[name] = Path(raw[name]) if raw[name] else None
        raw["extra_modules"] = tuple(Path(path) for path in raw["extra_modules"])
        for name in ("faults", "areas", "series"):
            raw[name] = tuple(raw[name])
        return cls(**raw)
