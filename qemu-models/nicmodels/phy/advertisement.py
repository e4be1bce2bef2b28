# SPDX-License-Identifier: MIT
"""What a partner advertises: all its abilities, or those of the speed that it is restricted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nicmodels.phy.abilities import Abilities


@dataclass(frozen=True)
class Advertisement:
    """Abilities, and a restriction to a speed.

    Attributes:
        supported: all abilities.
        speed: Mbit/s of the only technologies advertised; None for no restriction.

    Raises:
        ValueError: none of its technologies has that speed.
    """

    supported: Abilities
    speed: int | None = None

    def __post_init__(self) -> None:
        if self.speed is not None:
            self.supported.at_speed(self.speed)

    @property
    def abilities(self) -> Abilities:
        """What is advertised."""
        return self.supported if self.speed is None else self.supported.at_speed(self.speed)

    def changed(self, abilities: Abilities | None, speed: int | None) -> Advertisement:
        """The advertisement after a change. None changes nothing; a speed of 0, or new abilities, lift the restriction.

        Raises:
            ValueError: none of its technologies has that speed.
        """
        limit = self.speed if abilities is None else None
        if speed is not None:
            limit = speed or None
        return Advertisement(self.supported if abilities is None else abilities, limit)
