# SPDX-License-Identifier: MIT
"""A wire with nothing at the other end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.wire.protocol import WireCounters, receive_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nicmodels.wire.protocol import Buffer


class NullWire:
    """Counts and drops transmitted frames, and receives none."""

    def __init__(self) -> None:
        self.counters = WireCounters()

    def fileno(self) -> int | None:
        """Never readable."""
        return None

    def transmit(self, buffers: Sequence[Buffer]) -> None:  # noqa: ARG002
        """Count the frame."""
        self.counters.transmitted += 1

    def transmit_many(self, frames: Sequence[Sequence[Buffer]]) -> None:
        """Count the frames."""
        for frame in frames:
            self.transmit(frame)

    def receive(self) -> bytes | None:
        """Nothing, ever."""
        return None

    def receive_many(self, limit: int) -> list[bytes]:
        """As often as `receive` has one."""
        return receive_each(self, limit)

    def close(self) -> None:
        """Nothing to release."""
