# SPDX-License-Identifier: GPL-2.0-or-later
"""What other requirements stand on: without it their tests can show nothing."""

from __future__ import annotations

from enum import StrEnum


class Base(StrEnum):
    """What a driver must provide before anything else can be tested; each stands on those above it."""

    NETDEV = "netdev"
    LINK = "link"
    PING = "ping"

    @property
    def rank(self) -> int:
        """0 for the first; a base stands on those of a lower rank."""
        return list(Base).index(self)
