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
        idle: of these, the seconds that passed until a ``timeout`` was over, for nothing came.
    """

    calls: int = 0
    waiting: float = 0.0
    idle: float = 0.0
