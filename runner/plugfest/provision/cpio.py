# SPDX-License-Identifier: GPL-2.0-or-later
"""An initramfs archive: cpio in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field

_MAGIC = "070701"
_TRAILER = "TRAILER!!!"


@dataclass
class Archive:
    """An archive under construction; all files belong to root and have timestamp 0."""

    _parts: list[bytes] = field(default_factory=list)
    _count: int = 0

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder."""
        self._add(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self._add(path, stat.S_IFREG | mode, data)

    def node(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device."""
        self._add(path, stat.S_IFCHR | mode, b"", (major, minor))

    def finish(self) -> bytes:
        """Return the archive."""
        self._add(_TRAILER, 0, b"")
        return b"".join(self._parts)

    def _add(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        name = path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        self._count += 1
        numbers = (self._count, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0)
        header = (_MAGIC + "".join(f"{number:08x}" for number in numbers)).encode()
        self._parts += [_padded(header + name), _padded(data)]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
