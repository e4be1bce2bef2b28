# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the runtime's tests: a run's namespaces, and a fake QEMU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.run import sandbox

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
        "trixie", "7.3.4", tmp_path / "vmlinux", tmp_path / "initramfs", tmp_path / "modules.erofs", "kernel-digest"
    )


@pytest.fixture
def root(tmp_path: Path) -> GuestRoot:
    """A root whose file does not exist."""
    return GuestRoot(tmp_path / "root.erofs", "root-digest")


@pytest.fixture
def fake_toolchain(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Toolchain]:
    """A fake QEMU that speaks QMP: see fake_qemu.py."""

    def make(behaviour: str) -> Toolchain:
        monkeypatch.setenv("FAKE_QEMU", behaviour)
        return Toolchain((sys.executable, str(FAKE_QEMU)), "11.1.3", f"qemu-{behaviour}")

    return make
