# SPDX-License-Identifier: MIT
"""Receive-side scaling: the Toeplitz hash, its input, and the indirection table.

Sources: Microsoft, "RSS hashing types" and "Verifying the RSS hash calculation" (the vectors in the tests).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.offload.headers import TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.offload.checksum import Buffer
    from nicmodels.offload.headers import Headers

KEY_LENGTH = 40
"""Bytes of the key that every NIC has: enough for IPv6 addresses and ports (36) plus the 32-bit window."""

_CACHED = 4096


class HashType(enum.IntFlag):
    """The input of the hash. The numbers are this module's, not those of any hardware."""

    NONE = 0
    IPV4 = 1
    TCP_IPV4 = 2
    UDP_IPV4 = 4
    IPV6 = 8
    TCP_IPV6 = 16
    UDP_IPV6 = 32


class Toeplitz:
    """The hash with one key: a table per byte position, one lookup per byte, and a cache of recent flows.

    Raises:
        ValueError: the key is shorter than 5 bytes.
    """

    def __init__(self, key: Buffer) -> None:
        self.key = bytes(key)
        if len(self.key) < 5:
            raise ValueError(f"expected a Toeplitz key of at least 5 bytes; found {len(self.key)}")
        self._tables: list[list[int]] = []
        self._known: dict[bytes, int] = {}

    def hash(self, data: bytes) -> int:
        """The 32-bit hash.

        Raises:
            ValueError: more data than the key covers (key length less 4 bytes).
        """
        known = self._known.get(data)
        if known is not None:
            return known
        if not self._tables:
            self._tables = self._build()
        if len(data) > len(self._tables):
            raise ValueError(f"expected at most {len(self._tables)} bytes for this key; found {len(data)}")
        result = 0
        for table, byte in zip(self._tables, data, strict=False):
            result ^= table[byte]
        if len(self._known) >= _CACHED:
            self._known.clear()
        self._known[data] = result
        return result

    def _build(self) -> list[list[int]]:
        bits = int.from_bytes(self.key, "big")
        length = len(self.key) * 8
        tables = []
        for position in range(len(self.key) - 4):
            # The window for the bit of weight 1 << n starts 7 - n bits into this byte of the key.
            windows = [(bits >> (length - 32 - position * 8 - (7 - n))) & 0xFFFFFFFF for n in range(8)]
            table = [0] * 256
            for byte in range(1, 256):
                lowest = byte & -byte
                table[byte] = table[byte ^ lowest] ^ windows[lowest.bit_length() - 1]
            tables.append(table)
        return tables


def hash_input(frame: Buffer, headers: Headers, types: HashType) -> tuple[HashType, bytes]:
    """The enabled type that applies to a frame, and the bytes to hash.

    Ports are hashed only for unfragmented TCP and UDP packets: all fragments of a datagram must take the same queue.

    Returns:
        (`HashType.NONE`, b"") if no enabled type applies.
    """
    version = headers.version
    start = headers.l3_offset
    if version == 4:
        ip, tcp, udp = HashType.IPV4, HashType.TCP_IPV4, HashType.UDP_IPV4
        first, last = start + 12, start + 20
    elif version == 6:
        ip, tcp, udp = HashType.IPV6, HashType.TCP_IPV6, HashType.UDP_IPV6
        first, last = start + 8, start + 40
    else:
        return HashType.NONE, b""
    if not headers.fragment:
        l4 = headers.l4
        kind = tcp if l4 == TCP else udp if l4 == UDP else HashType.NONE
        if kind & types:
            offset = headers.l4_offset
            return kind, bytes(frame[first:last]) + bytes(frame[offset : offset + 4])
    if ip & types:
        return ip, bytes(frame[first:last])
    return HashType.NONE, b""


class Choice(NamedTuple):
    """The queue that RSS selects for a frame."""

    kind: HashType
    hash: int
    entry: int


class Scaling:
    """Key, enabled types and indirection table together.

    Args:
        key: the Toeplitz key.
        types: the enabled hash types.
        table: the queue, or whatever the NIC stores there, for each value of the hash's low bits; its length is a power of two.

    Raises:
        ValueError: the table's length is not a power of two.
    """

    def __init__(self, key: Buffer, types: HashType, table: Sequence[int]) -> None:
        size = len(table)
        if size == 0 or size & (size - 1):
            raise ValueError(f"expected an indirection table whose length is a power of two; found {size} entries")
        self.toeplitz = Toeplitz(key)
        self.types = types
        self.table = table
        self._mask = size - 1

    def choose(self, frame: Buffer, headers: Headers) -> Choice | None:
        """Hash a frame and look the hash up; None if no enabled type applies."""
        kind, data = hash_input(frame, headers, self.types)
        if not kind:
            return None
        value = self.toeplitz.hash(data)
        return Choice(kind, value, self.table[value & self._mask])
