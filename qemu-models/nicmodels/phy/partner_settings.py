# SPDX-License-Identifier: MIT
"""Settings of a link partner, and their JSON form (docs/backplane.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from nicmodels.phy.abilities import Abilities
from nicmodels.phy.page import Codeword
from nicmodels.phy.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TIMERS = frozenset(each.name for each in fields(Timers)) - {"page_test_max"}


@dataclass(frozen=True, kw_only=True)
class PartnerSettings:
    """The settings to change; None, or an empty mapping, leaves a setting as it is.

    Attributes:
        up: whether it transmits.
        speed: Mbit/s of the only technologies that it advertises; 0 lifts the restriction.
        abilities: its abilities.
        base_page: the page to send instead of that of its abilities, in a tuple; an empty tuple for none.
        next_pages: the next pages that follow.
        next_page_delay: seconds from a received page until the partner loads its next page.
        latency: seconds by which everything that it transmits is late.
        timers: seconds, by name.
        misbehave: by point of `nicmodels.phy.partner_faults.POINTS`: true, false, or for how many negotiations.
        restart: whether it restarts negotiation even if nothing changed.
        train: whether it starts training.
    """

    up: bool | None = None
    speed: int | None = None
    abilities: Abilities | None = None
    base_page: tuple[Codeword, ...] | None = None
    next_pages: tuple[Codeword, ...] | None = None
    next_page_delay: float | None = None
    latency: float | None = None
    timers: Mapping[str, float] = field(default_factory=dict)
    misbehave: Mapping[str, int] = field(default_factory=dict)
    restart: bool = False
    train: bool = False

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PartnerSettings:
        """From the parameters of ``link.set``; null counts as not given.

        Raises:
            ValueError: an invalid value.
            TypeError: an unknown parameter.
        """
        if unknown := value.keys() - _PARSERS.keys():
            raise TypeError(f"expected {', '.join(_PARSERS)}; found {', '.join(sorted(unknown))}")
        return cls(**{name: _PARSERS[name](each) for name, each in value.items() if each is not None})


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false for {name}; found {value!r}")
    return value


def _seconds(value: Any) -> float:
    seconds = float(value)
    if seconds < 0:
        raise ValueError(f"expected 0 s or more; found {value} s")
    return seconds


def _timers(value: Mapping[str, Any]) -> dict[str, float]:
    if unknown := value.keys() - TIMERS:
        raise ValueError(f"expected timers of {', '.join(sorted(TIMERS))}; found {', '.join(sorted(unknown))}")
    return {name: _seconds(each) for name, each in value.items()}


def _misbehaviour(value: Mapping[str, Any]) -> dict[str, int]:
    for name, times in value.items():
        if not isinstance(times, int) or times < 0:
            raise ValueError(f"expected true, false or a number for {name}; found {times!r}")
    return dict(value)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "up": partial(_flag, "up"),
    "speed": lambda value: value,
    "abilities": Abilities.from_json,
    "base_page": lambda value: (Codeword.from_hex(value),) if value else (),
    "next_pages": lambda value: tuple(Codeword.from_json(page) for page in value),
    "next_page_delay": _seconds,
    "latency": _seconds,
    "timers": _timers,
    "misbehave": _misbehaviour,
    "restart": partial(_flag, "restart"),
    "train": partial(_flag, "train"),
}
