# SPDX-License-Identifier: MIT
"""The descriptors that a burst writes back, collected by queue, so that those in a row are written at once."""

from __future__ import annotations

from typing import NamedTuple


class Run(NamedTuple):
    """Descriptors in a row.

    Attributes:
        first: index of the first.
        parts: their bytes, in order.
    """

    first: int
    parts: list[bytes]


class WriteBacks:
    """The write-backs of the burst under way, in order."""

    __slots__ = ("_next", "_pending")

    def __init__(self) -> None:
        self._pending: dict[int, list[Run]] = {}
        self._next: dict[int, int] = {}

    def clear(self) -> None:
        """Drop all."""
        self._pending.clear()
        self._next.clear()

    def add(self, queue: int, index: int, descriptor: bytes) -> None:
        """Add a descriptor."""
        self.add_many(queue, index, 1, descriptor)

    def add_many(self, queue: int, first: int, number: int, descriptors: bytes, count: int = 0) -> None:
        """Add descriptors in a row, which goes on with index 0 after the ring's last one.

        Args:
            queue: its number.
            first: the first one's index, which may itself be beyond the ring's end.
            number: how many.
            descriptors: their bytes.
            count: the ring's descriptors; 0 to leave the indices as they are.
        """
        if count:
            first %= count
        beyond = first + number - count if count else 0
        if beyond > 0:
            whole = len(descriptors) // number * (number - beyond)
            self._append(queue, first, number - beyond, descriptors[:whole])
            self._append(queue, 0, beyond, descriptors[whole:])
        else:
            self._append(queue, first, number, descriptors)

    def _append(self, queue: int, first: int, number: int, descriptors: bytes) -> None:
        if self._next.get(queue) == first:
            self._pending[queue][-1].parts.append(descriptors)
        else:
            self._pending.setdefault(queue, []).append(Run(first, [descriptors]))
        self._next[queue] = first + number

    def take(self) -> dict[int, list[Run]]:
        """Take all, by queue, for `DescriptorRing.write_runs`."""
        pending, self._pending = self._pending, {}
        self._next.clear()
        return pending
