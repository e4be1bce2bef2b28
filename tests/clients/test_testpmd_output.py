# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read out of testpmd's output, as DPDK 24.11 printed it in a guest."""

from __future__ import annotations

from testpmd import Packet, counters, packets

SHOWN = """port 0/queue 3: received 2 packets
  src=02:70:66:01:00:03 - dst=02:70:66:00:00:01 - pool=mb_pool_0 - type=0x86dd - length=127 - nb_segs=1 - RSS hash=0x3d013543 \
- RSS queue=0x3 - VLAN tci=0xe064 - hw ptype: L2_ETHER L3_IPV6 L4_UDP  - sw ptype: L2_ETHER L3_IPV6 L4_UDP  - l2_len=14 - l3_len=40 \
- l4_len=8 - Destination UDP port=40000 - Receive queue=0x3
  ol_flags: RTE_MBUF_F_RX_RSS_HASH RTE_MBUF_F_RX_L4_CKSUM_GOOD 
  src=02:70:66:01:00:04 - dst=02:70:66:00:00:01 - pool=mb_pool_0 - type=0x0800 - length=60 - nb_segs=1 - sw ptype: L2_ETHER \
- l2_len=14 - Receive queue=0x0
  ol_flags: RTE_MBUF_F_RX_IP_CK"""  # noqa: W291 - as printed

STATS = """  RX-packets: 2100       RX-missed: 0          RX-bytes:  952770
  RX-errors: 0
rx_q0_packets: 2100
"""


def test_packets() -> None:
    """One whose flags have not all been printed is none yet."""
    first = Packet(
        "02:70:66:01:00:03",
        127,
        3,
        0x3D013543,
        0xE064,
        frozenset({"L2_ETHER", "L3_IPV6", "L4_UDP"}),
        frozenset({"RX_RSS_HASH", "RX_L4_CKSUM_GOOD"}),
    )
    assert packets(SHOWN) == [first]
    second = packets(f"{SHOWN}SUM_GOOD\n")[1]
    assert (second.hash, second.tag, second.kinds, second.flags) == (None, None, frozenset(), {"RX_IP_CKSUM_GOOD"})


def test_counters() -> None:
    assert counters(STATS) == {
        "RX-packets": 2100,
        "RX-missed": 0,
        "RX-bytes": 952770,
        "RX-errors": 0,
        "rx_q0_packets": 2100,
    }
