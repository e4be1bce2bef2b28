# SPDX-License-Identifier: MIT
"""General control, EEPROM, semaphores, PCIe: 82599 datasheet, sections 8.2.3.1 to 8.2.3.4."""

from __future__ import annotations

from nicmodels.registers import RO, RW, Field, Register

CTRL = Register(
    "CTRL",
    0x00000,
    RW,
    writable=0x0400_000C,
    title="Device Control",
    fields=(Field("PCIE_MASTER_DISABLE", 2), Field("LRST", 3), Field("RST", 26)),
)
STATUS = Register(
    "STATUS",
    0x00008,
    RO,
    reset=1 << 19,
    title="Device Status",
    fields=(
        Field("LAN_ID", 2, 3),
        Field("LINK_UP", 7),
        Field("NUM_VFS", 10, 17),
        Field("IOV_ACTIVE", 18),
        Field("PCIE_MASTER_ENABLE", 19),
    ),
)
CTRL_EXT = Register(
    "CTRL_EXT",
    0x00018,
    RW,
    title="Extended Device Control",
    fields=(
        Field("PFRSTD", 14),
        Field("NS_DIS", 16),
        Field("RO_DIS", 17),
        Field("VLAN_EXT", 26),
        Field("DRV_LOAD", 28),
    ),
)
ESDP = Register("ESDP", 0x00020, RW, title="Extended SDP Control")
I2CCTL = Register("I2CCTL", 0x00028, RW, reset=0xF, title="I2C Control")
TSSDP = Register("TSSDP", 0x0003C, RW, title="Time Sync SDP Configuration")
FRTIMER = Register("FRTIMER", 0x00048, RO, title="Free Running Timer")
TCPTIMER = Register(
    "TCPTIMER",
    0x0004C,
    RW,
    title="TCP Timer",
    fields=(
        Field("DURATION", 0, 7),
        Field("KICK_START", 8),
        Field("COUNT_EN", 9),
        Field("COUNT_FINISH", 10),
        Field("LOOP", 11),
    ),
)
LEDCTL = Register("LEDCTL", 0x00200, RW, title="LED Control")

EEC = Register(
    "EEC",
    0x10010,
    RW,
    reset=0x0000_1710,
    writable=0x0000_0077,
    title="EEPROM/Flash Control",
    fields=(
        Field("EE_SK", 0),
        Field("EE_CS", 1),
        Field("EE_DI", 2),
        Field("EE_DO", 3),
        Field("FWE", 4, 5),
        Field("EE_REQ", 6),
        Field("EE_GNT", 7),
        Field("EE_PRES", 8),
        Field("AUTO_RD", 9),
        Field("EE_ADDR_SIZE", 10),
        Field("EE_SIZE", 11, 14),
    ),
)
EERD = Register(
    "EERD",
    0x10014,
    RW,
    title="EEPROM Read",
    fields=(Field("START", 0), Field("DONE", 1), Field("ADDR", 2, 15), Field("DATA", 16, 31)),
)
EEWR = Register("EEWR", 0x10018, RW, title="EEPROM Write")
FLA = Register("FLA", 0x1001C, RW, title="Flash Access")
EEMNGCTL = Register("EEMNGCTL", 0x10110, RO, reset=0x0004_0000, title="Manageability EEPROM Control: CFG_DONE0 is set")
EEMNGDATA = Register("EEMNGDATA", 0x10114, RO, title="Manageability EEPROM Data")
FLMNGCTL = Register("FLMNGCTL", 0x10118, RW, title="Manageability Flash Control")
FLMNGDATA = Register("FLMNGDATA", 0x1011C, RW, title="Manageability Flash Data")
FLMNGCNT = Register("FLMNGCNT", 0x10120, RW, title="Manageability Flash Read Counter")
FLOP = Register("FLOP", 0x1013C, RW, title="Flash Opcode")
GRC = Register("GRC", 0x10200, RW, title="General Receive Control")
VPDDIAG = Register("VPDDIAG", 0x10204, RO, count=2, title="VPD Diagnostic")

SWSM = Register(
    "SWSM", 0x10140, RW, writable=0x7, title="Software Semaphore", fields=(Field("SMBI", 0), Field("SWESMBI", 1))
)
FWSM = Register("FWSM", 0x10148, RO, reset=0x8000, title="Firmware Semaphore: valid firmware, no manageability")
FACTPS = Register("FACTPS", 0x10150, RO, reset=0x2000_0000, title="Function Active and Power State: clock gated")
GSSR = Register("GSSR", 0x10160, RW, title="Software-Firmware Synchronization")
SWSR = Register("SWSR", 0x15F10, RW, title="Software Status")
HICR = Register("HICR", 0x15F00, RO, title="Host Interface Control: disabled, there is no firmware")
FWSTS = Register("FWSTS", 0x15F0C, RO, title="Firmware Status")
LSWFW = Register("LSWFW", 0x15014, RW, title="LinkSec Software/Firmware")

