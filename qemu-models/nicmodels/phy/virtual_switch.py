# SPDX-License-Identifier: MIT
"""The other end of a port without a PHY: the port of a hypervisor's switch that a virtual NIC is connected to.

No pages are exchanged: the two ends' abilities are resolved after a delay. The partner that negotiates is
`nicmodels.phy.partner.LinkPartner`.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Any

from nicmodels.phy.abilities import Abilities, resolve
from nicmodels.phy.advertisement import Advertisement
from nicmodels.phy.script import Script, Step, flapping, flapping_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nicmodels.clock import Clock, Timer
    from nicmodels.phy.abilities import Resolution

    Listener = Callable[[Resolution | None], object]


class Phase(enum.Enum):
    """The progress of the link."""

    SILENT = "silent"
    """At least one end does not transmit."""
    NEGOTIATING = "negotiating"
    """Both ends transmit; they have not resolved yet, or have no technology in common."""
    LINKED = "linked"
    """The link is up."""


class VirtualSwitchPort:
    """The switch's port, the link partner of a virtual NIC.

    Listeners run on the clock, never inside a method of this object: a register write that restarts the link sees it
    down at once (`resolved`), its listener a moment later. Every transition is reported, including a bounce.

    Args:
        clock: the model's.
        abilities: the partner's.
        delay: seconds from both ends transmitting to link up.
        up: false for a partner that does not transmit yet.
    """

    def __init__(self, clock: Clock, *, abilities: Abilities, delay: float = 0.005, up: bool = True) -> None:
        self.delay = delay
        self._clock = clock
        self._advertisement = Advertisement(abilities)
        self._up = up
        self._local: Abilities | None = None
        self._resolved: Resolution | None = None
        self._timer: Timer | None = None
        self._exchanged = False
        self._listeners: list[Listener] = []
        self._pending: deque[Resolution | None] = deque()
        self._script = Script(clock.call_later, lambda change: self.set(**change))

    @property
    def up(self) -> bool:
        """Whether the partner transmits."""
        return self._up

    @property
    def abilities(self) -> Abilities:
        """What the partner advertises: all its abilities, or those of the speed that it was set to."""
        return self._advertisement.abilities

    @property
    def resolved(self) -> Resolution | None:
        """The link as it is now; None while it is down."""
        return self._resolved

    @property
    def received(self) -> Abilities | None:
        """The partner's base page as the local end has received it; None before, and without negotiation."""
        return self.abilities if self._exchanged else None

    @property
    def phase(self) -> Phase:
        """The progress of the link."""
        if not self._up or self._local is None:
            return Phase.SILENT
        return Phase.NEGOTIATING if self._resolved is None else Phase.LINKED

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with the new `resolved` after each transition."""
        self._listeners.append(listener)

    def local(self, abilities: Abilities | None) -> None:
        """Start or restart the local end with these abilities; None turns its transmitter off.

        The link goes down first even if nothing changes, as after a restart of negotiation.
        """
        self._local = abilities
        self._restart()

    def set(
        self,
        *,
        up: bool | None = None,
        speed: int | None = None,
        abilities: Abilities | None = None,
    ) -> None:
        """Change the partner. What is not given stays as it is; the link bounces only if something changed.

        Args:
            up: whether it transmits.
            speed: advertise only technologies of this many Mbit/s; 0 lifts the restriction.
            abilities: the new abilities; they lift the restriction to a speed unless one is given.

        Raises:
            ValueError: none of its technologies has that speed.
        """
        before = (self._up, self.abilities)
        self._advertisement = self._advertisement.changed(abilities, speed)
        if up is not None:
            self._up = up
        if (self._up, self.abilities) != before:
            self._restart()

    def play(self, script: Iterable[Step]) -> None:
        """Run a script of changes (arguments of `set`); replaces a script that still runs."""
        self._script.play(script)

    def flap(self, times: int, *, down: float, up: float) -> None:
        """Take the link down `times` times, for `down` seconds each, `up` seconds apart; it ends up.

        Raises:
            ValueError: a negative number.
        """
        self._script.play(flapping(times, down=down, up=up))

    def stop(self) -> None:
        """Stop the script; the partner stays as it is."""
        self._script.stop()

    def describe(self) -> dict[str, Any]:
        """The result of the control method ``link.get``."""
        return {
            "up": self._up,
            "speed": self._advertisement.speed,
            "abilities": self.abilities.to_json(),
            "phase": self.phase.value,
            "resolved": self._resolved.to_json() if self._resolved else None,
            "flapping": self._script.running,
        }

    def control(
        self,
        up: bool | None = None,
        speed: int | None = None,
        abilities: Iterable[str] | Mapping[str, Any] | None = None,
        flap: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The control method ``link.set``: `set` (and `flap`: times, down, up) with JSON values.

        Raises:
            ValueError: an invalid value; nothing was changed.
        """
        script = None if flap is None else flapping_from_json(flap)
        self.set(up=up, speed=speed, abilities=None if abilities is None else Abilities.from_json(abilities))
        if script is not None:
            self.play(script)
        return self.describe()

    def _restart(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._exchanged = False
        if self._resolved is not None:
            self._resolved = None
            self._pending.append(None)
            self._clock.call_later(0.0, self._report)
        if self._up and self._local is not None:
            self._timer = self._clock.call_later(self.delay, self._finish)

    def _finish(self) -> None:
        self._timer = None
        local = self._local
        assert local is not None, "the timer runs only while both ends transmit"
        self._exchanged = local.negotiates and self.abilities.negotiates
        outcome = resolve(local, self.abilities)
        if outcome is not None:
            self._resolved = outcome
            self._pending.append(outcome)
            self._report()

    def _report(self) -> None:
        while self._pending:
            outcome = self._pending.popleft()
            for listener in self._listeners:
                listener(outcome)
