# SPDX-License-Identifier: MIT
"""The two device ids, and what their ports support.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-pci.c (xgbe_v2a, xgbe_v2b: FIFO sizes), xgbe-phy-v2.c (port modes,
speeds, connection types).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nicmodels.phy.link_segment import NOT_NEGOTIATING

PORT_MODE_BACKPLANE = 1
SPEED_1000, SPEED_10000 = 1 << 2, 1 << 4
CONNECTION_BACKPLANE = 4
FIFO_UNIT = 16384


@dataclass(frozen=True)
class Variant:
    """One device id, and the partner that its port is connected to.

    Attributes:
        title: one line.
        device: PCI device id.
        channels: DMA channels, and queues, each way.
        fifo: bytes of the transmit FIFO, and of the receive FIFO.
        speeds: the port's, as in XP_PROP_0.
        fec: the port has 10GBASE-R FEC (clause 74).
        partner: the settings that the link partner starts with, as the control method ``link.set`` takes them.
    """

    title: str
    device: int
    channels: int
    fifo: int
    speeds: int = SPEED_1000 | SPEED_10000
    fec: bool = True
    partner: Mapping[str, Any] = field(default_factory=dict)

    @property
    def property_0(self) -> int:
        """XP_PROP_0 of port 0."""
        return PORT_MODE_BACKPLANE << 8 | self.speeds << 22 | CONNECTION_BACKPLANE << 28

    @property
    def property_1(self) -> int:
        """XP_PROP_1."""
        return self.channels * 0x0101_0101

    @property
    def property_2(self) -> int:
        """XP_PROP_2."""
        return self.fifo // FIFO_UNIT * 0x1_0001


VARIANTS = {
    "v2a": Variant("16 DMA channels, 224 KiB FIFOs (1022:1458)", 0x1458, 16, 229376),
    "v2b": Variant("8 DMA channels, 64 KiB FIFOs (1022:1459)", 0x1459, 8, 65536),
    "detect": Variant(
        "as v2a; the partner is 1000BASE-KX and does not negotiate", 0x1458, 16, 229376, partner=NOT_NEGOTIATING
    ),
}
DEFAULT = "v2a"
