# SPDX-License-Identifier: MIT
"""What a partner offers: all that it can do, or what of that has the speed it was restricted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nicmodels.phy.abilities import Abilities


@dataclass(frozen=True)
class Offer:
    """Abilities and a restriction.

    Attributes:
        capable: all that it can do.
        speed: Mbit/s of the only technologies that it offers; None for no restriction.

    Raises:
        ValueError: none of its technologies has that speed.
    """

    capable: Abilities
    speed: int | None = None

    def __post_init__(self) -> None:
        if self.speed is not None:
            self.capable.at_speed(self.speed)

    @property
    def now(self) -> Abilities:
        """What is offered."""
        return self.capable if self.speed is None else self.capable.at_speed(self.speed)

    def changed(self, abilities: Abilities | None, speed: int | None) -> Offer:
        """The offer after a change; None leaves as is, a speed of 0 lifts the restriction, and so do new abilities.

        Raises:
            ValueError: none of its technologies has that speed.
        """
        limit = self.speed if abilities is None else None
        if speed is not None:
            limit = speed or None
        return Offer(self.capable if abilities is None else abilities, limit)
