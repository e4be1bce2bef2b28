# SPDX-License-Identifier: MIT
"""A clock that stands still while the driver's write takes effect.

The link's engine counts nanoseconds and reads the clock whenever it schedules something. A write to a PCS register that
drives the line, and schedules what follows, happens at one instant of the line, however long the model takes over it:
else the far end's answer could come before the near end has done what is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from nicmodels.reactor import Clock, Timer


class Instant:
    """The model's clock; within `with` its time does not go on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: float | None = None

    def now(self) -> float:
        """The clock's time, or that of the write."""
        return self._clock.now() if self._held is None else self._held

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """As the clock's."""
        return self._clock.call_later(seconds, callback)

    def __enter__(self) -> None:
        self._held = self._clock.now()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = None
