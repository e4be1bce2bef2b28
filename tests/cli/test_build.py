# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest build`` and ``--module``: wrong command lines, and what is said of a module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugfest.build import module
from plugfest.build.errors import LimitError
from plugfest.cli import build as command
from plugfest.provision.artifact import BuildRoot
from test_commands import END, PLANNED, result


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none"], "none: expected the folder of a driver's source, found none"),
        (["."], ".: expected one of GNUmakefile, makefile, Makefile, Kbuild, found none; did you mean src?"),
        (["src", "--kernel", "6.12"], "--kernel 6.12: expected one of trixie-backports, trixie, bookworm"),
        (["src", "--build-memory", "1"], "Invalid value for '--build-memory'"),
    ],
)
def test_a_wrong_command_line(plugfest, arguments: list[str], expected: str) -> None:
    Path("src").mkdir()
    Path("src/Makefile").touch()
    done = plugfest("build", *arguments)
    assert done.status == 2
    assert done.line.startswith(expected)


@pytest.fixture
def provisioned(plugfest, inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is fetched, and bubblewrap is not run."""
    root = BuildRoot(tmp_path / "headers", "7.3.4+deb13-amd64", "7.3.4-1", "gcc-14 14.2.0-19")
    monkeypatch.setattr(command, "ensure_kernel", lambda settings, spec: None)
    monkeypatch.setattr(command, "ensure_build_root", lambda settings, kernel: root)
    monkeypatch.setattr(module, "ensure_bwrap", lambda settings: ("bwrap",))
    Path("src").mkdir()
    Path("src/Makefile").touch()


def test_what_is_said_of_a_build(plugfest, provisioned, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def build_folder(confined: Any, root: Any, folder: str, output: Path, *, arguments: Any) -> module.Built:
        asked.extend(
            [sorted(path.name for path in confined.build.iterdir()), output, arguments, confined.limits.memory]
        )
        return module.Built((output / "acme.ko",), output / "build.log", ("a.c:1:1: warning: unused variable",))

    monkeypatch.setattr(module, "build_folder", build_folder)
    done = plugfest("build", "src", "--build-memory", "512", "--", "-C", "deep")
    assert done.status == 0
    assert asked == [["Makefile"], Path("modules/7.3.4+deb13-amd64"), ("-C", "deep"), 512]
    first, second, last = done.out.splitlines()
    assert first == "a.c:1:1: warning: unused variable"
    assert second == "modules/7.3.4+deb13-amd64/acme.ko"
    assert last.startswith("1 module for Linux 7.3.4+deb13-amd64, by gcc-14 14.2.0-19, in ")
    assert last.endswith(f"plugfest run DRIVER --kernel trixie-backports --module {second}")


def test_a_build_that_takes_too_much(plugfest, provisioned, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_folder(*_: Any, **__: Any) -> module.Built:
        raise LimitError("the build: expected at most 512 processes, found more; it was ended")

    monkeypatch.setattr(module, "build_folder", build_folder)
    done = plugfest("build", "src")
    assert done.status == 1
    assert done.line == "the build: expected at most 512 processes, found more; it was ended"


def test_a_module_that_the_guest_has_loaded(
    plugfest, inside, tmp_path: Path, kernel_module: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "virtio_net.ko"
    path.write_bytes(kernel_module(b"license=GPL\0"))
    done = plugfest("run", "virtio_net", "--module", str(path))
    assert done.status == 2
    assert "expected a module that a guest boots without, found one that it has loaded by then" in done.line


@pytest.mark.parametrize(
    ("vermagic", "noted"), [("7.3.4+deb13-amd64 SMP", False), ("6.12.117+deb13-amd64 SMP", True), ("", False)]
)
def test_a_module_of_another_kernel_is_noted(
    plugfest, inside, tmp_path: Path, kernel_module: Callable[[bytes], bytes], vermagic: str, noted: bool
) -> None:
    path = tmp_path / "ixgbe.ko"
    path.write_bytes(kernel_module(f"vermagic={vermagic}\0".encode() if vermagic else b"license=GPL\0"))
    inside.events = [PLANNED, result("pass"), END]
    done = plugfest("run", "ixgbe", "--module", str(path), "--", "-k", "SMOKE-PING-04")
    assert done.status == 0
    said = "note: ixgbe.ko was built for Linux 6.12.117+deb13-amd64, and the guest runs 7.3.4+deb13-amd64" in done.err
    assert said is noted
