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
    """

    image: Path
    packages: Path
    digest: str


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
