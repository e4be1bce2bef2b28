# SPDX-License-Identifier: MIT
"""The descriptors that a device has fetched and not yet used, oldest first."""

from __future__ import annotations


class Posted:
    """Fetched descriptors, as one list of quadwords: a burst is added and taken in a few operations, not in some for each.

    Args:
        width: quadwords of a descriptor.

    Attributes:
        words: of all descriptors, one after the other.
    """

    __slots__ = ("_width", "words")

    def __init__(self, width: int) -> None:
        self._width = width
        self.words: list[int] = []

    def __len__(self) -> int:
        return len(self.words) // self._width

    def clear(self) -> None:
        """Drop all."""
        self.words.clear()

    def extend(self, words: list[int]) -> None:
        """Add the quadwords of descriptors, as from `DescriptorRing.fetch_words`."""
        self.words += words

    def take(self) -> list[int]:
        """Take the oldest: its quadwords.

        Raises:
            IndexError: there is none.
        """
        if not self.words:
            raise IndexError("no descriptor is posted")
        return self.take_many(1)

    def take_many(self, number: int) -> list[int]:
        """Take the `number` oldest: their quadwords, one descriptor's after the other's."""
        end = number * self._width
        taken = self.words[:end]
        del self.words[:end]
        return taken
