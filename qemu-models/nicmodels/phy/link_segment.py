# SPDX-License-Identifier: MIT
"""What a model's transceiver attaches to: a link segment to a scripted partner, or to another model in a process of its own.

::

    segment = host.link_segment or LocalSegment(host.clock, variant.partner)
    self.phy = segment.attach(null_pages=False)
    self.partner = segment.partner
    link_methods(self.partner, self.looks)               # for the model's control methods
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
    from nicmodels.phy.looks import Looks

BACKPLANE = Abilities.of("10GBASE-KR", "10GBASE-KX4", "1000BASE-KX", pause=True, asymmetric_pause=True, fec=True)
"""A partner's abilities by default: all that ports of 10 Gb/s have."""
NOT_NEGOTIATING: Mapping[str, Any] = {"abilities": {"technologies": ["1000BASE-KX"], "negotiates": False}}
"""The settings of a partner for parallel detection (IEEE 802.3, 73.7.4.1)."""


class PartnerControl(Protocol):
    """The link partner as control methods see it (docs/backplane.md)."""

    def describe(self) -> dict[str, Any]:
        """``link.get``."""

    def control(self, **settings: Any) -> dict[str, Any]:
        """``link.set``.

        Raises:
            ValueError: an invalid value, or a partner that cannot be set.
        """

    def read(self, after: int = 0) -> list[dict[str, Any]]:
        """``link.record``."""


def link_methods(partner: PartnerControl, looks: Looks) -> dict[str, Callable[..., Any]]:
    """The control methods by which tests reach the link partner, and learn whether the driver has seen what became of the link."""
    return {
        "link.get": partner.describe,
        "link.set": partner.control,
        "link.record": partner.read,
        "link.looks": looks.read,
        "link.changes": looks.read_changes,
    }


class LinkSegment(Protocol):
    """The connection between two MDIs, one of them the caller's (IEEE 802.3, 1.4, link segment)."""

    @property
    def partner(self) -> PartnerControl:
        """The other end."""

    def attach(self, *, null_pages: bool = True) -> Transceiver:
        """Attach the caller's transceiver; see `Transceiver`. To be called once."""


class LocalSegment:
    """A link segment to a partner in this process.

    Args:
        clock: of both ends.
        settings: the partner's to begin with, as ``link.set`` takes them; by default it has `BACKPLANE`'s abilities.

    Attributes:
        medium: between the ends.
        partner: the other end.
    """

    def __init__(self, clock: Clock, settings: Mapping[str, Any] | None = None) -> None:
        self.medium = Medium(clock)
        self.partner = LinkPartner(self.medium, abilities=BACKPLANE)
        if settings:
            self.partner.control(**settings)

    def attach(self, *, null_pages: bool = True) -> Transceiver:
        """Attach the caller's transceiver."""
        return Transceiver(self.medium.near, seed="local", null_pages=null_pages)
