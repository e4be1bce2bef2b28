# SPDX-License-Identifier: MIT
"""Ethernet's sizes, types and addresses, by the names that Linux gives them.

Source: Linux, include/uapi/linux/if_ether.h, include/linux/if_vlan.h. Sizes are in bytes.
Like `nicmodels.clock`, this module is below all layers.
"""

from __future__ import annotations

ETH_HLEN = 14
"""The header: two addresses and the EtherType."""
ETH_ZLEN = 60
"""The shortest frame, without FCS."""
ETH_FRAME_LEN = 1514
"""The longest frame at an MTU of 1500, without FCS."""
ETH_FCS_LEN = 4
VLAN_HLEN = 4

ETH_P_IP = 0x0800
ETH_P_8021Q = 0x8100
ETH_P_IPV6 = 0x86DD
ETH_P_PAUSE = 0x8808
"""MAC control; PAUSE is opcode 1 of it (IEEE 802.3, annex 31B)."""
ETH_P_8021AD = 0x88A8

BROADCAST = b"\xff" * 6
