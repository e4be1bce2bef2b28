# SPDX-License-Identifier: MIT
"""Transmit: 82599 datasheet, section 8.2.3.9, and the transmit side of DCB, section 8.2.3.10."""

from __future__ import annotations

from nicmodels.registers import RO, RW, Field, Register

QUEUES = 128


TDBAL = Register(
    "TDBAL",
    0x06000,
    RW,
    stride=0x40,
    count=QUEUES,
    writable=0xFFFF_FF80,
    title="Transmit Descriptor Base Address Low",
)
TDBAH = Register("TDBAH", 0x06004, RW, stride=0x40, count=QUEUES, title="Transmit Descriptor Base Address High")
TDLEN = Register(
    "TDLEN", 0x06008, RW, stride=0x40, count=QUEUES, writable=0x000F_FF80, title="Transmit Descriptor Length"
)
DCA_TXCTRL = Register("DCA_TXCTRL", 0x0600C, RW, stride=0x40, count=QUEUES, title="Tx DCA Control")
TDH = Register("TDH", 0x06010, RW, stride=0x40, count=QUEUES, writable=0xFFFF, title="Transmit Descriptor Head")
TDT = Register("TDT", 0x06018, RW, stride=0x40, count=QUEUES, writable=0xFFFF, title="Transmit Descriptor Tail")
TXDCTL = Register(
    "TXDCTL",
    0x06028,
    RW,
    stride=0x40,
    count=QUEUES,
    writable=0x02FF_FFFF,
    title="Transmit Descriptor Control",
    fields=(
        Field("PTHRESH", 0, 6),
        Field("HTHRESH", 8, 14),
        Field("WTHRESH", 16, 22),
        Field("ENABLE", 25),
        Field("SWFLSH", 26),
    ),
)
TDWBAL = Register(
    "TDWBAL",
    0x06038,
    RW,
    stride=0x40,
    count=QUEUES,
    title="Tx Descriptor Completion Write Back Address Low",
    fields=(Field("HEAD_WB_EN", 0),),
)
TDWBAH = Register(
    "TDWBAH", 0x0603C, RW, stride=0x40, count=QUEUES, title="Tx Descriptor Completion Write Back Address High"
)
DMATXCTL = Register(
    "DMATXCTL",
    0x04A80,
    RW,
    reset=0x8100_0000,
    title="DMA Tx Control",
    fields=(Field("TE", 0), Field("GDV", 3), Field("VT", 16, 31)),
)
DTXTCPFLGL = Register(
    "DTXTCPFLGL",
    0x04A88,
    RW,
    reset=0x0F76_0FF6,
    title="DMA Tx TCP Flags Control Low",
    fields=(Field("FIRST", 0, 11), Field("MIDDLE", 16, 27)),
)
DTXTCPFLGH = Register(
    "DTXTCPFLGH", 0x04A8C, RW, reset=0x0000_0F7F, title="DMA Tx TCP Flags Control High", fields=(Field("LAST", 0, 11),)
)
TEOFF = Register("TEOFF", 0x04A94, RW, title="Tx FC EOF Flags")
TSOFF = Register("TSOFF", 0x04A98, RW, title="Tx FC SOF Flags")
TXPBTHRESH = Register("TXPBTHRESH", 0x04950, RW, count=8, reset=0x96, title="Tx Packet Buffer Threshold")
RTTDCS = Register(
    "RTTDCS",
    0x04900,
    RW,
    title="DCB Transmit Descriptor Plane Control and Status",
    fields=(
        Field("TDPAC", 0),
        Field("VMPAC", 1),
        Field("TDRM", 4),
        Field("ARBDIS", 6),
        Field("LTTDESC", 17, 19),
        Field("BDPM", 22),
        Field("BPBFSM", 23),
    ),
)
RTTDQSEL = Register("RTTDQSEL", 0x04904, RW, title="DCB Transmit Descriptor Plane Queue Select")
RTTDT1C = Register("RTTDT1C", 0x04908, RW, title="DCB Transmit Descriptor Plane T1 Configuration")
RTTDT1S = Register("RTTDT1S", 0x0490C, RO, title="DCB Transmit Descriptor Plane T1 Status")
RTTDT2C = Register("RTTDT2C", 0x04910, RW, count=8, title="DCB Transmit Descriptor Plane T2 Configuration")
RTTDT2S = Register("RTTDT2S", 0x04930, RO, count=8, title="DCB Transmit Descriptor Plane T2 Status")
RTTBCNRM = Register("RTTBCNRM", 0x04980, RW, title="DCB Transmit Rate-Scheduler MMW")
RTTBCNRC = Register("RTTBCNRC", 0x04984, RW, title="DCB Transmit Rate-Scheduler Configuration")
RTTBCNRS = Register("RTTBCNRS", 0x04988, RO, title="DCB Transmit Rate-Scheduler Status")
RTTBCNRD = Register("RTTBCNRD", 0x0498C, RW, title="DCB Transmit Rate Drift")
RTTDTECC = Register("RTTDTECC", 0x04990, RW, title="DCB Transmit Descriptor Plane ECC")
RTTQCNTG = Register("RTTQCNTG", 0x04A90, RW, title="DCB Transmit QCN Tagging")
DTXMXSZRQ = Register("DTXMXSZRQ", 0x08100, RW, reset=0x10, writable=0xFFF, title="DMA Tx TCP Max Allow Size Requests")
MTQC = Register(
    "MTQC",
    0x08120,
    RW,
    title="Multiple Transmit Queues Command",
    fields=(Field("RT_ENA", 0), Field("VT_ENA", 1), Field("NUM_TC_OR_Q", 2, 3)),
)
LVMMC_TX = Register("LVMMC_TX", 0x08108, RO, title="Last VM Misbehavior Cause")
WQBR_TX = Register("WQBR_TX", 0x08130, RW, count=4, title="Wrong Queue Behaviour")
TIC_DW2 = Register("TIC_DW2", 0x082B0, RO, count=4, title="Transmit Descriptor Handler Memory 2")
TXDESCIC = Register("TXDESCIC", 0x082CC, RW, title="Transmit Descriptor Internal Cache")
TXLLQ = Register("TXLLQ", 0x082E0, RW, count=4, title="Strict Low Latency Tx Queues")
TDHMPN2 = Register("TDHMPN2", 0x082FC, RW, title="Transmit Descriptor Handler Memory Page Number 2")
RTTUP2TC = Register("RTTUP2TC", 0x0C800, RW, title="DCB Transmit User Priority to Traffic Class")
PBTXECC = Register("PBTXECC", 0x0C300, RW, title="Transmit Packet Buffer ECC")
TXBUFCTRL = Register("TXBUFCTRL", 0x0C600, RW, title="Transmit Buffer Access Control")
TXBUFDATA = Register("TXBUFDATA", 0x0C610, RW, count=4, title="Transmit Buffer Data")
TXDATAPTR = Register("TXDATAPTR", 0x0C700, RO, count=16, title="Transmit Packet Buffer Pointers")
TXWRPTR = Register("TXWRPTR", 0x0C100, RO, count=8, title="Transmit Packet Buffer Write Pointer")
TXUSED = Register("TXUSED", 0x0C120, RO, count=8, title="Transmit Packet Buffer Used")
TXRDPTR = Register("TXRDPTR", 0x0C140, RO, count=8, title="Transmit Packet Buffer Read Pointer")
TXRDWRPTR = Register("TXRDWRPTR", 0x0C160, RO, count=8, title="Transmit Packet Buffer Read Write Pointer")
LBDRPEN = Register("LBDRPEN", 0x0CA00, RW, title="Loopback Drop Enable")
TIPG = Register("TIPG", 0x0CB00, RW, title="Transmit Inter Packet Gap")
TXPBSIZE = Register(
    "TXPBSIZE", 0x0CC00, RW, count=8, reset=160 << 10, writable=0x000F_FC00, title="Transmit Packet Buffer Size"
)
RTTPCS = Register("RTTPCS", 0x0CD00, RW, title="DCB Transmit Packet Plane Control and Status")
MNGTXMAP = Register("MNGTXMAP", 0x0CD10, RW, title="Manageability Transmit TC Mapping")
RTTPT2C = Register("RTTPT2C", 0x0CD20, RW, count=8, title="DCB Transmit Packet Plane T2 Configuration")
RTTPT2S = Register("RTTPT2S", 0x0CD40, RO, count=8, title="DCB Transmit Packet Plane T2 Status")
TFCS = Register("TFCS", 0x0CE00, RO, title="Transmit Flow Control Status")
TXDBUECC = Register("TXDBUECC", 0x0CF70, RW, title="Transmit DBU ECC")
TXDBUEST = Register("TXDBUEST", 0x0CF74, RO, title="Transmit DBU ECC Status")
