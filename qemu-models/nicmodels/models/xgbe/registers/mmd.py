# SPDX-License-Identifier: MIT
"""The registers of the PCS, behind its window: 16 bits each, by MMD and number.

They are in the register file too, at offsets beyond any BAR, so that they can be read and traced by name; `PLACES` maps
MMD and number to registers. Source: IEEE 802.3-2022, clause 45 (MMDs 1, 3, 7); Linux,
drivers/net/ethernet/amd/xgbe/xgbe-common.h (vendor's registers from 0x8000 on, and MMD 31).
"""

from __future__ import annotations

from nicmodels.registers import RW, Field, Register

BASE = 0x20000
PMA, PCS, AN, VENDOR_2 = 1, 3, 7, 31
PLACES: dict[tuple[int, int], Register] = {}


def _mmd(
    name: str, mmd: int, number: int, title: str, *fields: Field, reset: int = 0, writable: int = 0xFFFF, count: int = 1
) -> Register:
    """Declare `count` registers from `number` on; hooks add behaviour."""
    used = sum(each.total for each in dict.fromkeys(PLACES.values()))
    register = Register(
        name, BASE + 4 * used, RW, count=count, reset=reset, writable=writable, title=title, fields=fields
    )
    for index in range(count):
        PLACES[mmd, number + index] = register
    _FIRST[register] = number
    return register


_FIRST: dict[Register, int] = {}


def index_of(register: Register, number: int) -> int:
    """The index of a number in a register array."""
    return number - _FIRST[register]


PMA_CTRL1 = _mmd("PMA_CTRL1", PMA, 0, "PMA/PMD control 1", Field("LPOWER", 11), Field("RESET", 15), reset=0x2040)
PMA_STAT1 = _mmd("PMA_STAT1", PMA, 1, "PMA/PMD status 1", Field("LINK", 2), Field("FAULT", 7), writable=0)
PMA_ID = _mmd("PMA_ID", PMA, 2, "PMA/PMD identifier", writable=0, count=2)
PMA_SPEED = _mmd("PMA_SPEED", PMA, 4, "PMA/PMD speed ability", reset=0x0011, writable=0)
PMA_DEVS = _mmd("PMA_DEVS", PMA, 5, "PMA/PMD devices in package", writable=0, count=2)
PMA_CTRL2 = _mmd("PMA_CTRL2", PMA, 7, "PMA/PMD control 2", Field("TYPE", 0, 6))
PMA_STAT2 = _mmd("PMA_STAT2", PMA, 8, "PMA/PMD status 2", reset=0x8200, writable=0)
PMA_TX_DISABLE = _mmd("PMA_TX_DISABLE", PMA, 9, "PMD transmit disable", Field("GLOBAL", 0))
PMA_RX_SIGNAL = _mmd("PMA_RX_SIGNAL", PMA, 10, "PMD receive signal detect", Field("GLOBAL", 0), writable=0)
PMA_EXTENDED = _mmd("PMA_EXTENDED", PMA, 11, "PMA/PMD extended ability", reset=0x0050, writable=0)
PMA_MP_MISC_STS = _mmd("PMA_MP_MISC_STS", PMA, 0x78, "multi-protocol PHY status", writable=0)
PMD_CTRL = _mmd("PMD_CTRL", PMA, 150, "10GBASE-KR PMD control", Field("RESTART", 0), Field("ENABLE", 1), writable=3)
PMD_STAT = _mmd(
    "PMD_STAT",
    PMA,
    151,
    "10GBASE-KR PMD status",
    Field("RECEIVER", 0),
    Field("FRAME_LOCK", 1),
    Field("TRAINING", 2),
    Field("FAILURE", 3),
    writable=0,
)
PMD_COEFFICIENTS = _mmd(
    "PMD_COEFFICIENTS", PMA, 152, "10GBASE-KR partner's update, partner's status, own update, own status", count=4
)
FEC_ABILITY = _mmd("FEC_ABILITY", PMA, 170, "10GBASE-R FEC ability", Field("ABLE", 0), Field("ERROR", 1), writable=0)
FEC_CTRL = _mmd("FEC_CTRL", PMA, 171, "10GBASE-R FEC control", Field("ENABLE", 0), Field("ERROR", 1), writable=3)
FEC_BLOCKS = _mmd("FEC_BLOCKS", PMA, 172, "10GBASE-R FEC corrected and uncorrected blocks", writable=0, count=4)
PMA_RX_CTRL1 = _mmd("PMA_RX_CTRL1", PMA, 0x8051, "receiver control", Field("RESET", 4))
PMA_CDR_CTRL = _mmd("PMA_CDR_CTRL", PMA, 0x8056, "clock recovery control", Field("TRACK", 0), reset=1)
PMA_MISC_CTRL0 = _mmd("PMA_MISC_CTRL0", PMA, 0x8090, "PLL control", Field("PLL", 15))

