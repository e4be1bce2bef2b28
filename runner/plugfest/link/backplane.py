# SPDX-License-Identifier: GPL-2.0-or-later
"""Backplane negotiation as the suite reads it: technologies, pages, and what two ends must come to.

Source: IEEE 802.3-2022, 73.6 (base page), 73.7.6 (priority resolution), table 73-4 and 73-5, 73.6.5 (FEC), 28B.3 (pause).
It shares no code with the models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_TECHNOLOGY = re.compile(r"([\d.]+)(G?)BASE-")


def speed_of(technology: str) -> int:
    """Return the Mbit/s of a technology by its name: 1000BASE-KX, 2.5GBASE-KX, 100GBASE-KR4.

    Raises:
        ValueError: that is no such name.
    """
    found = _TECHNOLOGY.match(technology)
    if found is None:
        raise ValueError(f"{technology!r}: expected the name of a technology, as 10GBASE-KR")
    return int(float(found[1]) * (1000 if found[2] else 1))


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
    """What an end does, or advertises (symmetric, asymmetric)."""

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
    def content(self) -> int:
        """The page without nonces, Ack and NP, which belong to the exchange (73.6)."""
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
        """Whether it is a message page (D13) with the code of the null message (D10:0, annex 28C) and nothing else set."""
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
