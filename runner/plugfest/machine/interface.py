# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel shows of an interface that carries frames, in the words of the agent's ``link.wait``.

Source: Documentation/networking/operstates.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RUNNING = ("up", "unknown")
"""Operational states in which the kernel sends; one that was never reported is unknown."""

CARRIES_FRAMES: dict[str, list[Any]] = {"carrier": [1], "operstate": [*RUNNING], "local-routes": [True]}
"""Before the kernel has processed the carrier it sends nothing; before it has its addresses' routes it drops what comes."""


def carries_frames(link: Mapping[str, Any]) -> bool:
    """Whether a link, as the agent's ``link.wait`` reports it, carries frames both ways."""
    return all(link[name] in values for name, values in CARRIES_FRAMES.items())
