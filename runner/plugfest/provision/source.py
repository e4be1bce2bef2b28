# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of a kernel's source that is unpacked of Debian's archive: the folders that are wanted, not a gigabyte."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from plugfest.errors import InfrastructureError

DRIVERS = "drivers/net"
_NOT_NEEDED = (f"{DRIVERS}/wireless",)


def unpack_drivers(archive: Path, target: Path) -> None:
    """Unpack the network drivers' folders.

    Args:
        archive: ``linux-source-X.Y.tar.xz``.
        target: the folder in which ``drivers/net`` then is.

    Raises:
        InfrastructureError: the archive is missing, damaged, or has no such folder.
    """
    unpack_parts(archive, target, (DRIVERS,), _NOT_NEEDED)


def unpack_parts(archive: Path, target: Path, parts: Sequence[str], without: Sequence[str] = ()) -> None:
    """Unpack folders and files.

    Args:
        archive: ``linux-source-X.Y.tar.xz``, which is sorted.
        target: the folder in which they then are.
        parts: their paths.
        without: paths below them that are left out.

    Raises:
        InfrastructureError: the archive is missing, damaged, or lacks one of them.
    """
    last = max(parts)
    try:
        with tarfile.open(archive, "r:xz") as members:
            for member in members:
                name = member.name.partition("/")[2]
                if not _within(name, parts):
                    if (target / last).exists():
                        break  # what follows would take as long again
                    continue
                if not _within(name, without):
                    member.name = name
                    members.extract(member, target, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InfrastructureError(
            f"expected a kernel's source in {archive.name}, found: {error}; specify another mirror with --mirror"
        ) from error
    for part in parts:
        if not (target / part).exists():
            raise InfrastructureError(
                f"expected {part} in {archive.name}, found none; specify another mirror with --mirror"
            )


def _within(name: str, paths: Sequence[str]) -> bool:
    return any(name == path or name.startswith(f"{path}/") for path in paths)
