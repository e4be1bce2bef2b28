# SPDX-License-Identifier: MIT
"""Google's virtual NIC, gVNIC: DQO with raw addressing, GQI with queue page lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.gve.device import Gve
from nicmodels.models.gve.profiles import DEFAULT, VARIANTS

if TYPE_CHECKING:
    from nicmodels.nic.device import Device, Host, Options

DESCRIPTION = "Google virtual NIC (gVNIC)"
PROFILES = {name: variant.title + (" (default)" if name == DEFAULT else "") for name, variant in VARIANTS.items()}


def create(host: Host, options: Options) -> Device:
    """A device; raises ValueError for options that it cannot do."""
    return Gve(host, options)


__all__ = ["DESCRIPTION", "PROFILES", "Gve", "create"]
