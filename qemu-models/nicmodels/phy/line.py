# SPDX-License-Identifier: MIT
"""What a model's end of the link is plugged into: a scripted partner, or another model in a process of its own.

::

    line = host.line or PartnerLine(host.clock, variant.partner)
    self.phy = line.plug(null_pages=False)
    self.partner = line.partner
    link_methods(self.partner)                           # for the model's control methods
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from nicmodels.phy.abilities import Abilities
from nicmodels.phy.medium import Medium
from nicmodels.phy.partner import LinkPartner
from nicmodels.phy.transceiver import Transceiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.clock import Clock

BACKPLANE = Abilities.of("10GBASE-KR", "10GBASE-KX4", "1000BASE-KX", pause=True, asymmetric_pause=True, fec=True)
"""What a partner has that nobody told otherwise: all that ports of 10 Gb/s have."""
NOT_NEGOTIATING: Mapping[str, Any] = {"abilities": {"technologies": ["1000BASE-KX"], "negotiates": False}}
"""What a partner for parallel detection is told (IEEE 802.3, 73.7.4.1)."""


class FarEnd(Protocol):
    """The other end, as control methods see it (docs/backplane.md)."""

    def describe(self) -> dict[str, Any]:
        """``link.get``."""

    def control(self, **change: Any) -> dict[str, Any]:
        """``link.set``.

        Raises:
            ValueError: a value that makes no sense, or an end that cannot be told anything.
        """

    def read(self, after: int = 0) -> list[dict[str, Any]]:
        """``link.record``."""


def link_methods(partner: FarEnd) -> dict[str, Callable[..., Any]]:
    """The control methods by which tests reach the other end."""
    return {"link.get": partner.describe, "link.set": partner.control, "link.record": partner.read}


class Line(Protocol):
    """A line with a place for one end."""

    @property
    def partner(self) -> FarEnd:
        """The other end."""

    def plug(self, *, null_pages: bool = True) -> Transceiver:
        """The end of the caller; see `Transceiver`. To be called once."""


class PartnerLine:
    """A line to a partner in this process.

    Args:
        clock: of both ends.
        told: what the partner is told to begin with, as ``link.set`` takes it; by default it has `BACKPLANE`'s abilities.

    Attributes:
        medium: between the ends.
        partner: the other end.
    """

    def __init__(self, clock: Clock, told: Mapping[str, Any] | None = None) -> None:
        self.medium = Medium(clock)
        self.partner = LinkPartner(self.medium, abilities=BACKPLANE)
        if told:
            self.partner.control(**told)

    def plug(self, *, null_pages: bool = True) -> Transceiver:
        """The end of the caller."""
        return Transceiver(self.medium.near, seed="local", null_pages=null_pages)
