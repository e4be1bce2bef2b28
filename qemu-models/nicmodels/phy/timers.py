# SPDX-License-Identifier: MIT
"""Durations in seconds: IEEE 802.3 table 73-7 (timer values), table 73-1 (DME page), 72.6.10 (training).

Without a copy of the standard only these could be checked, against drivers: link_fail_inhibit_timer of 10GBASE-KR and the 500 ms of
training (Linux, ixgbe_82599.c, "up to 500ms if KR is attempted"; xgbe.h, XGBE_AN_MS_TIMEOUT). All other figures are unverified, among them
the bounds of the timers, the length of a page, link_fail_inhibit_timer of 2.5GBASE-KX and 5GBASE-KR, and everything about PAM4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from nicmodels.phy.abilities import Technology

PAGE = 339.2e-9
"""A DME page: 106 transition positions of 3.2 ns, delimiter included."""
TRAINING_FRAME = 548 * 8 / 10.3125e9
"""72.6.10.2: 4 bytes of marker, 16 each of coefficient update and status (one bit takes 8), 512 of training pattern."""


class Bounds(NamedTuple):
    """The bounds of a timer, both included."""

    least: float
    most: float


BOUNDS = {
    "break_link": Bounds(0.060, 0.075),
    "autoneg_wait": Bounds(0.025, 0.050),
    "link_fail_inhibit": Bounds(0.500, 0.510),
    "link_fail_inhibit_kx": Bounds(0.040, 0.050),
    "link_fail_inhibit_pam4": Bounds(3.1, 3.2),
    "link_fail_inhibit_pam4_100g": Bounds(12.3, 12.4),
    "page_test_max": Bounds(350e-9, 375e-9),
}

_KX = frozenset((Technology.KX_1000M, Technology.KX4_10G, Technology.KX_2500M, Technology.KR_5G))
_PAM4 = frozenset((Technology.KR_50G, Technology.KR2_100G, Technology.KR4_200G))
_PAM4_100G = frozenset((Technology.KR1_100G, Technology.KR2_200G, Technology.KR4_400G))

MAX_WAIT, MAX_WAIT_PAM4, MAX_WAIT_PAM4_100G = 0.5, 3.0, 12.0
"""max_wait_timer of clause 72 and those that refer to it (72.6.10.3.2), of clause 136, of clause 162."""


@dataclass(frozen=True)
class Timers:
    """The timers of one end; the defaults are within the standard's bounds, at the short end.

    Attributes:
        break_link: how long an end is silent to make the other lose the link.
        autoneg_wait: how long a link found by parallel detection must last.
        link_fail_inhibit: how long a resolved link may take to come up.
        link_fail_inhibit_kx: the same of technologies without training.
        link_fail_inhibit_pam4: the same of 50 Gbit/s a lane.
        link_fail_inhibit_pam4_100g: the same of 100 Gbit/s a lane.
        page_test_max: after this long without a page the link is idle.
    """

    break_link: float = 0.060
    autoneg_wait: float = 0.025
    link_fail_inhibit: float = 0.505
    link_fail_inhibit_kx: float = 0.045
    link_fail_inhibit_pam4: float = 3.15
    link_fail_inhibit_pam4_100g: float = 12.35
    page_test_max: float = 360e-9

    def inhibit(self, technology: Technology | None) -> float:
        """link_fail_inhibit_timer of a technology; None if there is no common one."""
        if technology in _KX:
            return self.link_fail_inhibit_kx
        if technology in _PAM4_100G:
            return self.link_fail_inhibit_pam4_100g
        return self.link_fail_inhibit_pam4 if technology in _PAM4 else self.link_fail_inhibit


def max_wait(technology: Technology) -> float:
    """max_wait_timer of a technology's training."""
    if technology in _PAM4_100G:
        return MAX_WAIT_PAM4_100G
    return MAX_WAIT_PAM4 if technology in _PAM4 else MAX_WAIT
