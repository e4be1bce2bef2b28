# SPDX-License-Identifier: MIT
"""LinkSec, IPsec and timestamping: 82599 datasheet, sections 8.2.3.12, 8.2.3.13 and 8.2.3.26.

The model has the security block fused off, as SECTXSTAT and SECRXSTAT report.
"""

from __future__ import annotations

from nicmodels.registers import RC, RO, RW, Field, Register

SECTXCTRL = Register(
    "SECTXCTRL", 0x08800, RW, reset=0x4, title="Security Tx Control", fields=(Field("SECTX_DIS", 0), Field("TX_DIS", 1))
)
SECTXSTAT = Register(
    "SECTXSTAT",
    0x08804,
    RO,
    reset=0x3,
    title="Security Tx Status",
    fields=(Field("SECTX_RDY", 0), Field("SECTX_OFF_DIS", 1)),
)
SECTXBUFFAF = Register("SECTXBUFFAF", 0x08808, RW, reset=0x250, title="Security Tx Buffer Almost Full")
SECTXMINIFG = Register("SECTXMINIFG", 0x08810, RW, reset=0x1001, title="Security Tx Buffer Minimum IFG")
SECRXCTRL = Register(
    "SECRXCTRL", 0x08D00, RW, reset=0x1, title="Security Rx Control", fields=(Field("SECRX_DIS", 0), Field("RX_DIS", 1))
)
SECRXSTAT = Register(
    "SECRXSTAT",
    0x08D04,
    RO,
    reset=0x3,
    title="Security Rx Status",
    fields=(Field("SECRX_RDY", 0), Field("SECRX_OFF_DIS", 1)),
)
IPSTXIDX = Register("IPSTXIDX", 0x08900, RW, title="IPsec Tx Index")
IPSTXSALT = Register("IPSTXSALT", 0x08904, RW, title="IPsec Tx Salt")
IPSTXKEY = Register("IPSTXKEY", 0x08908, RW, count=4, title="IPsec Tx Key")
IPSRXIDX = Register("IPSRXIDX", 0x08E00, RW, title="IPsec Rx Index")
IPSRXIPADDR = Register("IPSRXIPADDR", 0x08E04, RW, count=4, title="IPsec Rx IP Address")
IPSRXSPI = Register("IPSRXSPI", 0x08E14, RW, title="IPsec Rx SPI")
IPSRXIPIDX = Register("IPSRXIPIDX", 0x08E18, RW, title="IPsec Rx SPI IP Index")
IPSRXKEY = Register("IPSRXKEY", 0x08E1C, RW, count=4, title="IPsec Rx Key")
IPSRXSALT = Register("IPSRXSALT", 0x08E2C, RW, title="IPsec Rx Salt")
IPSRXMOD = Register("IPSRXMOD", 0x08E30, RW, title="IPsec Rx Mode")
LSECTXCAP = Register("LSECTXCAP", 0x08A00, RW, title="LinkSec Tx Capabilities")
LSECTXCTRL = Register("LSECTXCTRL", 0x08A04, RW, title="LinkSec Tx Control")
LSECTX = Register("LSECTX", 0x08A08, RW, count=13, title="LinkSec Tx SCI, SA, packet numbers and keys")
LSECTXSTAT = Register("LSECTXSTAT", 0x08A3C, RC, count=5, title="LinkSec Tx Statistics; always zero")
LSECRXCAP = Register("LSECRXCAP", 0x08F00, RW, title="LinkSec Rx Capabilities")
LSECRXCTRL = Register("LSECRXCTRL", 0x08F04, RW, title="LinkSec Rx Control")
LSECRX = Register("LSECRX", 0x08F08, RW, count=14, title="LinkSec Rx SCI, SA, packet numbers and keys")
LSECRXSTAT = Register("LSECRXSTAT", 0x08F40, RC, count=17, title="LinkSec Rx Statistics; always zero")
RTTQCNCR = Register("RTTQCNCR", 0x08B00, RW, title="DCB Transmit QCN Control")

RXMTRL = Register("RXMTRL", 0x05120, RW, title="Rx Time Stamp Message Type")
TSYNCRXCTL = Register("TSYNCRXCTL", 0x05188, RW, title="Rx Time Sync Control")
RXSATRL = Register("RXSATRL", 0x051A0, RO, title="Rx Time Stamp Attributes Low")
RXSTMPH = Register("RXSTMPH", 0x051A4, RO, title="Rx Time Stamp High")
RXSATRH = Register("RXSATRH", 0x051A8, RO, title="Rx Time Stamp Attributes High")
RXSTMPL = Register("RXSTMPL", 0x051E8, RO, title="Rx Time Stamp Low")
TSYNCTXCTL = Register("TSYNCTXCTL", 0x08C00, RW, title="Tx Time Sync Control")
TXSTMPL = Register("TXSTMPL", 0x08C04, RO, title="Tx Time Stamp Low")
TXSTMPH = Register("TXSTMPH", 0x08C08, RO, title="Tx Time Stamp High")
SYSTIML = Register("SYSTIML", 0x08C0C, RW, title="System Time Low")
SYSTIMH = Register("SYSTIMH", 0x08C10, RW, title="System Time High")
TIMINCA = Register(
    "TIMINCA",
    0x08C14,
    RW,
    title="Time Increment Attributes",
    fields=(Field("INCVALUE", 0, 23), Field("INCPERIOD", 24, 31)),
)
TIMADJL = Register("TIMADJL", 0x08C18, RW, title="Time Adjustment Offset Low")
TIMADJH = Register("TIMADJH", 0x08C1C, RW, title="Time Adjustment Offset High")
TSAUXC = Register("TSAUXC", 0x08C20, RW, title="Time Sync Auxiliary Control")
TRGTTIM = Register("TRGTTIM", 0x08C24, RW, count=4, title="Target Time")
CLKTIM = Register("CLKTIM", 0x08C34, RW, count=2, title="Clock Out Time")
AUXSTMP = Register("AUXSTMP", 0x08C3C, RO, count=4, title="Auxiliary Time Stamp")
SYSTIMR = Register("SYSTIMR", 0x08C58, RO, title="System Time Residue of the X550; always zero")
TSIM = Register("TSIM", 0x08C68, RW, title="Time Sync Interrupt Mask of the X550; storage only")
