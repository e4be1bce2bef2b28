# SPDX-License-Identifier: MIT
"""The registers, one module per block: those of BAR 0, followed by those of the PCS behind the window of BAR 1.

Names are those of Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h, the only public list of this device's registers;
each module names the documentation of its functions, which is that of a sibling of the Synopsys core.
"""

from __future__ import annotations

from itertools import chain
from types import ModuleType

from nicmodels.models.xgbe.registers import dma, i2c, mac, mmc, mmd, mtl, properties
from nicmodels.registers import Register, RegisterMap


def _registers(module: ModuleType) -> tuple[Register, ...]:
    return tuple(each for each in vars(module).values() if isinstance(each, Register))


BLOCKS = {
    module.__name__.rpartition(".")[2]: _registers(module) for module in (mac, mmc, mtl, dma, properties, i2c, mmd)
}
REGISTERS = RegisterMap("xgbe", chain.from_iterable(BLOCKS.values()))
BOARD = frozenset((*BLOCKS["properties"], *BLOCKS["i2c"], *BLOCKS["mmd"]))
"""Registers outside the Ethernet core (properties, I2C, PCS), which a software reset keeps."""

__all__ = ["BLOCKS", "BOARD", "REGISTERS", "dma", "i2c", "mac", "mmc", "mmd", "mtl", "properties"]
