# SPDX-License-Identifier: GPL-2.0-or-later
"""The Toeplitz hash by which receive-side scaling chooses a queue.

Source: Microsoft, "Verifying the RSS hash calculation" (its examples are in tests/suite/test_toeplitz.py);
Documentation/networking/scaling.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from plugfest.frames.dissect import TCP, UDP, Dissected

IP_SOURCE, IP_DESTINATION, PORT_SOURCE, PORT_DESTINATION = 0x10, 0x20, 0x40, 0x80
"""RXH_IP_SRC, RXH_IP_DST, RXH_L4_B_0_1, RXH_L4_B_2_3 (include/uapi/linux/ethtool.h)."""
FLOWS = {(TCP, 4): 0x01, (UDP, 4): 0x02, (TCP, 6): 0x05, (UDP, 6): 0x06}
"""TCP_V4_FLOW, UDP_V4_FLOW, TCP_V6_FLOW, UDP_V6_FLOW, by protocol and IP version."""


def toeplitz(key: bytes, data: bytes) -> int:
    """Return the 32-bit hash of `data`.

    Raises:
        ValueError: the key has fewer than 4 bytes more than the data.
    """
    if len(key) < len(data) + 4:
        raise ValueError(f"expected a key of {len(data) + 4} bytes for {len(data)} of data, found {len(key)}")
    window = int.from_bytes(key[: len(data) + 4], "big")
    width = (len(data) + 4) * 8
    result = 0
    for index in range(len(data) * 8):
        if data[index // 8] >> (7 - index % 8) & 1:
            result ^= window >> (width - 32 - index) & 0xFFFFFFFF
    return result


def hashed(frame: Dissected, fields: int) -> bytes:
    """Return the bytes of a frame that enter the hash.

    Args:
        frame: the frame.
        fields: RXH_… bits of its flow type, as ``ethtool -n IF rx-flow-hash`` has them.
    """
    found = b""
    if fields & IP_SOURCE:
        found += frame.addresses[0]
    if fields & IP_DESTINATION:
        found += frame.addresses[1]
    source, destination = frame.ports if frame.protocol in (TCP, UDP) else (0, 0)
    if fields & PORT_SOURCE:
        found += struct.pack(">H", source)
    if fields & PORT_DESTINATION:
        found += struct.pack(">H", destination)
    return found


def queues_of(hashes: Iterable[int], table: list[int]) -> list[int]:
    """Return the queue of each hash by an indirection table, whose length is a power of two.

    Raises:
        ValueError: it is not.
    """
    size = len(table)
    if size == 0 or size & (size - 1):
        raise ValueError(f"expected an indirection table whose length is a power of two, found {size}")
    return [table[value & (size - 1)] for value in hashes]
