# SPDX-License-Identifier: MIT
"""The bits of descriptors, which have four doublewords; the owner bit is in the last.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.3 (transmit and receive descriptors); Linux,
drivers/net/ethernet/amd/xgbe/xgbe-common.h (TX_*_DESC*, RX_*_DESC*).
"""

from __future__ import annotations

WIDE, NARROW = 0xFFFF_FFFF_FFFF, 0xFFFF_FFFF
"""Of a quadword in the read format: the address of a buffer, with and without DMA_SBMR.EAME."""
OWN, CONTEXT, FIRST, LAST = 1 << 31, 1 << 30, 1 << 29, 1 << 28
# Transmit, third doubleword: two lengths, VLAN tag action, timestamp, interrupt.
LENGTH_MASK = 0x3FFF
BUFFER_2_SHIFT = 16
VTIR_SHIFT = 14
KEEP, REMOVE, INSERT, REPLACE = range(4)
TX_TIMESTAMP, TX_INTERRUPT = 1 << 30, 1 << 31
# Transmit, fourth doubleword.
CPC_SHIFT = 26
CRC_AND_PAD, CRC_ONLY, NEITHER, CRC_REPLACED = range(4)
TCP_HEADER_SHIFT = 19
TCP_PAYLOAD_MASK = 0x3FFFF
"""With TSE, the length of the TCP payload (TPL)."""
TSE = 1 << 18
CIC_SHIFT = 16
CIC_NONE, CIC_IP, CIC_PAYLOAD, CIC_ALL = range(4)
# Transmit context.
MSS_VALID, VLAN_VALID = 1 << 26, 1 << 16
MSS_MASK = 0x3FFF
# Receive, read format.
RX_INTERRUPT = 1 << 30
ADDRESS_HIGH = 0xFFFF
# Receive, write-back format.
CONTEXT_AFTER, HASH_VALID, ERROR = 1 << 27, 1 << 26, 1 << 15
TYPE_SHIFT, L34_SHIFT = 16, 20
HEADER_MASK = 0x3FF
TYPE_LENGTH, TYPE_C_TAG, TYPE_S_TAG, TYPE_TWO_TAGS = 0, 9, 8, 10
ERROR_WATCHDOG, ERROR_CRC, ERROR_GIANT, ERROR_IP, ERROR_PAYLOAD = 0, 2, 3, 5, 6
L34_TCP, L34_UDP, L34_ICMP, L34_OTHER, L34_IPV6 = 1, 2, 3, 7, 8
# Receive context.
TIMESTAMP_AVAILABLE = 1 << 4
