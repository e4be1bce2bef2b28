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

if TYPE_CHECKING:
    from plugfest.faults import LocalFaults
    from plugfest.machine import Machine

NOT_TOLD = fault_points.declare("program:backplane.not-told", "the partner is not told what to do, as if it were")

MODES = {
    "10000baseKR/Full": "10GBASE-KR",
    "10000baseKX4/Full": "10GBASE-KX4",
    "1000baseKX/Full": "1000BASE-KX",
}
"""The link modes of ethtool that the clause has, best first (73.7.6), and the clause's names."""
SPEEDS = {"10GBASE-KR": 10000, "10GBASE-KX4": 10000, "1000BASE-KX": 1000}
STRANGE = ("100GBASE-KR4", "40GBASE-KR4", "25GBASE-KR/CR")
"""Technologies that a partner may have and a 10 Gb/s port has not."""
DETECTABLE = ("10GBASE-KX4", "1000BASE-KX")
"""What is found without pages, by parallel detection (73.7.4.1)."""
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


def best(local: Iterable[str], partner: Iterable[str]) -> str | None:
    """The highest common denominator of two ends that both negotiate; None without one."""
    common = set(local) & set(partner)
    return next((name for name in MODES.values() if name in common), None)


def pause_of(local: Pause, partner: Pause) -> Pause:
    """Whether the local end transmits, and obeys, PAUSE (table 28B-3)."""
    if local.first and partner.first:
        return Pause(True, True)
    if local.second and partner.second and local.first != partner.first:
        return Pause(partner.first, local.first)
    return Pause(False, False)


class FarEnd:
    """The link partner of a model, told to do what a test wants (docs/backplane.md)."""

    def __init__(self, machine: Machine, faults: LocalFaults, defer: Callable[..., None]) -> None:
        """Change nothing; all that is changed is put back when the test ends."""
        self._machine = machine
        self._faults = faults
        self._defer = defer
        before = self.get()
        self.abilities: Mapping[str, Any] = before["abilities"]
        self._changed = False

    def get(self) -> dict[str, Any]:
        """What ``link.get`` says."""
        assert self._machine.model is not None
        found: dict[str, Any] = self._machine.model.call("link.get")
        return found

    def tell(self, **change: Any) -> None:
        """``link.set``."""
        if not self._changed:
            self._changed = True
            self._defer(self._restore)
        if not self._faults[NOT_TOLD]:
            self._set(**change)

    def offer(self, *technologies: str, **flags: bool) -> None:
        """Offer these and nothing else; flags as ``abilities`` of ``link.set`` has them, all off."""
        self.tell(abilities={"technologies": list(technologies), **flags})

    def _set(self, **change: Any) -> None:
        assert self._machine.model is not None
        self._machine.model.call("link.set", **change)

    def _restore(self) -> None:
        well = dict.fromkeys(self.get()["misbehaviour"], False)
        self._set(script=[])
        self._set(up=True, base_page="", next_pages=[], next_page_delay=0, latency=0, misbehave=well)
        self._set(abilities=dict(self.abilities), speed=0, restart=True)

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
    def seen(self) -> BasePage | None:
        """The base page that the DUT has sent in this negotiation."""
        page = self.get()["received"]["base_page"]
        return BasePage(int(page, 16)) if page else None
