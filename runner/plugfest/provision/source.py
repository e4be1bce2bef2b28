# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of a kernel's source that is unpacked of Debian's archive: the network drivers, not a gigabyte."""

from __future__ import annotations

import tarfile
from pathlib import Path

from plugfest.errors import InfrastructureError

DRIVERS = "drivers/net"
_NOT_NEEDED = f"{DRIVERS}/wireless"


def unpack_drivers(archive: Path, target: Path) -> None:
    """Unpack the network drivers' folders.

    Args:
        archive: ``linux-source-X.Y.tar.xz``.
        target: the folder in which ``drivers/net`` then is.

    Raises:
        InfrastructureError: the archive is missing, damaged, or has no such folder.
    """
    try:
        with tarfile.open(archive, "r:xz") as members:
            for member in members:
                name = member.name.partition("/")[2]
                inside = name == DRIVERS or name.startswith(f"{DRIVERS}/")
                if not inside and (target / DRIVERS).is_dir():
                    break  # the archive is sorted; what follows would take as long again
                if inside and not name.startswith(_NOT_NEEDED):
                    member.name = name
                    members.extract(member, target, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InfrastructureError(
            f"expected a kernel's source in {archive.name}, found: {error}; specify another mirror with --mirror"
        ) from error
    if not (target / DRIVERS).is_dir():
        raise InfrastructureError(
            f"expected {DRIVERS} in {archive.name}, found none; specify another mirror with --mirror"
        )
