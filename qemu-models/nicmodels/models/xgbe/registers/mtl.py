# SPDX-License-Identifier: MIT
"""The MAC transaction layer: the queues between MAC and DMA.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h; Agilex 5 HPS TRM (Intel 814346), chapter 5.1.
"""

from __future__ import annotations

from nicmodels.registers import RO, RW, RWS, W1C, Field, Register

QUEUES = 16
_STRIDE = 0x80
_BASE = 0x1100

OMR = Register("MTL_OMR", 0x1000, RW, title="Operation Mode", fields=(Field("RAA", 2), Field("ETSALG", 5, 6)))
FDCR = Register("MTL_FDCR", 0x1008, RW, title="FIFO Debug Control")
FDSR = Register("MTL_FDSR", 0x100C, RO, title="FIFO Debug Status")
FDDR = Register("MTL_FDDR", 0x1010, RW, title="FIFO Debug Data")
ISR = Register("MTL_ISR", 0x1020, RO, title="Interrupt Status")
RQDCMR = Register(
    "MTL_RQDCMR", 0x1030, RW, count=4, title="Receive Queue to DMA Channel Mapping: eight bits a queue, bit 7 dynamic"
)
TCPMR = Register("MTL_TCPMR", 0x1040, RW, count=2, title="Traffic Class Priority Mapping")
TQOMR = Register(
    "MTL_TQOMR",
    _BASE,
    RWS,
    stride=_STRIDE,
    count=QUEUES,
    self_clearing=1,
    title="Transmit Queue Operating Mode",
    fields=(
        Field("FTQ", 0),
        Field("TSF", 1),
        Field("TXQEN", 2, 3),
        Field("TTC", 4, 6),
        Field("Q2TCMAP", 8, 10),
        Field("TQS", 16, 25),
    ),
)
TQUR = Register("MTL_TQUR", _BASE + 0x04, RO, stride=_STRIDE, count=QUEUES, title="Transmit Queue Underflow")
TQDR = Register(
    "MTL_TQDR",
    _BASE + 0x08,
    RO,
    stride=_STRIDE,
    count=QUEUES,
    title="Transmit Queue Debug",
    fields=(Field("TXQPAUSED", 0), Field("TRCSTS", 1, 2), Field("TWCSTS", 3), Field("TXQSTS", 4)),
)
ETSCR = Register(
    "MTL_TC_ETSCR",
    _BASE + 0x10,
    RW,
    stride=_STRIDE,
    count=QUEUES,
    title="Traffic Class ETS Control",
    fields=(Field("TSA", 0, 1),),
)
ETSSR = Register("MTL_TC_ETSSR", _BASE + 0x14, RO, stride=_STRIDE, count=QUEUES, title="Traffic Class ETS Status")
QWR = Register(
    "MTL_TC_QWR",
    _BASE + 0x18,
    RW,
    stride=_STRIDE,
    count=QUEUES,
    title="Traffic Class Quantum or Weight",
    fields=(Field("QW", 0, 20),),
)
RQOMR = Register(
    "MTL_RQOMR",
    _BASE + 0x40,
    RW,
    stride=_STRIDE,
    count=QUEUES,
    title="Receive Queue Operating Mode",
    fields=(
        Field("RTC", 0, 1),
        Field("FUP", 3),
        Field("FEP", 4),
        Field("RSF", 5),
        Field("DIS_TCP_EF", 6),
        Field("EHFC", 7),
        Field("RQS", 16, 24),
    ),
)
RQMPOCR = Register(
    "MTL_RQMPOCR", _BASE + 0x44, RO, stride=_STRIDE, count=QUEUES, title="Receive Queue Missed and Overflow"
)
RQDR = Register(
    "MTL_RQDR",
    _BASE + 0x48,
    RO,
    stride=_STRIDE,
    count=QUEUES,
    title="Receive Queue Debug",
    fields=(Field("RWCSTS", 0), Field("RRCSTS", 1, 2), Field("RXQSTS", 4, 5), Field("PRXQ", 16, 29)),
)
RQFCR = Register(
    "MTL_RQFCR",
    _BASE + 0x50,
    RW,
    stride=_STRIDE,
    count=QUEUES,
    title="Receive Queue Flow Control",
    fields=(Field("RFA", 1, 6), Field("RFD", 17, 22)),
)
Q_IER = Register("MTL_Q_IER", _BASE + 0x70, RW, stride=_STRIDE, count=QUEUES, title="Queue Interrupt Enable")
Q_ISR = Register("MTL_Q_ISR", _BASE + 0x74, W1C, stride=_STRIDE, count=QUEUES, title="Queue Interrupt Status")