PCS_CTRL1 = _mmd("PCS_CTRL1", PCS, 0, "PCS control 1", Field("LPOWER", 11), Field("RESET", 15), reset=0x2040)
PCS_STAT1 = _mmd("PCS_STAT1", PCS, 1, "PCS status 1", Field("LINK", 2), Field("FAULT", 7), writable=0)
PCS_ID = _mmd("PCS_ID", PCS, 2, "PCS identifier", writable=0, count=2)
PCS_SPEED = _mmd("PCS_SPEED", PCS, 4, "PCS speed ability", reset=0x0001, writable=0)
PCS_DEVS = _mmd("PCS_DEVS", PCS, 5, "PCS devices in package", writable=0, count=2)
PCS_CTRL2 = _mmd("PCS_CTRL2", PCS, 7, "PCS control 2", Field("TYPE", 0, 3))
PCS_STAT2 = _mmd("PCS_STAT2", PCS, 8, "PCS status 2", reset=0x8001, writable=0)
BASER_STAT1 = _mmd("BASER_STAT1", PCS, 32, "10GBASE-R status 1", Field("LOCK", 0), Field("LINK", 12), writable=0)
BASER_STAT2 = _mmd("BASER_STAT2", PCS, 33, "10GBASE-R status 2", Field("LATCHED_LOCK", 15), writable=0)
PCS_DIG_CTRL = _mmd("PCS_DIG_CTRL", PCS, 0x8000, "digital control")
PCS_DIG_STAT = _mmd("PCS_DIG_STAT", PCS, 0x8010, "digital status", Field("PSEQ_STATE", 2, 4), reset=0x0010, writable=0)

AN_CTRL = _mmd(
    "AN_CTRL", AN, 0, "AN control", Field("RESTART", 9), Field("ENABLE", 12), Field("XNP", 13), Field("RESET", 15)
)
AN_STAT = _mmd(
    "AN_STAT",
    AN,
    1,
    "AN status",
    Field("LP_AN_ABILITY", 0),
    Field("LINK", 2),
    Field("AN_ABILITY", 3),
    Field("REMOTE_FAULT", 4),
    Field("COMPLETE", 5),
    Field("PAGE_RECEIVED", 6),
    Field("XNP_STATUS", 7),
    Field("PARALLEL_FAULT", 9),
    writable=0,
)
AN_ID = _mmd("AN_ID", AN, 2, "AN device identifier", writable=0, count=2)
AN_DEVS = _mmd("AN_DEVS", AN, 5, "AN devices in package", writable=0, count=2)
AN_ADVERTISE = _mmd("AN_ADVERTISE", AN, 16, "base page to send, D0 to D47", count=3)
AN_LPA = _mmd("AN_LPA", AN, 19, "partner's base page, D0 to D47", writable=0, count=3)
AN_XNP = _mmd("AN_XNP", AN, 22, "next page to send, D0 to D47", count=3)
AN_LPX = _mmd("AN_LPX", AN, 25, "partner's next page, D0 to D47", writable=0, count=3)
AN_BACKPLANE = _mmd(
    "AN_BACKPLANE",
    AN,
    48,
    "backplane Ethernet status",
    Field("BP_AN_ABILITY", 0),
    Field("KX", 1),
    Field("KX4", 2),
    Field("KR", 3),
    Field("FEC", 4),
    writable=0,
)
_CAUSES = (Field("CMPLT", 0), Field("INC_LINK", 1), Field("PG_RCV", 2))
AN_INTMASK = _mmd("AN_INTMASK", AN, 0x8001, "AN interrupt mask: ones let through", *_CAUSES, writable=7)
AN_INT = _mmd("AN_INT", AN, 0x8002, "AN interrupts; a written zero clears", *_CAUSES, writable=7)

MII_CTRL = _mmd("MII_CTRL", VENDOR_2, 0, "MII control", Field("AN_RESTART", 9), Field("AN_ENABLE", 12), reset=0x0140)
MII_STAT = _mmd("MII_STAT", VENDOR_2, 1, "MII status", writable=0)
MII_ADVERTISE = _mmd("MII_ADVERTISE", VENDOR_2, 4, "clause 37 advertisement", reset=0x0020)
MII_LPA = _mmd("MII_LPA", VENDOR_2, 5, "clause 37 partner's ability", writable=0)
MII_DIG_CTRL = _mmd("MII_DIG_CTRL", VENDOR_2, 0x8000, "MII digital control")
MII_AN_CTRL = _mmd("MII_AN_CTRL", VENDOR_2, 0x8001, "MII auto-negotiation control")
MII_AN_STAT = _mmd("MII_AN_STAT", VENDOR_2, 0x8002, "MII auto-negotiation status")
