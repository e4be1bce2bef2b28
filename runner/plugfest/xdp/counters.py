# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver's own counters of what XDP programs did with frames, out of ``ethtool -S``, for whose names there is no standard.

Drivers name them after the verdict, with the queue's number before or behind it (``rx3_xdp_drops``, ``rx_xdp_drop[3]``,
``queue_3_rx_xdp_drop``), without one, or in blocks of equal names (vmxnet3's ``xdp drops``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_NAMED = r"(?:queue_\d+_)?{}(?:_queue)?_?\d*_xdp_(?:{})(?:\[\d+\])?"
_IN_BLOCK = r"\s+xdp (?:{})"
SEEN, SENT = "seen", "sent"
"""What else is counted: every frame that a program saw; every one that was redirected here, and by some drivers those of XDP_TX."""


def _received(what: str) -> str:
    return f"{_NAMED.format('rx', what)}|{_IN_BLOCK.format(what)}"


NAMES = {
    "aborted": _received("aborted|aborts"),
    "drop": _received("drops?"),
    "pass": _received("pass|passed"),
    "tx": _received("tx"),
    "redirect": _received("redirects?"),
    SEEN: _received("packets"),
    SENT: f"{_NAMED.format('tx', 'xmit|tx')}|{_IN_BLOCK.format('xmit')}",
}
"""By what is counted: a regular expression on the whole name."""


def by_verdict(statistics: Sequence[Sequence[Any]]) -> dict[str, int]:
    """Return the sums over the queues, out of ``[name, value]`` pairs; what the driver has no counter of is left out.

    Where a counter is reported by queue and as a sum, as by mlx5, those of the queues are taken.
    """
    found: dict[str, int] = {}
    for what, pattern in NAMES.items():
        named = [(str(name), int(value)) for name, value in statistics if re.fullmatch(pattern, name)]
        by_queue = [each for each in named if re.search(r"\d", each[0])]
        if named:
            found[what] = sum(value for _, value in by_queue or named)
    return found
