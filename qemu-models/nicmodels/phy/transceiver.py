# SPDX-License-Identifier: MIT
"""One end of a backplane link: arbitration, training, and the PMD and PCS of whatever technology runs.

How a model uses it::

    medium = Medium(host.clock)
    self.phy = Transceiver(medium.near, seed="local")
    self.partner = LinkPartner(medium, abilities=...)
    self.phy.subscribe(self._event)                      # on the clock, in order, never inside a call from here
    self.phy.arbitration.advertise(abilities.base_page())
    self.phy.arbitration.enable(True)
    self.phy.link                                        # Resolution | None
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nicmodels.phy.abilities import Resolution, Technology
from nicmodels.phy.arbitration import Arbitration, LinkControl, State
from nicmodels.phy.event import Event, Kind
from nicmodels.phy.medium import SILENCE, Carrier, Pages, Port, Signal, TrainingFrames
from nicmodels.phy.training import Training, TrainingState

if TYPE_CHECKING:
    from nicmodels.phy.page import Codeword
    from nicmodels.phy.timers import Timers

    Listener = Callable[[Event], object]

UNTRAINED = frozenset((Technology.KX_1000M, Technology.KX_2500M, Technology.KX4_10G, Technology.KR_5G))
"""Technologies whose PMDs have no training."""


class Transceiver:
    """One end.

    Args:
        port: its side of the medium.
        timers: of arbitration.
        seed: of the nonces; the other end needs a different one.
        null_pages: see `Arbitration`.

    Attributes:
        arbitration: auto-negotiation; its methods are those of management.
        training: of the PMD; `training.automatic = False` where a driver starts it, with `train`.
        technologies: what PMD and PCS are configured for; None for whatever is resolved. A resolution to anything else is an
            incompatible link.
        link: the link, from this end; None while it is down.
        observer: called with each event at its instant, inside the timeline, for what must act or be recorded then. It must
            not change this end; `timeline.call_later(0, ...)` does so at the same instant.
    """

    def __init__(
        self,
        port: Port,
        *,
        timers: Timers | None = None,
        seed: int | str | None = None,
        null_pages: bool = True,
    ) -> None:
        self.port = port
        self.timeline = port.timeline
        self.technologies: frozenset[Technology] | None = None
        self.link: Resolution | None = None
        self.observer: Listener = lambda _event: None
        self._listeners: list[Listener] = []
        self._on = True
        self._forced: Technology | None = None
        self._page: Codeword | None = None
        self._frames: TrainingFrames | None = None
        self._updating = False
        self._ok: Technology | None = None
        self.training = Training(self.timeline, drive=self._send_frames, notify=self._training_state)
        self.arbitration = Arbitration(
            self.timeline,
            drive=self._send_page,
            notify=self._notify,
            timers=timers,
            seed=seed,
            null_pages=null_pages,
        )
        self.arbitration.incompatible = lambda technology: (
            self.technologies is not None and technology not in self.technologies
        )
        port.listen(self._received)

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each event: on the clock, in order, never inside a method called from outside."""
        self._listeners.append(listener)

    @property
    def on(self) -> bool:
        """Whether the transmitter is on."""
        return self._on

    def power(self, on: bool) -> None:
        """Turn the transmitter on or off. Turning it on restarts negotiation.

        At one instant: otherwise what arbitration resolved with the transmitter off would be transmitted until it restarts.
        """
        self.timeline.settle()
        if on == self._on:
            return
        with self.timeline.instant():
            self._on = on
            if on:
                self.arbitration.restart()
            self._update()

    @property
    def forced(self) -> Technology | None:
        """The technology that runs while negotiation is disabled."""
        return self._forced

    def force(self, technology: Technology | None) -> None:
        """Set the technology that runs while negotiation is disabled; None for none. It does not train."""
        self.timeline.settle()
        self._forced = technology
        self._update()

    def train(self) -> bool:
        """mr_restart_training: train the technology that arbitration has selected, if training is not automatic.

        Returns:
            False if no technology that trains is selected yet; the caller repeats the call when one is.
        """
        self.timeline.settle()
        selected = self.arbitration.selected
        if selected is None or selected in UNTRAINED:
            return False
        self.training.start(selected)
        return True

    def signal_ok(self, technology: Technology) -> bool:
        """Whether the signal of a technology is received, so that its PCS locks to it, whatever arbitration requests."""
        return self.port.received == Carrier(technology)

    # --- events of the link -------------------------------------------------------------------------------------------

    def _received(self, signal: Signal) -> None:
        self.training.receive(signal)
        self.arbitration.receive(signal)
        self._update()

    def _send_page(self, page: Codeword | None) -> None:
        self._page = page
        self._update()

    def _send_frames(self, frames: TrainingFrames | None) -> None:
        self._frames = frames
        self._update()

    def _training_state(self, state: TrainingState) -> None:
        self._emit(Event(Kind.TRAINING, self.timeline.now(), {"state": state.name}))

    def _notify(self, event: Event) -> None:
        self._emit(event)
        if event.kind is Kind.STATE:
            self._update()

    def _update(self) -> None:
        """Update training, the transmitted signal and the link status."""
        if self._updating:
            return
        self._updating = True
        try:
            self._follow_selection()
            self.port.drive(self._signal())
        finally:
            self._updating = False
        self._report_status()
        self._settle_link()

    def _report_status(self) -> None:
        """Report link_status: at most one technology is OK, the one whose signal is received."""
        received = self.port.received
        technology = received.technology if isinstance(received, Carrier) else None
        ok = technology if technology is not None and self._status(technology) else None
        before, self._ok = self._ok, ok
        if before is not None and before is not ok:
            self.arbitration.link_status(before, ok=False)
        if ok is not None and ok is self._ok:
            self.arbitration.link_status(ok, ok=True)

    def _follow_selection(self) -> None:
        selected = self.arbitration.selected if self._on else None
        if selected in UNTRAINED:
            selected = None
        if self.training.technology is not selected:
            if selected is None:
                self.training.stop()
            elif self.training.automatic:
                self.training.start(selected)

    def _signal(self) -> Signal:
        arbitration = self.arbitration
        if not self._on:
            return SILENCE
        if not arbitration.enabled:
            return SILENCE if self._forced is None else Carrier(self._forced)
        if self._page is not None:
            return Pages(self._page)
        selected = arbitration.selected
        if selected is None or (self.technologies is not None and selected not in self.technologies):
            return SILENCE
        if selected in UNTRAINED or self.training.trained:
            return Carrier(selected)
        return SILENCE if self._frames is None else self._frames

    def _status(self, technology: Technology) -> bool:
        """link_status of a technology whose signal is received, for arbitration."""
        control = self.arbitration.link_control(technology)
        if control is LinkControl.DISABLE or not self._on:
            return False
        if control is LinkControl.SCAN_FOR_CARRIER or technology in UNTRAINED:
            return True
        return self.training.trained

    def _settle_link(self) -> None:
        link = self._link()
        if link == self.link:
            return
        before, self.link = self.link, link
        now = self.timeline.now()
        if before is not None:
            self._emit(Event(Kind.LINK_DOWN, now))
        if link is not None:
            self._emit(Event(Kind.LINK_UP, now, {"technology": link.technology.label, "speed": link.speed}))

    def _link(self) -> Resolution | None:
        arbitration = self.arbitration
        if arbitration.enabled:
            return arbitration.resolution if arbitration.state is State.AN_GOOD and self._on else None
        if self._on and self._forced is not None and self.signal_ok(self._forced):
            return Resolution(self._forced, negotiated=False)
        return None

    def _emit(self, event: Event) -> None:
        self.observer(event)

        def call_listeners() -> None:
            for listener in self._listeners:
                listener(event)

        self.timeline.defer(call_listeners)
