# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's own reading of Clause 73, against the tables of the standard and against the models' engine."""

from __future__ import annotations

from itertools import product

import pytest
from plugfest.backplane import DETECTABLE, MODES, SPEEDS, BasePage, Pause, best, pause_of

FULL, NONE, RECEIVES, TRANSMITS = Pause(True, True), Pause(False, False), Pause(False, True), Pause(True, False)
# Table 28B-3: PAUSE and ASM_DIR of the local end, of the partner; what the local end does. Row by row.
TABLE = {
    ((0, 0), (0, 0)): NONE,
    ((0, 1), (0, 1)): NONE,
    ((0, 1), (1, 0)): NONE,
    ((0, 1), (1, 1)): TRANSMITS,
    ((1, 0), (0, 1)): NONE,
    ((1, 0), (1, 0)): FULL,
    ((1, 0), (1, 1)): FULL,
    ((1, 1), (0, 0)): NONE,
    ((1, 1), (0, 1)): RECEIVES,
    ((1, 1), (1, 0)): FULL,
    ((1, 1), (1, 1)): FULL,
}


@pytest.mark.parametrize(("ours", "theirs"), TABLE)
def test_pause(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    local, partner = (Pause(bool(first), bool(second)) for first, second in (ours, theirs))
    assert pause_of(local, partner) == TABLE[ours, theirs]


def test_pause_is_mirrored() -> None:
    """Where one end transmits the other receives."""
    ends = [Pause(*bits) for bits in product((False, True), repeat=2)]
    for local, partner in product(ends, ends):
        mine, other = pause_of(local, partner), pause_of(partner, local)
        assert (mine.first, mine.second) == (other.second, other.first)


@pytest.mark.parametrize(
    ("ours", "theirs", "common"),
    [
        (["1000BASE-KX", "10GBASE-KR"], ["10GBASE-KR", "10GBASE-KX4"], "10GBASE-KR"),
        (["1000BASE-KX", "10GBASE-KX4"], ["1000BASE-KX", "10GBASE-KX4"], "10GBASE-KX4"),
        (["1000BASE-KX"], ["1000BASE-KX", "40GBASE-KR4"], "1000BASE-KX"),
        (["10GBASE-KR"], ["1000BASE-KX"], None),
        ([], ["1000BASE-KX"], None),
    ],
)
def test_priority(ours: list[str], theirs: list[str], common: str | None) -> None:
    assert best(ours, theirs) == common


def test_base_page() -> None:
    """Selector 1, C0 and C1, KX and KR, F0 and F1."""
    page = BasePage(1 | 1 << 10 | 1 << 21 | 1 << 23 | 1 << 46)
    assert page.technologies == {"1000BASE-KX", "10GBASE-KR"}
    assert page.pause == Pause(True, False)
    assert page.fec == (True, False)


def test_names() -> None:
    """Each mode has a speed, and what is detected without pages is among them."""
    assert set(SPEEDS) == set(MODES.values())
    assert set(DETECTABLE) < set(SPEEDS)
