# SPDX-License-Identifier: MIT
"""Receive filters and queue selection: 82599 datasheet, sections 8.2.3.7 and 8.2.3.27 (virtualization).

The address, VLAN, hash and filter tables are memories, which only power-on resets.
"""

from __future__ import annotations

from nicmodels.registers import RW, Field, Register

RXCSUM = Register(
    "RXCSUM", 0x05000, RW, title="Receive Checksum Control", fields=(Field("IPPCSE", 12), Field("PCSD", 13))
)
RFCTL = Register(
    "RFCTL",
    0x05008,
    RW,
    title="Receive Filter Control",
    fields=(
        Field("RSC_DIS", 5),
        Field("NFSW_DIS", 6),
        Field("NFSR_DIS", 7),
        Field("IPV6_DIS", 10),
        Field("IPFRSP_DIS", 14),
        Field("IPV6_EX_DIS", 16),
    ),
)
EXVET = Register("EXVET", 0x05078, RW, reset=0x8100_0000, title="Extended VLAN Ethernet Type")
VXLANCTRL = Register("VXLANCTRL", 0x0507C, RW, title="VXLAN Control of the X550; storage only")
FCTRL = Register(
    "FCTRL",
    0x05080,
    RW,
    title="Filter Control",
    fields=(
        Field("SBP", 1),
        Field("TPE", 7),
        Field("MPE", 8),
        Field("UPE", 9),
        Field("BAM", 10),
        Field("PMCF", 12),
        Field("DPF", 13),
    ),
)
VLNCTRL = Register(
    "VLNCTRL",
    0x05088,
    RW,
    reset=0x0000_8100,
    title="VLAN Control",
    fields=(Field("VET", 0, 15), Field("CFI", 28), Field("CFIEN", 29), Field("VFE", 30)),
)
MCSTCTRL = Register("MCSTCTRL", 0x05090, RW, title="Multicast Control", fields=(Field("MO", 0, 1), Field("MFE", 2)))
RUPPBMR = Register("RUPPBMR", 0x050A0, RW, title="Receive User Priority to PB Map of the 82598; storage only")
RFVAL = Register("RFVAL", 0x050A4, RW, title="Receive Filter Validation")
PFFLPL = Register("PFFLPL", 0x050B0, RW, title="PF Filter Loopback Low")
PFFLPH = Register("PFFLPH", 0x050B4, RW, title="PF Filter Loopback High")
FCRXCTRL = Register("FCRXCTRL", 0x05100, RW, title="FC Receive Control")
FCFLT = Register("FCFLT", 0x05108, RW, title="FC Filter Context")
FCFLTRW = Register("FCFLTRW", 0x05110, RW, title="FC Filter RW Control")
FCPARAM = Register("FCPARAM", 0x051D8, RW, title="FC Offset Parameter")
FCRECTL = Register("FCRECTL", 0x0ED00, RW, title="FC Redirection Control")
FCRETA = Register("FCRETA", 0x0ED10, RW, count=8, title="FC Redirection Table")
ETQF = Register(
    "ETQF",
    0x05128,
    RW,
    count=8,
    title="EType Queue Filter",
    fields=(
        Field("ETYPE", 0, 15),
        Field("POOL", 20, 25),
        Field("POOL_ENABLE", 26),
        Field("FCOE", 27),
        Field("TS", 30),
        Field("ENABLE", 31),
    ),
)
REOFF = Register("REOFF", 0x05158, RW, title="Rx FC EOF Flags")
RSOFF = Register("RSOFF", 0x051F8, RW, title="Rx FC SOF Flags")
PFVMTXSW = Register("PFVMTXSW", 0x05180, RW, count=2, title="PF VM Tx Switch Loopback Enable")
PFVTCTL = Register(
    "PFVTCTL",
    0x051B0,
    RW,
    title="PF Virtual Control",
    fields=(Field("VT_ENA", 0), Field("DEF_PL", 7, 12), Field("DIS_DEF_POOL", 29), Field("RPL_EN", 30)),
)
RXFECCERR0 = Register("RXFECCERR0", 0x051B8, RW, title="Rx Filter ECC Error Insertion 0")
PFVFRE = Register("PFVFRE", 0x051E0, RW, count=2, title="PF VF Receive Enable")
MTA = Register("MTA", 0x05200, RW, count=128, title="Multicast Table Array")
RAL = Register("RAL", 0x0A200, RW, stride=8, count=128, aliases=((0x05400, 8, 16),), title="Receive Address Low")
RAH = Register(
    "RAH",
    0x0A204,
    RW,
    stride=8,
    count=128,
    aliases=((0x05404, 8, 16),),
    writable=0x8000_FFFF,
    title="Receive Address High",
    fields=(Field("RAH", 0, 15), Field("AV", 31)),
)
MPSAR = Register("MPSAR", 0x0A600, RW, count=256, title="MAC Pool Select Array")
VFTA = Register("VFTA", 0x0A000, RW, count=128, title="VLAN Filter Table Array")
MRQC = Register(
    "MRQC",
    0x0EC80,
    RW,
    aliases=((0x05818, 4, 1),),
    title="Multiple Receive Queues Command",
    fields=(
        Field("MRQE", 0, 3),
        Field("RSS_TCPIPV4", 16),
        Field("RSS_IPV4", 17),
        Field("RSS_IPV6", 20),
        Field("RSS_TCPIPV6", 21),
        Field("RSS_UDPIPV4", 22),
        Field("RSS_UDPIPV6", 23),
    ),
)
VMD_CTL = Register("VMD_CTL", 0x0581C, RW, title="VMDq Control of the 82598; storage only")
IMIR = Register("IMIR", 0x05A80, RW, count=8, title="Immediate Interrupt Rx of the 82598; storage only")
IMIREXT = Register("IMIREXT", 0x05AA0, RW, count=8, title="Immediate Interrupt Rx Extended of the 82598; storage only")
IMIRVP = Register("IMIRVP", 0x05AC0, RW, title="Immediate Interrupt Rx VLAN Priority of the 82598; storage only")
RETA = Register(
    "RETA",
    0x0EB00,
    RW,
    count=32,
    aliases=((0x05C00, 4, 32),),
    writable=0x0F0F_0F0F,
    title="Redirection Table",
    fields=tuple(Field(f"ENTRY_{each}", 8 * each, 8 * each + 3) for each in range(4)),
)
RSSRK = Register("RSSRK", 0x0EB80, RW, count=10, aliases=((0x05C80, 4, 10),), title="RSS Random Key")
SAQF = Register("SAQF", 0x0E000, RW, count=128, title="Source Address Queue Filter")
DAQF = Register("DAQF", 0x0E200, RW, count=128, title="Destination Address Queue Filter")
SDPQF = Register(
    "SDPQF",
    0x0E400,
    RW,
    count=128,
    title="Source Destination Port Queue Filter",
    fields=(Field("SOURCE_PORT", 0, 15), Field("DESTINATION_PORT", 16, 31)),
)
FTQF = Register(
    "FTQF",
    0x0E600,
    RW,
    count=128,
    title="Five-Tuple Queue Filter",
    fields=(
        Field("PROTOCOL", 0, 1),
        Field("PRIORITY", 2, 4),
        Field("POOL", 8, 13),
        Field("MASK", 25, 29),
        Field("POOL_MASK", 30),
        Field("QUEUE_ENABLE", 31),
    ),
)
L34TIMIR = Register(
    "L34TIMIR",
    0x0E800,
    RW,
    count=128,
    title="L3 L4 Tuples Immediate Interrupt Rx",
    fields=(Field("SIZE_BP", 12), Field("LLI", 20), Field("RX_QUEUE", 21, 27)),
)
ETQS = Register(
    "ETQS",
    0x0EC00,
    RW,
    count=8,
    title="EType Queue Select",
    fields=(Field("RX_QUEUE", 16, 22), Field("LLI", 29), Field("QUEUE_EN", 31)),
)
SYNQF = Register(
    "SYNQF",
    0x0EC30,
    RW,
    title="SYN Packet Queue Filter",
    fields=(Field("QUEUE_EN", 0), Field("RX_QUEUE", 1, 7), Field("SYNQFP", 31)),
)
RQTC = Register("RQTC", 0x0EC70, RW, title="RSS Queues Per Traffic Class")
LLITHRESH = Register("LLITHRESH", 0x0EC90, RW, title="Low Latency Interrupt Threshold")
PFVML2FLT = Register(
    "PFVML2FLT",
    0x0F000,
    RW,
    count=64,
    title="PF VM L2 Control",
    fields=(
        Field("UPE", 22),
        Field("VPE", 23),
        Field("AUPE", 24),
        Field("ROMPE", 25),
        Field("ROPE", 26),
        Field("BAM", 27),
        Field("MPE", 28),
    ),
)
PFVLVF = Register(
    "PFVLVF",
    0x0F100,
    RW,
    count=64,
    title="PF VM VLAN Pool Filter",
    fields=(Field("VLAN_ID", 0, 11), Field("VI_EN", 31)),
)
PFVLVFB = Register("PFVLVFB", 0x0F200, RW, count=128, title="PF VM VLAN Pool Filter Bitmap")
PFUTA = Register("PFUTA", 0x0F400, RW, count=128, title="PF Unicast Table Array")
PFMRCTL = Register("PFMRCTL", 0x0F600, RW, count=4, title="PF Mirror Rule Control")
PFMRVLAN = Register("PFMRVLAN", 0x0F610, RW, count=8, title="PF Mirror Rule VLAN")
PFMRVM = Register("PFMRVM", 0x0F630, RW, count=8, title="PF Mirror Rule Pool")
PFVMVIR = Register("PFVMVIR", 0x08000, RW, count=64, title="PF VM VLAN Insert")
PFVFTE = Register("PFVFTE", 0x08110, RW, count=2, title="PF VF Transmit Enable")
PFVFSPOOF = Register("PFVFSPOOF", 0x08200, RW, count=8, title="PF VF Anti Spoof Control")
PFDTXGSWC = Register("PFDTXGSWC", 0x08220, RW, title="PF DMA Tx General Switch Control")
PFVMECM = Register("PFVMECM", 0x08790, RW, count=2, title="PF VM 0:31 Error Count Mask")
PFMAILBOX = Register("PFMAILBOX", 0x04B00, RW, count=64, title="PF Mailbox")
PFMBMEM = Register("PFMBMEM", 0x13000, RW, count=1024, title="PF Mailbox Memory")

