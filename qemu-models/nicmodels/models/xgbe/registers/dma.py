# SPDX-License-Identifier: MIT
"""The DMA: its bus, and its channels.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h; Agilex 5 HPS TRM (Intel 814346), chapter 5.1.6.
"""

from __future__ import annotations

from nicmodels.registers import RO, RW, W1C, Field, Register

CHANNELS = 16
_STRIDE = 0x80
_BASE = 0x3100

MR = Register("DMA_MR", 0x3000, RW, title="Mode", fields=(Field("SWR", 0), Field("INTM", 12, 13)))
EAME = 1 << 11
SBMR = Register(
    "DMA_SBMR",
    0x3004,
    RW,
    title="System Bus Mode",
    fields=(
        Field("UNDEF", 0),
        Field("BLEN", 1, 7),
        Field("EAME", 11),
        Field("AAL", 12),
        Field("RD_OSR_LMT", 16, 21),
        Field("WR_OSR_LMT", 24, 29),
    ),
)
ISR = Register(
    "DMA_ISR",
    0x3008,
    RO,
    title="Interrupt Status",
    fields=(Field("DCIS", 0, 15), Field("MTLIS", 16), Field("MACIS", 17)),
)
AXIARCR = Register("DMA_AXIARCR", 0x3010, RW, title="AXI Read Channel Cache Control")
AXIAWCR = Register("DMA_AXIAWCR", 0x3018, RW, title="AXI Write Channel Cache Control")
AXIAWARCR = Register("DMA_AXIAWARCR", 0x301C, RW, title="AXI Write Channel Cache Control, second")
DSR = Register("DMA_DSR", 0x3020, RO, count=5, title="Debug Status: the states of the channels' engines")
TXEDMACR = Register("DMA_TXEDMACR", 0x3040, RW, title="Transmit Enhanced DMA Control", fields=(Field("TDPS", 0, 2),))
RXEDMACR = Register("DMA_RXEDMACR", 0x3044, RW, title="Receive Enhanced DMA Control", fields=(Field("RDPS", 0, 2),))


_CAUSES = (
    Field("TI", 0),
    Field("TPS", 1),
    Field("TBU", 2),
    Field("RI", 6),
    Field("RBU", 7),
    Field("RPS", 8),
    Field("FBE", 12),
    Field("AIS", 14),
    Field("NIS", 15),
)


def _channel(
    name: str, offset: int, title: str, *fields: Field, writable: int = 0xFFFF_FFFF, status: bool = False
) -> Register:
    return Register(
        f"DMA_CH_{name}",
        _BASE + offset,
        W1C if status else RW,
        stride=_STRIDE,
        count=CHANNELS,
        writable=writable,
        title=title,
        fields=fields,
    )


def _shown(name: str, offset: int, title: str) -> Register:
    return Register(f"DMA_CH_{name}", _BASE + offset, RO, stride=_STRIDE, count=CHANNELS, title=title)


CR = _channel("CR", 0x00, "Control", Field("MSS", 0, 13), Field("PBLX8", 16), Field("DSL", 18, 20), Field("SPH", 24))
TCR = _channel("TCR", 0x04, "Transmit Control", Field("ST", 0), Field("OSP", 4), Field("TSE", 12), Field("PBL", 16, 21))
RCR = _channel(
    "RCR", 0x08, "Receive Control", Field("SR", 0), Field("RBSZ", 1, 14), Field("PBL", 16, 21), Field("RPF", 31)
)
TDLR_HI = _channel("TDLR_HI", 0x10, "Transmit Descriptor List Address High", writable=0xFFFF)
TDLR_LO = _channel("TDLR_LO", 0x14, "Transmit Descriptor List Address Low", writable=0xFFFF_FFF0)
RDLR_HI = _channel("RDLR_HI", 0x18, "Receive Descriptor List Address High", writable=0xFFFF)
RDLR_LO = _channel("RDLR_LO", 0x1C, "Receive Descriptor List Address Low", writable=0xFFFF_FFF0)
TDTR_LO = _channel("TDTR_LO", 0x24, "Transmit Descriptor Tail Pointer", writable=0xFFFF_FFF0)
RDTR_LO = _channel("RDTR_LO", 0x2C, "Receive Descriptor Tail Pointer", writable=0xFFFF_FFF0)
TDRLR = _channel("TDRLR", 0x30, "Transmit Descriptor Ring Length: one less than there are", writable=0xFFFF)
RDRLR = _channel("RDRLR", 0x34, "Receive Descriptor Ring Length: one less than there are", writable=0xFFFF)
IER = _channel("IER", 0x38, "Interrupt Enable", *_CAUSES)
RIWT = _channel("RIWT", 0x3C, "Receive Interrupt Watchdog Timer: units of 256 clocks", Field("RWT", 0, 7))
CATDR = _shown("CATDR", 0x44, "Current Transmit Descriptor")
CARDR = _shown("CARDR", 0x4C, "Current Receive Descriptor")
CATBR_HI = _shown("CATBR_HI", 0x50, "Current Transmit Buffer High")
CATBR_LO = _shown("CATBR_LO", 0x54, "Current Transmit Buffer Low")
CARBR_HI = _shown("CARBR_HI", 0x58, "Current Receive Buffer High")
CARBR_LO = _shown("CARBR_LO", 0x5C, "Current Receive Buffer Low")
SR = _channel("SR", 0x60, "Status", *_CAUSES, status=True)
