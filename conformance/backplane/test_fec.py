# SPDX-License-Identifier: GPL-2.0-or-later
"""Forward error correction of 10GBASE-KR that two ends agree on."""

from __future__ import annotations

import pytest
from plugfest.link.backplane import fec_of
from plugfest.requirements.requirement import requirement

CAPABILITY = "IEEE 802.3-2022, 73.6.5 (FEC capability): used if both ends are able and one requests it"
TWICE = (False, True)
MODE = "10000baseR_FEC"
BASE_R = 51
"""ETHTOOL_LINK_MODE_FEC_BASER_BIT: what ``ethtool --show-fec`` tells as active."""


@pytest.fixture
def resolve_fec(link_partner, linked, check_traffic, dut, step):
    """``resolve_fec(able, asks)``: with such a partner the link has FEC where both are able and one asks; frames go both ways."""

    def check(able, asks):
        with step(f"Let the partner be {'able' if able else 'unable'}, {'asking' if asks else 'not asking'}"):
            link_partner.offer("10GBASE-KR", fec=able, fec_request=asks)
            linked("10GBASE-KR")
        with step("FEC is on where both are able and one asks; frames go both ways"):
            ours = link_partner.base_page_received.fec
            wanted = fec_of(ours, (able, asks))
            assert link_partner.get()["resolved"]["fec"] == wanted
            told = dut.get("fec")
            if told is not None:
                assert (told.get("active") == BASE_R) == wanted
            check_traffic()
        return ours

    return check


@pytest.fixture
def advertise_each(advertise, local, dut, step):
    """``for choice in advertise_each():`` the driver's own choice (None), then FEC advertised and not, as far as it can be told."""

    def each():
        yield None
        for choice in TWICE if MODE in dut.link_modes().supported else ():
            with step(f"Have the driver advertise {'' if choice else 'no '}FEC"):
                made = advertise(set(local), other={MODE: choice}, may_refuse=True)
            if made:
                yield choice

    return each


@requirement(
    "CL73-FEC-01",
    level="MUST",
    source=CAPABILITY,
    falsified_by=("link.fec.wrong", "tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("kr")
@pytest.mark.budget(200)
def test_fec(resolve_fec, advertise_each, step, evidence):
    """10GBASE-KR uses FEC if both ends are able to and one of them asks for it, and the link carries frames either way.

    The driver is able, and asks, as it does by itself, and as far as it can be told: with FEC advertised and without.
    """
    seen = set()
    for choice in advertise_each():
        for able, asks in ((False, False), (True, False), (True, True)):
            ours = resolve_fec(able, asks)
            seen.add(ours)
            if choice is not None:
                with step("The driver's page says that it is able where it was told to advertise it"):
                    assert ours[0] is choice
    evidence("FEC bits (ability, request) of the driver's pages", sorted(seen))


@requirement(
    "CL73-FEC-02",
    level="MUST",
    source=CAPABILITY,
    falsified_by=("link.fec.wrong", "tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("kr")
@pytest.mark.budget(120)
def test_request_without_ability(link_partner, advertise_each, linked, check_traffic, step, evidence):
    """A partner that asks for FEC and is not able to use it gets a link without, whatever of it the driver advertises."""
    seen = set()
    for _choice in advertise_each():
        with step("Let the partner be unable, and asking"):
            link_partner.offer("10GBASE-KR", fec_request=True)
            linked("10GBASE-KR")
            seen.add(link_partner.base_page_received.fec)
        with step("There is no FEC, and frames go both ways"):
            assert not link_partner.get()["resolved"]["fec"]
            check_traffic()
    evidence("FEC bits (ability, request) of the driver's pages", sorted(seen))
