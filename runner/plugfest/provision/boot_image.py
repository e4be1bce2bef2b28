# SPDX-License-Identifier: GPL-2.0-or-later
"""x86 boot images: their release, and the vmlinux inside, which QEMU boots faster through its PVH entry.

Source: Documentation/arch/x86/boot.rst for the header; include/xen/interface/elfnote.h for the note.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import struct
from collections.abc import Callable
from typing import cast

from plugfest.errors import UsageError

_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_SETUP_SECTORS_AT, _VERSION_AT, _PAYLOAD_AT = 0x1F1, 0x20E, 0x248
_SECTOR = 512
_ELF = b"\x7fELF\x02\x01"
_PT_NOTE = 4
_PVH_NOTE = 18
"""XEN_ELFNOTE_PHYS32_ENTRY."""

Decompress = Callable[[bytes], bytes]


class BootImage:
    """A bzImage.

    Attributes:
        data: its bytes.
    """

    def __init__(self, data: bytes, name: str) -> None:
        """Parse an image.

        Args:
            data: its bytes.
            name: its name in error messages.

        Raises:
            UsageError: it is not a bzImage.
        """
        if len(data) < 0x260 or data[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC:
            raise UsageError(
                f"expected an x86 bzImage at {name}, found {_describe(data)}; name a bzImage or a kernel build tree with --kernel"
            )
        self.data = data

    @property
    def release(self) -> str:
        """The release, as in ``uname -r``."""
        at = cast("int", struct.unpack_from("<H", self.data, _VERSION_AT)[0]) + 0x200
        text = self.data[at : at + 256].split(b"\0", 1)[0].decode(errors="replace")
        return text.split(" ", 1)[0]

    def vmlinux(self, zstd: Decompress) -> bytes | None:
        """Return the ELF image inside if QEMU can boot it directly; None if it has no PVH note or its compression is unknown.

        Args:
            zstd: decompresses one zstd frame, which Python 3.11 cannot.
        """
        setup = (self.data[_SETUP_SECTORS_AT] or 4) + 1
        offset, length = struct.unpack_from("<II", self.data, _PAYLOAD_AT)
        start = setup * _SECTOR + offset
        payload = self.data[start : start + length]
        # Except for gzip, which contains the size anyway, the kernel's build appends it in four bytes that are not part of the stream.
        decompressors: dict[bytes, Decompress] = {
            b"\x28\xb5\x2f\xfd": lambda stream: zstd(stream[:-4]),
            b"\x1f\x8b": gzip.decompress,
            b"\xfd7zXZ\x00": lambda stream: lzma.decompress(stream[:-4]),
            b"BZh": lambda stream: bz2.decompress(stream[:-4]),
            b"\x5d\x00\x00": lambda stream: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(stream[:-4]),
            _ELF: lambda stream: stream,
        }
        for magic, decompress in decompressors.items():
            if payload.startswith(magic):
                image = decompress(payload)
                return image if has_pvh_note(image) else None
        return None


def has_pvh_note(image: bytes) -> bool:
    """Return whether a 64-bit ELF image has the note with its 32-bit entry, which QEMU needs."""
    if not image.startswith(_ELF) or len(image) < 64:
        return False
    table, size, count = struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54)
    for number in range(count):
        at = table + number * size
        if at + 56 > len(image):
            return False
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", image, at)
        if kind == _PT_NOTE and _has_note(image[offset : offset + length]):
            return True
    return False


def _has_note(notes: bytes) -> bool:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name = notes[at + 12 : at + 12 + name_size].rstrip(b"\0")
        if kind == _PVH_NOTE and name == b"Xen":
            return True
        at += 12 + _aligned(name_size) + _aligned(size)
    return False


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _describe(data: bytes) -> str:
    if data.startswith(_ELF):
        return "an ELF file (a vmlinux?)"
    if re.match(rb"\x1f\x8b|\xfd7zXZ", data):
        return "a compressed file"
    return f"a file that begins with {data[:8].hex()}" if data else "an empty file"
