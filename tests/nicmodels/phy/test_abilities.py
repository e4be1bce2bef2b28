# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

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
    assert (here.technology, here.fec) == (there.technology, there.fec)
    assert (here.pause.transmit, here.pause.receive) == (there.pause.receive, there.pause.transmit)
    assert here.speed == max(t.speed for t in one.technologies & other.technologies)


def test_priority_within_a_speed() -> None:
    everything = Abilities(frozenset(Technology))
    order = []
    while found := resolve(everything, everything):
        order.append(found.technology.label)
        everything = Abilities(everything.technologies - {found.technology})
    assert order[1:6] == ["100GBASE-KR2/CR2", "100GBASE-CR4", "100GBASE-KR4", "100GBASE-KP4", "100GBASE-CR10"]
    assert order[-5:] == ["10GBASE-KR", "10GBASE-KX4", "5GBASE-KR", "2.5GBASE-KX", "1000BASE-KX"]


@given(abilities, st.integers(0, 31))
def test_base_page_round_trip(offer: Abilities, nonce: int) -> None:
    page = offer.base_page(nonce)
    assert page >> 48 == 0
    assert page & 31 == 1
    assert page >> 16 & 31 == nonce
    assert Abilities.from_base_page(page) == offer


def test_base_page_bits() -> None:
    """The bits as Linux's uapi/linux/mdio.h has them, in three words (MDIO_AN_C73_*)."""
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


@pytest.mark.parametrize(("mine", "theirs", "expected"), [("ar", "a", True), ("a", "ar", True), ("a", "a", False)])
def test_fec_needs_a_request_and_both_abilities(mine: str, theirs: str, expected: bool) -> None:
    local = Abilities.of("10GBASE-KR", fec="a" in mine, fec_request="r" in mine)
    partner = Abilities.of("10GBASE-KR", "1000BASE-KX", fec="a" in theirs, fec_request="r" in theirs)
    outcome = resolve(local, partner)
    assert outcome is not None
    assert outcome.fec is expected
    slow = resolve(Abilities.of("1000BASE-KX", fec=True, fec_request=True), partner)
    assert slow is not None
    assert not slow.fec


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
