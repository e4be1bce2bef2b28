# SPDX-License-Identifier: GPL-2.0-or-later
"""The link partner: a model's own (docs/backplane.md), or QEMU's switch for the cable of a device that QEMU emulates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plugfest.link.backplane import BasePage, speed_of

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.machine.machine import Machine


class LinkPartner:
    """The link partner; changes are undone when the test ends."""

    def __init__(self, machine: Machine, dut: Dut, *, defer: Callable[..., None]) -> None:
        """Change nothing yet."""
        self._machine = machine
        self._dut = dut
        self._defer = defer
        self._changed: set[str] = set()
        self._misbehaviour: dict[str, object] = {}
        self._losses: int | None = None

    @cached_property
    def abilities(self) -> Mapping[str, Any]:
        """What it advertised before the test, as the model's ``link.get`` has it; empty without a model."""
        abilities: Mapping[str, Any] = self.get()["abilities"] if self.modelled else {}
        return abilities

    @property
    def modelled(self) -> bool:
        """Whether it has abilities and speeds; QEMU's has none."""
        return self._machine.model is not None

    def get(self) -> dict[str, Any]:
        """Return the result of the model's ``link.get``; only where it is modelled."""
        assert self._machine.model is not None
        found: dict[str, Any] = self._machine.model.call("link.get")
        return found

    def set(self, **change: Any) -> None:
        """Change it.

        Args:
            change: the parameters of the model's ``link.set``; where it is not modelled, ``up`` alone.
        """
        if not self._changed:
            self._defer(self._restore, self.abilities)
        self._changed |= change.keys()
        self._misbehaviour |= change.get("misbehave", {})
        self.mark()
        self._set(**change)

    def _set(self, **change: Any) -> None:
        if self._machine.model is not None:
            self._machine.model.call("link.set", **change)
        else:
            (up,) = change.values()
            self._machine.set_link(up=up)

    def _restore(self, abilities: Mapping[str, Any]) -> None:
        if not self.modelled:
            self._set(up=True)
        elif self._changed <= {"up", "speed", "flap"}:
            self._set(speed=0)
            self._set(up=True)
        else:
            state = self.get()
            self._set(script=[])
            well = dict.fromkeys(state["misbehaviour"], False)
            self._set(up=True, base_page="", next_pages=[], next_page_delay=0, latency=0, misbehave=well)
            # Other changes of what it transmits restart it by themselves; a link that need not go may stay.
            odd = any(self._misbehaviour.values()) or "script" in self._changed
            restart = odd or state["phase"] != "linked"
            self._set(abilities=dict(abilities), speed=0, restart=restart)

    def offer(self, *technologies: str, **flags: bool) -> None:
        """Advertise these and nothing else; flags as ``abilities`` of ``link.set`` has them, all off."""
        self.set(abilities={"technologies": list(technologies), **flags})

    def flap(self, times: int) -> None:
        """Go down and up again, as fast as it can; ends up."""
        if self.modelled:
            self.set(flap={"times": times, "down": 0.002, "up": 0.008})
            return
        for _ in range(times):
            self.set(up=False)
            self.set(up=True)

    @property
    def quiet(self) -> bool:
        """Whether it has applied every change, and neither flaps nor negotiates."""
        if not self.modelled:
            return True
        state = self.get()
        return not state["flapping"] and state["phase"] != "negotiating"

    @property
    def linked(self) -> bool:
        """Whether it has the link; where it is not modelled it is taken to have."""
        return not self.modelled or self.get()["phase"] == "linked"

    @cached_property
    def _tells_looks(self) -> bool:
        return self._machine.model is not None and self._machine.model.offers("link.looks")

    @property
    def looks(self) -> int | None:
        """How often the driver has read the state of the link since it last went up or down; None where the device does not tell.

        Each read counts, whatever the driver reads it for: its own work, or an answer to ethtool. One that was made before the last
        change does not count.
        """
        if not self._tells_looks:
            return None
        assert self._machine.model is not None
        return int(self._machine.model.call("link.looks"))

    @property
    def looked(self) -> bool | None:
        """Whether it has, at least once; None where the device does not tell."""
        looks = self.looks
        return None if looks is None else looks > 0

    def speeds(self) -> frozenset[int]:
        """Its speeds in Mbit/s, by the names of its technologies, as 10GBASE-KR; only where it is modelled."""
        return frozenset(speed_of(technology) for technology in self.get()["abilities"]["technologies"])

    def mark(self) -> None:
        """Note how often the driver has lost the carrier, before something takes the link down."""
        link = self._dut.link()
        self._losses = int(link["carrier-down-count"]) if link["carrier"] else None

    def renewed(self, link: Mapping[str, Any]) -> bool:
        """Whether a carrier that the driver reports came up after `mark`: there was none then, or it has been off since.

        A driver that polls may still report a link that is gone.
        """
        return bool(link["carrier"]) and (self._losses is None or int(link["carrier-down-count"]) > self._losses)

    def record(self, after: int = 0) -> list[dict[str, Any]]:
        """What ``link.record`` has beyond an entry."""
        assert self._machine.model is not None
        entries: list[dict[str, Any]] = self._machine.model.call("link.record", after=after)
        return entries

    @property
    def negotiations(self) -> int:
        """How often it has begun to negotiate."""
        return int(self.get()["negotiations"])

    @property
    def technology(self) -> str | None:
        """The technology of the link, None without one."""
        link = self.get()["resolved"]
        return str(link["technology"]) if link else None

    @property
    def carried(self) -> str | None:
        """The technology whose own signal arrives, without pages; None where none does."""
        signal = self.get()["signal"]
        return str(signal["technology"]) if signal["signal"] == "carrier" else None

    @property
    def base_page_received(self) -> BasePage | None:
        """The base page that the DUT has sent in this negotiation."""
        page = self.get()["received"]["base_page"]
        return BasePage(int(page, 16)) if page else None

    @property
    def base_page_seen(self) -> BasePage | None:
        """The base page that it receives, or received in this negotiation, even from a DUT that it does not respond to."""
        state = self.get()
        page = state["signal"].get("page") or state["received"]["base_page"]
        return BasePage(int(page, 16)) if page else None


