# SPDX-License-Identifier: GPL-2.0-or-later
"""Negotiation of flow control: the pause bits of both pages, what the driver reports, and how the hardware is set."""

from __future__ import annotations

import pytest
from plugfest.link.backplane import Pause, best, pause_of
from plugfest.requirements.requirement import requirement

RESOLUTION = "IEEE 802.3-2022, 73.6.6 (pause ability), 28B.3 (pause resolution), table 28B-3"
PAUSES = [Pause(first, second) for first in (False, True) for second in (False, True)]


@pytest.fixture
def get_pause(dut, skip_unsupported):
    """``get_pause()`` returns what ``ethtool -a`` shows; skips if the driver does not autonegotiate flow control."""
    found = dut.get("pause")
    if found is None or not found["autoneg"]:
        skip_unsupported("autonegotiated flow control", evidence={"ethtool -a": found})
    return lambda: dut.get("pause")


@pytest.fixture
def try_set_pause(dut, evidence):
    """``try_set_pause(Pause(True, False))`` requests (tx, rx) with autonegotiation on; returns the error or None."""

    def change(pause):
        error = dut.try_set("pause", autoneg=True, rx=pause.second, tx=pause.first)
        if error is not None:
            evidence(f"ethtool -A autoneg on rx {pause.second} tx {pause.first}", str(error))
        return error

    return change


@pytest.fixture
def offer_pause(link_partner, local_modes, wait_for_link):
    """``offer_pause(Pause(True, False))`` sets the link partner's pause bits (C0, C1), and waits for the link.

    The link partner offers all technologies of the port.
    """

    def offer(pause):
        link_partner.offer(*local_modes.values(), pause=pause.first, asymmetric_pause=pause.second)
        wait_for_link(best(local_modes.values(), local_modes.values()))

    return offer


@requirement(
    "CL73-PAUSE-01",
    level="MUST",
    source=RESOLUTION,
    falsified_by=("link.pause.wrong", "device.pause.stuck", "program:backplane.not-set"),
)
@pytest.mark.budget(400)
def test_resolved(
    link_partner,
    local_modes,
    try_advertise,
    settings,
    model,
    capped_timeout,
    get_pause,
    try_set_pause,
    offer_pause,
    dut,
    defer,
    until,
    step,
    evidence,
    skip_unsupported,
):
    """For all pause bits that both ends can send, the driver reports what table 28B-3 resolves, and sets the hardware to it.

    The pause bits are those of the page that the link partner received and of the page that it sent. The evidence lists which bits
    the driver can be made to send, by ``ethtool -A`` or ``ethtool -s advertise``, and which not.
    """
    shows_hardware = model.offers("model.flow_control")
    if not shows_hardware:
        evidence("flow control of the hardware", "the model does not report it")
    checked = {}

    def hardware():
        found = model.call("model.flow_control")
        return Pause(found["transmit"], found["receive"])

    def check_resolution(partner):
        """Check the resolution with these pause bits of the link partner; returns the bits of the driver's page."""
        symmetric, asymmetric = partner
        with step(f"The link partner offers pause {symmetric:d}, asymmetric pause {asymmetric:d}"):
            offer_pause(partner)
            local = link_partner.base_page_received.pause
            expected = pause_of(local, partner)
            resolved = link_partner.get()["resolved"]["pause"]
            assert (resolved["transmit"], resolved["receive"]) == pause_of(partner, local)
        with step("The driver reports the resolution of the two pages, and the hardware is set to it"):

            def is_reported():
                reported = get_pause()
                return Pause(bool(reported["tx"]), bool(reported["rx"])) == expected

            until(
                is_reported, what=f"the driver reports {expected} of {local} and {partner}", timeout=capped_timeout(3)
            )
            if shows_hardware:
                # A driver may report it first, and then set the hardware.
                until(
                    lambda: hardware() == expected,
                    what=f"the hardware is set to {expected}",
                    timeout=capped_timeout(3),
                )
        return local

    def check_resolutions(command):
        """Check the resolution with each link partner, unless the driver's page has pause bits that are checked already."""
        local = check_resolution(PAUSES[-1])
        if local not in checked:
            checked[local] = command
            for partner in PAUSES[:-1]:
                assert check_resolution(partner) == local

    before = get_pause()
    defer(settings.ready)
    defer(lambda: dut.try_set("pause", autoneg=True, rx=before["rx"], tx=before["tx"]))
    for pause in PAUSES:
        tx, rx = pause
        with step(f"Request tx pause {tx:d} and rx pause {rx:d}"):
            link_partner.mark()
            if try_set_pause(pause) is None:
                check_resolutions(f"ethtool -A rx {rx} tx {tx}")
    for pause in PAUSES:
        symmetric, asymmetric = pause
        modes = {"Pause": symmetric, "Asym_Pause": asymmetric}
        advertised = dut.link_modes().advertised
        # The kernel does not call the driver if nothing changes.
        if pause in checked or modes == {mode: mode in advertised for mode in modes}:
            continue
        with step(f"Have the driver advertise pause {symmetric:d}, asymmetric pause {asymmetric:d}, by link modes"):
            if try_advertise(set(local_modes), other=modes) is None:
                check_resolutions(f"ethtool -s advertise {modes}")
    evidence("pause bits (C0, C1) of the driver's pages", {str(tuple(bits)): how for bits, how in checked.items()})
    evidence("pause bits that no command produced", [str(tuple(bits)) for bits in PAUSES if bits not in checked])
    if not checked:
        skip_unsupported("setting flow control", evidence="the driver rejects each request, see above")


