# SPDX-License-Identifier: MIT
"""What is at the other end of the link, and what two ends make of each other's abilities.

How a model uses it::

    partner = LinkPartner(host.clock, abilities=Abilities.of("10GBASE-KR", "10GBASE-KX4", "1000BASE-KX", pause=True))
    partner.subscribe(self._link_changed)     # called with a Resolution, or None when the link went down
    partner.local(Abilities(...))             # what the driver has set up; None: the transmitter is off
    partner.resolved                          # Resolution | None: the link as it is now
    partner.received                          # what the partner has told of itself by now, or None
"""

from nicmodels.phy.abilities import Abilities, Pause, Resolution, Technology, resolve, resolve_pause
from nicmodels.phy.partner import LinkPartner, Phase

__all__ = [
    "Abilities",
    "LinkPartner",
    "Pause",
    "Phase",
    "Resolution",
    "Technology",
    "resolve",
    "resolve_pause",
]
