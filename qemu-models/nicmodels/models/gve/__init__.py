# SPDX-License-Identifier: MIT
"""Google's virtual NIC, gVNIC: DQO with raw addressing, GQI with queue page lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.gve.device import Gve
from nicmodels.models.gve.profiles import DEFAULT, VARIANTS

if TYPE_CHECKING:
    from nicmodels.nic.device import Device, Host, Options

DESCRIPTION = "Google virtual NIC (gVNIC)"
PROFILES = {name: variant.title for name, variant in VARIANTS.items()}
DEFAULT_PROFILE = DEFAULT


def create(host: Host, options: Options) -> Device:
    """Make a device.

    Raises:
        ValueError: the device does not support the options.
    """
    return Gve(host, options)


__all__ = ["DEFAULT_PROFILE", "DESCRIPTION", "PROFILES", "Gve", "create"]
