# SPDX-License-Identifier: MIT
"""A link segment to another model, in a process of its own: two models negotiate with each other.

Each end runs its own timeline on the host's clock. A signal reaches the other end as a message, late by however long
that process was busy; but it lasts there at least as long as it lasted here. So pages of a third of a microsecond are
exchanged as on a longer cable.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nicmodels.phy.abilities import Technology
from nicmodels.phy.medium import SILENCE, Carrier, Pages, Port, Signal, TrainingFrames, describe
from nicmodels.phy.page import Codeword
from nicmodels.phy.timeline import Timeline
from nicmodels.phy.transceiver import Transceiver

if TYPE_CHECKING:
    from nicmodels.clock import Clock, Timer
    from nicmodels.wire import PairWire

KEPT = 100e-6
"""Signals up to this many seconds (pages, acknowledges) last as long at the other end; of longer ones the lag is subtracted."""
RETRY = 1e-3
"""Seconds until a message is sent again for which the other process had no room."""


class RemotePort(Port):
    """This end's side of a link segment whose other side is in another process.

    Args:
        timeline: of this end.
        wire: carries the messages; the caller watches its descriptor, with `readable` as callback.
    """

    def __init__(self, timeline: Timeline, wire: PairWire) -> None:
        super().__init__(timeline, 0.0)
        self._wire = wire
        self._connected = False
        self._connections = 0
        self._began = self._due = timeline.now()
        self._retry: Timer | None = None

    @property
    def connected(self) -> bool:
        """Whether the other process is connected."""
        return self._connected

    def drive(self, signal: Signal) -> None:
        """Transmit `signal` from now on."""
        if signal != self.driven:
            self.driven = signal
            self._send()

    def readable(self) -> None:
        """Messages arrived, or the other process connected or disconnected."""
        self.timeline.settle()
        while (message := self._wire.receive()) is not None:
            self._arrived(message)
        if self._wire.connections != self._connections:
            self._connections = self._wire.connections
            self._send()
        self._follow_connection()
        self.timeline.settle()

    def _follow_connection(self) -> None:
        """A disconnected end is silent; receiving as well as sending detects that it is."""
        if self._connected and not self._wire.connected:
            self._schedule(self.timeline.now(), SILENCE)
        self._connected = self._wire.connected

    def _send(self) -> None:
        """Send the current signal, which also replaces a message that waits for its retry."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        message = json.dumps({"time": self.timeline.now(), **describe(self.driven)}).encode()
        lost = self._wire.counters.transmit_drops
        self._wire.transmit((message,))
        if self._wire.counters.transmit_drops != lost and self._wire.connected:
            self._retry = self.timeline.call_later(RETRY, self._send)
        self._follow_connection()

    def _arrived(self, message: bytes) -> None:
        try:
            content = json.loads(message)
            began, signal = float(content["time"]), parse(content)
        except (ValueError, KeyError, TypeError):  # not a message of the other end
            return
        self._schedule(began, signal)

    def _schedule(self, began: float, signal: Signal) -> None:
        lasted = max(began - self._began, 0.0)
        self._began = began
        self._due = max(self.timeline.now(), self._due + min(lasted, KEPT))
        self.timeline.call_later(self._due - self.timeline.now(), lambda: self.arrive(signal))


def parse(content: dict[str, Any]) -> Signal:
    """The signal that `nicmodels.phy.medium.describe` describes.

    Raises:
        ValueError, KeyError: it is not one.
    """
    match content["signal"]:
        case "silence":
            return SILENCE
        case "pages":
            return Pages(Codeword.from_hex(content["page"]))
        case "carrier":
            return Carrier(Technology.named(content["technology"]))
        case "training":
            technology = Technology.named(content["technology"])
            return TrainingFrames(technology, int(content["update"]), int(content["status"]))
    raise ValueError(f"expected a signal; found {content['signal']!r}")


class RemoteSegment:
    """A link segment to another model.

    Args:
        clock: the model's.
        wire: carries the messages.

    Attributes:
        port: this end's side.
        partner: the other end, which only its own driver controls.
    """

    def __init__(self, clock: Clock, wire: PairWire) -> None:
        self.port = RemotePort(Timeline(clock), wire)
        self.partner = RemotePartner(self.port)

    def attach(self, *, null_pages: bool = True) -> Transceiver:
        """Attach the caller's transceiver; its nonces are random, so that they differ from the other end's."""
        phy = Transceiver(self.port, null_pages=null_pages)
        self.partner.watch(phy)
        return phy


class RemotePartner:
    """The other model, as far as its signals show."""

    def __init__(self, port: RemotePort) -> None:
        self._port = port
        self._phy: Transceiver | None = None

    def watch(self, phy: Transceiver) -> None:
        """Set the local transceiver."""
        self._phy = phy

    def describe(self) -> dict[str, Any]:
        """``link.get``: what this end knows."""
        link = self._phy.link if self._phy is not None else None
        phase = "negotiating" if self._port.connected else "silent"
        return {
            "up": self._port.connected,
            "phase": phase if link is None else "linked",
            "resolved": link.to_json() if link is not None else None,
            "flapping": False,
            "signal": describe(self._port.received),
            "state": self._phy.arbitration.state.name if self._phy is not None else None,
        }

    def control(self, **change: Any) -> dict[str, Any]:
        """``link.set``: nothing can be set.

        Raises:
            ValueError: a setting was given.
        """
        if change:
            raise ValueError("expected a scripted partner; the other end is a model, which its own driver controls")
        return self.describe()

    def read(self, after: int = 0) -> list[dict[str, Any]]:  # noqa: ARG002
        """``link.record``: the other model's record is in its own process."""
        return []
