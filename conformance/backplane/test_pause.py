# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow control that two ends agree on: what each says, what the driver takes from it, and what the hardware is set to."""

from __future__ import annotations

import pytest
from plugfest.backplane import NOT_TOLD, Pause, best, pause_of
from plugfest.requirement import requirement

RESOLUTION = "IEEE 802.3-2022, 73.6.6 (pause ability), 28B.3 (pause resolution), table 28B-3"
TWICE = (False, True)
PAUSES = [Pause(first, second) for first in TWICE for second in TWICE]


@pytest.fixture
def pause(dut, unclaimed):
    """``pause()``: what ``ethtool -a`` says; skips where the driver has no flow control that is negotiated."""
    found = dut.get("pause")
    if found is None or not found["autoneg"]:
        unclaimed("flow control that is negotiated", evidence={"ethtool -a": found})
    return lambda: dut.get("pause")


@pytest.fixture
def offer_pause(far, local, linked):
    """``offer_pause(Pause(True, False))`` has the partner offer that, with all technologies of the port; waits for the link."""

    def offer(theirs):
        far.offer(*local.values(), pause=theirs.first, asymmetric_pause=theirs.second)
        linked(best(local.values(), local.values()))

    return offer


@requirement(
    "CL73-PAUSE-01",
    level="MUST",
    source=RESOLUTION,
    falsified_by=("link.pause.wrong", "device.pause.stuck", NOT_TOLD),
)
@pytest.mark.budget(400)
def test_resolved(far, change, model, patience, pause, offer_pause, dut, defer, until, step, evidence):
    """Whatever the two ends offer, the driver tells, and the hardware is set to, what the table makes of the two pages.

    The pages are what the partner has got of the driver's and sent of its own.
    """
    tells = "model.flow_control" in model.call("control.methods")
    if not tells:
        evidence("the hardware's settings", "the model does not tell them")
    before = pause()
    defer(change.steady)
    defer(lambda: dut.ask("pause", autoneg=True, rx=before["rx"], tx=before["tx"]))
    for asked in PAUSES:
        with step(f"Ask the driver for {'' if asked.second else 'no '}rx and {'' if asked.first else 'no '}tx pause"):
            far.mark()
            refusal = dut.ask("pause", autoneg=True, rx=asked.second, tx=asked.first)
            if refusal is not None:
                evidence(f"ethtool -A autoneg on rx {asked.second} tx {asked.first}", str(refusal))
                continue
        for theirs in PAUSES:
            with step(f"Let the partner offer pause {theirs.first:d}, asymmetric {theirs.second:d}"):
                offer_pause(theirs)
                ours = far.seen.pause
                mine = pause_of(ours, theirs)
                resolved = far.get()["resolved"]["pause"]
                assert (resolved["transmit"], resolved["receive"]) == pause_of(theirs, ours)
            with step("The driver tells what follows, and the hardware is set to it"):

                def told(mine=mine):
                    said = pause()
                    return Pause(bool(said["tx"]), bool(said["rx"])) == mine

                until(told, what=f"{mine} follows from {ours} and {theirs}", timeout=patience(3))
                if tells:
                    set_to = model.call("model.flow_control")
                    assert Pause(set_to["transmit"], set_to["receive"]) == mine


@requirement(
    "CL73-PAUSE-02",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, PAUSE_SET; include/linux/linkmode.h, linkmode_set_pause",
    falsified_by="program:settings.not-set",
)
@pytest.mark.budget(120)
def test_advertised(far, change, pause, highest, start_over, linked, dut, defer, step, evidence):
    """The page's pause bits are those that the driver says it advertises, and these follow from what it was asked for.

    Pause where it is to obey; asymmetric where it is to do one of the two.
    """
    before = pause()
    defer(change.steady)
    defer(lambda: dut.ask("pause", autoneg=True, rx=before["rx"], tx=before["tx"]))
    for asked in PAUSES:
        with step(f"Ask the driver for {'' if asked.second else 'no '}rx and {'' if asked.first else 'no '}tx pause"):
            refusal = dut.ask("pause", autoneg=True, rx=asked.second, tx=asked.first)
            if refusal is not None:
                evidence(f"ethtool -A autoneg on rx {asked.second} tx {asked.first}", str(refusal))
                continue
            start_over()
            linked(highest)
        with step("Its page says so, and so does it"):
            advertised = dut.link_modes().advertised
            wanted = Pause(asked.second, asked.first != asked.second)
            assert far.seen.pause == Pause("Pause" in advertised, "Asym_Pause" in advertised) == wanted


@requirement(
    "CL73-PAUSE-03",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_LINKMODES_PEER; IEEE 802.3-2022, 73.6.6",
    falsified_by=("link.pause.wrong", "an.page.stale", NOT_TOLD),
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
