# SPDX-License-Identifier: MIT
"""AMD XGBE 10 GbE controller (EPYC Embedded and Ryzen Embedded SoCs), a port in backplane mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.device import Xgbe

if TYPE_CHECKING:
    from nicmodels.nic.device import Device, Host, Options

DESCRIPTION = "AMD XGBE 10 GbE controller, backplane port"
PROFILES = {
    "v2a": "device id 1458: 16 DMA channels, 224 KiB FIFOs (default)",
    "v2b": "device id 1459: 8 DMA channels, 64 KiB FIFOs",
    "detect": "as v2a; the partner is 1000BASE-KX and does not negotiate",
}


def create(host: Host, options: Options) -> Device:
    """A device; raises ValueError for options that the port cannot do."""
    return Xgbe(host, options)


__all__ = ["DESCRIPTION", "PROFILES", "Xgbe", "create"]
