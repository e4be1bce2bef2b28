# SPDX-License-Identifier: MIT
"""The MAC management counters. A counter of 64 bits is two registers, its low half first.

Source: Linux, drivers/net/ethernet/amd/xgbe/xgbe-common.h and xgbe_mmc_read (which counters have 32 bits).
"""

from __future__ import annotations

from nicmodels.registers import RO, RW, RWS, Field, Register

CR = Register(
    "MMC_CR",
    0x0800,
    RWS,
    self_clearing=1,
    title="MMC Control",
    fields=(Field("CR", 0), Field("CSR", 1), Field("ROR", 2), Field("MCF", 3), Field("MCT", 4, 5)),
)
RISR = Register("MMC_RISR", 0x0804, RO, title="MMC Receive Interrupt Status: a bit a counter, in their order")
TISR = Register("MMC_TISR", 0x0808, RO, title="MMC Transmit Interrupt Status: a bit a counter, in their order")
RIER = Register("MMC_RIER", 0x080C, RW, title="MMC Receive Interrupt Enable")
TIER = Register("MMC_TIER", 0x0810, RW, title="MMC Transmit Interrupt Enable")


def _counter(name: str, offset: int, title: str) -> Register:
    return Register(f"MMC_{name}", offset, RO, count=2, title=title)


TXOCTETCOUNT_GB = _counter("TXOCTETCOUNT_GB", 0x0814, "bytes transmitted, from destination address to FCS")
TXFRAMECOUNT_GB = _counter("TXFRAMECOUNT_GB", 0x081C, "frames transmitted")
TXBROADCASTFRAMES_G = _counter("TXBROADCASTFRAMES_G", 0x0824, "good broadcast frames transmitted")
TXMULTICASTFRAMES_G = _counter("TXMULTICASTFRAMES_G", 0x082C, "good multicast frames transmitted")
TX64OCTETS_GB = _counter("TX64OCTETS_GB", 0x0834, "frames of 64 bytes transmitted")
TX65TO127OCTETS_GB = _counter("TX65TO127OCTETS_GB", 0x083C, "frames of 65 to 127 bytes transmitted")
TX128TO255OCTETS_GB = _counter("TX128TO255OCTETS_GB", 0x0844, "frames of 128 to 255 bytes transmitted")
TX256TO511OCTETS_GB = _counter("TX256TO511OCTETS_GB", 0x084C, "frames of 256 to 511 bytes transmitted")
TX512TO1023OCTETS_GB = _counter("TX512TO1023OCTETS_GB", 0x0854, "frames of 512 to 1023 bytes transmitted")
TX1024TOMAXOCTETS_GB = _counter("TX1024TOMAXOCTETS_GB", 0x085C, "frames of 1024 bytes and more transmitted")
TXUNICASTFRAMES_GB = _counter("TXUNICASTFRAMES_GB", 0x0864, "unicast frames transmitted")
TXMULTICASTFRAMES_GB = _counter("TXMULTICASTFRAMES_GB", 0x086C, "multicast frames transmitted")
TXBROADCASTFRAMES_GB = _counter("TXBROADCASTFRAMES_GB", 0x0874, "broadcast frames transmitted")
TXUNDERFLOWERROR = _counter("TXUNDERFLOWERROR", 0x087C, "frames ended by an underflow")
TXOCTETCOUNT_G = _counter("TXOCTETCOUNT_G", 0x0884, "bytes of good frames transmitted")
TXFRAMECOUNT_G = _counter("TXFRAMECOUNT_G", 0x088C, "good frames transmitted")
TXPAUSEFRAMES = _counter("TXPAUSEFRAMES", 0x0894, "PAUSE frames transmitted")
TXVLANFRAMES_G = _counter("TXVLANFRAMES_G", 0x089C, "good tagged frames transmitted")
RXFRAMECOUNT_GB = _counter("RXFRAMECOUNT_GB", 0x0900, "frames received")
RXOCTETCOUNT_GB = _counter("RXOCTETCOUNT_GB", 0x0908, "bytes received, from destination address to FCS")
RXOCTETCOUNT_G = _counter("RXOCTETCOUNT_G", 0x0910, "bytes of good frames received")
RXBROADCASTFRAMES_G = _counter("RXBROADCASTFRAMES_G", 0x0918, "good broadcast frames received")
RXMULTICASTFRAMES_G = _counter("RXMULTICASTFRAMES_G", 0x0920, "good multicast frames received")
RXCRCERROR = _counter("RXCRCERROR", 0x0928, "frames with a wrong FCS")
RXRUNTERROR = Register("MMC_RXRUNTERROR", 0x0930, RO, title="frames below 64 bytes with a wrong FCS")
RXJABBERERROR = Register("MMC_RXJABBERERROR", 0x0934, RO, title="giant frames with a wrong FCS")
RXUNDERSIZE_G = Register("MMC_RXUNDERSIZE_G", 0x0938, RO, title="good frames below 64 bytes")
RXOVERSIZE_G = Register("MMC_RXOVERSIZE_G", 0x093C, RO, title="good frames beyond the maximum")
RX64OCTETS_GB = _counter("RX64OCTETS_GB", 0x0940, "frames of 64 bytes received")
RX65TO127OCTETS_GB = _counter("RX65TO127OCTETS_GB", 0x0948, "frames of 65 to 127 bytes received")
RX128TO255OCTETS_GB = _counter("RX128TO255OCTETS_GB", 0x0950, "frames of 128 to 255 bytes received")
RX256TO511OCTETS_GB = _counter("RX256TO511OCTETS_GB", 0x0958, "frames of 256 to 511 bytes received")
RX512TO1023OCTETS_GB = _counter("RX512TO1023OCTETS_GB", 0x0960, "frames of 512 to 1023 bytes received")
RX1024TOMAXOCTETS_GB = _counter("RX1024TOMAXOCTETS_GB", 0x0968, "frames of 1024 bytes and more received")
RXUNICASTFRAMES_G = _counter("RXUNICASTFRAMES_G", 0x0970, "good unicast frames received")
RXLENGTHERROR = _counter("RXLENGTHERROR", 0x0978, "frames whose length field is wrong")
RXOUTOFRANGETYPE = _counter("RXOUTOFRANGETYPE", 0x0980, "frames whose length field is neither length nor type")
RXPAUSEFRAMES = _counter("RXPAUSEFRAMES", 0x0988, "PAUSE frames received")
RXFIFOOVERFLOW = _counter("RXFIFOOVERFLOW", 0x0990, "frames lost for lack of room in the receive queue")
RXVLANFRAMES_GB = _counter("RXVLANFRAMES_GB", 0x0998, "tagged frames received")
RXWATCHDOGERROR = Register("MMC_RXWATCHDOGERROR", 0x09A0, RO, title="frames cut by the watchdog")
RXALIGNMENTERROR = Register("MMC_RXALIGNMENTERROR", 0x09BC, RO, title="frames with an alignment error")

TRANSMIT = tuple(
    each for each in list(vars().values()) if isinstance(each, Register) and 0x0814 <= each.offset < 0x0900
)
"""The transmit counters in the order of their interrupt bits."""
RECEIVE = tuple(each for each in list(vars().values()) if isinstance(each, Register) and each.offset >= 0x0900)
"""The receive counters likewise; bits 23 to 26 belong to counters that this device does not have."""
RECEIVE_BITS = {register: 27 if register is RXALIGNMENTERROR else bit for bit, register in enumerate(RECEIVE)}
TRANSMIT_BITS = {register: bit for bit, register in enumerate(TRANSMIT)}
