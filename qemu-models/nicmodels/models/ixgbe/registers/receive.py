# SPDX-License-Identifier: MIT
"""Receive: 82599 datasheet, sections 8.2.3.7 (receive) and 8.2.3.8 (receive DMA)."""

from __future__ import annotations

from nicmodels.registers import RO, RW, Field, Register

QUEUES = 128
_MORE = 0x40, 64


def _more(offset: int) -> tuple[tuple[int, int, int], ...]:
    """Queues 64 to 127."""
    return ((offset, *_MORE),)


RDBAL = Register(
    "RDBAL",
    0x01000,
    RW,
    stride=0x40,
    count=64,
    more=_more(0x0D000),
    writable=0xFFFF_FF80,
    title="Receive Descriptor Base Address Low",
)
RDBAH = Register(
    "RDBAH", 0x01004, RW, stride=0x40, count=64, more=_more(0x0D004), title="Receive Descriptor Base Address High"
)
RDLEN = Register(
    "RDLEN",
    0x01008,
    RW,
    stride=0x40,
    count=64,
    more=_more(0x0D008),
    writable=0x000F_FF80,
    title="Receive Descriptor Length",
)
DCA_RXCTRL = Register(
    "DCA_RXCTRL",
    0x0100C,
    RW,
    stride=0x40,
    count=64,
    more=_more(0x0D00C),
    aliases=((0x02200, 4, 16),),
    title="Rx DCA Control",
    fields=(Field("RX_DESC_RRO_EN", 9), Field("RX_DATA_WRO_EN", 13), Field("RX_HEAD_WRO_EN", 15)),
)
RDH = Register(
    "RDH", 0x01010, RO, stride=0x40, count=64, more=_more(0x0D010), writable=0xFFFF, title="Receive Descriptor Head"
)
SRRCTL = Register(
    "SRRCTL",
    0x01014,
    RW,
    stride=0x40,
    count=64,
    more=_more(0x0D014),
    aliases=((0x02100, 4, 16),),
    reset=0x0000_0402,
    title="Split Receive Control",
    fields=(
        Field("BSIZEPACKET", 0, 4),
        Field("BSIZEHEADER", 8, 13),
        Field("RDMTS", 22, 24),
        Field("DESCTYPE", 25, 27),
        Field("DROP_EN", 28),
    ),
)
RDT = Register(
    "RDT", 0x01018, RW, stride=0x40, count=64, more=_more(0x0D018), writable=0xFFFF, title="Receive Descriptor Tail"
)
RXDCTL = Register(
    "RXDCTL",
    0x01028,
    RW,
    stride=0x40,
    count=64,
    more=_more(0x0D028),
    writable=0x42FF_FFFF,
    title="Receive Descriptor Control",
    fields=(
        Field("PTHRESH", 0, 6),
        Field("HTHRESH", 8, 14),
        Field("WTHRESH", 16, 22),
        Field("ENABLE", 25),
        Field("VME", 30),
    ),
)
RSCCTL = Register(
    "RSCCTL",
    0x0102C,
    RW,
    stride=0x40,
    count=64,
    more=_more(0x0D02C),
    title="RSC Control",
    fields=(Field("RSCEN", 0), Field("MAXDESC", 2, 3)),
)
PSRTYPE = Register(
    "PSRTYPE",
    0x0EA00,
    RW,
    count=64,
    aliases=((0x05480, 4, 16),),
    title="Packet Split Receive Type",
    fields=(
        Field("SPLIT_TCP", 4),
        Field("SPLIT_UDP", 5),
        Field("SPLIT_IPV4", 8),
        Field("SPLIT_IPV6", 9),
        Field("SPLIT_L2", 12),
        Field("RQPL", 29, 31),
    ),
)
RDRXCTL = Register(
    "RDRXCTL",
    0x02F00,
    RW,
    reset=0x0010_0008,
    writable=0xFFFF_FFF7,
    title="Receive DMA Control",
    fields=(
        Field("CRCSTRIP", 1),
        Field("DMAIDONE", 3),
        Field("RSCFRSTSIZE", 17, 21),
        Field("RSCACKC", 25),
        Field("FCOE_WRFIX", 26),
    ),
)
PFQDE = Register("PFQDE", 0x02F04, RW, title="PF Queue Drop Enable")
RDHMPN = Register("RDHMPN", 0x02F08, RW, title="Receive Descriptor Handler Memory Page Number")
RIC_DW = Register("RIC_DW", 0x02F10, RO, count=4, title="Receive Descriptor Handler Memory")
RDPROBE = Register("RDPROBE", 0x02F20, RW, title="Receive Probe Mode")
RDMAM = Register("RDMAM", 0x02F30, RW, title="Receive DMA Statistics Memory Mode")
RDMAD = Register("RDMAD", 0x02F34, RW, title="Receive DMA Statistics Memory Data")
LVMMC_RX = Register("LVMMC_RX", 0x02FA8, RO, title="Last VM Misbehavior Cause")
WQBR_RX = Register("WQBR_RX", 0x02FB0, RW, count=4, title="Wrong Queue Behaviour")
RDSTAT = Register("RDSTAT", 0x02C00, RO, count=8, title="Receive DMA Statistics")
RDSTATCTL = Register("RDSTATCTL", 0x02C20, RW, title="Receive DMA Statistics Control")
RXCTRL = Register("RXCTRL", 0x03000, RW, title="Receive Control", fields=(Field("RXEN", 0), Field("DMBYPS", 1)))
PFCTOP = Register("PFCTOP", 0x03008, RW, title="Priority Flow Control Type Opcode")
RTRUP2TC = Register("RTRUP2TC", 0x03020, RW, title="DCB Receive User Priority to Traffic Class")
STARCTRL = Register("STARCTRL", 0x03024, RW, title="Starvation Control")
RSCDBU = Register(
    "RSCDBU", 0x03028, RW, title="RSC Data Buffer Control", fields=(Field("RSCSMALDIS", 0, 6), Field("RSCACKDIS", 7))
)
RXWRPTR = Register("RXWRPTR", 0x03100, RO, count=8, title="Receive Packet Buffer Write Pointer")
RXUSED = Register("RXUSED", 0x03120, RO, count=8, title="Receive Packet Buffer Used")
RXRDPTR = Register("RXRDPTR", 0x03140, RO, count=8, title="Receive Packet Buffer Read Pointer")
RXRDWRPTR = Register("RXRDWRPTR", 0x03160, RO, count=8, title="Receive Packet Buffer Read Write Pointer")
RXMEMWRAP = Register("RXMEMWRAP", 0x03190, RO, title="Receive Packet Buffer Flush Detect")
FCADBUL = Register("FCADBUL", 0x03210, RW, title="Flow Control Address Low")
FCADBUH = Register("FCADBUH", 0x03214, RW, title="Flow Control Address High")
FCTTV = Register("FCTTV", 0x03200, RW, count=4, title="Flow Control Transmit Timer Value")
FCRTL = Register("FCRTL", 0x03220, RW, count=8, writable=0x8007_FFE0 | 0x10, title="Flow Control Receive Threshold Low")
FCRTH = Register(
    "FCRTH", 0x03260, RW, count=8, writable=0x8007_FFE0 | 0x10, title="Flow Control Receive Threshold High"
)
FCRTV = Register("FCRTV", 0x032A0, RW, title="Flow Control Refresh Threshold Value")
PBRXECC = Register("PBRXECC", 0x03300, RW, title="Receive Packet Buffer ECC")
RXBUFCTRL = Register("RXBUFCTRL", 0x03600, RW, title="Receive Buffer Access Control")
RXBUFDATA = Register("RXBUFDATA", 0x03610, RW, count=4, title="Receive Buffer Data")
RXDATAPTR = Register("RXDATAPTR", 0x03700, RO, count=16, title="Receive Packet Buffer Pointers")
RXPBSIZE = Register(
    "RXPBSIZE", 0x03C00, RW, count=8, reset=512 << 10, writable=0x000F_FC00, title="Receive Packet Buffer Size"
)
RT2CR = Register("RT2CR", 0x03C20, RW, count=8, title="Receive T2 Configuration")
RT2SR = Register("RT2SR", 0x03C40, RO, count=8, title="Receive T2 Status")
FCCFG = Register("FCCFG", 0x03D00, RW, title="Flow Control Configuration", fields=(Field("TFCE", 3, 4),))
DROPEN = Register("DROPEN", 0x03D04, RW, title="Drop Enable Control")
RXDBUECC = Register("RXDBUECC", 0x03F70, RW, title="Receive DBU ECC")
RXDBUEST = Register("RXDBUEST", 0x03F74, RO, title="Receive DBU ECC Status")
RTRPCS = Register("RTRPCS", 0x02430, RW, title="DCB Receive Packet Plane Control and Status")
RTRPT4C = Register("RTRPT4C", 0x02140, RW, count=8, title="DCB Receive Packet Plane T4 Configuration")
RTRPT4S = Register("RTRPT4S", 0x02160, RO, count=8, title="DCB Receive Packet Plane T4 Status")
FCPTRL = Register("FCPTRL", 0x02410, RW, title="FC User Descriptor Pointer Low")
FCPTRH = Register("FCPTRH", 0x02414, RW, title="FC User Descriptor Pointer High")
FCBUFF = Register("FCBUFF", 0x02418, RW, title="FC Buffer Control")
FCDMARW = Register("FCDMARW", 0x02420, RW, title="FC Receive DMA RW")
