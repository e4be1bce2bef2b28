# SPDX-License-Identifier: MIT
"""What a partner does wrong on request: it spoils what an honest engine transmits, so that the engine stays a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nicmodels.faults.points import FaultPoint
from nicmodels.phy.medium import SILENCE, Carrier, Pages, Port, Signal, TrainingFrames
from nicmodels.phy.page import ACKNOWLEDGE, ECHO, ECHO_SHIFT, NONCE, NONCE_SHIFT

if TYPE_CHECKING:
    from nicmodels.phy.page import Codeword

POINTS = (
    FaultPoint("nonce.copied", "transmits the other end's nonce as its own, as a line that is looped back would"),
    FaultPoint("echo.wrong", "echoes a nonce that is not the other end's"),
    FaultPoint("acknowledge.lost", "never sets the acknowledge bit"),
    FaultPoint("pages.endless", "has another next page after each"),
    FaultPoint("training.unwilling", "its receiver is never ready"),
    FaultPoint("training.deaf", "its transmitter answers no coefficient update"),
    FaultPoint("training.absent", "sends no training frames"),
    FaultPoint("carrier.absent", "stays silent once negotiation and training are done"),
)
"""Each lasts for a negotiation, from ABILITY DETECT on."""


class TamperedPort(Port):
    """A port in front of the medium's, which it spoils.

    Args:
        port: the medium's.
        arrived: called with each signal that arrives, before the listener.

    Attributes:
        active: names of `POINTS` that are in force.
        latency: seconds by which all that is transmitted is late.
        base_page: whether the pages that are driven are base pages.
    """

    def __init__(self, port: Port, arrived: Callable[[Signal], object]) -> None:
        super().__init__(port.timeline, port.delay)
        self.active: frozenset[str] = frozenset()
        self.latency = 0.0
        self.base_page: Callable[[], bool] = lambda: True
        self._port = port
        self._arrived = arrived
        self._wanted: Signal = SILENCE
        self._nonce = 0
        self._free = 0.0
        port.listen(self.arrive)

    def misbehave(self, active: frozenset[str]) -> None:
        """Points that are in force from now on, and no others."""
        self.active = active
        self._send()

    def drive(self, signal: Signal) -> None:
        """Transmit `signal`, or what becomes of it."""
        self.driven = signal
        self._send()

    def arrive(self, signal: Signal) -> None:
        """A new signal is there."""
        self.received = signal
        self._arrived(signal)
        if isinstance(signal, Pages) and signal.codeword.nonce != self._nonce and self.base_page():
            self._nonce = signal.codeword.nonce
            self._send()
        self._listener(signal)

    def _send(self) -> None:
        wanted = self._spoiled(self.driven)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        now = self.timeline.now()
        when = max(now + self.latency, self._free)
        if when <= now:
            self._port.drive(wanted)
        else:
            self._free = when
            self.timeline.call_later(when - now, lambda: self._port.drive(wanted))

    def _spoiled(self, signal: Signal) -> Signal:
        match signal:
            case Pages(codeword):
                return Pages(self._spoiled_page(codeword))
            case Carrier() if "carrier.absent" in self.active:
                return SILENCE
            case TrainingFrames() if "training.absent" in self.active:
                return SILENCE
        return signal

    def _spoiled_page(self, page: Codeword) -> Codeword:
        if self.base_page():
            if "nonce.copied" in self.active:
                page = page.replaced(NONCE, self._nonce << NONCE_SHIFT)
            if "echo.wrong" in self.active and page.acknowledge:
                page = page.replaced(ECHO, page ^ 1 << ECHO_SHIFT)
        if "acknowledge.lost" in self.active:
            page = page.replaced(ACKNOWLEDGE, 0)
        return page
