# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the runtime's tests: a run's namespaces, a fake QEMU, and a real guest."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.machine import virtual
from plugfest.machine.acceleration import choose
from plugfest.machine.virtual import VirtualMachine
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.root import ensure_root
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_toolchain
from plugfest.run import sandbox
from plugfest.run.plan import RunPlan

Inside = Callable[[Callable[[], object]], None]

FAKE_QEMU = Path(__file__).with_name("fake_qemu.py")


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where the host allows no namespaces of one's own."""
    try:
        sandbox.check_host()
    except InfrastructureError as error:
        pytest.skip(str(error))
    if os.geteuid() != 0 and not Path("/proc/self/ns/user").exists():
        pytest.skip("no user namespaces")


@pytest.fixture
def inside(namespaces: None, tmp_path: Path) -> Callable[[Callable[[], object]], None]:
    """Run a function in a run's namespaces; its assertions fail the test."""

    def run(function: Callable[[], object]) -> None:
        def payload() -> int:
            function()
            return 0

        outcome = sandbox.enter(payload, folder=tmp_path / "run", grace=5)
        assert outcome.status == 0, "see the traceback in the captured standard error"

    return run


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A kernel whose files do not exist."""
    return Kernel(
        "trixie",
        "7.3.4",
        tmp_path / "vmlinux",
        tmp_path / "initramfs",
        tmp_path / "modules.erofs",
        None,
        "kernel-digest",
    )


@pytest.fixture
def root(tmp_path: Path) -> GuestRoot:
    """A root whose file does not exist."""
    return GuestRoot(tmp_path / "root.erofs", tmp_path / "packages.json", "root-digest")


@pytest.fixture
def fake_toolchain(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Toolchain]:
    """A fake QEMU that speaks QMP: see fake_qemu.py."""

    def make(behaviour: str) -> Toolchain:
        monkeypatch.setenv("FAKE_QEMU", behaviour)
        return Toolchain((sys.executable, str(FAKE_QEMU)), "11.1.3", f"qemu-{behaviour}")

    return make


@pytest.fixture(scope="module")
def plan(provisioning: ProvisionSettings, tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """QEMU's igb on the default kernel; snapshots of this module's own."""
    toolchain, kernel = ensure_toolchain(provisioning), ensure_kernel(provisioning)
    acceleration = choose("auto", toolchain, kernel, cache=provisioning.cache)
    folder = tmp_path_factory.mktemp("boot")
    return RunPlan(
        driver="igb",
        profile=None,
        toolchain=toolchain,
        root=ensure_root(provisioning),
        kernel=kernel,
        acceleration=acceleration.name,
        acceleration_reason=acceleration.reason,
        output=folder / "output",
        scratch=folder / "run",
        snapshots=folder / "snapshots",
    )


@pytest.fixture
def boot(plan: RunPlan, inside: Inside, tmp_path: Path) -> Callable[[Callable[[VirtualMachine], object]], None]:
    """Boot the plan's machine (or what changes make of it) inside a run's namespaces and do something with it."""

    def run(work: Callable[[VirtualMachine], object], **changes: object) -> None:
        def payload() -> None:
            changed = dataclasses.replace(plan, scratch=tmp_path / "run", output=tmp_path / "output", **changes)  # type: ignore[arg-type]
            machine = virtual.boot(changed)
            try:
                work(machine)
            finally:
                machine.close()
                machine.close()

        inside(payload)

    return run
