# SPDX-License-Identifier: GPL-2.0-or-later
"""The artifacts that provisioning returns: paths in the cache, and their contents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Toolchain:
    """A QEMU that can attach vfio-user devices.

    Attributes:
        qemu: argv prefix that runs ``qemu-system-x86_64`` (a program, or a dynamic loader with its arguments).
        version: the binary's version, as ``11.1.3``.
        digest: identifies this QEMU and its machine types; part of a snapshot's key.
    """

    qemu: tuple[str, ...]
    version: str
    digest: str


@dataclass(frozen=True)
class GuestRoot:
    """The guest's read-only root file system (erofs), the same for all kernels.

    Attributes:
        image: the erofs image.
        packages: a JSON object with the version of each Debian package in it, by name.
        digest: identifies its contents; part of a snapshot's key.
        folder: its contents as a folder, where a remote host has them, too.
    """

    image: Path
    packages: Path
    digest: str
    folder: Path | None = None


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot.

    Attributes:
        spec: the user's choice: a channel (``trixie-backports``), a build tree or an image's path.
        release: its ``uname -r``.
        image: for QEMU's ``-kernel``: an uncompressed vmlinux with a PVH note if possible, else a bzImage.
        initramfs: small initramfs that mounts the root and the modules.
        modules: erofs image to mount at ``/usr/lib/modules``.
        config: its configuration, as ``.config``; None if there is no file of it.
        digest: identifies all three; part of a snapshot's key.
    """

    spec: str
    release: str
    image: Path
    initramfs: Path
    modules: Path
    config: Path | None
    digest: str


@dataclass(frozen=True)
class BuildRoot:
    """A root file system with what builds a module for one kernel: its headers, its compiler, make, git.

    Attributes:
        root: the folder; nothing in it is run but as the root of a confined process.
        release: the kernel's ``uname -r``.
        version: of the package with the headers, as ``7.3.4-1~bpo13+1``.
        compiler: of the package with the compiler that built the kernel, as ``gcc-14 14.2.0-19``.
    """

    root: Path
    release: str
    version: str
    compiler: str


@dataclass(frozen=True)
class DriverSource:
    """The drivers' part of a kernel's source, as Debian patched it.

    Attributes:
        tree: folder with ``drivers/net``.
        title: what it is, for messages: ``Debian's linux-source-7.3 7.3.4-1~bpo13+1``.
    """

    tree: Path
    title: str
