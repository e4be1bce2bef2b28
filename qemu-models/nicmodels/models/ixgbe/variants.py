# SPDX-License-Identifier: MIT
"""The backplane variants of the 82599 and what their EEPROMs say of the link.

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
    """One device id, and what its port is connected to.

    Attributes:
        device: PCI device id.
        autoc: AUTOC as the EEPROM loads it.
        autoc2: AUTOC2 likewise: the serial 10G PMA is KR.
        partner: what the link partner is told to begin with, as the control method ``link.set`` takes it.
    """

    device: int
    autoc: int
    autoc2: int = 0
    partner: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {
    "kx4": Variant(0x10F7, _COMMON | KX4_SUPPORT),
    "kr": Variant(0x1517, _COMMON | KR_SUPPORT | FEC_ABILITY),
    "combo": Variant(0x10F8, _COMMON | KX4_SUPPORT | KR_SUPPORT | FEC_ABILITY),
    "detect": Variant(0x10F8, _COMMON | KX4_SUPPORT | KR_SUPPORT | FEC_ABILITY, partner=NOT_NEGOTIATING),
}
DEFAULT = "kr"
