# SPDX-License-Identifier: MIT
"""AMD XGBE 10 GbE controller (EPYC Embedded and Ryzen Embedded SoCs), a port in backplane mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.device import Xgbe
from nicmodels.models.xgbe.variants import DEFAULT, VARIANTS

if TYPE_CHECKING:
    from nicmodels.nic.device import Device, Host, Options

DESCRIPTION = "AMD XGBE 10 GbE controller, backplane port"
PROFILES = {name: variant.title for name, variant in VARIANTS.items()}
DEFAULT_PROFILE = DEFAULT


def create(host: Host, options: Options) -> Device:
    """Make a device.

    Raises:
        ValueError: the port does not support the options.
    """
    return Xgbe(host, options)


__all__ = ["DEFAULT_PROFILE", "DESCRIPTION", "PROFILES", "Xgbe", "create"]
