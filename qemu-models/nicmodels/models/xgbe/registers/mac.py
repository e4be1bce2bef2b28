# SPDX-License-Identifier: MIT
"""The MAC: configuration, filters, flow control, features, MDIO, receive-side scaling, time.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h (offsets and fields of this device); for their functions, the
Agilex 5 HPS Technical Reference Manual (Intel 814346), chapter 5.1, which documents the same Synopsys core.
"""

from __future__ import annotations

from nicmodels.registers import RO, RW, RWS, Field, Register

TCR = Register(
    "MAC_TCR",
    0x0000,
    RW,
    title="Transmit Configuration",
    fields=(Field("TE", 0), Field("JD", 16), Field("VNE", 24), Field("VNM", 25), Field("SS", 29, 31)),
)
RCR = Register(
    "MAC_RCR",
    0x0004,
    RW,
    title="Receive Configuration",
    fields=(
        Field("RE", 0),
        Field("ACS", 1),
        Field("CST", 2),
        Field("DCRCC", 3),
        Field("GPSLCE", 6),
        Field("WD", 7),
        Field("JE", 8),
        Field("IPC", 9),
        Field("LM", 10),
        Field("HDSMS", 12, 14),
        Field("GPSL", 16, 29),
    ),
)
PFR = Register(
    "MAC_PFR",
    0x0008,
    RW,
    title="Packet Filter",
    fields=(
        Field("PR", 0),
        Field("HUC", 1),
        Field("HMC", 2),
        Field("DAIF", 3),
        Field("PM", 4),
        Field("DBF", 5),
        Field("PCF", 6, 7),
        Field("SAIF", 8),
        Field("SAF", 9),
        Field("HPF", 10),
        Field("VTFE", 16),
        Field("VUCC", 22),
        Field("RA", 31),
    ),
)
WTR = Register("MAC_WTR", 0x000C, RW, title="Watchdog Timeout")
HTR = Register("MAC_HTR", 0x0010, RW, count=8, title="Hash Table")
VLANTR = Register(
    "MAC_VLANTR",
    0x0050,
    RW,
    title="VLAN Tag",
    fields=(
        Field("VL", 0, 15),
        Field("ETV", 16),
        Field("VTIM", 17),
        Field("ESVL", 18),
        Field("ERSVLM", 19),
        Field("DOVLTC", 20),
        Field("EVLS", 21, 22),
        Field("EVLRXS", 24),
        Field("VTHM", 25),
    ),
)
VLANHTR = Register("MAC_VLANHTR", 0x0058, RW, writable=0xFFFF, title="VLAN Hash Table", fields=(Field("VLHT", 0, 15),))
VLANIR = Register(
    "MAC_VLANIR",
    0x0060,
    RW,
    title="VLAN Inclusion",
    fields=(Field("VLT", 0, 15), Field("VLC", 16, 17), Field("VLP", 18), Field("CSVL", 19), Field("VLTI", 20)),
)
IVLANIR = Register("MAC_IVLANIR", 0x0064, RW, title="Inner VLAN Inclusion")
RETMR = Register("MAC_RETMR", 0x006C, RW, title="Receive Ethertype Match")
QTFCR = Register(
    "MAC_QTFCR",
    0x0070,
    RW,
    count=8,
    title="Transmit Flow Control of a queue",
    fields=(Field("FCB", 0), Field("TFE", 1), Field("PLT", 4, 6), Field("DZPQ", 7), Field("PT", 16, 31)),
)
RFCR = Register(
    "MAC_RFCR", 0x0090, RW, title="Receive Flow Control", fields=(Field("RFE", 0), Field("UP", 1), Field("PFCE", 8))
)
RQC0R = Register("MAC_RQC0R", 0x00A0, RW, title="Receive Queue Control 0: two bits a queue, 2 enables it")
RQC1R = Register(
    "MAC_RQC1R",
    0x00A4,
    RW,
    title="Receive Queue Control 1",
    fields=(Field("UPQ", 0, 3), Field("MCBCQ", 8, 11), Field("MCBCQEN", 15)),
)
RQC2R = Register("MAC_RQC2R", 0x00A8, RW, count=2, title="Receive Queue Control 2: the priorities of four queues")
ISR = Register(
    "MAC_ISR",
    0x00B0,
    RO,
    title="Interrupt Status",
    fields=(
        Field("LSI", 0),
        Field("SMI", 1),
        Field("PMTIS", 4),
        Field("MMCRXIS", 9),
        Field("MMCTXIS", 10),
        Field("TSIS", 12),
        Field("LS", 24, 25),
    ),
)
IER = Register("MAC_IER", 0x00B4, RW, title="Interrupt Enable", fields=(Field("LSIE", 0), Field("TSIE", 12)))
RTSR = Register("MAC_RTSR", 0x00B8, RO, title="Receive and Transmit Status")
PMTCSR = Register("MAC_PMTCSR", 0x00C0, RWS, self_clearing=1 << 31, title="PMT Control and Status")
RWKPFR = Register("MAC_RWKPFR", 0x00C4, RW, title="Remote Wake-up Packet Filter")
LPICSR = Register("MAC_LPICSR", 0x00D0, RW, title="LPI Control and Status")
LPITCR = Register("MAC_LPITCR", 0x00D4, RW, title="LPI Timers Control")
TIR = Register("MAC_TIR", 0x00E0, RW, writable=0xFFFF, title="Tunnel Identification", fields=(Field("TNID", 0, 15),))
VR = Register(
    "MAC_VR",
    0x0110,
    RO,
    reset=0x10_7621,
    title="Version",
    fields=(Field("SNPSVER", 0, 7), Field("DEVID", 8, 15), Field("USERVER", 16, 23)),
)
DR = Register("MAC_DR", 0x0114, RO, title="Debug")
HWF0R = Register(
    "MAC_HWF0R",
    0x011C,
    RO,
    title="Hardware Feature 0",
    fields=(
        Field("GMIISEL", 1),
        Field("VLHASH", 4),
        Field("SMASEL", 5),
        Field("RWKSEL", 6),
        Field("MGKSEL", 7),
        Field("MMCSEL", 8),
        Field("ARPOFFSEL", 9),
        Field("TSSEL", 12),
        Field("EEESEL", 13),
        Field("TXCOESEL", 14),
        Field("RXCOESEL", 16),
        Field("ADDMACADRSEL", 18, 22),
        Field("TSSTSSEL", 25, 26),
        Field("SAVLANINS", 27),
        Field("VXN", 29),
    ),
)
HWF1R = Register(
    "MAC_HWF1R",
    0x0120,
    RO,
    title="Hardware Feature 1",
    fields=(
        Field("RXFIFOSIZE", 0, 4),
        Field("TXFIFOSIZE", 6, 10),
        Field("ADVTHWORD", 13),
        Field("ADDR64", 14, 15),
        Field("DCBEN", 16),
        Field("SPHEN", 17),
        Field("TSOEN", 18),
        Field("DBGMEMA", 19),
        Field("RSSEN", 20),
        Field("NUMTC", 21, 23),
        Field("HASHTBLSZ", 24, 25),
        Field("L3L4FNUM", 27, 30),
    ),
)
HWF2R = Register(
    "MAC_HWF2R",
    0x0124,
    RO,
    title="Hardware Feature 2",
    fields=(
        Field("RXQCNT", 0, 3),
        Field("TXQCNT", 6, 9),
        Field("RXCHCNT", 12, 15),
        Field("TXCHCNT", 18, 21),
        Field("PPSOUTNUM", 24, 26),
        Field("AUXSNAPNUM", 28, 30),
    ),
)
MDIOSCAR = Register(
    "MAC_MDIOSCAR",
    0x0200,
    RW,
    title="MDIO Single Command Address",
    fields=(Field("RA", 0, 15), Field("PA", 16, 20), Field("DA", 21, 25)),
)
MDIOSCCDR = Register(
    "MAC_MDIOSCCDR",
    0x0204,
    RW,
    title="MDIO Single Command Control and Data",
    fields=(Field("DATA", 0, 15), Field("CMD", 16, 17), Field("SADDR", 18), Field("CR", 19, 21), Field("BUSY", 22)),
)
MDIOISR = Register("MAC_MDIOISR", 0x0214, RO, title="MDIO Interrupt Status", fields=(Field("SNGLCOMPINT", 12),))
MDIOIER = Register("MAC_MDIOIER", 0x0218, RW, title="MDIO Interrupt Enable", fields=(Field("SNGLCOMPIE", 12),))
MDIOCL22R = Register("MAC_MDIOCL22R", 0x0220, RW, title="MDIO Clause 22 Port")
GPIOCR = Register("MAC_GPIOCR", 0x0278, RW, title="GPIO Control")
GPIOSR = Register("MAC_GPIOSR", 0x027C, RW, title="GPIO Status")
MACAHR = Register(
    "MAC_MACAHR",
    0x0300,
    RW,
    stride=8,
    count=32,
    title="MAC Address High",
    fields=(Field("ADDRHI", 0, 15), Field("DCS", 16, 19), Field("MBC", 24, 29), Field("SA", 30), Field("AE", 31)),
)
MACALR = Register("MAC_MACALR", 0x0304, RW, stride=8, count=32, reset=0xFFFF_FFFF, title="MAC Address Low")
RSSCR = Register(
    "MAC_RSSCR",
    0x0C80,
    RW,
    title="RSS Control",
    fields=(Field("RSSE", 0), Field("IP2TE", 1), Field("TCP4TE", 2), Field("UDP4TE", 3)),
)
RSSAR = Register(
    "MAC_RSSAR",
    0x0C88,
    RW,
    title="RSS Address",
    fields=(Field("OB", 0), Field("CT", 1), Field("ADDRT", 2), Field("RSSIA", 8, 15)),
)
RSSDR = Register("MAC_RSSDR", 0x0C8C, RW, title="RSS Data")
TSCR = Register(
    "MAC_TSCR",
    0x0D00,
    RW,
    title="Timestamp Control",
    fields=(
        Field("TSENA", 0),
        Field("TSCFUPDT", 1),
        Field("TSINIT", 2),
        Field("TSUPDT", 3),
        Field("TSADDREG", 5),
        Field("TSENALL", 8),
        Field("TSCTRLSSR", 9),
        Field("TSVER2ENA", 10),
        Field("TSIPENA", 11),
        Field("TSIPV6ENA", 12),
        Field("TSIPV4ENA", 13),
        Field("TSEVNTENA", 14),
        Field("TSMSTRENA", 15),
        Field("SNAPTYPSEL", 16, 17),
        Field("TXTSSTSM", 24),
        Field("AV8021ASMEN", 28),
    ),
)
SSIR = Register(
    "MAC_SSIR", 0x0D04, RW, title="Sub-second Increment", fields=(Field("SNSINC", 8, 15), Field("SSINC", 16, 23))
)
STSR = Register("MAC_STSR", 0x0D08, RO, title="System Time Seconds")
STNR = Register("MAC_STNR", 0x0D0C, RO, title="System Time Nanoseconds")
STSUR = Register("MAC_STSUR", 0x0D10, RW, title="System Time Seconds Update")
STNUR = Register(
    "MAC_STNUR", 0x0D14, RW, title="System Time Nanoseconds Update", fields=(Field("TSSS", 0, 30), Field("ADDSUB", 31))
)
TSAR = Register("MAC_TSAR", 0x0D18, RW, title="Timestamp Addend")
TSSR = Register("MAC_TSSR", 0x0D20, RO, title="Timestamp Status", fields=(Field("TXTSC", 15),))
TXSNR = Register(
    "MAC_TXSNR",
    0x0D30,
    RO,
    title="Transmit Timestamp Nanoseconds",
    fields=(Field("TXTSSTSLO", 0, 30), Field("TXTSSTSMIS", 31)),
)
TXSSR = Register("MAC_TXSSR", 0x0D34, RO, title="Transmit Timestamp Seconds")
TICNR = Register("MAC_TICNR", 0x0D58, RW, title="Timestamp Ingress Correction Nanoseconds")
TICSNR = Register("MAC_TICSNR", 0x0D5C, RW, title="Timestamp Ingress Correction Sub-nanoseconds")
TECNR = Register("MAC_TECNR", 0x0D60, RW, title="Timestamp Egress Correction Nanoseconds")
TECSNR = Register("MAC_TECSNR", 0x0D64, RW, title="Timestamp Egress Correction Sub-nanoseconds")
PPSCR = Register("MAC_PPSCR", 0x0D70, RW, title="PPS Control; this device has no PPS output")
