# SPDX-License-Identifier: GPL-2.0-or-later
"""Negotiation of forward error correction (FEC) for 10GBASE-KR."""

from __future__ import annotations

import pytest
from plugfest.link.backplane import fec_of
from plugfest.requirements.requirement import requirement

CAPABILITY = "IEEE 802.3-2022, 73.6.5 (FEC capability): used if both ends have the ability and one requests it"
MODE = "10000baseR_FEC"
BASE_R = 51
"""ETHTOOL_LINK_MODE_FEC_BASER_BIT: reported as the active FEC by ``ethtool --show-fec``."""


@pytest.fixture
def check_fec(link_partner, wait_for_link, check_traffic, dut, step):
    """``check_fec(ability, request)`` brings the link up with these FEC bits of the link partner, and checks the resolution.

    Returns the FEC bits (ability, request) of the driver's base page.
    """

    def check(ability, request):
        with step(f"The link partner offers FEC ability {ability:d} and FEC request {request:d}"):
            link_partner.offer("10GBASE-KR", fec=ability, fec_request=request)
            wait_for_link("10GBASE-KR")
        with step("FEC is on if both ends have the ability and one requests it; frames pass in both directions"):
            bits = link_partner.base_page_received.fec
            wanted = fec_of(bits, (ability, request))
            assert link_partner.get()["resolved"]["fec"] == wanted
            reported = dut.get("fec")
            if reported is not None:
                assert (reported.get("active") == BASE_R) == wanted
            check_traffic()
        return bits

    return check


@pytest.fixture
def fec_advertisements(try_advertise, local_modes, dut, step):
    """``for advertised in fec_advertisements():`` yields with the driver's default (None), then without FEC advertised, then with it.

    It yields the latter two only if the driver accepts them.
    """

    def each():
        yield None
        for advertised in (False, True) if MODE in dut.link_modes().supported else ():
            with step(f"Have the driver advertise {'' if advertised else 'no '}FEC"):
                error = try_advertise(set(local_modes), other={MODE: advertised})
            if error is None:
                yield advertised

    return each


@requirement(
    "CL73-FEC-01",
    level="MUST",
    source=CAPABILITY,
    falsified_by=("link.fec.wrong", "tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("has_kr")
@pytest.mark.budget(200)
def test_fec(check_fec, fec_advertisements, step, evidence):
    """10GBASE-KR uses FEC if both ends have the FEC ability and one of them requests it; the link carries frames with and without FEC.

    The test uses the driver's default and, if the driver accepts it, FEC advertised and not advertised.
    """
    seen = set()
    for advertised in fec_advertisements():
        for ability, request in ((False, False), (True, False), (True, True)):
            bits = check_fec(ability, request)
            seen.add(bits)
            if advertised is not None:
                with step("The driver's page has the FEC ability bit set if FEC is advertised, and clear if not"):
                    assert bits[0] is advertised
    evidence("FEC bits (ability, request) of the driver's pages", sorted(seen))


@requirement(
    "CL73-FEC-02",
    level="MUST",
    source=CAPABILITY,
    falsified_by=("link.fec.wrong", "tx.frame.dropped", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("has_kr")
@pytest.mark.budget(120)
def test_request_without_ability(link_partner, fec_advertisements, wait_for_link, check_traffic, step, evidence):
    """With a link partner that requests FEC without the ability, the link comes up without FEC, whatever the driver advertises."""
    seen = set()
    for _advertised in fec_advertisements():
        with step("The link partner requests FEC without the FEC ability"):
            link_partner.offer("10GBASE-KR", fec_request=True)
            wait_for_link("10GBASE-KR")
            seen.add(link_partner.base_page_received.fec)
        with step("The link has no FEC, and frames pass in both directions"):
            assert not link_partner.get()["resolved"]["fec"]
            check_traffic()
    evidence("FEC bits (ability, request) of the driver's pages", sorted(seen))
