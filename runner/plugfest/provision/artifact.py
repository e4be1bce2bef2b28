# SPDX-License-Identifier: GPL-2.0-or-later
"""What provisioning hands to a run: paths into the cache, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Toolchain:
    """A QEMU that can attach vfio-user devices.

    Attributes:
        qemu: argv prefix that runs ``qemu-system-x86_64`` (a program, or a dynamic loader with its arguments).
        version: what the binary says of itself, as ``11.1.3``.
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
        digest: identifies its contents; part of a snapshot's key.
    """

    image: Path
    digest: str


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot.

    Attributes:
        spec: what the user asked for: a channel (``trixie-backports``), a build tree or an image's path.
        release: ``uname -r`` of it.
        image: what QEMU's ``-kernel`` gets: an uncompressed vmlinux with a PVH note where possible, else a bzImage.
        initramfs: small archive that mounts the root and the modules.
        modules: erofs image that is mounted at ``/usr/lib/modules``.
        digest: identifies all three; part of a snapshot's key.
    """

    spec: str
    release: str
    image: Path
    initramfs: Path
    modules: Path
    digest: str
