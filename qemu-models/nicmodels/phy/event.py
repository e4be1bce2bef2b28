# SPDX-License-Identifier: MIT
"""The events of one end of a link."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Kind(enum.Enum):
    """The kinds of events, with their details."""

    STATE = "state"
    """Arbitration entered a state: `state`, `before`, names of `State`."""
    PAGE_RECEIVED = "page received"
    """mr_page_rx: `page`, 12 hexadecimal digits; `base`, whether it is the base page."""
    COMPLETE = "complete"
    """mr_autoneg_complete: AN_GOOD is entered."""
    INCOMPATIBLE_LINK = "incompatible link"
    """The local settings rule out the resolved technology."""
    PARALLEL_DETECTION_FAULT = "parallel detection fault"
    LINK_UP = "link up"
    """`technology`."""
    LINK_DOWN = "link down"
    TRAINING = "training"
    """The training state diagram entered a state: `state`."""


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        kind: its kind.
        time: on the timeline, in seconds of the model's clock.
        details: JSON values.
    """

    kind: Kind
    time: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return {"event": self.kind.value, "time": self.time, **self.details}
