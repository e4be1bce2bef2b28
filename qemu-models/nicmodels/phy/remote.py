# SPDX-License-Identifier: MIT
"""A line to another model, in a process of its own: two models negotiate with each other through the same engine.

Each end runs its own timeline on the host's clock. What one transmits reaches the other as a message, late by however
long that process was busy; but a signal lasts at the other end as long as it lasted here, or longer. So an exchange of
pages that last a third of a microsecond each is what it would be on a longer line.
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
"""Seconds of a signal that last as long there as here: pages and acknowledges. Of longer ones the lag is taken off."""
AGAIN = 1e-3
"""Seconds until a message is sent again that the other process had no room for."""


class RemotePort(Port):
    """This end's side of a line, whose other side is in another process.

    Args:
        timeline: of this end.
        wire: carries the messages; its descriptor is for the caller to watch, with `readable` as callback.
    """

    def __init__(self, timeline: Timeline, wire: PairWire) -> None:
        super().__init__(timeline, 0.0)
        self._wire = wire
        self._connected = False
        self._connections = 0
        self._began = self._due = timeline.now()
        self._again: Timer | None = None

    @property
    def connected(self) -> bool:
        """Whether the other process is there."""
        return self._connected

    def drive(self, signal: Signal) -> None:
        """Transmit `signal` from now on."""
        if signal != self.driven:
            self.driven = signal
            self._send()

    def readable(self) -> None:
        """Messages have come, or the other process has come or gone."""
        self.timeline.settle()
        while (message := self._wire.receive()) is not None:
            self._arrived(bytes(message))
        if self._wire.connections != self._connections:
            self._connections = self._wire.connections
            self._send()
        self._follow_connection()
        self.timeline.settle()

    def _follow_connection(self) -> None:
        """An end that is gone is silent; it is found gone by receiving as well as by sending."""
        if self._connected and not self._wire.connected:
            self._schedule(self.timeline.now(), SILENCE)
        self._connected = self._wire.connected

    def _send(self) -> None:
        """Send what is driven now, which also makes good for a message that is still to be sent again."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        message = json.dumps({"time": self.timeline.now(), **describe(self.driven)}).encode()
        lost = self._wire.counters.transmit_drops
        self._wire.transmit((message,))
        if self._wire.counters.transmit_drops != lost and self._wire.connected:
            self._again = self.timeline.call_later(AGAIN, self._send)
        self._follow_connection()

    def _arrived(self, message: bytes) -> None:
        try:
            content = json.loads(message)
            began, signal = float(content["time"]), parse(content)
        except (ValueError, KeyError, TypeError):  # not an end of this line
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
        ValueError, KeyError: it is none.
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


class RemoteLine:
    """A line to another model.

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

    def plug(self, *, null_pages: bool = True) -> Transceiver:
        """The end of the caller; the nonces differ from the other's because nobody chooses them."""
        phy = Transceiver(self.port, null_pages=null_pages)
        self.partner.watch(phy)
        return phy


class RemotePartner:
    """The other model, of which this process knows what arrives from it."""

    def __init__(self, port: RemotePort) -> None:
        self._port = port
        self._phy: Transceiver | None = None

    def watch(self, phy: Transceiver) -> None:
        """The end that faces it."""
        self._phy = phy

    def describe(self) -> dict[str, Any]:
        """``link.get``: as far as this end can tell."""
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
        """``link.set``: there is nothing to set.

        Raises:
            ValueError: something is to be set.
        """
        if change:
            raise ValueError("expected a scripted partner; the other end is a model, which its own driver controls")
        return self.describe()

    def read(self, after: int = 0) -> list[dict[str, Any]]:  # noqa: ARG002
        """``link.record``: the other model's record is in its own process."""
        return []
