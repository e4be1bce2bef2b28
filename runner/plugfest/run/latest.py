# SPDX-License-Identifier: GPL-2.0-or-later
"""``latest``, the link to the newest of several output folders."""

from __future__ import annotations

import os
from pathlib import Path

from plugfest.errors import InfrastructureError


def link_latest(output: Path) -> None:
    """Make ``latest``, next to an output folder, a link to it; something else of that name is left alone.

    Raises:
        InfrastructureError: it cannot be made.
    """
    link = output.parent / "latest"
    if link.exists() and not link.is_symlink():
        return
    partial = output.parent / f".latest-{os.getpid()}"
    try:
        partial.unlink(missing_ok=True)
        partial.symlink_to(output.name)
        partial.replace(link)
    except OSError as error:
        raise InfrastructureError(
            f"{link}: expected to make a link to {output.name}, found: {error.strerror}; see that there is space"
        ) from error
