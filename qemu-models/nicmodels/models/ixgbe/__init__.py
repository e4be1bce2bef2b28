# SPDX-License-Identifier: MIT
"""Intel 82599 10 GbE controller, backplane variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.ixgbe.device import Ixgbe
from nicmodels.models.ixgbe.variants import DEFAULT, VARIANTS

if TYPE_CHECKING:
    from nicmodels.nic.device import Device, Host, Options

DESCRIPTION = "Intel 82599 10 GbE controller, backplane variants"
PROFILES = {name: variant.title for name, variant in VARIANTS.items()}
DEFAULT_PROFILE = DEFAULT


def create(host: Host, options: Options) -> Device:
    """Make a device.

    Raises:
        ValueError: the chip does not support the options.
    """
    return Ixgbe(host, options)


__all__ = ["DEFAULT_PROFILE", "DESCRIPTION", "PROFILES", "Ixgbe", "create"]