FDIRCTRL = Register(
    "FDIRCTRL",
    0x0EE00,
    RW,
    title="Flow Director Filters Control",
    fields=(
        Field("PBALLOC", 0, 1),
        Field("INIT_DONE", 3),
        Field("PERFECT_MATCH", 4),
        Field("REPORT_STATUS", 5),
        Field("REPORT_STATUS_ALWAYS", 7),
        Field("DROP_QUEUE", 8, 14),
        Field("FLEX_OFFSET", 16, 20),
        Field("MAX_LENGTH", 24, 27),
        Field("FULL_THRESH", 28, 31),
    ),
)
FDIRSIPV6 = Register("FDIRSIPV6", 0x0EE0C, RW, count=3, title="Flow Director Source IPv6")
FDIRIPSA = Register("FDIRIPSA", 0x0EE18, RW, title="Flow Director IP Source Address")
FDIRIPDA = Register("FDIRIPDA", 0x0EE1C, RW, title="Flow Director IP Destination Address")
FDIRPORT = Register("FDIRPORT", 0x0EE20, RW, title="Flow Director Ports")
FDIRVLAN = Register("FDIRVLAN", 0x0EE24, RW, title="Flow Director VLAN and Flex Bytes")
FDIRHASH = Register(
    "FDIRHASH",
    0x0EE28,
    RW,
    title="Flow Director Hash Signature",
    fields=(Field("HASH", 0, 14), Field("BUCKET_VALID", 15), Field("SIGNATURE_SW_INDEX", 16, 30)),
)
FDIRCMD = Register(
    "FDIRCMD",
    0x0EE2C,
    RW,
    title="Flow Director Command",
    fields=(
        Field("CMD", 0, 1),
        Field("FILTER_VALID", 2),
        Field("FILTER_UPDATE", 3),
        Field("IPV6DMATCH", 4),
        Field("L4TYPE", 5, 6),
        Field("IPV6", 7),
        Field("CLEARHT", 8),
        Field("DROP", 9),
        Field("INT", 10),
        Field("LAST", 11),
        Field("COLLISION", 12),
        Field("QUEUE_EN", 15),
        Field("RX_QUEUE", 16, 22),
        Field("POOL", 24, 29),
    ),
)
FDIRFREE = Register("FDIRFREE", 0x0EE38, RW, title="Flow Director Free Filters")
FDIRDIP4M = Register("FDIRDIP4M", 0x0EE3C, RW, title="Flow Director Destination IPv4 Mask")
FDIRSIP4M = Register("FDIRSIP4M", 0x0EE40, RW, title="Flow Director Source IPv4 Mask")
FDIRTCPM = Register("FDIRTCPM", 0x0EE44, RW, title="Flow Director TCP Port Mask")
FDIRUDPM = Register("FDIRUDPM", 0x0EE48, RW, title="Flow Director UDP Port Mask")
FDIRLEN = Register("FDIRLEN", 0x0EE4C, RW, title="Flow Director Longest Bucket")
FDIRUSTAT = Register("FDIRUSTAT", 0x0EE50, RW, title="Flow Director Filters Usage Statistics")
FDIRFSTAT = Register("FDIRFSTAT", 0x0EE54, RW, title="Flow Director Failed Usage Statistics")
FDIRMATCH = Register("FDIRMATCH", 0x0EE58, RW, title="Flow Director Filters Match Statistics")
FDIRMISS = Register("FDIRMISS", 0x0EE5C, RW, title="Flow Director Filters Miss Statistics")
FDIRHKEY = Register("FDIRHKEY", 0x0EE68, RW, title="Flow Director Filters Lookup Table Hash Key")
FDIRSKEY = Register("FDIRSKEY", 0x0EE6C, RW, title="Flow Director Filters Signature Hash Key")
FDIRM = Register(
    "FDIRM",
    0x0EE70,
    RW,
    title="Flow Director Other Mask",
    fields=(
        Field("VLANID", 0),
        Field("VLANP", 1),
        Field("POOL", 2),
        Field("L4P", 3),
        Field("FLEX", 4),
        Field("DIPV6", 5),
    ),
)
FDIRIP6M = Register("FDIRIP6M", 0x0EE74, RW, title="Flow Director IPv6 Mask")
FDIRSCTPM = Register("FDIRSCTPM", 0x0EE78, RW, title="Flow Director SCTP Port Mask")
