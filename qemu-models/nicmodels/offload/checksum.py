# SPDX-License-Identifier: MIT
"""The Internet checksum (RFC 1071) and the CRC32c of SCTP (RFC 9260, appendix A).

A one's complement sum is an int that is congruent to it modulo 65535, and 0 only for data that is all zero; such sums
can be added and multiplied before `fold`. This is fast in Python because a buffer read as one big-endian integer is
congruent, modulo 65535, to the sum of its 16-bit words: 65536 is congruent to 1. Folding a long integer in halves first
shortens the division.
Measured on one busy core, CPython 3.11: 0.2 µs for 40 bytes, 2.7 µs for 1,448, 12 µs for 8,960; summing an
`array("H")` takes 10 µs for 1,448.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Buffer = bytes | bytearray | memoryview

_LONG = 4096
"""Bits beyond which halving is faster than dividing (measured)."""


def word_sum(buffer: Buffer) -> int:
    """One's complement sum of a buffer's big-endian 16-bit words; an odd last byte is padded with a zero.

    Returns:
        0 for a buffer of zeros only, else 1 to 0xFFFF.
    """
    value = int.from_bytes(buffer, "big")
    length = len(buffer)
    if length & 1:
        value <<= 8
        length += 1
    bits = length << 3
    while bits > _LONG:
        bits = ((bits >> 1) + 15) & ~15
        value = (value >> bits) + (value & ((1 << bits) - 1))
        bits += 16
    return value % 65535 or (value and 65535)


def chain_sum(buffers: Iterable[Buffer]) -> int:
    """Sum of a chain of buffers as if they were one; not folded."""
    total = 0
    odd = False
    for buffer in buffers:
        # At an odd offset each byte is in the other half of its word, which is a multiplication by 256.
        total += word_sum(buffer) << 8 if odd else word_sum(buffer)
        if len(buffer) & 1:
            odd = not odd
    return total


def fold(total: int) -> int:
    """The 16-bit checksum of a sum: its one's complement."""
    return 65535 - (total % 65535 or (total and 65535))


def checksum(buffer: Buffer, initial: int = 0) -> int:
    """Internet checksum of a buffer plus the sum `initial`, such as a pseudo-header's."""
    return fold(word_sum(buffer) + initial)


def pseudo_header_sum(source: Buffer, destination: Buffer, protocol: int, length: int) -> int:
    """Sum of the pseudo-header of TCP and UDP (RFC 9293, 3.1; RFC 8200, 8.1).

    Args:
        source: 4 or 16 bytes.
        destination: as many bytes.
        protocol: the upper layer's protocol number.
        length: upper-layer header and data, in bytes.
    """
    return word_sum(source) + word_sum(destination) + protocol + length


def _crc32c_tables() -> tuple[tuple[int, ...], ...]:
    first = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ 0x82F63B78 if value & 1 else value >> 1
        first.append(value)
    tables = [tuple(first)]
    for _ in range(7):
        previous = tables[-1]
        tables.append(tuple((value >> 8) ^ first[value & 0xFF] for value in previous))
    return tuple(tables)


_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = _crc32c_tables()


def crc32c(buffers: Sequence[Buffer]) -> int:
    """CRC32c (Castagnoli) of a chain of buffers; SCTP stores it little-endian, computed with its field zero."""
    crc = 0xFFFFFFFF
    for buffer in buffers:
        whole = len(buffer) & ~7
        for low, high in struct.iter_unpack("<II", memoryview(buffer)[:whole]):
            value = low ^ crc
            crc = (
                _T7[value & 0xFF]
                ^ _T6[value >> 8 & 0xFF]
                ^ _T5[value >> 16 & 0xFF]
                ^ _T4[value >> 24]
                ^ _T3[high & 0xFF]
                ^ _T2[high >> 8 & 0xFF]
                ^ _T1[high >> 16 & 0xFF]
                ^ _T0[high >> 24]
            )
        for byte in memoryview(buffer)[whole:]:
            crc = (crc >> 8) ^ _T0[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def insert_checksum(
    head: bytearray, rest: Iterable[Buffer], start: int, field: int, *, never_zero: bool = False
) -> None:
    """Complete a checksum as transmit hardware does: the checksum replaces the pseudo-header's sum in its field.

    Args:
        head: the start of the frame, writable, at least up to the end of the field (`chain.behead` makes it).
        rest: the rest of what the checksum covers.
        start: offset of the first byte covered.
        field: offset of the checksum.
        never_zero: store 0xFFFF for 0, as UDP requires (RFC 768).

    Raises:
        ValueError: the field is not between `start` and the end of `head`.
    """
    if not start <= field <= len(head) - 2:
        raise ValueError(f"expected the checksum between bytes {start} and {len(head) - 2}; found it at {field}")
    value = fold(chain_sum((head[start:], *rest)))
    struct.pack_into(">H", head, field, 0xFFFF if never_zero and value == 0 else value)


def insert_crc32c(head: bytearray, rest: Iterable[Buffer], start: int, field: int) -> None:
    """Store the CRC32c of SCTP; arguments and errors as for `insert_checksum`."""
    if not start <= field <= len(head) - 4:
        raise ValueError(f"expected the CRC32c between bytes {start} and {len(head) - 4}; found it at {field}")
    head[field : field + 4] = b"\0\0\0\0"
    value = crc32c((head[start:], *rest))
    struct.pack_into("<I", head, field, value)
