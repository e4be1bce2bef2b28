# SPDX-License-Identifier: MIT
"""The link partner: it negotiates by Clause 73 and trains by Clause 72, and a test or a profile scripts it.

docs/backplane.md lists the parameters and results of the control methods. Everything runs on the medium's timeline, so
that a step which is due when the partner enters a state runs at that instant.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from nicmodels.events import EventLog
from nicmodels.faults.points import FaultPoints
from nicmodels.phy.abilities import Abilities
from nicmodels.phy.advertisement import Advertisement
from nicmodels.phy.arbitration import State
from nicmodels.phy.event import Event, Kind
from nicmodels.phy.medium import Pages, Silence, describe
from nicmodels.phy.page import NEXT_PAGE, NULL_PAGE, Codeword
from nicmodels.phy.partner_faults import POINTS, FaultyPort
from nicmodels.phy.partner_settings import PartnerSettings
from nicmodels.phy.script import Script, Step, flapping_from_json
from nicmodels.phy.timers import BOUNDS
from nicmodels.phy.training import TrainingState
from nicmodels.phy.transceiver import Transceiver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nicmodels.phy.medium import Medium, Signal

RECORD = 16384
"""Entries of the record that are kept."""
NEXT_PAGES = 64
"""Next pages received that are kept."""
ENDLESS_PACE = 10e-3
"""Seconds between next pages of a partner that never ends, so that this process can keep up."""
GONE = BOUNDS["link_fail_inhibit"].most + BOUNDS["break_link"].most
"""Seconds of silence after which the other end counts as off."""
STATES = frozenset(State.__members__) | frozenset(TrainingState.__members__)


class LinkPartner:
    """The other end, at the far port of a medium.

    Args:
        medium: between the ends.
        abilities: the partner's.
        up: false for a partner that does not transmit yet.
        seed: of its nonces; must differ from the local end's.

    Attributes:
        phy: its transceiver.
        record: its states and the signals that it received, see `read`.
        misbehaviour: points of `nicmodels.phy.partner_faults.POINTS`; each firing lasts for a negotiation.
        latency: seconds by which everything that it transmits is late.
        next_page_delay: seconds from a received page until the partner loads its next page.
    """

    def __init__(
        self, medium: Medium, *, abilities: Abilities, up: bool = True, seed: int | str | None = "partner"
    ) -> None:
        self._timeline = medium.timeline
        self.record = EventLog(self._timeline.now, RECORD)
        self.misbehaviour = FaultPoints(*POINTS)
        self.next_page_delay = 0.0
        self.negotiations = 0
        self._advertisement = Advertisement(abilities)
        self._override: Codeword | None = None
        self._pages: tuple[Codeword, ...] = ()
        self._left: list[Codeword] = []
        self._seen: dict[str, Any] = {"base_page": None, "next_pages": []}
        self._echo: int | None = None
        self._quiet_since = self._timeline.now()
        self._script = Script(self._timeline.call_later, lambda change: self._apply(PartnerSettings.from_json(change)))
        self._port = FaultyPort(medium.far, self._arrived)
        self.phy = Transceiver(self._port, seed=seed, null_pages=False)
        self._port.base_page = lambda: self.phy.arbitration.base_page
        self.phy.observer = self._observe
        if not up:
            self.phy.power(False)
        self._advertise()
        self._connect()

    # --- what a test sets ---------------------------------------------------------------------------------------------

    @property
    def abilities(self) -> Abilities:
        """What it advertises now."""
        return self._advertisement.abilities

    @property
    def latency(self) -> float:
        """Seconds by which everything that it transmits is late."""
        return self._port.latency

    def set(
        self,
        *,
        up: bool | None = None,
        speed: int | None = None,
        abilities: Abilities | None = None,
    ) -> None:
        """Change the partner. What is not given stays as it is; it restarts only if something changed.

        Raises:
            ValueError: none of its technologies has that speed.
        """
        self._timeline.settle()
        self._apply(PartnerSettings(up=up, speed=speed, abilities=abilities))

    def play(self, steps: Iterable[Step]) -> None:
        """Run a script of changes (arguments of `control` except `script`); replaces a script that still runs."""
        self._script.play(steps)

    def stop(self) -> None:
        """Stop the script; the partner stays as it is."""
        self._script.stop()

    # --- control methods ----------------------------------------------------------------------------------------------

    def control(
        self,
        *,
        script: Sequence[Mapping[str, Any]] | None = None,
        flap: Mapping[str, Any] | None = None,
        **change: Any,
    ) -> dict[str, Any]:
        """The control method ``link.set``; see docs/backplane.md.

        Raises:
            ValueError: an invalid value; nothing was changed.
            TypeError: an unknown parameter.
        """
        self._timeline.settle()
        steps = None if flap is None else list(flapping_from_json(flap))
        if script is not None:
            steps = [_step(each) for each in script]
        now = PartnerSettings.from_json(change)
        self._check([now, *(PartnerSettings.from_json(step.change) for step in steps or ())])
        self._apply(now)
        if steps is not None:
            self.play(steps)
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """The control method ``link.get``."""
        self._timeline.settle()
        arbitration, training, link = self.phy.arbitration, self.phy.training, self.phy.link
        resolution = arbitration.resolution
        return {
            "up": self.phy.on,
            "speed": self._advertisement.speed,
            "abilities": self.abilities.to_json(),
            "phase": self._phase(),
            "resolved": link.to_json() if link is not None else None,
            "flapping": self._script.running,
            "state": arbitration.state.name,
            "hcd": resolution.technology.label if resolution is not None else None,
            "advertised": str(arbitration.advertised),
            "transmitted": describe(self.phy.port.driven),
            "signal": describe(self.phy.port.received),
            "received": {**self._seen, "echoed_nonce": self._echo},
            "lp_autoneg_able": arbitration.lp_autoneg_able,
            "parallel_detection_fault": arbitration.parallel_detection_fault,
            "training": {
                "state": training.state.name,
                "frame_lock": training.frame_lock,
                "local_ready": training.local_ready,
                "remote_ready": training.remote_ready,
                "taps": {tap.name.lower(): steps for tap, steps in training.transmitter.taps.items()},
            },
            "negotiations": self.negotiations,
            "next_pages": [str(page) for page in self._pages],
            "next_page_delay": self.next_page_delay,
            "latency": self.latency,
            "timers": asdict(arbitration.timers),
            "misbehaviour": {
                fault.point.name: {"times": fault.times, "fired": fault.fired}
                for fault in self.misbehaviour
                if fault.armed or fault.fired
            },
        }

    def read(self, after: int = 0) -> list[dict[str, Any]]:
        """The control method ``link.record``: entries with a higher sequence number, oldest first."""
        self._timeline.settle()
        return self.record.after(after)

    # --- changes ------------------------------------------------------------------------------------------------------

    def _check(self, changes: Iterable[PartnerSettings]) -> None:
        """Validate a sequence of changes before making any of them."""
        advertisement = self._advertisement
        for change in changes:
            advertisement = advertisement.changed(change.abilities, change.speed)
            for name in change.misbehave:
                self.misbehaviour[name]

    def _apply(self, change: PartnerSettings) -> None:
        arbitration = self.phy.arbitration
        for name, times in change.misbehave.items():
            fault = self.misbehaviour[name]
            if times:
                fault.arm(None if times is True else times)
            else:
                fault.disarm()
        if change.latency is not None:
            self._port.latency = change.latency
        if change.next_page_delay is not None:
            self.next_page_delay = change.next_page_delay
        arbitration.timers = replace(arbitration.timers, **change.timers)
        if change.next_pages is not None:
            self._pages = change.next_pages
        if change.base_page is not None:
            self._override = next(iter(change.base_page), None)
        abilities, advertised = self.abilities, arbitration.advertised
        self._advertisement = self._advertisement.changed(change.abilities, change.speed)
        self._advertise()
        if change.restart or self.abilities != abilities or arbitration.advertised != advertised:
            self._connect()
        if change.train:
            self.phy.train()
        if change.up is not None:
            self.phy.power(change.up)

    def _advertise(self) -> None:
        endless = self.misbehaviour["pages.endless"].armed
        page = Codeword(self.abilities.base_page()) if self._override is None else self._override
        page = page.replaced(NEXT_PAGE, NEXT_PAGE if self._pages or endless else page)
        self.phy.arbitration.advertise(page)

    def _connect(self) -> None:
        """Restart with what is advertised now."""
        arbitration, abilities = self.phy.arbitration, self.abilities
        if abilities.negotiates:
            self.phy.force(None)
            if arbitration.enabled:
                arbitration.restart()
            arbitration.enable(True)
        else:
            arbitration.enable(False)
            self.phy.force(next(iter(abilities.technologies)))

    # --- events of the link ----------------------------------------------------------------------------------------

    def _arrived(self, signal: Signal) -> None:
        if isinstance(signal, Silence):
            self._quiet_since = self._timeline.now()
        if isinstance(signal, Pages) and signal.codeword.acknowledge and self.phy.arbitration.base_page:
            self._echo = signal.codeword.echoed_nonce
        self.record.add("signal", **describe(signal))

    def _observe(self, event: Event) -> None:
        details = dict(event.details)
        if event.kind is Kind.STATE:
            self._entered(State[details["state"]])
            if details["state"] == State.AN_GOOD_CHECK.name:
                resolution = self.phy.arbitration.resolution
                details["hcd"] = resolution.technology.label if resolution is not None else None
        elif event.kind is Kind.PAGE_RECEIVED:
            self._page_received(str(details["page"]), base=details["base"])
        self.record.add(event.kind.value, **details)
        if event.kind in (Kind.STATE, Kind.TRAINING):
            self._script.entered(details["state"])

    def _entered(self, state: State) -> None:
        if state is State.ABILITY_DETECT:
            self.negotiations += 1
            self._seen = {"base_page": None, "next_pages": []}
            self._echo = None
            self._left = list(self._pages)
            active = frozenset(fault.point.name for fault in self.misbehaviour if fault)
            training = self.phy.training
            training.converges, training.answers = "training.unwilling" not in active, "training.deaf" not in active
            self._port.activate(active)
            self._advertise()  # of the next negotiation: whether its next pages never end

    def _page_received(self, page: str, *, base: bool) -> None:
        if base:
            self._seen["base_page"] = page
            self._seen["nonce"] = Codeword.from_hex(page).nonce
            self._seen["abilities"] = Abilities.from_base_page(Codeword.from_hex(page)).to_json()
        else:
            self._seen["next_pages"].append(page)
            del self._seen["next_pages"][:-NEXT_PAGES]
        if self.phy.arbitration.next_page_wanted:
            pace = ENDLESS_PACE if "pages.endless" in self._port.active else 0.0
            self._timeline.call_later(max(self.next_page_delay, pace), self._load)

    def _load(self) -> None:
        if not self.phy.arbitration.next_page_wanted:
            return
        page = self._left.pop(0) if self._left else NULL_PAGE
        more = bool(self._left) or "pages.endless" in self._port.active
        self.phy.arbitration.load_next_page(page.replaced(NEXT_PAGE, NEXT_PAGE * more))

    def _phase(self) -> str:
        """Silent means that the other end is off; one that fails to link and restarts is silent only for a while."""
        if self.phy.link is not None:
            return "linked"
        silent = isinstance(self.phy.port.received, Silence)
        gone = silent and self._timeline.now() - self._quiet_since > GONE
        return "silent" if not self.phy.on or gone else "negotiating"


def _step(value: Mapping[str, Any]) -> Step:
    change = dict(value)
    after, at = float(change.pop("after", 0.0)), change.pop("at", None)
    if at is not None and at not in STATES:
        raise ValueError(f"expected a state such as ACKNOWLEDGE_DETECT or TRAIN_LOCAL; found {at}")
    return Step(after, at, change)
