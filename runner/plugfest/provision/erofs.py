# SPDX-License-Identifier: GPL-2.0-or-later
"""Read-only file system images for the guest."""

from __future__ import annotations

import uuid
from pathlib import Path

from plugfest.provision.unpacked import Unpacked


def make_image(tools: Unpacked, folder: Path, image: Path, *, name: str) -> None:
    """Write a folder as an erofs image: reproducible, with all files owned by root.

    The image is uncompressed, so that reading it costs an emulated guest no more than a copy.
    """
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, name)
    tools.run("usr/bin/mkfs.erofs", ["--quiet", "--all-root", "-T0", f"-U{identifier}", image, folder])
