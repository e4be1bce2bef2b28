# SPDX-License-Identifier: MIT
"""Whether the driver has found out about the last change of the link: a test need not wait for its next look then."""

from __future__ import annotations


class Looks:
    """Counts how often the driver has read the state of the link since it last changed.

    Attributes:
        count: reads since then.
    """

    def __init__(self) -> None:
        self.count = 0

    def changed(self) -> None:
        """The link went up or down."""
        self.count = 0

    def looked(self) -> None:
        """The driver has read the state."""
        self.count += 1

    def read(self) -> int:
        """The control method ``link.looks``: the count."""
        return self.count
