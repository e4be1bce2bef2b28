# SPDX-License-Identifier: GPL-2.0-or-later
"""What --kernel accepts, and its errors; the archives that a guest boots from."""

import subprocess

import pytest
from plugfest.errors import UsageError
from plugfest.location import conformance_root, recipes_root
from plugfest.machine.virtual import kernel_arguments
from plugfest.provision.cpio import Archive
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.root import listed
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_toolchain


def test_unknown_kernel_names_the_channels(tmp_path):
    with pytest.raises(UsageError, match=r"expected one of trixie-backports, trixie, bookworm"):
        ensure_kernel(ProvisionSettings(tmp_path), "sarge")


def test_tree_that_was_not_built(tmp_path):
    with pytest.raises(UsageError, match="arch/x86/boot/bzImage, found none; build it"):
        ensure_kernel(ProvisionSettings(tmp_path / "cache"), str(tmp_path))


def test_file_that_is_no_image(tmp_path):
    (tmp_path / "image").write_text("text")
    with pytest.raises(UsageError, match="expected an x86 bzImage"):
        ensure_kernel(ProvisionSettings(tmp_path / "cache"), str(tmp_path / "image"))


def test_qemu_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="expected a QEMU program at /nonexistent/qemu"):
        ensure_toolchain(ProvisionSettings(tmp_path, qemu="/nonexistent/qemu"))


def test_qemu_without_vfio_user(tmp_path):
    own = tmp_path / "qemu"
    own.write_text("#!/bin/sh\necho 'name \"e1000e\", bus PCI'\n")
    own.chmod(0o755)
    with pytest.raises(UsageError, match=r"expected .* to have the device vfio-user-pci"):
        ensure_toolchain(ProvisionSettings(tmp_path, qemu=str(own)))


def test_archive_is_as_documented():
    archive = Archive()
    archive.folder("bin")
    archive.file("bin/tool", b"12345", 0o755)
    archive.file("empty", b"")
    data = archive.finish()
    assert data.startswith(b"070701")
    assert len(data) % 4 == 0
    assert list(members(data)) == [
        ("bin", 0o40755, b""),
        ("bin/tool", 0o100755, b"12345"),
        ("empty", 0o100644, b""),
        ("TRAILER!!!", 0, b""),
    ]


def members(data):
    """Read the format as documented: 13 hexadecimal numbers of 8 digits, name, padding, contents, padding."""
    while data:
        numbers = [int(data[6 + 8 * place : 14 + 8 * place], 16) for place in range(13)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        begin = -(-(110 + name_size) // 4) * 4
        yield data[110 : 110 + name_size - 1].decode(), mode, data[begin : begin + size]
        data = data[begin + -(-size // 4) * 4 :]


def test_recipes_are_complete():
    assert (conformance_root() / "xdp").is_dir()
    for name in ("init", "initramfs-init", "packages", "modules", "kernel-arguments", "agent/__main__.py"):
        assert (recipes_root() / name).is_file()
    assert "dropbear-bin" in listed(recipes_root() / "packages")
    assert "console=ttyS0" in kernel_arguments("kvm").split()


def test_scripts_are_posix_shell():
    for name in ("init", "initramfs-init"):
        subprocess.run(["dash", "-n", recipes_root() / name], check=True)
