# SPDX-License-Identifier: MIT
"""The other end of the medium: a partner whose abilities, transmitter and flapping a test sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicmodels.phy import Abilities, Codeword, Kind, Technology, Transceiver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nicmodels.phy import Event, Medium
    from nicmodels.reactor import Clock, Timer

FORCED_FIRST = (Technology.KR_10G, Technology.KX4_10G, Technology.KX_1000M)


class FarEnd:
    """A partner that negotiates, or one that runs one technology without."""

    def __init__(self, clock: Clock, medium: Medium, abilities: Abilities) -> None:
        self._clock = clock
        self.abilities = abilities
        self._speed: int | None = None
        self._step: Timer | None = None
        self.phy = Transceiver(medium.far, seed="partner")
        self.phy.subscribe(self._event)
        self.events: list[Event] = []
        self._apply()

    @property
    def offered(self) -> Abilities:
        """What it offers now."""
        return self.abilities if self._speed is None else self.abilities.at_speed(self._speed)

    def _event(self, event: Event) -> None:
        if event.kind is not Kind.STATE:
            self.events.append(event)
            del self.events[:-64]

    def _apply(self) -> None:
        offered = self.offered
        arbitration = self.phy.arbitration
        arbitration.advertise(Codeword(offered.base_page()))
        if offered.negotiates:
            self.phy.force(None)
            arbitration.enable(True)
            arbitration.restart()
        else:
            arbitration.enable(False)
            self.phy.force(next(iter(offered.technologies)))

    def describe(self) -> dict[str, Any]:
        """The result of ``link.get``."""
        link = self.phy.link
        phase = "silent" if not self.phy.on else "negotiating" if link is None else "linked"
        return {
            "up": self.phy.on,
            "speed": self._speed,
            "abilities": self.offered.to_json(),
            "phase": phase,
            "resolved": link.to_json() if link is not None else None,
        }

    def control(
        self,
        up: bool | None = None,
        speed: int | None = None,
        abilities: Iterable[str] | Mapping[str, Any] | None = None,
        flap: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """``link.set``: what is not given stays.

        Raises:
            ValueError: a value that makes no sense; nothing has changed then.
        """
        if flap is not None and (flap.keys() != {"times", "down", "up"} or min(map(float, flap.values())) < 0):
            raise ValueError(f"expected times, down and up, none negative; found {dict(flap)}")
        before = self.offered
        capable = self.abilities if abilities is None else Abilities.from_json(abilities)
        limit = self._speed if abilities is None else None
        if speed is not None:
            limit = speed or None
        if limit is not None:
            capable.at_speed(limit)
        self.abilities, self._speed = capable, limit
        if self.offered != before:
            self._apply()
        if up is not None:
            self.phy.power(up)
        if flap is not None:
            self._flap(int(flap["times"]), float(flap["down"]), float(flap["up"]))
        return self.describe()

    def _flap(self, times: int, down: float, up: float) -> None:
        if self._step is not None:
            self._step.cancel()
            self._step = None
        if not times:
            return
        self.phy.power(False)

        def rise() -> None:
            self.phy.power(True)
            self._step = self._clock.call_later(up, lambda: self._flap(times - 1, down, up))

        self._step = self._clock.call_later(down, rise)
