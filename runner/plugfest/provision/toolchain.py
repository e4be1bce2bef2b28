# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that a run needs: QEMU, the image tools, the compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from plugfest.errors import InfrastructureError, UsageError
from plugfest.provision.artifact import Toolchain
from plugfest.provision.cache import Cache, digest, fingerprint
from plugfest.provision.debian import Packages, unpack
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.unpacked import Unpacked

QEMU = "qemu-system-x86_64"
DEVICE = "vfio-user-pci"
SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
"""QEMU's seccomp filter: none of the system calls by which it would start programs, or gain privileges."""
QEMU_PACKAGES = Packages(("qemu-system-x86", "seabios"), backports=True)
IMAGE_PACKAGES = Packages(("erofs-utils", "kmod", "zstd", "busybox-static"))
BWRAP = "bwrap"
BWRAP_PACKAGES = Packages(("bubblewrap",))
BUILDER_PACKAGES = Packages(("clang-19", "libbpf-dev", "linux-libc-dev", "libc6-dev", "libxdp-dev"))
COMPILER = "usr/lib/llvm-19/bin/clang"
LINKER = "usr/bin/ld.bfd"
COMPILER_HEADERS = "usr/lib/llvm-19/lib/clang/19/include"
FORMAT = 2
"""Part of every key: incremented when the selection of files kept from the packages changes."""

_MIB = 1 << 20


def ensure_toolchain(settings: ProvisionSettings) -> Toolchain:
    """Return a QEMU that can attach vfio-user devices: the user's, the one in PATH, or Debian's, fetched into the cache.

    Raises:
        UsageError: the user's QEMU cannot.
        InfrastructureError: no such QEMU can be fetched.
    """
    if settings.qemu:
        program = shutil.which(settings.qemu)
        if program is None:
            raise UsageError(f"expected a QEMU program at {settings.qemu}, found none; correct --qemu or omit it")
        if not has_device((program,)):
            raise UsageError(
                f"expected {program} to have the device {DEVICE} (QEMU 10.1 or later), found none; correct --qemu or omit it"
            )
        return _host_qemu(Path(program))
    program = shutil.which(QEMU)
    if program and has_device((program,)):
        return _host_qemu(Path(program))
    root = _unpacked(settings, "qemu", QEMU_PACKAGES, "QEMU with vfio-user (Debian packages)", 140 * _MIB)
    share = root.root / "usr/share"
    argv = (*root.argv(f"usr/bin/{QEMU}"), "-L", str(share / "qemu"), "-L", str(share / "seabios"))
    if not has_device(argv):
        raise InfrastructureError(
            f"expected the packaged QEMU to have the device {DEVICE}, found none; specify a mirror with backports with --mirror"
        )
    return Toolchain(qemu=_sandboxed(argv), version=version(argv), digest=fingerprint(root.root))


def _sandboxed(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command with its sandbox on, where this QEMU was built with seccomp."""
    confined = (*argv, *SANDBOX)
    return confined if has_device(confined) else argv


def ensure_image_tools(settings: ProvisionSettings) -> Unpacked:
    """Return the programs that build the guest's images: mkfs.erofs, depmod, zstd, busybox."""
    return _unpacked(settings, "tools", IMAGE_PACKAGES, "image tools (Debian packages)", 25 * _MIB)


def ensure_bwrap(settings: ProvisionSettings) -> tuple[str, ...]:
    """Return the argv prefix that runs bubblewrap: the one in PATH, which the host may permit more, or Debian's.

    Raises:
        InfrastructureError: it cannot be fetched.
    """
    program = shutil.which(BWRAP)
    if program:
        return (program,)
    root = _unpacked(settings, "bwrap", BWRAP_PACKAGES, "bubblewrap (Debian package)", 15 * _MIB)
    return root.argv(f"usr/bin/{BWRAP}")


def ensure_builder(settings: ProvisionSettings) -> Unpacked:
    """Return the compiler and linker for the guest's programs, BPF and native."""
    return _unpacked(
        settings, "builder", BUILDER_PACKAGES, "compiler (Debian packages)", 360 * _MIB, ("usr/lib/llvm-19/lib",)
    )


def include_flags(builder: Unpacked) -> list[str]:
    """Return the flags for the builder's headers: the compiler would search relative to the running program, which is the loader."""
    folders = (COMPILER_HEADERS, "usr/include", "usr/include/x86_64-linux-gnu")
    return [flag for folder in folders for flag in ("-isystem", str(builder.root / folder))]


def has_device(command: tuple[str, ...], device: str = DEVICE) -> bool:
    """Return whether a QEMU has a device; its version does not show how it was built."""
    try:
        done = subprocess.run([*command, "-device", "help"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return f'name "{device}"' in done.stdout


def version(command: tuple[str, ...]) -> str:
    """Return a QEMU's version, as ``11.1.3``."""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout)
    return found[1] if found else "unknown"


def _host_qemu(program: Path) -> Toolchain:
    argv = (str(program),)
    real = program.resolve()
    status = real.stat()
    return Toolchain(
        qemu=_sandboxed(argv),
        version=version(argv),
        digest=digest(str(real), str(status.st_size), str(status.st_mtime_ns)),
    )


def _unpacked(
    settings: ProvisionSettings, kind: str, packages: Packages, title: str, size: int, libraries: tuple[str, ...] = ()
) -> Unpacked:
    def build(target: Path) -> None:
        unpack(packages, target, settings)

    # During unpacking, the packages themselves, a third of the size of their contents, need space too.
    key = digest(str(FORMAT), packages.recipe())
    path = Cache(settings.cache).get(kind, key, build, title=title, size=size, space=2 * size)
    return Unpacked(path, libraries)
