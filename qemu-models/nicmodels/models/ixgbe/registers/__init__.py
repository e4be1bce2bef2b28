# SPDX-License-Identifier: MIT
"""The registers of the 82599, one module per block of the datasheet's chapter 8.

Source: Intel 82599 10 GbE Controller Datasheet (331520), chapter 8; a few offsets that only drivers document are
from Linux, drivers/net/ethernet/intel/ixgbe/ixgbe_type.h, as their titles note.
"""

from __future__ import annotations

from itertools import chain
from types import ModuleType

from nicmodels.models.ixgbe.registers import filters, general, interrupt, mac, receive, security, statistics, transmit
from nicmodels.registers import Register, RegisterMap


def _registers(module: ModuleType) -> tuple[Register, ...]:
    return tuple(each for each in vars(module).values() if isinstance(each, Register))


BLOCKS = {
    module.__name__.rpartition(".")[2]: _registers(module)
    for module in (general, interrupt, receive, transmit, statistics, mac, filters, security)
}
REGISTERS = RegisterMap("82599", chain.from_iterable(BLOCKS.values()))

MEMORIES = frozenset(
    {
        filters.MTA,
        filters.VFTA,
        filters.RAL,
        filters.RAH,
        filters.MPSAR,
        filters.RETA,
        filters.RSSRK,
        filters.SAQF,
        filters.DAQF,
        filters.SDPQF,
        filters.FTQF,
        filters.L34TIMIR,
        filters.PFVLVF,
        filters.PFVLVFB,
        filters.PFUTA,
        filters.PFMBMEM,
        general.FHFT,
        general.FHFT_EXT,
        general.FTFT,
    }
)
"""Tables in internal memory: software initializes them, and no reset of a running device does."""

STICKY = frozenset(
    {
        general.WUC,
        general.WUFC,
        general.WUS,
        general.WUPL,
        general.WUPM,
        general.SWSM,
        general.FWSM,
        general.GSSR,
        general.GRC,
        general.MANC,
        general.EEC,
        general.I2CCTL,
    }
)
"""Registers of the board, the firmware and wake-up, which software and link resets keep."""

__all__ = [
    "BLOCKS",
    "MEMORIES",
    "REGISTERS",
    "STICKY",
    "filters",
    "general",
    "interrupt",
    "mac",
    "receive",
    "security",
    "statistics",
    "transmit",
]
