# SPDX-License-Identifier: MIT
"""The descriptors that a burst writes back, collected by queue, so that those in a row are written at once."""

from __future__ import annotations


class WriteBacks:
    """The write-backs of the burst under way, in order."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[int, tuple[list[int], list[bytes]]] = {}

    def clear(self) -> None:
        """Drop all."""
        self._pending.clear()

    def add(self, queue: int, index: int, descriptor: bytes) -> None:
        """Add a descriptor."""
        self.add_many(queue, [index], [descriptor], 0)

    def add_many(self, queue: int, numbers: list[int], descriptors: list[bytes], count: int) -> None:
        """Add descriptors.

        Args:
            queue: its number.
            numbers: the descriptors' indices, ascending; they go on after the ring's last index.
            descriptors: as many.
            count: the ring's descriptors; 0 to leave the indices as they are.
        """
        if count and numbers and numbers[-1] >= count:
            numbers = [number % count for number in numbers]
        known = self._pending.get(queue)
        if known is None:
            self._pending[queue] = numbers, descriptors
        else:
            known[0].extend(numbers)
            known[1].extend(descriptors)

    def take(self) -> dict[int, tuple[list[int], list[bytes]]]:
        """Take all: by queue, indices and descriptors for `DescriptorRing.write_runs`."""
        pending, self._pending = self._pending, {}
        return pending
