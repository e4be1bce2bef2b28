# SPDX-License-Identifier: GPL-2.0-or-later
"""The hashes of what a run is made on."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from pathlib import Path

import pytest
from plugfest import __version__
from plugfest.errors import InfrastructureError
from plugfest.provision.artifact import GuestRoot, Kernel, Toolchain
from plugfest.run import testbed
from plugfest.run.plan import RunPlan


@pytest.fixture
def complete(kernel: Kernel, root: GuestRoot, tmp_path: Path) -> RunPlan:
    """A plan whose files exist, in a folder of the test."""
    kernel.image.write_bytes(b"vmlinux")
    root.packages.write_text('{"bash": "5.2.37-2+b10"}')
    config, module = tmp_path / "config", tmp_path / "ixgbe.ko"
    config.write_bytes(b"CONFIG_IXGBE=m\n")
    module.write_bytes(b"\x7fELF")
    return RunPlan(
        driver="ixgbe",
        profile="kr",
        toolchain=Toolchain(("qemu",), "11.1.3", "q"),
        root=root,
        kernel=dataclasses.replace(kernel, config=config),
        acceleration="tcg",
        acceleration_reason="there is no /dev/kvm",
        output=tmp_path / "output",
        scratch=tmp_path / "scratch",
        extra_modules=(module,),
    )


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_a_run_is_made_on(complete: RunPlan) -> None:
    found = testbed.describe(complete)
    assert found["kernel"] == {
        "sha256": sha256(b"vmlinux"),
        "digest": "kernel-digest",
        "config": sha256(b"CONFIG_IXGBE=m\n"),
    }
    assert found["root"] == {"digest": "root-digest", "packages": {"bash": "5.2.37-2+b10"}}
    assert found["modules"] == {"ixgbe.ko": sha256(b"\x7fELF")}
    suite = found["suite"]
    assert isinstance(suite, dict)
    assert suite.pop("version") == __version__
    assert sorted(suite) == ["conformance", "guest-images", "nicmodels", "plugfest"]
    assert len(set(suite.values())) == 4


def test_a_kernel_without_a_configuration(complete: RunPlan) -> None:
    found = testbed.describe(dataclasses.replace(complete, kernel=dataclasses.replace(complete.kernel, config=None)))
    assert isinstance(found["kernel"], dict)
    assert found["kernel"]["config"] is None


def test_a_file_that_is_gone(complete: RunPlan) -> None:
    complete.kernel.image.unlink()
    with pytest.raises(InfrastructureError, match="vmlinux: expected a file of the testbed, found: No such file"):
        testbed.describe(complete)


def test_the_hash_of_a_folder_is_that_of_the_lines_of_sha256sum(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("b.py", "a/x.py", "a/__pycache__/x.pyc", ".hidden", "a/.cache/y"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    lines = subprocess.run(["sha256sum", "a/x.py", "b.py"], cwd=folder, capture_output=True, check=True).stdout
    assert testbed.tree_sha256(folder) == sha256(lines)
    (folder / "b.py").rename(folder / "c.py")
    assert testbed.tree_sha256(folder) != sha256(lines)
