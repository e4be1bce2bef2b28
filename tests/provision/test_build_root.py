# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's split headers made complete, and the source that is unpacked of an archive."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision import build_root
from plugfest.provision.source import unpack_drivers

RELEASE = "7.3.4+deb13-amd64"


@pytest.fixture(params=["merged", "older"])
def packages(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Unpacked packages in the form of Debian's headers; older ones have /lib and /bin apart, and absolute links."""
    older = request.param == "older"
    root = tmp_path / "root"
    files = {
        "usr/src/linux-headers-amd64/Makefile": "include",
        "usr/src/linux-headers-amd64/Module.symvers": "symbols",
        "usr/src/linux-headers-amd64/include/generated/autoconf.h": "autoconf",
        "usr/src/linux-headers-amd64/arch/x86/include/generated/asm/x.h": "x",
        "usr/src/linux-headers-common/Makefile": "the kernel's",
        "usr/src/linux-headers-common/include/linux/netdevice.h": "netdevice",
        "usr/src/linux-headers-common/arch/x86/include/asm/ptrace.h": "ptrace",
        "usr/src/linux-headers-common/arch/arm/Makefile": "arm",
        "usr/bin/gawk": "gawk",
        "usr/bin/dash": "dash",
        "usr/bin/uname": "#!/bin/sh\necho host",
        ("bin/cat" if older else "usr/bin/cat"): "cat",
        ("lib/x86/libc.so" if older else "usr/lib/x86/libc.so"): "libc",
        "etc/motd": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    folder = root / ("lib" if older else "usr/lib") / "modules" / RELEASE
    folder.mkdir(parents=True)
    start = "/usr/src" if older else "../../../src"
    (folder / "build").symlink_to(f"{start}/linux-headers-amd64")
    (folder / "source").symlink_to(f"{start}/linux-headers-common")
    if not older:
        for name in ("bin", "lib"):
            (root / name).symlink_to(f"usr/{name}")
    build_root.furnish(root, RELEASE)
    return root


def test_both_halves_have_everything(packages: Path) -> None:
    build, source = (packages / "usr/src" / f"linux-headers-{half}" for half in ("amd64", "common"))
    for half in (build, source):
        assert (half / "include/linux/netdevice.h").read_text() == "netdevice"
        assert (half / "include/generated/autoconf.h").read_text() == "autoconf"
        assert (half / "arch/x86/include/asm/ptrace.h").read_text() == "ptrace"
        assert (half / "arch/x86/include/generated/asm/x.h").read_text() == "x"
        assert (half / "Module.symvers").read_text() == "symbols"
    assert (build / "Makefile").read_text() == "include", "what a half has stays its own"
    assert (source / "Makefile").read_text() == "the kernel's"
    assert not (source / "include/config").exists(), "kbuild would ask to clean it"
    links = [path for path in packages.rglob("*") if path.is_symlink() and not path.match("lib/modules/*/*")]
    assert not [path for path in links if path.readlink().is_absolute()], "they hold wherever the root is"


def test_a_root_is_one_that_programs_run_in(packages: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        assert (packages / name).readlink() == Path(f"usr/{name}")
    assert (packages / "bin/cat").read_text() == "cat"
    assert (packages / "lib/x86/libc.so").read_text() == "libc"
    assert (packages / "usr/bin/awk").read_text() == "gawk"
    assert (packages / "bin/sh").read_text() == "dash"
    assert {"build", "dev", "proc", "tmp"} <= {path.name for path in packages.iterdir()}
    said = subprocess.run(["sh", packages / "usr/local/bin/uname", "-r"], capture_output=True, text=True, check=True)
    assert said.stdout == f"{RELEASE}\n"


def test_headers_without_links(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"expected usr/lib/modules/7\.3\.4.*/build in Debian's headers"):
        build_root.link_headers(tmp_path, RELEASE)


def test_a_kernel_that_is_no_channel() -> None:
    build_root.check_channel("bookworm")
    with pytest.raises(UsageError, match=r"--kernel /linux: expected one of trixie-backports, trixie, bookworm"):
        build_root.check_channel("/linux")


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:xz") as made:
        for name in names:
            member = tarfile.TarInfo(f"linux-source-7.3/{name}")
            member.size = 1
            made.addfile(member, io.BytesIO(b"x"))
    return path


def test_the_drivers_alone_are_unpacked(tmp_path: Path) -> None:
    made = archive(
        tmp_path / "a.tar.xz",
        *("Makefile", "drivers/mtd/m.c", "drivers/net/Kconfig", "drivers/net/vmxnet3/v.c", "drivers/net/wireless/w.c"),
        *("drivers/nfc/n.c", "net/core.c"),
    )
    unpack_drivers(made, tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"drivers/net/Kconfig", "drivers/net/vmxnet3/v.c"}


def test_an_archive_without_drivers_or_cut_short(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"expected drivers/net in a\.tar\.xz, found none"):
        unpack_drivers(archive(tmp_path / "a.tar.xz", "Makefile"), tmp_path)
    made = archive(tmp_path / "b.tar.xz", *(f"drivers/net/{number}.c" for number in range(999)))
    made.write_bytes(made.read_bytes()[:-200])
    with pytest.raises(InfrastructureError, match=r"expected a kernel's source in b\.tar\.xz"):
        unpack_drivers(made, tmp_path / "out")
