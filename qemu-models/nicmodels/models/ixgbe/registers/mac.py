# SPDX-License-Identifier: MIT
"""MAC, PCS and auto-negotiation: 82599 datasheet, section 8.2.3.22. A software reset (CTRL.RST) keeps them."""

from __future__ import annotations

from nicmodels.registers import RO, RW, Field, Register

PCS1GCFIG = Register("PCS1GCFIG", 0x04200, RW, reset=0x4000_0000, title="PCS 1G Global Configuration")
PCS1GLCTL = Register("PCS1GLCTL", 0x04208, RW, reset=0x0001_0000, title="PCS 1G Link Control")
PCS1GLSTA = Register(
    "PCS1GLSTA",
    0x0420C,
    RO,
    title="PCS 1G Link Status",
    fields=(Field("LINK_OK", 0), Field("SYNC_OK", 4), Field("AN_COMPLETE", 16), Field("AN_PAGE_RX", 17)),
)
PCS1GDBG = Register("PCS1GDBG", 0x04210, RW, count=2, title="PCS 1G Debug")
PCS1GANA = Register("PCS1GANA", 0x04218, RW, reset=0x1A0, title="PCS 1G Auto-Negotiation Advertisement")
PCS1GANLP = Register("PCS1GANLP", 0x0421C, RO, title="PCS 1G AN Link Partner Ability")
PCS1GANNP = Register("PCS1GANNP", 0x04220, RW, title="PCS 1G AN Next Page Transmit")
PCS1GANLPNP = Register("PCS1GANLPNP", 0x04224, RO, title="PCS 1G AN Link Partner Next Page")
HLREG0 = Register(
    "HLREG0",
    0x04240,
    RW,
    reset=0x0000_0403,
    title="MAC Core Control 0",
    fields=(
        Field("TXCRCEN", 0),
        Field("RXCRCSTRP", 1),
        Field("JUMBOEN", 2),
        Field("TXPADEN", 10),
        Field("LPBK", 15),
        Field("MDCSPD", 16),
        Field("CONTMDC", 17),
        Field("PREPEND", 20, 23),
        Field("RXLNGTHERREN", 27),
        Field("RXPADSTRIPEN", 28),
    ),
)
HLREG1 = Register("HLREG1", 0x04244, RO, title="MAC Core Status 1")
PAP = Register("PAP", 0x04248, RW, reset=0xFFFF, title="Pause and Pace")
MACA = Register("MACA", 0x0424C, RW, title="MDI Auto-Scan Command and Address")
APAE = Register("APAE", 0x04250, RW, title="Auto-Scan PHY Address Enable")
ARD = Register("ARD", 0x04254, RW, title="Auto-Scan Read Data")
AIS = Register("AIS", 0x04258, RW, title="Auto-Scan Interrupt Status")
MSCA = Register(
    "MSCA",
    0x0425C,
    RW,
    title="MDI Single Command and Address",
    fields=(
        Field("MDIADD", 0, 15),
        Field("DEVADD", 16, 20),
        Field("PHYADD", 21, 25),
        Field("OPCODE", 26, 27),
        Field("STCODE", 28, 29),
        Field("MDICMD", 30),
        Field("MDIINPROGEN", 31),
    ),
)
MSRWD = Register(
    "MSRWD", 0x04260, RW, title="MDI Single Read and Write Data", fields=(Field("WRITE", 0, 15), Field("READ", 16, 31))
)
MLADD = Register("MLADD", 0x04264, RW, title="Low MAC Address")
MAXFRS = Register(
    "MAXFRS",
    0x04268,
    RW,
    reset=0x05EE_0000,
    writable=0xFFFF_0000,
    title="Max Frame Size",
    fields=(Field("MFS", 16, 31),),
)
TREG = Register("TREG", 0x0426C, RW, title="XGXS Test")
PCSS1 = Register("PCSS1", 0x04288, RO, title="XGXS Status 1")
PCSS2 = Register("PCSS2", 0x0428C, RO, title="XGXS Status 2")
XPCSS = Register("XPCSS", 0x04290, RO, title="10GBASE-X PCS Status")
MFLCN = Register(
    "MFLCN",
    0x04294,
    RW,
    reset=0x1,
    title="MAC Flow Control",
    fields=(Field("PMCF", 0), Field("DPF", 1), Field("RPFCE", 2), Field("RFCE", 3)),
)
SERDESC = Register("SERDESC", 0x04298, RW, title="SerDes Interface Control")
MACS = Register("MACS", 0x0429C, RW, title="FIFO Status and Control")
AUTOC = Register(
    "AUTOC",
    0x042A0,
    RW,
    title="Auto-Negotiation Control",
    fields=(
        Field("FLU", 0),
        Field("ANACK2", 1),
        Field("ANSF", 2, 6),
        Field("10G_PMA_PMD_PARALLEL", 7, 8),
        Field("1G_PMA_PMD", 9),
        Field("D10GMP", 10),
        Field("RATD", 11),
        Field("RESTART_AN", 12),
        Field("LMS", 13, 15),
        Field("KR_SUPPORT", 16),
        Field("FECR", 17),
        Field("FECA", 18),
        Field("ANRXAT", 19, 22),
        Field("ANRXDM", 23),
        Field("ANRXLM", 24),
        Field("ANPDT", 25, 26),
        Field("RF", 27),
        Field("PB", 28, 29),
        Field("KX_SUPPORT", 30),
        Field("KX4_SUPPORT", 31),
    ),
)
LINKS = Register(
    "LINKS",
    0x042A4,
    RO,
    title="Link Status",
    fields=(
        Field("AN_NEXT_PAGE", 5),
        Field("AN_PAGE", 6),
        Field("LINK_STATUS", 7),
        Field("10G_ALIGN", 17),
        Field("1G_SYNC", 18),
        Field("AN_IDLE", 19),
        Field("PCS_1G", 21),
        Field("XGXS", 22),
        Field("FEC_EN", 23),
        Field("10G_SERIAL", 24),
        Field("LINK_SPEED", 28, 29),
        Field("LINK_UP", 30),
        Field("AN_COMPLETED", 31),
    ),
)
AUTOC2 = Register(
    "AUTOC2",
    0x042A8,
    RW,
    title="Auto-Negotiation Control 2",
    fields=(Field("10G_PMA_PMD_SERIAL", 16, 17), Field("DDPT", 18), Field("DISABLE_PMA", 28, 30)),
)
AUTOC3 = Register("AUTOC3", 0x042AC, RW, title="Auto-Negotiation Control 3")
ANLP1 = Register(
    "ANLP1",
    0x042B0,
    RO,
    title="Auto-Negotiation Link Partner Link Control Word 1",
    fields=(Field("LP_BASE_PAGE", 0, 15), Field("AN_STATE", 16, 19)),
)
ANLP2 = Register("ANLP2", 0x042B4, RO, title="Auto-Negotiation Link Partner Link Control Word 2")
MDFTC1 = Register("MDFTC1", 0x042B8, RW, title="MAC Data FIFO Test Control 1")
MDFTC2 = Register("MDFTC2", 0x042C0, RW, title="MAC Data FIFO Test Control 2")
MDFTFIFO = Register("MDFTFIFO", 0x042C4, RW, count=2, title="MAC Data FIFO Test")
MDFTS = Register("MDFTS", 0x042CC, RO, title="MAC Data FIFO Test Status")
MMNGC = Register("MMNGC", 0x042D0, RW, title="MAC Manageability Control")
ANLPNP1 = Register("ANLPNP1", 0x042D4, RO, title="Auto-Negotiation Link Partner Next Page 1")
ANLPNP2 = Register("ANLPNP2", 0x042D8, RO, title="Auto-Negotiation Link Partner Next Page 2")
KRPCSFC = Register("KRPCSFC", 0x042E0, RW, title="KR PCS and FEC Control")
KRPCSS = Register("KRPCSS", 0x042E4, RO, title="KR PCS Status")
FECS1 = Register("FECS1", 0x042E8, RO, title="FEC Status 1")
FECS2 = Register("FECS2", 0x042EC, RO, title="FEC Status 2")
SGMIIC = Register("SGMIIC", 0x04314, RW, title="SGMII Control")
MPVC = Register("MPVC", 0x04318, RW, title="MAC PHY Voltage Control")
LINKS2 = Register("LINKS2", 0x04324, RO, title="Link Status 2", fields=(Field("AN_SUPPORTED", 6),))
FCAMACL = Register("FCAMACL", 0x04328, RW, title="Flow Control MAC Address Low")
FCAMACH = Register("FCAMACH", 0x0432C, RW, title="Flow Control MAC Address High")
MACC = Register("MACC", 0x04330, RW, title="MAC Control")
ATLASCTL = Register("ATLASCTL", 0x04800, RW, title="Analog Configuration of the 82598; storage only")
