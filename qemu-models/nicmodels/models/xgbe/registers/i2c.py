# SPDX-License-Identifier: MIT
"""The I2C controller, at 0x1E000 of BAR 0.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h (IC_*); the block is Synopsys' DW_apb_i2c, which
drivers/i2c/busses/i2c-designware-core.h describes too.
"""

from __future__ import annotations

from nicmodels.registers import RO, RW, Field, Register

BASE = 0x1E000

CON = Register("IC_CON", BASE + 0x00, RW, reset=0x7F, title="Control")
TAR = Register("IC_TAR", BASE + 0x04, RW, reset=0x55, title="Target Address")
DATA_CMD = Register(
    "IC_DATA_CMD",
    BASE + 0x10,
    RW,
    title="Data and Command",
    fields=(Field("DAT", 0, 7), Field("CMD", 8), Field("STOP", 9)),
)
INTR_STAT = Register("IC_INTR_STAT", BASE + 0x2C, RO, title="Interrupt Status")
INTR_MASK = Register("IC_INTR_MASK", BASE + 0x30, RW, reset=0x8FF, title="Interrupt Mask: ones let through")
RAW_INTR_STAT = Register(
    "IC_RAW_INTR_STAT",
    BASE + 0x34,
    RO,
    title="Raw Interrupt Status",
    fields=(Field("RX_FULL", 2), Field("TX_EMPTY", 4), Field("TX_ABRT", 6), Field("STOP_DET", 9)),
)
CLR_INTR = Register("IC_CLR_INTR", BASE + 0x40, RO, title="Clear All Interrupts, by reading")
CLR_TX_ABRT = Register("IC_CLR_TX_ABRT", BASE + 0x54, RO, title="Clear TX_ABRT, by reading")
CLR_STOP_DET = Register("IC_CLR_STOP_DET", BASE + 0x60, RO, title="Clear STOP_DET, by reading")
ENABLE = Register("IC_ENABLE", BASE + 0x6C, RW, title="Enable", fields=(Field("EN", 0), Field("ABORT", 1)))
TXFLR = Register("IC_TXFLR", BASE + 0x74, RO, title="Transmit FIFO Level")
RXFLR = Register("IC_RXFLR", BASE + 0x78, RO, title="Receive FIFO Level")
TX_ABRT_SOURCE = Register(
    "IC_TX_ABRT_SOURCE", BASE + 0x80, RO, title="Transmit Abort Source", fields=(Field("7B_ADDR_NOACK", 0),)
)
ENABLE_STATUS = Register("IC_ENABLE_STATUS", BASE + 0x9C, RO, title="Enable Status", fields=(Field("EN", 0),))
COMP_PARAM_1 = Register(
    "IC_COMP_PARAM_1",
    BASE + 0xF4,
    RO,
    reset=0x000F_0F04,
    title="Component Parameters",
    fields=(Field("MAX_SPEED_MODE", 2, 3), Field("RX_BUFFER_DEPTH", 8, 15), Field("TX_BUFFER_DEPTH", 16, 23)),
)
