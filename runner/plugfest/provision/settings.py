# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's settings for provisioning."""

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
    """Where artifacts are kept and where they come from.

    Attributes:
        cache: folder of everything fetched or built.
        mirror: URL of a Debian mirror, or None for the one in the host's apt configuration.
        qemu: the QEMU program to use, or None to find or fetch one.
    """

    cache: Path = field(default_factory=default_cache)
    mirror: str | None = None
    qemu: str | None = None