class Attempts:
    """Counts how often the DUT begins to negotiate: how often its pages begin to come."""

    def __init__(self, link_partner: LinkPartner) -> None:
        """Count from now on."""
        self._link_partner = link_partner
        self._last = 0
        self._paging = False
        self.count = 0
        self.update()
        self.count = 0

    def update(self) -> int:
        """Return how many have begun."""
        for entry in self._link_partner.record(self._last):
            self._last = int(entry["sequence"])
            if entry["event"] == "signal":
                paging = entry["signal"] == "pages"
                self.count += paging and not self._paging
                self._paging = paging
        return self.count


class UnreportedLinks:
    """Counts the links that the link partner had, and lost again, while the driver reported none."""

    def __init__(self, link_partner: LinkPartner, *, technology: str, seconds: float) -> None:
        """Count from now on.

        Args:
            link_partner: has the record.
            technology: of the links that count.
            seconds: for which they stayed at least.
        """
        self._link_partner = link_partner
        self._technology = technology
        self._seconds = seconds
        self._last = 0
        self._since: float | None = None
        self.count = 0
        self.update()
        self.reported()

    def reported(self) -> None:
        """Begin again: the driver has reported a link."""
        self._since = None
        self.count = 0

    def update(self) -> int:
        """Return how many there have been."""
        for entry in self._link_partner.record(self._last):
            self._last = int(entry["sequence"])
            if entry["event"] == "link up":
                self._since = entry["time"] if entry["technology"] == self._technology else None
            elif entry["event"] == "link down" and self._since is not None:
                self.count += entry["time"] - self._since >= self._seconds
                self._since = None
        return self.count


def has_ended(entries: Iterable[Mapping[str, Any]], *, negotiations: int = 1) -> bool:
    """Whether negotiations in which each end received the other's pages have come to their ends: to a link, or to none in time.

    Args:
        entries: of the link partner's record, from before the first of them.
        negotiations: how many may end without a link until it is clear that there is none.
    """
    expired = 0
    for entry in entries:
        if entry["event"] == "link up":
            return True
        if entry["event"] == "state":
            # figure 73-11: AN_GOOD_CHECK is left for AN_GOOD, or for another state when link_fail_inhibit_timer has expired.
            expired += entry["before"] == "AN_GOOD_CHECK" and entry["state"] != "AN_GOOD"
    return expired >= negotiations
