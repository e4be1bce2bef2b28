# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU a run takes: the user's, the one in PATH, or Debian's; each is asked for the device."""

from __future__ import annotations

import pytest
from plugfest.errors import UsageError
from plugfest.provision import toolchain
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import QEMU, ensure_toolchain


@pytest.fixture
def qemu(tmp_path, monkeypatch):
    """``qemu("vfio-user-pci")``: a QEMU in PATH, and nothing else, that has only this device."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(device, *, seccomp=True):
        program = tmp_path / QEMU
        program.write_text(
            "#!/bin/sh\n"
            f"[ $1 = -sandbox ] && {{ {'shift 2' if seccomp else 'exit 1'}; }}\n"
            'case "$1" in\n'
            "--version) echo 'QEMU emulator version 10.9.8 (made up)';;\n"
            f"-device) echo 'name \"{device}\", bus PCI';;\n"
            "esac\n"
        )
        program.chmod(0o755)
        return str(program)

    return make


class FetchedError(Exception):
    """Debian's QEMU was asked for."""


@pytest.fixture
def no_network(monkeypatch):
    def fetch(*_arguments, **_words):
        raise FetchedError

    monkeypatch.setattr(toolchain, "_unpacked", fetch)


def test_the_one_in_path_is_taken_if_it_has_the_device(qemu, no_network):
    program = qemu("vfio-user-pci")
    found = ensure_toolchain(ProvisionSettings())
    assert (found.qemu, found.version) == ((program, *toolchain.SANDBOX), "10.9.8")


def test_one_built_without_seccomp_runs_without_a_sandbox(qemu, no_network):
    program = qemu("vfio-user-pci", seccomp=False)
    assert ensure_toolchain(ProvisionSettings()).qemu == (program,)


def test_the_one_in_path_is_passed_over_if_it_has_not(qemu, no_network):
    qemu("vfio-user-pci-not-quite")
    with pytest.raises(FetchedError):
        ensure_toolchain(ProvisionSettings())


def test_none_in_path(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchedError):
        ensure_toolchain(ProvisionSettings())


def test_the_users_own_must_have_it(qemu, no_network):
    program = qemu("igb")
    with pytest.raises(UsageError, match=r"to have the device vfio-user-pci \(QEMU 10\.1 or later\).*correct --qemu"):
        ensure_toolchain(ProvisionSettings(qemu=program))


def test_the_users_own_must_be_there(tmp_path, no_network):
    with pytest.raises(UsageError, match=r"expected a QEMU program at .*, found none; correct --qemu"):
        ensure_toolchain(ProvisionSettings(qemu=str(tmp_path / "nothing")))