GCR = Register("GCR", 0x11000, RW, title="PCIe Control")
GTV = Register("GTV", 0x11004, RW, title="PCIe Timer Value")
FUNCTAG = Register("FUNCTAG", 0x11008, RW, title="Function Tag")
GLT = Register("GLT", 0x1100C, RW, title="PCIe Latency Timer")
GSCL = Register("GSCL", 0x11010, RW, count=4, title="PCIe Statistics Control 1 to 4")
GSCN = Register("GSCN", 0x11020, RW, count=4, title="PCIe Counters 0 to 3")
GSCL_5 = Register("GSCL_5", 0x11030, RW, count=4, title="PCIe Statistics Control 5 to 8")
PHYADR = Register("PHYADR", 0x11040, RW, title="PCIe PHY Address")
PHYDAT = Register("PHYDAT", 0x11044, RW, title="PCIe PHY Data")
PHYCTL = Register("PHYCTL", 0x11048, RW, title="PCIe PHY Control")
GCR_EXT = Register(
    "GCR_EXT",
    0x11050,
    RW,
    title="PCIe Control Extended",
    fields=(Field("VT_MODE", 0, 1), Field("BUFFERS_CLEAR_FUNC", 30)),
)
MREVID = Register("MREVID", 0x11064, RO, reset=1, title="Mirrored Revision Id")
PBACL = Register("PBACL", 0x11068, RW, more=((0x110C0, 4, 8),), title="MSI-X PBA Clear")
DCA_ID = Register("DCA_ID", 0x11070, RO, title="DCA Requester Id")
DCA_CTRL = Register("DCA_CTRL", 0x11074, RW, title="DCA Control")
CIAA = Register("CIAA", 0x11088, RW, title="Config Indirect Access Address")
CIAD = Register("CIAD", 0x1108C, RW, title="Config Indirect Access Data")
PCIE_DIAG = Register("PCIE_DIAG", 0x11090, RW, count=8, title="PCIe Diagnostic")
PCIEECCCTL = Register("PCIEECCCTL", 0x1106C, RW, title="PCIe ECC Control 0")
PICAUSE = Register("PICAUSE", 0x110B0, RW, title="PCIe Interrupt Cause")
PIENA = Register("PIENA", 0x110B8, RW, title="PCIe Interrupt Enable")
ECC_STATUS = Register("ECC_STATUS", 0x110E0, RO, title="PCIe ECC Status")
MISC_REG = Register("MISC_REG", 0x110F0, RW, title="PCIe Miscellaneous")
BARCTRL = Register("BARCTRL", 0x110F4, RO, title="PCIe BAR Control")
ECC_CTRL = Register("ECC_CTRL", 0x11100, RW, count=2, title="PCIe ECC Control")
CORECTL = Register("CORECTL", 0x14F00, RW, title="Core Analog Configuration")
SMADARCTL = Register("SMADARCTL", 0x14F10, RW, title="Side-Band Master Arbitration")

WUC = Register("WUC", 0x05800, RW, title="Wake Up Control")
WUFC = Register("WUFC", 0x05808, RW, title="Wake Up Filter Control")
WUS = Register("WUS", 0x05810, RW, title="Wake Up Status")
IPAV = Register("IPAV", 0x05838, RW, title="IP Address Valid")
IP4AT = Register("IP4AT", 0x05840, RW, stride=8, count=4, title="IPv4 Address Table")
IP6AT = Register("IP6AT", 0x05880, RW, count=4, title="IPv6 Address Table")
WUPL = Register("WUPL", 0x05900, RO, title="Wake Up Packet Length")
WUPM = Register("WUPM", 0x05A00, RO, count=32, title="Wake Up Packet Memory")
FHFT = Register("FHFT", 0x09000, RW, count=256, title="Flexible Host Filter Table")
FHFT_EXT = Register("FHFT_EXT", 0x09800, RW, count=128, title="Extended Flexible Host Filter Table")

MANC = Register("MANC", 0x05820, RW, title="Management Control")
MFVAL = Register("MFVAL", 0x05824, RW, title="Manageability Filters Valid")
MANC2H = Register("MANC2H", 0x05860, RW, title="Management Control to Host")
MAVTV = Register("MAVTV", 0x05010, RW, count=8, title="Management VLAN TAG Value")
MFUTP = Register("MFUTP", 0x05030, RW, count=8, title="Management Flex UDP/TCP Ports")
MDEF = Register("MDEF", 0x05890, RW, count=8, title="Manageability Decision Filters")
MDEF_EXT = Register("MDEF_EXT", 0x05160, RW, count=8, title="Manageability Decision Filters Extend")
METF = Register("METF", 0x05190, RW, count=4, title="Management Ethernet Type Filters")
MIPAF = Register("MIPAF", 0x058B0, RW, count=16, title="Manageability IP Address Filter")
MMAL = Register("MMAL", 0x05910, RW, stride=8, count=4, title="Manageability MAC Address Low")
MMAH = Register("MMAH", 0x05914, RW, stride=8, count=4, title="Manageability MAC Address High")
FTFT = Register("FTFT", 0x09400, RW, count=256, title="Flexible TCO Filter Table")
