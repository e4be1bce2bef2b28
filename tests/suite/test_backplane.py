# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's own implementation of Clause 73, against the tables of the standard and against the models' engine."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from nicmodels.phy import Abilities, Technology
from nicmodels.phy.abilities import resolve_fec
from plugfest.link.backplane import (
    DETECTABLE,
    MODES,
    SPEEDS,
    BasePage,
    NextPage,
    Pause,
    best,
    fec_of,
    pause_of,
    speed_of,
)
from plugfest.link.partner import Attempts, LinkPartner

FULL, NONE, RECEIVES, TRANSMITS = Pause(True, True), Pause(False, False), Pause(False, True), Pause(True, False)
# Table 28B-3, row by row: PAUSE and ASM_DIR of the local device and of the link partner; the local resolution.
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
    """Where one end sends PAUSE frames, the other receives them."""
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
    """Each mode has a speed, and so do the technologies that are detected without pages."""
    assert set(SPEEDS) == set(MODES.values())
    assert set(DETECTABLE) < set(SPEEDS)


def test_fec() -> None:
    """FEC needs both ends able and one requesting it: the suite and the models' engine agree."""
    bits = list(product((False, True), repeat=2))
    for local, partner in product(bits, bits):
        ends = [Abilities.of("10GBASE-KR", fec=able, fec_request=request) for able, request in (local, partner)]
        assert (fec_of(local, partner), False) == resolve_fec(Technology.KR_10G, *ends)
    assert [(one, other) for one, other in product(bits, bits) if fec_of(one, other)] == [
        ((True, False), (True, True)),
        ((True, True), (True, False)),
        ((True, True), (True, True)),
    ]


def test_content_of_a_page() -> None:
    """Nonces, Ack and NP belong to the exchange; all other bits are content."""
    exchange = 0x1F << 5 | 0x1F << 16 | 3 << 14
    for bit in range(48):
        assert BasePage(1 << bit).content == (0 if exchange >> bit & 1 else 1 << bit)


class _Machine:
    """A driver and a model that report what a test sets."""

    def __init__(self) -> None:
        self.reported = {"carrier": 1, "carrier-down-count": 3}
        self.record: list[dict[str, Any]] = []
        self.model = self.dut = self

    def link(self) -> dict[str, int]:
        return self.reported

    def call(self, method: str, after: int = 0) -> Any:
        if method == "link.record":
            return [each for each in self.record if each["sequence"] > after]
        return {"abilities": {}}

    def receives(self, *signals: str) -> None:
        for signal in signals:
            self.record.append({"sequence": len(self.record) + 1, "event": "signal", "signal": signal})


def partner_of(machine: _Machine) -> LinkPartner:
    return LinkPartner(machine, machine, defer=lambda *_: None)  # type: ignore[arg-type]


def test_a_carrier_counts_only_after_the_mark() -> None:
    machine = _Machine()
    partner = partner_of(machine)
    partner.mark()
    assert not partner.renewed(machine.reported), "it may date from before the mark"
    machine.reported = {"carrier": 0, "carrier-down-count": 4}
    assert not partner.renewed(machine.reported)
    machine.reported = {"carrier": 1, "carrier-down-count": 4}
    assert partner.renewed(machine.reported)
    partner.mark()
    assert not partner.renewed(machine.reported)
    machine.reported = {"carrier": 0, "carrier-down-count": 5}
    partner.mark()
    machine.reported = {"carrier": 1, "carrier-down-count": 5}
    assert partner.renewed(machine.reported), "there was no carrier at the mark"


def test_attempts() -> None:
    """An attempt starts with pages after silence; pages that change belong to the same attempt."""
    machine = _Machine()
    machine.receives("silence", "pages", "pages")
    attempts = Attempts(partner_of(machine))
    assert attempts.update() == 0
    machine.receives("pages", "silence")
    assert attempts.update() == 0
    machine.receives("pages", "pages", "silence", "pages", "carrier")
    assert attempts.update() == 2
    assert attempts.update() == 2


@pytest.mark.parametrize(
    ("page", "null"),
    [
        (0x2001, True),
        (0xF801, True),  # toggle, Ack2, Ack and NP belong to the exchange
        (0x2005, False),
        (0x0001, False),  # unformatted
        (0x1_0000_2001, False),
    ],
)
def test_a_null_message(page: int, null: bool) -> None:
    """The message page of code 1 without unformatted fields."""
    assert NextPage(page).is_null is null


def test_a_technologys_name_has_its_speed() -> None:
    for technology in Technology:
        assert speed_of(technology.label) == technology.speed, technology
    with pytest.raises(ValueError, match="as 10GBASE-KR"):
        speed_of("KR")
