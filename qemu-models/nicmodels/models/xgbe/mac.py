# SPDX-License-Identifier: MIT
"""The MAC's feature registers, and its MDIO master: no PHY answers on a backplane board, so the pulled-up bus reads as ones.

Source: Agilex 5 HPS TRM (Intel 814346), MAC_HW_Feature*, MDIO_Single_Command_*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.models.xgbe.registers import dma, mac

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.models.xgbe.variants import Variant
    from nicmodels.registers import Register, RegisterFile

BUSY, READ = 1 << 22, 3
SINGLE_COMPLETE = 1 << 12
NO_PHY = 0xFFFF
ADDRESSES, CLASSES = 31, 8
HASH_256, ADDRESS_48 = 3, 2
INTERNAL_TIME = 1


class Mac:
    """Features, MDIO, debug status.

    Args:
        states: the states of a channel's receive and transmit engine.
    """

    def __init__(
        self,
        file: RegisterFile,
        interrupts: InterruptBlock,
        variant: Variant,
        states: Callable[[int], tuple[int, int]],
    ) -> None:
        self._file = file
        self._interrupts = interrupts
        self._variant = variant
        self._states = states
        file.on_write(mac.MDIOSCCDR, self._write_mdio)
        file.on_read(dma.DSR, self._debug_status, peek=self._debug_status)

    def reset(self) -> None:
        """Set the feature registers."""
        self._file[mac.HWF0R] = _fields(
            mac.HWF0R,
            GMIISEL=1,
            VLHASH=1,
            SMASEL=1,
            MMCSEL=1,
            TSSEL=1,
            TXCOESEL=1,
            RXCOESEL=1,
            ADDMACADRSEL=ADDRESSES,
            TSSTSSEL=INTERNAL_TIME,
            SAVLANINS=1,
        )
        size = (self._variant.fifo - 1).bit_length() - 7
        self._file[mac.HWF1R] = _fields(
            mac.HWF1R,
            RXFIFOSIZE=size,
            TXFIFOSIZE=size,
            ADDR64=ADDRESS_48,
            DCBEN=1,
            SPHEN=1,
            TSOEN=1,
            RSSEN=1,
            NUMTC=CLASSES - 1,
            HASHTBLSZ=HASH_256,
        )
        most = self._variant.channels - 1
        self._file[mac.HWF2R] = _fields(mac.HWF2R, RXQCNT=most, TXQCNT=most, RXCHCNT=most, TXCHCNT=most)

    def _write_mdio(self, _index: int, value: int) -> None:
        """A command completes at once."""
        if value & BUSY:
            if value >> 16 & 3 == READ:
                value = value & ~0xFFFF | NO_PHY
            self._file[mac.MDIOISR] |= SINGLE_COMPLETE
        self._file[mac.MDIOSCCDR] = value & ~BUSY
        self._interrupts.mac_changed()

    def _debug_status(self, index: int) -> int:
        """Four bits receive and four bits transmit state per channel: three channels from bit 8 on, then four per register."""
        if index == 0:
            channels, at = range(3), 8
        else:
            channels, at = range(4 * index - 1, 4 * index + 3), 0
        value = 0
        for channel in channels:
            if channel < self._variant.channels:
                receive, transmit = self._states(channel)
                value |= (receive | transmit << 4) << at
            at += 8
        return value


def _fields(register: Register, **values: int) -> int:
    value = 0
    for name, bits in values.items():
        value = register.field(name).put(value, bits)
    return value
