# SPDX-License-Identifier: GPL-2.0-or-later
"""An input's bytes as a sequence of choices: each kind of choice takes its bytes, and zeros once they are used up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 1 << 25, 1 << 31, 0x7FFF_FFFF, 0xFFFF_FFFF)


class Source:
    """The choices of one input.

    Args:
        data: its bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def done(self) -> bool:
        """Whether all bytes are used up."""
        return self._at >= len(self._data)

    def number(self, size: int) -> int:
        """An unsigned number of `size` bytes."""
        start = self._at
        self._at += size
        return int.from_bytes(self._data[start : start + size], "little")

    def below(self, limit: int) -> int:
        """A number below `limit`."""
        return self.number((limit - 1).bit_length() + 7 >> 3) % limit if limit > 1 else 0

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def chance(self, parts: int) -> bool:
        """True once in `parts` times; false without bytes."""
        return self.number(1) % parts == parts - 1

    def value(self, size: int = 4, within: int = 1 << 20) -> int:
        """A number of `size` bytes as drivers write them: small, an edge, an address below `within`, a single bit, or any."""
        kind = self.below(5)
        limit = (1 << 8 * size) - 1
        if kind == 0:
            return self.number(1) & limit
        if kind == 1:
            return self.pick(EDGES) & limit
        if kind == 2:
            return self.below(within) & ~0xF & limit
        if kind == 3:
            return 1 << self.below(8 * size)
        return self.number(size)

    def bytes(self, most: int) -> bytes:
        """Up to `most` bytes, at most 255."""
        size = min(self.number(1), most)
        start = self._at
        self._at += size
        return self._data[start : start + size].ljust(size, b"\0")
