# SPDX-License-Identifier: MIT
"""The backplane variants of the 82599, and the link settings in their EEPROMs.

Source: 82599 datasheet, section 1.1 (device ids), 3.7.4 (link modes), 6.4 (EEPROM).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nicmodels.phy.link_segment import NOT_NEGOTIATING

LMS_KX4_KX_KR = 4 << 13
SELECTOR_IEEE_802_3 = 1 << 2
KX4_SUPPORT = 1 << 31
KX_SUPPORT = 1 << 30
KR_SUPPORT = 1 << 16
FEC_ABILITY = 1 << 18
ANRXAT = 3 << 19
PMA_10G_KX4 = 1 << 7
PMA_1G_KX = 1 << 9
_COMMON = LMS_KX4_KX_KR | SELECTOR_IEEE_802_3 | KX_SUPPORT | ANRXAT | PMA_10G_KX4 | PMA_1G_KX


@dataclass(frozen=True)
class Variant:
    """One device id, and the partner that its port is connected to.

    Attributes:
        title: one line.
        device: PCI device id.
        autoc: AUTOC as the EEPROM loads it.
        autoc2: AUTOC2, likewise; the serial 10G PMA is KR.
        partner: the settings that the link partner starts with, as the control method ``link.set`` takes them.
    """

    title: str
    device: int
    autoc: int
    autoc2: int = 0
    partner: Mapping[str, Any] = field(default_factory=dict)


_ALL = _COMMON | KX4_SUPPORT | KR_SUPPORT | FEC_ABILITY

VARIANTS = {
    "kr": Variant("10GBASE-KR and 1000BASE-KX (8086:1517)", 0x1517, _COMMON | KR_SUPPORT | FEC_ABILITY),
    "kx4": Variant("10GBASE-KX4 and 1000BASE-KX (8086:10f7)", 0x10F7, _COMMON | KX4_SUPPORT),
    "combo": Variant("10GBASE-KR, 10GBASE-KX4 and 1000BASE-KX (8086:10f8)", 0x10F8, _ALL),
    "detect": Variant(
        "as combo; the partner is 1000BASE-KX and does not negotiate", 0x10F8, _ALL, partner=NOT_NEGOTIATING
    ),
}
DEFAULT = "kr"
