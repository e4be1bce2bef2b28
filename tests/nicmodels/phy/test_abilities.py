# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nicmodels.phy import Abilities, Pause, Resolution, Technology, resolve, resolve_pause

abilities = st.builds(
    Abilities,
    st.frozensets(st.sampled_from(Technology)),
    pause=st.booleans(),
    asymmetric_pause=st.booleans(),
    fec=st.booleans(),
    fec_request=st.booleans(),
    rs_fec_request=st.booleans(),
    base_r_fec_request=st.booleans(),
    remote_fault=st.booleans(),
)

# IEEE 802.3, table 28B-3: local PAUSE, ASM_DIR, partner PAUSE, ASM_DIR (None: either), transmit, receive.
PAUSE_TABLE = [
    (0, 0, None, None, False, False),
    (0, 1, 0, None, False, False),
    (0, 1, 1, 0, False, False),
    (0, 1, 1, 1, True, False),
    (1, 0, 0, None, False, False),
    (1, None, 1, None, True, True),
    (1, 1, 0, 0, False, False),
    (1, 1, 0, 1, False, True),
]


@pytest.mark.parametrize(("pause", "asm", "their_pause", "their_asm", "transmit", "receive"), PAUSE_TABLE)
def test_pause_resolution(
    pause: int | None, asm: int | None, their_pause: int | None, their_asm: int | None, transmit: bool, receive: bool
) -> None:
    def each(bit: int | None) -> tuple[bool, ...]:
        return (False, True) if bit is None else (bool(bit),)

    for a in each(pause):
        for b in each(asm):
            for c in each(their_pause):
                for d in each(their_asm):
                    local = Abilities.of(pause=a, asymmetric_pause=b)
                    partner = Abilities.of(pause=c, asymmetric_pause=d)
                    assert resolve_pause(local, partner) == Pause(transmit, receive)


@given(abilities, abilities)
def test_both_ends_agree(one: Abilities, other: Abilities) -> None:
    here, there = resolve(one, other), resolve(other, one)
    if here is None:
        assert there is None
        assert not one.technologies & other.technologies
        return
    assert there is not None
    assert (here.technology, here.fec, here.rs_fec) == (there.technology, there.fec, there.rs_fec)
    assert (here.pause.transmit, here.pause.receive) == (there.pause.receive, there.pause.transmit)
    assert here.speed == max(t.speed for t in one.technologies & other.technologies)


# IEEE 802.3, table 73-5 with the rows of later amendments, from the highest priority: A bit, name, Mbit/s.
PRIORITY = [
    (18, "400GBASE-KR4/CR4", 400000),
    (17, "200GBASE-KR2/CR2", 200000),
    (15, "200GBASE-KR4/CR4", 200000),
    (16, "100GBASE-KR1/CR1", 100000),
    (14, "100GBASE-KR2/CR2", 100000),
    (8, "100GBASE-CR4", 100000),
    (7, "100GBASE-KR4", 100000),
    (6, "100GBASE-KP4", 100000),
    (5, "100GBASE-CR10", 100000),
    (13, "50GBASE-KR/CR", 50000),
    (4, "40GBASE-CR4", 40000),
    (3, "40GBASE-KR4", 40000),
    (10, "25GBASE-KR/CR", 25000),
    (9, "25GBASE-KR-S/CR-S", 25000),
    (2, "10GBASE-KR", 10000),
    (1, "10GBASE-KX4", 10000),
    (12, "5GBASE-KR", 5000),
    (11, "2.5GBASE-KX", 2500),
    (0, "1000BASE-KX", 1000),
]
RESERVED = range(19, 23)


def offering(*bits: int) -> Abilities:
    """The abilities of a base page with these technology bits."""
    return Abilities.from_base_page(1 | sum(1 << 21 + bit for bit in bits))


def test_every_bit_is_its_technology() -> None:
    assert len(PRIORITY) == len(Technology)
    for bit, label, speed in PRIORITY:
        assert offering(bit).names() == [label]
        assert Abilities.of(label).base_page() == 1 | 1 << 21 + bit
        found = resolve(offering(bit), offering(bit))
        assert found is not None
        assert (found.technology.label, found.speed) == (label, speed)


@pytest.mark.parametrize(("higher", "lower"), list(itertools.combinations(range(len(PRIORITY)), 2)))
def test_priority_of_any_two(higher: int, lower: int) -> None:
    """Of two common technologies the higher is resolved, whatever else one end has."""
    (high, label, _), (low, _, _) = PRIORITY[higher], PRIORITY[lower]
    everything = offering(*(bit for bit, _, _ in PRIORITY))
    for one, other in ((offering(high, low), everything), (everything, offering(high, low))):
        found = resolve(one, other)
        assert found is not None
        assert found.technology.label == label


@pytest.mark.parametrize("bit", RESERVED)
def test_reserved_bits_are_ignored(bit: int) -> None:
    assert offering(bit).technologies == frozenset()
    assert resolve(offering(bit), offering(bit)) is None
    found = resolve(offering(bit, 0), offering(bit, 0))
    assert found is not None
    assert found.technology is Technology.KX_1000M


@given(abilities, st.integers(0, 31))
def test_base_page_round_trip(offer: Abilities, nonce: int) -> None:
    page = offer.base_page(nonce)
    assert page >> 48 == 0
    assert page & 31 == 1
    assert page >> 16 & 31 == nonce
    assert Abilities.from_base_page(page) == offer


