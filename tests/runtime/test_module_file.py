# SPDX-License-Identifier: GPL-2.0-or-later
"""What a driver's module refers to, compressed or not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.errors import InfrastructureError
from plugfest.machine.agent import KernelLacksError
from plugfest.machine.real import RealMachine

MODULE = b"\x7fELF\0\0init_module\0xdp_do_redirect\0" + bytes(range(256)) * 2000


class Agent:
    """Runs the machine's programs here; modinfo knows one file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def call(self, method: str, **parameters: Any) -> Any:
        if method == "files.exists":
            return Path(parameters["path"]).exists()
        command = parameters["command"]
        if command[0] == "modinfo":
            return {"exit_status": 0, "stdout": f"{self.file}\n", "stderr": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return {"exit_status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "my driver.ko"
    path.write_bytes(MODULE)
    return path


def refers(file: Path, function: str, monkeypatch: pytest.MonkeyPatch) -> bool | None:
    monkeypatch.setattr(RealMachine, "agent", Agent(file))
    machine = object.__new__(RealMachine)
    machine.driver = SimpleNamespace(module="ixgbe")  # type: ignore[assignment]
    return machine.module_refers_to(function)


@pytest.mark.parametrize("program", ["", "gzip", "xz", "zstd"])
def test_a_reference_is_found(module: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if program:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
        subprocess.run([program, "-q", module], check=True)
        (module,) = module.parent.glob("*.ko.*")
    assert refers(module, "xdp_do_redirect", monkeypatch) is True
    assert refers(module, "do_redirect", monkeypatch) is False, "a part of a name is none"


def test_a_module_that_is_built_in(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refers(module.with_name("(builtin)"), "xdp_do_redirect", monkeypatch) is None


def test_no_program_that_decompresses(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (module.parent / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    monkeypatch.setenv("PATH", str(module.parent))
    with pytest.raises(KernelLacksError, match="there is no zstd on the machine to read"):
        refers(module.rename(module.with_suffix(".ko.zst")), "xdp_do_redirect", monkeypatch)


@pytest.mark.parametrize(("suffix", "message"), [(".ko.gz", "found: .*gzip failed"), (".bin", "found another file")])
def test_a_file_of_another_form(module: Path, suffix: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InfrastructureError, match=f"(?s){message}"):
        refers(module.rename(module.with_suffix(suffix)), "xdp_do_redirect", monkeypatch)
