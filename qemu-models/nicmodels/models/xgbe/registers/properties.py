# SPDX-License-Identifier: MIT
"""The port's properties, its interrupt block and the mailbox to the firmware, at 0x1D000 of BAR 0.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h (XP_*).
"""

from __future__ import annotations

from nicmodels.registers import RO, RW, W1C, Field, Register

BASE = 0x1D000

PROP_0 = Register(
    "XP_PROP_0",
    BASE + 0x00,
    RO,
    title="Port Property 0",
    fields=(
        Field("PORT_ID", 0, 7),
        Field("PORT_MODE", 8, 11),
        Field("MDIO_ADDR", 16, 20),
        Field("PORT_SPEEDS", 22, 27),
        Field("CONN_TYPE", 28, 30),
    ),
)
PROP_1 = Register(
    "XP_PROP_1",
    BASE + 0x04,
    RO,
    title="Port Property 1",
    fields=(
        Field("MAX_TX_QUEUES", 0, 4),
        Field("MAX_RX_QUEUES", 8, 12),
        Field("MAX_TX_DMA", 16, 20),
        Field("MAX_RX_DMA", 24, 28),
    ),
)
PROP_2 = Register(
    "XP_PROP_2",
    BASE + 0x08,
    RO,
    title="Port Property 2: units of 16 KiB",
    fields=(Field("TX_FIFO_SIZE", 0, 15), Field("RX_FIFO_SIZE", 16, 31)),
)
PROP_3 = Register("XP_PROP_3", BASE + 0x0C, RO, title="Port Property 3: GPIOs of an SFP cage")
PROP_4 = Register(
    "XP_PROP_4",
    BASE + 0x10,
    RO,
    title="Port Property 4: multiplexer and re-driver",
    fields=(Field("REDRV_PRESENT", 31),),
)
PROP_5 = Register("XP_PROP_5", BASE + 0x14, RO, title="Port Property 5")
MAC_ADDR_LO = Register("XP_MAC_ADDR_LO", BASE + 0x20, RO, title="Station address, first four bytes")
MAC_ADDR_HI = Register(
    "XP_MAC_ADDR_HI",
    BASE + 0x24,
    RO,
    title="Station address, last two bytes",
    fields=(Field("ADDR", 0, 15), Field("VALID", 31)),
)
_ECC = (
    Field("TX_SEC", 0),
    Field("TX_DED", 1),
    Field("RX_SEC", 2),
    Field("RX_DED", 3),
    Field("DESC_SEC", 4),
    Field("DESC_DED", 5),
)
ECC_ISR = Register("XP_ECC_ISR", BASE + 0x30, W1C, writable=0x3F, title="ECC Interrupt Status", fields=_ECC)
ECC_IER = Register("XP_ECC_IER", BASE + 0x34, RW, writable=0x3F, title="ECC Interrupt Enable", fields=_ECC)
ECC_CNT0 = Register("XP_ECC_CNT0", BASE + 0x3C, RO, title="ECC Counts of the FIFOs")
ECC_CNT1 = Register("XP_ECC_CNT1", BASE + 0x40, RO, title="ECC Counts of the descriptor cache")
DRIVER_INT_REQ = Register(
    "XP_DRIVER_INT_REQ", BASE + 0x60, RW, writable=1, title="Request to the firmware", fields=(Field("REQUEST", 0),)
)
DRIVER_INT_RO = Register(
    "XP_DRIVER_INT_RO", BASE + 0x64, RO, title="Whether the request is still pending", fields=(Field("STATUS", 0),)
)
DRIVER_SCRATCH_0 = Register(
    "XP_DRIVER_SCRATCH_0",
    BASE + 0x68,
    RW,
    title="Command to the firmware",
    fields=(Field("COMMAND", 0, 7), Field("SUB_COMMAND", 8, 15)),
)
DRIVER_SCRATCH_1 = Register("XP_DRIVER_SCRATCH_1", BASE + 0x6C, RW, title="Argument to the firmware")
INT_REISSUE_EN = Register(
    "XP_INT_REISSUE_EN", BASE + 0x74, RW, title="Reissue: writing a one sends the message of an active line again"
)
INT_EN = Register(
    "XP_INT_EN", BASE + 0x78, RW, writable=0x1F_FFFF, title="Interrupt Enable: one bit per interrupt line"
)
I2C_MUTEX = Register(
    "XP_I2C_MUTEX",
    BASE + 0x80,
    RW,
    title="Ownership of the I2C bus",
    fields=(Field("ACTIVE", 0), Field("ID", 29, 30), Field("BUSY", 31)),
)
MDIO_MUTEX = Register(
    "XP_MDIO_MUTEX",
    BASE + 0x84,
    RW,
    title="Ownership of the MDIO bus",
    fields=(Field("ACTIVE", 0), Field("ID", 29, 30), Field("BUSY", 31)),
)
