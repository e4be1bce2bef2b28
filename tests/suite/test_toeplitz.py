# SPDX-License-Identifier: GPL-2.0-or-later
"""The Toeplitz hash against the examples of Microsoft's "Verifying the RSS hash calculation"."""

from __future__ import annotations

import pytest
from plugfest.frames.dissect import dissect
from plugfest.frames.toeplitz import hashed, queues_of, toeplitz
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
ADDRESSES, ALL = 0x30, 0xF0
EXAMPLES = [
    # destination, port, source, port, hash of the addresses, hash with the ports
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xD718262A, 0xC626B0EA),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xD2D0A5DE, 0x5C2B394A),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xAFC7327F),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2CC18CD5, 0x40207D3D),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0F0C461C, 0xDDE51BBF),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4B61E985, 0x02D1FEEF),
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example: tuple[str, int, str, int, int, int]) -> None:
    destination, to_port, source, from_port, addresses, ports = example
    network = IPv6(src=source, dst=destination) if ":" in source else IP(src=source, dst=destination)
    frame = dissect(
        bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / network / TCP(sport=from_port, dport=to_port))
    )
    assert toeplitz(KEY, hashed(frame, ADDRESSES)) == addresses
    assert toeplitz(KEY, hashed(frame, ALL)) == ports


def test_the_key_must_be_long_enough() -> None:
    with pytest.raises(ValueError, match="40 bytes for 36"):
        toeplitz(KEY[:39], bytes(36))


def test_the_table_is_indexed_by_the_low_bits() -> None:
    assert queues_of([0, 5, 0x104, 0xFFFFFFFF], [0, 1, 2, 3]) == [0, 1, 0, 3]
    with pytest.raises(ValueError, match="power of two"):
        queues_of([0], [0, 1, 2])
