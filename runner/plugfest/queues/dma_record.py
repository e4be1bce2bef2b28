# SPDX-License-Identifier: GPL-2.0-or-later
"""Where in the guest's memory the device read and wrote, as the model recorded it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugfest.machine.model import ModelClient

PAGE = 4096
LIMIT = 1 << 18
"""Accesses that are kept, more than a test makes."""


@dataclass(frozen=True)
class DmaAccess:
    """One access of the device to the guest's memory.

    Attributes:
        time: when, by the device's clock.
        queue: for which.
        direction: of the queue, rx or tx.
        kind: descriptor, header, payload or completion.
        address: of its first byte, as the device gave it.
        length: bytes.
    """

    time: float
    queue: int
    direction: str
    kind: str
    address: int
    length: int

    def within(self, pages: set[int]) -> bool:
        """Whether every byte lies in these pages (their addresses)."""
        first, last = self.address // PAGE, (self.address + max(1, self.length) - 1) // PAGE
        return all(page * PAGE in pages for page in range(first, last + 1))

    def outside(self, pages: set[int]) -> bool:
        """Whether no byte lies in these pages."""
        first, last = self.address // PAGE, (self.address + max(1, self.length) - 1) // PAGE
        return not any(page * PAGE in pages for page in range(first, last + 1))


@dataclass
class Record:
    """The accesses of one interval; filled in when it ends."""

    accesses: list[DmaAccess] = field(default_factory=list)

    def of(self, queue: int, *kinds: str, direction: str = "rx") -> list[DmaAccess]:
        """Return those for one queue, of these kinds or of all."""
        return [
            each
            for each in self.accesses
            if (each.queue, each.direction) == (queue, direction) and (not kinds or each.kind in kinds)
        ]


class DmaRecord:
    """The model's record of memory accesses."""

    def __init__(self, model: ModelClient) -> None:
        """Record nothing yet."""
        self._model = model

    @contextmanager
    def during(self) -> Iterator[Record]:
        """Record what happens in the block."""
        record = Record()
        self._model.call("dma.start", limit=LIMIT)
        try:
            yield record
        finally:
            self._model.call("dma.stop")
        found = self._model.call("dma.read")
        if len(found) == LIMIT:
            raise OverflowError(
                f"the device made more than the {LIMIT} accesses that are recorded: do less in one interval"
            )
        record.accesses = [
            DmaAccess(each["time"], each["queue"], each["direction"], each["kind"], each["address"], each["length"])
            for each in found
        ]


def stray(accesses: Iterable[DmaAccess]) -> str:
    """Describe accesses that should not be, the first few of them; empty if there are none."""
    found = list(accesses)
    examples = ", ".join(f"{each.kind} at {each.address:#x}+{each.length}" for each in found[:3])
    return f"{len(found)} accesses: {examples}" if found else ""
