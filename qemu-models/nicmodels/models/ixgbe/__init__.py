# SPDX-License-Identifier: MIT
"""Intel 82599 10 GbE controller, backplane variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.ixgbe.device import Ixgbe

if TYPE_CHECKING:
    from nicmodels.nic.device import Device, Host, Options

DESCRIPTION = "Intel 82599 10 GbE controller, backplane variants"
PROFILES = {
    "kr": "device id 1517: 10GBASE-KR and 1000BASE-KX (default)",
    "kx4": "device id 10f7: 10GBASE-KX4 and 1000BASE-KX",
    "combo": "device id 10f8: 10GBASE-KR, 10GBASE-KX4 and 1000BASE-KX",
    "detect": "as combo; the partner is 1000BASE-KX and does not negotiate",
}


def create(host: Host, options: Options) -> Device:
    """A device; raises ValueError for options that the chip cannot do."""
    return Ixgbe(host, options)


__all__ = ["DESCRIPTION", "PROFILES", "Ixgbe", "create"]
