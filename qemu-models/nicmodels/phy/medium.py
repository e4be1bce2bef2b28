# SPDX-License-Identifier: MIT
"""The medium between two ends: it carries one signal at a time in each direction.

`Medium(clock)` has two ports, `near` and `far`. An end drives its port with the signal that it transmits from now on;
the other end receives it `delay` seconds later. A signal lasts until another replaces it: an end that repeats a page
for a millisecond drives it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nicmodels.phy.page import Codeword
from nicmodels.phy.timeline import Timeline

if TYPE_CHECKING:
    from nicmodels.clock import Clock
    from nicmodels.phy.abilities import Technology

DELAY = 5e-9
"""A metre of backplane."""


@dataclass(frozen=True)
class Silence:
    """The transmitter is off, or nothing is attached."""


@dataclass(frozen=True)
class Pages:
    """A DME page, repeated."""

    codeword: Codeword


@dataclass(frozen=True)
class Carrier:
    """A technology's own signal: idle and frames."""

    technology: Technology


@dataclass(frozen=True)
class TrainingFrames:
    """A training frame, repeated (72.6.10.2).

    Attributes:
        technology: whose PMD trains.
        update: the coefficient update field, 16 bits (table 72-4).
        status: the status report field, 16 bits (table 72-5).
    """

    technology: Technology
    update: int = 0
    status: int = 0


def describe(signal: Signal) -> dict[str, Any]:
    """A signal as JSON values: `signal`, and `page`, or `technology` and of training frames `update` and `status`."""
    match signal:
        case Pages(codeword):
            return {"signal": "pages", "page": str(codeword)}
        case Carrier(technology):
            return {"signal": "carrier", "technology": technology.label}
        case TrainingFrames(technology, update, status):
            return {"signal": "training", "technology": technology.label, "update": update, "status": status}
        case Silence():
            return {"signal": "silence"}


Signal = Silence | Pages | Carrier | TrainingFrames
SILENCE = Silence()


class Port:
    """One end's side of a medium.

    Attributes:
        driven: the signal that this end transmits.
        received: the signal that arrives from the other end.
    """

    def __init__(self, timeline: Timeline, delay: float) -> None:
        self.timeline = timeline
        self.delay = delay
        self.driven: Signal = SILENCE
        self.received: Signal = SILENCE
        self.peer: Port | None = None
        self._listener: Callable[[Signal], object] = lambda _signal: None

    def listen(self, listener: Callable[[Signal], object]) -> None:
        """Call `listener` with each new signal, as an event of the timeline; there is one listener."""
        self._listener = listener

    def drive(self, signal: Signal) -> None:
        """Transmit `signal` from now on."""
        if signal == self.driven:
            return
        self.driven = signal
        if self.peer is not None:
            peer = self.peer
            self.timeline.call_later(self.delay, lambda: peer.arrive(signal))

    def arrive(self, signal: Signal) -> None:
        """A new signal arrives; called by the medium."""
        if signal != self.received:
            self.received = signal
            self._listener(signal)


class Medium:
    """A backplane or cable between two ends in one process.

    Args:
        clock: the model's.
        delay: seconds from one end to the other.
    """

    def __init__(self, clock: Clock, *, delay: float = DELAY) -> None:
        self.timeline = Timeline(clock)
        self.near = Port(self.timeline, delay)
        self.far = Port(self.timeline, delay)
        self.near.peer, self.far.peer = self.far, self.near
