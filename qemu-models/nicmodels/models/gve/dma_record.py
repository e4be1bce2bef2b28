# SPDX-License-Identifier: MIT
"""A record of the device's accesses to queues and buffers in guest memory: `dma.start`, `dma.read`, `dma.stop`.

Accesses test `if record.on:` first, so that a record that is off costs one attribute.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    Direction = Literal["rx", "tx"]
    Kind = Literal["descriptor", "header", "payload", "completion"]

LIMIT = 65536
MOST = 1 << 20


class DmaRecord:
    """The last accesses; the oldest are dropped, which leaves a gap in the sequence numbers.

    Args:
        now: the current time in seconds.

    Attributes:
        on: whether accesses are recorded.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.on = False
        self._now = now
        self._entries: deque[tuple[int, float, int, str, str, int, int]] = deque(maxlen=LIMIT)
        self._sequence = 0

    def add(self, queue: int, direction: Direction, kind: Kind, address: int, length: int) -> None:
        """Record one access; call it only while `on`."""
        self._sequence += 1
        self._entries.append((self._sequence, self._now(), queue, direction, kind, address, length))

    def start(self, *, limit: int = LIMIT) -> dict[str, int]:
        """Clear the record, and record the last `limit` accesses from now on."""
        if not isinstance(limit, int) or not 0 < limit <= MOST:
            raise ValueError(f"limit is {limit!r}, expected 1 to {MOST}")
        self._entries = deque(maxlen=limit)
        self.on = True
        return {"limit": limit}

    def stop(self) -> dict[str, int]:
        """Stop recording; the record can still be read."""
        self.on = False
        return {"entries": len(self._entries)}

    def read(self, *, after: int = 0) -> list[dict[str, Any]]:
        """The kept accesses with a higher sequence number, oldest first."""
        names = ("sequence", "time", "queue", "direction", "kind", "address", "length")
        return [dict(zip(names, entry, strict=True)) for entry in self._entries if entry[0] > after]
