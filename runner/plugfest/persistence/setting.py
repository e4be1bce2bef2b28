# SPDX-License-Identifier: GPL-2.0-or-later
"""A setting: how it is set to another value than the driver's own, what is reported of it, and what shows that it is in effect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from plugfest.persistence.instruments import Instruments


EFFECT_TIMEOUT = 0.5
"""Seconds, on a guest of speed 1, for a change to take effect: a driver may program its device from a work item after the call."""


class Setting(ABC):
    """One setting of the interface under test, in one test.

    Attributes:
        name: as the reports have it.
        own: the operations that change this setting itself; with these it is not paired.
        features: of those that the operation "features" turns over, the ones that this setting needs: it leaves them alone.
        drops: the operations that the kernel's documents allow to drop it, each with the source; it must then be reported as
            dropped, and not be in effect.
    """

    name: ClassVar[str]
    own: ClassVar[frozenset[str]] = frozenset()
    features: ClassVar[frozenset[str]] = frozenset()
    drops: ClassVar[Mapping[str, str]] = {}

    def __init__(self, instruments: Instruments) -> None:
        """Change nothing yet."""
        self.instruments = instruments

    @abstractmethod
    def set(self) -> None:
        """Set it to a value that is not the driver's own; the end of the test undoes it.

        Raises:
            NotOfferedError: the driver has no such setting, or no other value of it.
            AssertionError: what was set is reported as something else.
        """

    @abstractmethod
    def reported(self) -> Any:
        """Return what driver and kernel report of it, as JSON has it."""

    def observed(self) -> Any:
        """Return what frames, or the device's model, show of it, as JSON has it; None where nothing can show it here."""
        return None

    def shows(self, observed: Any) -> bool:
        """Whether an observation shows that the setting is in effect; asked once, before the operation."""
        return observed is not None or type(self).observed is Setting.observed
