# SPDX-License-Identifier: MIT
"""Fault points: named places where a model misbehaves on request.

A model declares its points once (``host.faults.declare(FaultPoint("tx.checksum.wrong", "..."))``), keeps the `Fault`
and checks it where the fault would happen::

    if self._wrong_checksum.armed and self._wrong_checksum.fires(queue=3):

Names are ``direction.subject.what``. Every firing is counted and, with an event log, recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nicmodels.events import EventLog


class UnknownFaultError(LookupError):
    """A fault point of this name is not declared by the model."""


@dataclass(frozen=True)
class FaultPoint:
    """The declaration of a fault.

    Attributes:
        name: `direction.subject.what`, such as `tx.checksum.wrong`.
        text: what the model does when the fault fires, such as `transmits the frame twice`.
    """

    name: str
    text: str


class Fault:
    """The state of one fault point.

    Attributes:
        point: its declaration.
        armed: true while the fault may fire; the only thing a hot path has to test.
        times: how many firings are left; None means until disarmed.
        match: the context in which the fault fires, such as `{"queue": 3}`.
        until_reset: whether the device's next reset disarms it.
        fired: how often it fired since the model started.
    """

    __slots__ = ("_events", "armed", "fired", "match", "point", "times", "until_reset")

    def __init__(self, point: FaultPoint, events: EventLog | None = None) -> None:
        self.point = point
        self.armed = False
        self.times: int | None = None
        self.match: dict[str, Any] = {}
        self.until_reset = False
        self.fired = 0
        self._events = events

    def arm(
        self, times: int | None = None, match: Mapping[str, Any] | None = None, *, until_reset: bool = False
    ) -> None:
        """Let the fault fire `times` times (None: until disarmed) where the context equals `match`; at most until the next reset, or not.

        Raises:
            ValueError: `times` is not positive.
        """
        if times is not None and times < 1:
            raise ValueError(f"fault {self.point.name}: times must be at least 1, got {times}")
        self.times = times
        self.match = dict(match or {})
        self.until_reset = until_reset
        self.armed = True

    def disarm(self) -> None:
        """Stop the fault from firing; `fired` is kept."""
        self.armed = False
        self.times = None
        self.match = {}
        self.until_reset = False

    def fires(self, **context: Any) -> bool:
        """Whether the fault fires in this context; if so it is counted, recorded and, after its last firing, disarmed.

        The fault does not fire if the context lacks a key of `match`.
        """
        if not self.armed:
            return False
        for key, wanted in self.match.items():
            if key not in context or context[key] != wanted:
                return False
        self.fired += 1
        if self._events is not None:
            self._events.add("fault", name=self.point.name, context=context)
        if self.times is not None:
            self.times -= 1
            if self.times == 0:
                self.disarm()
        return True

    def __bool__(self) -> bool:
        """`fires()` without context: `if faults["tx.checksum.wrong"]:`."""
        return self.armed and self.fires()

    def describe(self) -> dict[str, Any]:
        """The entry of this point in the control method `faults.list`."""
        return {
            "name": self.point.name,
            "text": self.point.text,
            "armed": self.armed,
            "times": self.times,
            "match": self.match,
            "until_reset": self.until_reset,
            "fired": self.fired,
        }


class FaultSet:
    """The faults of one part of a model, such as its transmit path; several classes may share a set.

    Args:
        faults: by name.

    Attributes:
        active: whether any was armed when `poll` last looked; the only thing a hot path has to test.
    """

    __slots__ = ("_all", "_faults", "active")

    def __init__(self, faults: Mapping[str, Fault]) -> None:
        self._faults = faults
        self._all = tuple(faults.values())
        self.active = False

    def poll(self) -> bool:
        """Update `active`, and return it. Call it once per burst."""
        self.active = True in [fault.armed for fault in self._all]
        return self.active

    def fires(self, name: str, **context: Any) -> bool:
        """Whether the fault of that name fires in this context."""
        fault = self._faults[name]
        return fault.armed and fault.fires(**context)

    def __getitem__(self, name: str) -> Fault:
        return self._faults[name]


class FaultPoints:
    """All fault points of a model, by name."""

    def __init__(self, *points: FaultPoint, events: EventLog | None = None) -> None:
        self._faults: dict[str, Fault] = {}
        self._events = events
        self.declare(*points)

    def declare(self, *points: FaultPoint) -> None:
        """Add points; a point declared again keeps its state.

        Raises:
            ValueError: another point of the same name has another text.
        """
        for point in points:
            known = self._faults.get(point.name)
            if known is None:
                self._faults[point.name] = Fault(point, self._events)
            elif known.point != point:
                raise ValueError(f"fault point {point.name} is declared twice, with different texts")

    def __getitem__(self, name: str) -> Fault:
        """The fault of that name.

        Raises:
            UnknownFaultError: not declared.
        """
        try:
            return self._faults[name]
        except KeyError:
            known = ", ".join(sorted(self._faults)) or "none"
            raise UnknownFaultError(f"unknown fault {name!r}; this model has: {known}") from None

    def end_until_reset(self) -> None:
        """Disarm the faults that last until the device's next reset."""
        for fault in self:
            if fault.until_reset:
                fault.disarm()

    def subset(self, points: Iterable[FaultPoint]) -> FaultSet:
        """The faults of some points, for one part of the model."""
        return FaultSet({point.name: self[point.name] for point in points})

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults.values())

    def __len__(self) -> int:
        return len(self._faults)
