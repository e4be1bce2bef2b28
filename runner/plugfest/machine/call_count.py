# SPDX-License-Identifier: GPL-2.0-or-later
"""What the calls of a guest's agent cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CallCount:
    """The calls of one guest's agent, over all its connections.

    Attributes:
        calls: how many there were.
        waiting: seconds spent in those that wait in the guest, as their parameter ``timeout`` tells them.
    """

    calls: int = 0
    waiting: float = 0.0
