# SPDX-License-Identifier: MIT
"""Interrupts: 82599 datasheet, section 8.2.3.5."""

from __future__ import annotations

from nicmodels.registers import RW, W1C, W1S, Field, Register

_CAUSES = (
    Field("RTXQ", 0, 15),
    Field("FLOW_DIRECTOR", 16),
    Field("RX_MISS", 17),
    Field("PCI_EXCEPTION", 18),
    Field("MAILBOX", 19),
    Field("LSC", 20),
    Field("LINKSEC", 21),
    Field("MNG", 22),
    Field("GPI_SDP0", 24),
    Field("GPI_SDP1", 25),
    Field("GPI_SDP2", 26),
    Field("GPI_SDP3", 27),
    Field("ECC", 28),
    Field("TCP_TIMER", 30),
    Field("OTHER", 31),
)

EICR = Register("EICR", 0x00800, W1C, title="Extended Interrupt Cause", fields=_CAUSES)
EICS = Register("EICS", 0x00808, W1S, title="Extended Interrupt Cause Set", fields=_CAUSES)
EIAC = Register("EIAC", 0x00810, RW, title="Extended Interrupt Auto Clear", fields=_CAUSES)
EITR = Register(
    "EITR",
    0x00820,
    RW,
    count=24,
    more=((0x12300, 4, 105),),
    writable=0x7FFF_FFF8,
    title="Extended Interrupt Throttle",
    fields=(
        Field("ITR_INTERVAL", 3, 11),
        Field("LLI_EN", 15),
        Field("LL_CREDIT", 16, 20),
        Field("ITR_COUNTER", 21, 27),
        Field("CNT_WDIS", 31),
    ),
)
EIMS = Register("EIMS", 0x00880, W1S, title="Extended Interrupt Mask Set/Read", fields=_CAUSES)
EIMC = Register("EIMC", 0x00888, RW, title="Extended Interrupt Mask Clear", fields=_CAUSES)
EIAM = Register("EIAM", 0x00890, RW, title="Extended Interrupt Auto Mask Enable", fields=_CAUSES)
EITRSEL = Register("EITRSEL", 0x00894, RW, title="MSI-X to EITR Select")
GPIE = Register(
    "GPIE",
    0x00898,
    RW,
    title="General Purpose Interrupt Enable",
    fields=(
        Field("SDP_GPIEN", 0, 3),
        Field("MULTIPLE_MSIX", 4),
        Field("OCD", 5),
        Field("EIMEN", 6),
        Field("LL_INTERVAL", 7, 10),
        Field("RSC_DELAY", 11, 13),
        Field("VT_MODE", 14, 15),
        Field("EIAME", 30),
        Field("PBA_SUPPORT", 31),
    ),
)
IVAR = Register(
    "IVAR",
    0x00900,
    RW,
    count=64,
    title="Interrupt Vector Allocation: RX 2n, TX 2n, RX 2n+1, TX 2n+1",
    fields=(
        Field("RX_EVEN", 0, 5),
        Field("RX_EVEN_VAL", 7),
        Field("TX_EVEN", 8, 13),
        Field("TX_EVEN_VAL", 15),
        Field("RX_ODD", 16, 21),
        Field("RX_ODD_VAL", 23),
        Field("TX_ODD", 24, 29),
        Field("TX_ODD_VAL", 31),
    ),
)
IVAR_MISC = Register(
    "IVAR_MISC",
    0x00A00,
    RW,
    title="Miscellaneous Interrupt Vector Allocation",
    fields=(Field("TCP_TIMER", 0, 6), Field("TCP_TIMER_VAL", 7), Field("OTHER", 8, 14), Field("OTHER_VAL", 15)),
)
EICS_EX = Register("EICS_EX", 0x00A90, W1S, count=2, title="Extended Interrupt Cause Set: vectors 32n to 32n+31")
EIMS_EX = Register("EIMS_EX", 0x00AA0, W1S, count=2, title="Extended Interrupt Mask Set: vectors 32n to 32n+31")
EIMC_EX = Register("EIMC_EX", 0x00AB0, RW, count=2, title="Extended Interrupt Mask Clear: vectors 32n to 32n+31")
EIAM_EX = Register("EIAM_EX", 0x00AD0, RW, count=2, title="Extended Interrupt Auto Mask: vectors 32n to 32n+31")
PFMBICR = Register("PFMBICR", 0x00710, RW, count=4, title="VF Mailbox Interrupt Causes")
PFMBIMR = Register("PFMBIMR", 0x00720, RW, count=2, title="VF Mailbox Interrupt Mask")
VFLRE = Register("VFLRE", 0x00600, RW, count=2, title="VF FLR Event")
VFLREC = Register("VFLREC", 0x00700, W1C, count=2, title="VF FLR Event Clear")
