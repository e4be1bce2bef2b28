# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user may say about provisioning."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def default_cache() -> Path:
    """Return ``$XDG_CACHE_HOME/plugfest``, by default ``~/.cache/plugfest`` (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "plugfest"


@dataclass(frozen=True)
class ProvisionSettings:
    """Where things are kept and where they come from.

    Attributes:
        cache: folder of everything fetched or built.
        mirror: a Debian mirror's address, or None for the one that the host's apt is configured with.
        qemu: a QEMU program to use instead of looking for one.
    """

    cache: Path = field(default_factory=default_cache)
    mirror: str | None = None
    qemu: str | None = None
