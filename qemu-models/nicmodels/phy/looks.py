# SPDX-License-Identifier: MIT
"""Whether the driver has found out about the last change of the link: a test need not wait for its next look then."""

from __future__ import annotations


class Looks:
    """Counts how often the link has changed, and how often the driver has read its state since then.

    Attributes:
        changes: how often the link went up or down.
        count: reads since it last did.
    """

    def __init__(self) -> None:
        self.changes = self.count = 0

    def changed(self) -> None:
        """The link went up or down."""
        self.changes += 1
        self.count = 0

    def looked(self) -> None:
        """The driver has read the state."""
        self.count += 1

    def read(self) -> int:
        """The control method ``link.looks``: the count."""
        return self.count

    def read_changes(self) -> int:
        """The control method ``link.changes``."""
        return self.changes
