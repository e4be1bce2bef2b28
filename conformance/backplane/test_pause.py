# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow control that two ends agree on: what each says, what the driver takes from it, and what the hardware is set to."""

from __future__ import annotations

import pytest
from plugfest.link.backplane import Pause, best, pause_of
from plugfest.requirements.requirement import requirement

RESOLUTION = "IEEE 802.3-2022, 73.6.6 (pause ability), 28B.3 (pause resolution), table 28B-3"
TWICE = (False, True)
PAUSES = [Pause(first, second) for first in TWICE for second in TWICE]


@pytest.fixture
def pause(dut, skip_unsupported):
    """``pause()``: what ``ethtool -a`` says; skips where the driver has no flow control that is negotiated."""
    found = dut.get("pause")
    if found is None or not found["autoneg"]:
        skip_unsupported("flow control that is negotiated", evidence={"ethtool -a": found})
    return lambda: dut.get("pause")


@pytest.fixture
def ask_pause(dut, evidence):
    """``ask_pause(Pause(True, False))`` asks for that, tx and rx, to be negotiated; returns whether the driver took it."""

    def ask(asked):
        refusal = dut.try_set("pause", autoneg=True, rx=asked.second, tx=asked.first)
        if refusal is not None:
            evidence(f"ethtool -A autoneg on rx {asked.second} tx {asked.first}", str(refusal))
        return refusal is None

    return ask


@pytest.fixture
def offer_pause(link_partner, local, linked):
    """``offer_pause(Pause(True, False))`` has the partner offer that, with all technologies of the port; waits for the link."""

    def offer(theirs):
        link_partner.offer(*local.values(), pause=theirs.first, asymmetric_pause=theirs.second)
        linked(best(local.values(), local.values()))

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
    local,
    advertise,
    settings,
    model,
    patience,
    pause,
    ask_pause,
    offer_pause,
    dut,
    defer,
    until,
    step,
    evidence,
    skip_unsupported,
):
    """Whatever the two ends offer, the driver tells, and the hardware is set to, what the table makes of the two pages.

    The pages are what the partner has got of the driver's and sent of its own. Which the driver can be brought to send, by
    ``ethtool -A`` or ``-s advertise``, is kept as evidence, and which not.
    """
    tells = "model.flow_control" in model.call("control.methods")
    if not tells:
        evidence("the hardware's settings", "the model does not tell them")
    reached = {}

    def hold_against(theirs):
        """One partner: returns what the driver's page has."""
        with step(f"Let the partner offer pause {theirs.first:d}, asymmetric {theirs.second:d}"):
            offer_pause(theirs)
            ours = link_partner.base_page_received.pause
            mine = pause_of(ours, theirs)
            resolved = link_partner.get()["resolved"]["pause"]
            assert (resolved["transmit"], resolved["receive"]) == pause_of(theirs, ours)
        with step("The driver tells what follows, and the hardware is set to it"):

            def told():
                said = pause()
                return Pause(bool(said["tx"]), bool(said["rx"])) == mine

            until(told, what=f"{mine} follows from {ours} and {theirs}", timeout=patience(3))
            if tells:
                set_to = model.call("model.flow_control")
                assert Pause(set_to["transmit"], set_to["receive"]) == mine
        return ours

    def hold_against_each(means):
        """Every partner, where the driver's page has what it has not had yet."""
        ours = hold_against(PAUSES[-1])
        if ours not in reached:
            reached[ours] = means
            for theirs in PAUSES[:-1]:
                assert hold_against(theirs) == ours

    before = pause()
    defer(settings.steady)
    defer(lambda: dut.try_set("pause", autoneg=True, rx=before["rx"], tx=before["tx"]))
    for asked in PAUSES:
        with step(f"Ask the driver for {'' if asked.second else 'no '}rx and {'' if asked.first else 'no '}tx pause"):
            link_partner.mark()
            if ask_pause(asked):
                hold_against_each(f"ethtool -A rx {asked.second} tx {asked.first}")
    for wanted in PAUSES:
        modes = {"Pause": wanted.first, "Asym_Pause": wanted.second}
        advertised = dut.link_modes().advertised
        # The kernel does not ask a driver for what it says is so already.
        if wanted in reached or modes == {mode: mode in advertised for mode in modes}:
            continue
        with step(f"Have the driver advertise pause {wanted.first:d}, asymmetric {wanted.second:d}, by link modes"):
            if advertise(set(local), other=modes, may_refuse=True):
                hold_against_each(f"ethtool -s advertise {modes}")
    evidence("pause bits (C0, C1) of the driver's pages", {str(tuple(bits)): means for bits, means in reached.items()})
    evidence("pause bits that no request led to", [str(tuple(bits)) for bits in PAUSES if bits not in reached])
    if not reached:
        skip_unsupported("flow control that can be set", evidence="each request is refused, see above")


@requirement(
    "CL73-PAUSE-02",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, PAUSE_SET; include/linux/linkmode.h, linkmode_set_pause",
    falsified_by="program:settings.not-set",
)
@pytest.mark.budget(120)
def test_advertised(
    link_partner, settings, pause, ask_pause, highest, start_over, linked, dut, defer, step, skip_unsupported
):
    """The page's pause bits are those that the driver says it advertises, and these follow from what it was asked for.

    Pause where it is to obey; asymmetric where it is to do one of the two.
    """
    made = False
    before = pause()
    defer(settings.steady)
    defer(lambda: dut.try_set("pause", autoneg=True, rx=before["rx"], tx=before["tx"]))
    for asked in PAUSES:
        with step(f"Ask the driver for {'' if asked.second else 'no '}rx and {'' if asked.first else 'no '}tx pause"):
            if not ask_pause(asked):
                continue
            made = True
            start_over()
            linked(highest)
        with step("Its page says so, and so does it"):
            advertised = dut.link_modes().advertised
            wanted = Pause(asked.second, asked.first != asked.second)
            assert (
                link_partner.base_page_received.pause
                == Pause("Pause" in advertised, "Asym_Pause" in advertised)
                == wanted
            )
    if not made:
        skip_unsupported("flow control that can be set", evidence="each request is refused, see above")


@requirement(
    "CL73-PAUSE-03",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_LINKMODES_PEER; IEEE 802.3-2022, 73.6.6",
    falsified_by=("link.pause.wrong", "an.page.stale", "program:backplane.not-set"),
)
@pytest.mark.budget(120)
def test_partner_is_told(offer_pause, peer_modes, patience, until, step):
    """The driver tells which pause bits the partner sent."""
    for theirs in PAUSES:
        with step(
            f"Let the partner offer pause {theirs.first:d}, asymmetric {theirs.second:d}: the driver tells these"
        ):
            offer_pause(theirs)

            def told(theirs=theirs):
                peer = peer_modes()
                return Pause("Pause" in peer, "Asym_Pause" in peer) == theirs

            until(told, what=f"pause {theirs.first:d}, asymmetric {theirs.second:d} are told", timeout=patience(5))
