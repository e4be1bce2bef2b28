# SPDX-License-Identifier: MIT
"""The faults of the link partner. They change what a correct transceiver transmits, so that the transceiver stays a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nicmodels.faults.points import FaultPoint
from nicmodels.phy.medium import SILENCE, Carrier, Pages, Port, Signal, TrainingFrames
from nicmodels.phy.page import ACKNOWLEDGE, ECHO, ECHO_SHIFT, NONCE, NONCE_SHIFT

if TYPE_CHECKING:
    from nicmodels.phy.page import Codeword

POINTS = (
    FaultPoint("nonce.copied", "transmits the other end's nonce as its own, as a looped-back link does"),
    FaultPoint("echo.wrong", "echoes a nonce that is not the other end's"),
    FaultPoint("acknowledge.lost", "never sets the acknowledge bit"),
    FaultPoint("pages.endless", "follows each next page with another"),
    FaultPoint("training.unwilling", "its receiver never becomes ready"),
    FaultPoint("training.deaf", "its transmitter answers no coefficient update"),
    FaultPoint("training.absent", "sends no training frames"),
    FaultPoint("carrier.absent", "transmits nothing after negotiation and training"),
)
"""Each lasts for one negotiation, from ABILITY DETECT on."""


class FaultyPort(Port):
    """A port in front of the medium's that applies the faults.

    Args:
        port: the medium's.
        arrived: called with each signal that arrives, before the listener is.

    Attributes:
        active: names of the active `POINTS`.
        latency: seconds by which everything that is transmitted is late.
        base_page: whether the transmitted pages are base pages.
    """

    def __init__(self, port: Port, arrived: Callable[[Signal], object]) -> None:
        super().__init__(port.timeline, port.delay)
        self.active: frozenset[str] = frozenset()
        self.latency = 0.0
        self.base_page: Callable[[], bool] = lambda: True
        self._port = port
        self._arrived = arrived
        self._transmitted: Signal = SILENCE
        self._nonce = 0
        self._free = 0.0
        port.listen(self.arrive)

    def activate(self, active: frozenset[str]) -> None:
        """Activate these points, and no others."""
        self.active = active
        self._send()

    def drive(self, signal: Signal) -> None:
        """Transmit `signal`, as the active faults change it."""
        self.driven = signal
        self._send()

    def arrive(self, signal: Signal) -> None:
        """A new signal arrives."""
        self.received = signal
        self._arrived(signal)
        if isinstance(signal, Pages) and signal.codeword.nonce != self._nonce and self.base_page():
            self._nonce = signal.codeword.nonce
            self._send()
        self._listener(signal)

    def _send(self) -> None:
        signal = self._changed(self.driven)
        if signal == self._transmitted:
            return
        self._transmitted = signal
        now = self.timeline.now()
        when = max(now + self.latency, self._free)
        if when <= now:
            self._port.drive(signal)
        else:
            self._free = when
            self.timeline.call_later(when - now, lambda: self._port.drive(signal))

    def _changed(self, signal: Signal) -> Signal:
        match signal:
            case Pages(codeword):
                return Pages(self._changed_page(codeword))
            case Carrier() if "carrier.absent" in self.active:
                return SILENCE
            case TrainingFrames() if "training.absent" in self.active:
                return SILENCE
        return signal

    def _changed_page(self, page: Codeword) -> Codeword:
        if self.base_page():
            if "nonce.copied" in self.active:
                page = page.replaced(NONCE, self._nonce << NONCE_SHIFT)
            if "echo.wrong" in self.active and page.acknowledge:
                page = page.replaced(ECHO, page ^ 1 << ECHO_SHIFT)
        if "acknowledge.lost" in self.active:
            page = page.replaced(ACKNOWLEDGE, 0)
        return page
