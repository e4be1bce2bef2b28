# SPDX-License-Identifier: GPL-2.0-or-later
"""Backplane negotiation as the suite reads it: technologies, pages, and what two ends must come to.

Source: IEEE 802.3-2022, 73.6 (base page), 73.7.6 (priority resolution), table 73-4 and 73-5, 73.6.5 (FEC), 28B.3 (pause).
It shares no code with the models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from plugfest import faults as fault_points
from plugfest.link.partner import speed_of

if TYPE_CHECKING:
    from plugfest.faults import LocalFaults
    from plugfest.machine.machine import Machine

NOT_TOLD = fault_points.declare("program:backplane.not-told", "the partner is not told what to do, as if it were")

MODES = {
    "10000baseKR/Full": "10GBASE-KR",
    "10000baseKX4/Full": "10GBASE-KX4",
    "1000baseKX/Full": "1000BASE-KX",
}
"""The link modes of ethtool that the clause has, best first (73.7.6), and the clause's names."""
SPEEDS = {technology: speed_of(technology) for technology in ("10GBASE-KR", "10GBASE-KX4", "1000BASE-KX")}
STRANGE = ("100GBASE-KR4", "40GBASE-KR4", "25GBASE-KR/CR")
"""Technologies that a partner may have and a 10 Gb/s port has not."""
DETECTABLE = ("10GBASE-KX4", "1000BASE-KX")
"""What is found without pages, by parallel detection (73.7.4.1)."""
_EXCHANGE = 0x1F << 5 | 0x1F << 16 | 1 << 14 | 1 << 15
"""Echoed nonce, transmitted nonce, Ack, NP."""
_NEXT_EXCHANGE = 1 << 11 | 1 << 12 | 1 << 14 | 1 << 15
"""Toggle, Ack2, Ack, NP of a next page."""
_MESSAGE_PAGE, _NULL = 1 << 13, 1
_TECHNOLOGY_BITS = {"1000BASE-KX": 21, "10GBASE-KX4": 22, "10GBASE-KR": 23}


class Pause(NamedTuple):
    """What an end does, or says (symmetric, asymmetric)."""

    first: bool
    second: bool


@dataclass(frozen=True)
class BasePage:
    """A base page: 48 bits, D47 first in its 12 hexadecimal digits."""

    value: int

    def bit(self, number: int) -> bool:
        """Whether D`number` is set."""
        return bool(self.value >> number & 1)

    @property
    def said(self) -> int:
        """What the end has to say: the page without nonces, Ack and NP, which are the exchange's (73.6)."""
        return self.value & ~_EXCHANGE

    @property
    def technologies(self) -> set[str]:
        """Those of the technology ability field that `SPEEDS` has."""
        return {name for name, number in _TECHNOLOGY_BITS.items() if self.bit(number)}

    @property
    def pause(self) -> Pause:
        """C0 and C1."""
        return Pause(self.bit(10), self.bit(11))

    @property
    def fec(self) -> tuple[bool, bool]:
        """F0 (ability) and F1 (request)."""
        return self.bit(46), self.bit(47)


@dataclass(frozen=True)
class NextPage:
    """A next page: 48 bits, D47 first in its 12 hexadecimal digits (73.7.7)."""

    value: int

    def __str__(self) -> str:
        """Its digits."""
        return f"{self.value:012x}"

    @property
    def is_null(self) -> bool:
        """Whether it is a message page (D13) with the code of the null message (D10:0, annex 28C) and nothing else to say."""
        return self.value & ~_NEXT_EXCHANGE == _MESSAGE_PAGE | _NULL


def best(local: Iterable[str], link_partner: Iterable[str]) -> str | None:
    """The highest common denominator of two ends that both negotiate; None without one."""
    common = set(local) & set(link_partner)
    return next((name for name in MODES.values() if name in common), None)


def pause_of(local: Pause, link_partner: Pause) -> Pause:
    """Whether the local end transmits, and obeys, PAUSE (table 28B-3)."""
    if local.first and link_partner.first:
        return Pause(True, True)
    if local.second and link_partner.second and local.first != link_partner.first:
        return Pause(link_partner.first, local.first)
    return Pause(False, False)


def fec_of(local: tuple[bool, bool], link_partner: tuple[bool, bool]) -> bool:
    """Whether a link of 10 Gb/s a lane has FEC, by each end's F0 (ability) and F1 (request): 73.6.5."""
    return local[0] and link_partner[0] and (local[1] or link_partner[1])


class BackplanePartner:
    """The link partner of a model, told to do what a test wants (docs/backplane.md)."""

    def __init__(self, machine: Machine, faults: LocalFaults, defer: Callable[..., None]) -> None:
        """Change nothing; all that is changed is put back when the test ends."""
        self._machine = machine
        self._faults = faults
        self._defer = defer
        self._losses: int | None = None
        before = self.get()
        self.abilities: Mapping[str, Any] = before["abilities"]
        self._changed = False

    def get(self) -> dict[str, Any]:
        """What ``link.get`` says."""
        assert self._machine.model is not None
        found: dict[str, Any] = self._machine.model.call("link.get")
        return found

    def set(self, **change: Any) -> None:
        """``link.set``."""
        if not self._changed:
            self._changed = True
            self._defer(self._restore)
        self.mark()
        if not self._faults[NOT_TOLD]:
            self._set(**change)

    def offer(self, *technologies: str, **flags: bool) -> None:
        """Offer these and nothing else; flags as ``abilities`` of ``link.set`` has them, all off."""
        self.set(abilities={"technologies": list(technologies), **flags})

    def _set(self, **change: Any) -> None:
        assert self._machine.model is not None
        self._machine.model.call("link.set", **change)

    def _restore(self) -> None:
        well = dict.fromkeys(self.get()["misbehaviour"], False)
        self._set(script=[])
        self._set(up=True, base_page="", next_pages=[], next_page_delay=0, latency=0, misbehave=well)
        self._set(abilities=dict(self.abilities), speed=0, restart=True)

    def mark(self) -> None:
        """Take down how often the driver has lost the carrier: something is about to be done that takes the link down."""
        link = self._machine.dut.link()
        self._losses = int(link["carrier-down-count"]) if link["carrier"] else None

    def renewed(self, link: Mapping[str, Any]) -> bool:
        """Whether a carrier that the driver tells is one of after `mark`: there was none then, or it has been off since.

        A driver that polls may not know yet that the link it tells of is gone.
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
        """The base page that it hears, or has heard in this negotiation: also of a DUT that it does not answer."""
        state = self.get()
        page = state["signal"].get("page") or state["received"]["base_page"]
        return BasePage(int(page, 16)) if page else None


class Attempts:
    """Counts how often the DUT begins to negotiate: how often its pages begin to come."""

    def __init__(self, link_partner: BackplanePartner) -> None:
        """Count from now on."""
        self._far = link_partner
        self._last = 0
        self._paging = False
        self.count = 0
        self.update()
        self.count = 0

    def update(self) -> int:
        """Return how many have begun."""
        for entry in self._far.record(self._last):
            self._last = int(entry["sequence"])
            if entry["event"] == "signal":
                paging = entry["signal"] == "pages"
                self.count += paging and not self._paging
                self._paging = paging
        return self.count
