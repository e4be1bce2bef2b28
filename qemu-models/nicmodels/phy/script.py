# SPDX-License-Identifier: MIT
"""Scripts of a link partner: steps that run one after the other, after a time or when the partner enters a state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nicmodels.clock import Timer


@dataclass(frozen=True)
class Step:
    """One change.

    Attributes:
        after: seconds after the previous step, or after the entry into `at`.
        at: the state to wait for first; None to wait for none.
        change: the settings to change.

    Raises:
        ValueError: a negative time.
    """

    after: float = 0.0
    at: str | None = None
    change: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.after < 0:
            raise ValueError(f"expected a time of 0 s or more; found {self.after} s")


class Script:
    """Runs steps; a new list replaces one that still runs.

    Args:
        call_later: of a clock or timeline.
        apply: makes a step's change.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], object]], Timer],
        apply: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self._call_later = call_later
        self._apply = apply
        self._steps: Iterator[Step] = iter(())
        self._timer: Timer | None = None
        self._awaited: Step | None = None

    @property
    def running(self) -> bool:
        """Whether steps are left."""
        return self._timer is not None or self._awaited is not None

    def play(self, steps: Iterable[Step]) -> None:
        """Start with the first step."""
        self.stop()
        self._steps = iter(steps)
        self._next()

    def stop(self) -> None:
        """Drop the remaining steps; changes made so far stay."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._awaited = None

    def entered(self, state: str) -> None:
        """The partner entered a state. A step that waited for it runs later, never inside the call that led here."""
        step = self._awaited
        if step is not None and step.at == state:
            self._awaited = None
            self._schedule(step)

    def _next(self) -> None:
        step = next(self._steps, None)
        if step is None:
            return
        if step.at is not None:
            self._awaited = step
        else:
            self._schedule(step)

    def _schedule(self, step: Step) -> None:
        def do() -> None:
            self._timer = None
            self._next()
            self._apply(step.change)

        self._timer = self._call_later(step.after, do)


def flapping(times: int, *, down: float, up: float) -> Iterable[Step]:
    """Down `times` times, for `down` seconds each, `up` seconds apart; ends up.

    Raises:
        ValueError: a negative number.
    """
    if min(times, down, up) < 0:
        raise ValueError(f"expected nothing negative; found {times} times, {down} s down, {up} s up")
    cycle = (Step(change={"up": False}), Step(down, change={"up": True}), Step(up))
    return (step for _ in range(times) for step in cycle)


def flapping_from_json(value: Mapping[str, Any]) -> Iterable[Step]:
    """`flapping` by an object of times, down and up.

    Raises:
        ValueError: other keys, or a negative number.
    """
    if value.keys() != {"times", "down", "up"}:
        raise ValueError(f"expected times, down and up; found {', '.join(value) or 'nothing'}")
    return flapping(int(value["times"]), down=float(value["down"]), up=float(value["up"]))