def digits(pause):
    """Return (C0, C1) as two digits."""
    return f"{pause.first:d}{pause.second:d}"


@requirement(
    "CL73-PAUSE-02",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, PAUSE_SET; include/linux/linkmode.h, linkmode_set_pause",
    falsified_by="program:settings.not-set",
)
@pytest.mark.budget(120)
def test_advertised(
    link_partner,
    settings,
    get_pause,
    try_set_pause,
    hcd,
    restart_partner,
    wait_for_link,
    dut,
    defer,
    step,
    skip_unsupported,
):
    """The pause bits of the driver's page are those that it reports as advertised, and follow from the requested rx and tx pause.

    Pause is set if rx pause is requested; Asym_Pause is set if exactly one of rx and tx is requested. All requests are made
    before the verdict.
    """
    accepted, wrong = False, []
    before = get_pause()
    defer(settings.ready)
    defer(lambda: dut.try_set("pause", autoneg=True, rx=before["rx"], tx=before["tx"]))
    for pause in PAUSES:
        tx, rx = pause
        with step(f"Request tx pause {tx:d} and rx pause {rx:d}"):
            if try_set_pause(pause) is not None:
                continue
            accepted = True
            restart_partner()
            wait_for_link(hcd)
        with step("Read the pause bits of the driver's page and of the advertised modes that it reports"):
            modes = dut.link_modes().advertised
            advertised, expected = Pause("Pause" in modes, "Asym_Pause" in modes), Pause(rx, tx != rx)
            page = link_partner.base_page_received.pause
            if not page == advertised == expected:
                wrong.append(
                    f"tx {tx:d} rx {rx:d}: page {digits(page)}, advertised {digits(advertised)}, expected {digits(expected)}"
                )
    with step("Both have the pause bits of each request"):
        assert wrong == []
    if not accepted:
        skip_unsupported("setting flow control", evidence="the driver rejects each request, see above")


@requirement(
    "CL73-PAUSE-03",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_LINKMODES_PEER; IEEE 802.3-2022, 73.6.6",
    falsified_by=("link.pause.wrong", "an.page.stale", "program:backplane.not-set"),
)
@pytest.mark.budget(120)
def test_lp_pause(offer_pause, lp_advertised, capped_timeout, until, step):
    """The driver reports the pause bits that the link partner sent."""
    for pause in PAUSES:
        symmetric, asymmetric = pause
        with step(
            f"The link partner offers pause {symmetric:d}, asymmetric pause {asymmetric:d}: the driver reports these"
        ):
            offer_pause(pause)

            def is_reported(pause=pause):
                modes = lp_advertised()
                return Pause("Pause" in modes, "Asym_Pause" in modes) == pause

            until(
                is_reported,
                what=f"the driver reports pause {symmetric:d}, asymmetric pause {asymmetric:d}",
                timeout=capped_timeout(5),
            )