FIELDS = {
    "pause": 10,
    "asymmetric_pause": 11,
    "remote_fault": 13,
    "rs_fec_request": 44,
    "base_r_fec_request": 45,
    "fec": 46,
    "fec_request": 47,
}
"""C0, C1, RF, F2, F3, F0, F1 of figure 73-6."""


@pytest.mark.parametrize("name", FIELDS)
def test_flags_of_a_base_page(name: str) -> None:
    page = Abilities.of("1000BASE-KX", **{name: True}).base_page()
    assert page == 1 | 1 << 21 | 1 << FIELDS[name]
    assert getattr(Abilities.from_base_page(page), name) is True


def test_base_page_bits() -> None:
    """The bits in Linux, uapi/linux/mdio.h, in three words (MDIO_AN_C73_*)."""
    page = Abilities.of("1000BASE-KX", "10GBASE-KX4", "10GBASE-KR", "2.5GBASE-KX", pause=True).base_page()
    assert page & 0xFFFF == 1 << 10 | 1
    assert page >> 16 & 0xFFFF == 1 << 5 | 1 << 6 | 1 << 7
    assert page >> 32 == 1


@pytest.mark.parametrize(
    ("local", "partner", "expected"),
    [
        ("1000BASE-KX", "1000BASE-KX", Technology.KX_1000M),
        ("10GBASE-KX4", "10GBASE-KX4", Technology.KX4_10G),
        ("10GBASE-KR", "10GBASE-KR", None),
        ("10GBASE-KX4", "1000BASE-KX", None),
    ],
)
def test_parallel_detection(local: str, partner: str, expected: Technology | None) -> None:
    fixed = Abilities.of(local, negotiates=False, pause=True)
    negotiating = Abilities.of(partner, "10GBASE-KR", pause=True)
    for outcome in (resolve(fixed, negotiating), resolve(negotiating, fixed)):
        assert (outcome and outcome.technology) == expected
        assert outcome is None or (not outcome.negotiated and outcome.pause == Pause(transmit=False, receive=False))


def test_two_fixed_ends() -> None:
    kr = Abilities.of("10GBASE-KR", negotiates=False)
    assert resolve(kr, kr) == Resolution(Technology.KR_10G, negotiated=False)
    assert resolve(kr, Abilities.of("1000BASE-KX", negotiates=False)) is None


# 73.6.5 at 10 Gb/s a lane: both ends able (F0), one requesting (F1).
TEN_A_LANE = {2, 3, 4, 5}
WITHOUT_FEC = {0, 1, 11, 12}
BITS = list(itertools.product((False, True), repeat=4))


@pytest.mark.parametrize("bit", [bit for bit, _, _ in PRIORITY if bit not in (9, 10)])
def test_fec_below_and_above_25g(bit: int) -> None:
    """All 16 x 16 combinations of F0 to F3."""
    label = next(name for each, name, _ in PRIORITY if each == bit)
    for mine, theirs in itertools.product(BITS, BITS):
        outcome = resolve(with_fec(label, mine), with_fec(label, theirs))
        assert outcome is not None
        clause_74 = bit in TEN_A_LANE and mine[0] and theirs[0] and (mine[1] or theirs[1])
        assert (outcome.fec, outcome.rs_fec) == (clause_74, bit not in TEN_A_LANE | WITHOUT_FEC)


@pytest.mark.parametrize("label", ["25GBASE-KR/CR", "25GBASE-KR-S/CR-S"])
def test_fec_of_25g(label: str) -> None:
    """Any request counts (F2: RS-FEC, F3: BASE-R FEC); -S PHYs have no RS-FEC and answer with BASE-R FEC."""
    for mine, theirs in itertools.product(BITS, BITS):
        outcome = resolve(with_fec(label, mine), with_fec(label, theirs))
        assert outcome is not None
        wants_rs, wants_base_r = mine[2] or theirs[2], mine[3] or theirs[3]
        if "-S" in label:
            assert (outcome.fec, outcome.rs_fec) == (wants_rs or wants_base_r, False)
        else:
            assert (outcome.fec, outcome.rs_fec) == (wants_base_r and not wants_rs, wants_rs)


def with_fec(label: str, bits: tuple[bool, ...]) -> Abilities:
    """F0 to F3 of a base page: D46, D47, D44, D45."""
    places = (46, 47, 44, 45)
    return Abilities.from_base_page(
        Abilities.of(label).base_page() | sum(on << place for on, place in zip(bits, places, strict=True))
    )


@given(abilities)
def test_json_round_trip(offer: Abilities) -> None:
    assert Abilities.from_json(offer.to_json()) == offer


def test_refused() -> None:
    assert Abilities.from_json(["10GBASE-KR"]) == Abilities.of("10GBASE-KR")
    with pytest.raises(ValueError, match="found '10GBASE-T'"):
        Abilities.of("10GBASE-T")
    with pytest.raises(ValueError, match="found paws"):
        Abilities.from_json({"technologies": [], "paws": True})
    with pytest.raises(ValueError, match="one technology"):
        Abilities.of("10GBASE-KR", "1000BASE-KX", negotiates=False)
    with pytest.raises(ValueError, match="100 Mbit/s"):
        Abilities.of("10GBASE-KR").at_speed(100)
