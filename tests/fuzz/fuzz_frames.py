# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of every kind that a device parses, to be changed byte by byte."""

from __future__ import annotations

import struct

from fuzz_source import Source

MAC = bytes.fromhex("027066000001")
PEER = bytes.fromhex("020000000002")
_IPV4 = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 140, 1, 0x4000, 64, 6, 0, b"\xc6\x12\0\1", b"\xc6\x12\0\2")
_IPV6 = struct.pack(">IHBB16s16s", 6 << 28, 120, 6, 64, b"\x20\1" + bytes(14), b"\x20\2" + bytes(14))
_TCP = struct.pack(">HHIIBBHHH", 4000, 5000, 1, 1, 5 << 4, 0x10, 1000, 0, 0)
_UDP = struct.pack(">HHHH", 4000, 5000, 120, 0)
_VLAN = bytes.fromhex("81000005")


def _ethernet(kind: int, body: bytes, *, to: bytes = MAC, tag: bytes = b"") -> bytes:
    return to + PEER + tag + struct.pack(">H", kind) + body


KINDS = (
    _ethernet(0x88B5, bytes(100)),
    _ethernet(0x88B5, bytes(100), to=b"\xff" * 6),
    _ethernet(0x0800, _IPV4 + _TCP + bytes(100)),
    _ethernet(0x0800, _IPV4[:9] + b"\x11" + _IPV4[10:] + _UDP + bytes(112)),
    _ethernet(0x0800, _IPV4[:9] + b"\x84" + _IPV4[10:] + bytes(120)),
    _ethernet(0x0800, b"\x46" + _IPV4[1:] + b"\1\1\1\1" + _TCP + bytes(96)),
    _ethernet(0x0800, _IPV4[:6] + b"\x20\0" + _IPV4[8:] + bytes(120)),
    _ethernet(0x0800, _IPV4 + _TCP + bytes(100), tag=_VLAN),
    _ethernet(0x86DD, _IPV6 + _TCP + bytes(100)),
    _ethernet(0x86DD, _IPV6[:6] + b"\0" + _IPV6[7:] + b"\x2b\0" + bytes(6) + b"\6\0" + bytes(6) + _TCP + bytes(84)),
    _ethernet(0x86DD, _IPV6[:6] + b"\x2c" + _IPV6[7:] + b"\6\0\0\1" + bytes(4) + _TCP + bytes(92)),
    _ethernet(0x8808, b"\0\1\xff\xff" + bytes(42), to=bytes.fromhex("0180c2000001")),
    _ethernet(0x88F7, b"\0\2" + bytes(42)),
)


def frame(source: Source, longest: int = 9800) -> bytes:
    """A frame: one of the kinds, with bytes changed and perhaps another length, or nothing that is one."""
    if source.chance(16):
        return source.bytes(80)
    data = bytearray(source.pick(KINDS))
    for _ in range(source.below(4)):
        data[source.below(len(data))] = source.number(1)
    if source.chance(4):
        size = source.below(longest)
        data = data[:size] if size < len(data) else data + bytes(size - len(data))
    return bytes(data)
