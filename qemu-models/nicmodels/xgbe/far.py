# SPDX-License-Identifier: MIT
"""The other end of the medium, as the local end makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.phy import LinkPartner

if TYPE_CHECKING:
    from nicmodels.phy import Abilities, Medium
    from nicmodels.reactor import Clock


class FarEnd(LinkPartner):
    """A link partner; the clock is the medium's."""

    def __init__(self, _clock: Clock, medium: Medium, abilities: Abilities) -> None:
        super().__init__(medium, abilities=abilities)
