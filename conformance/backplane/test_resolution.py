# SPDX-License-Identifier: GPL-2.0-or-later
"""What two ends agree on: technology, pause, FEC."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from plugfest.backplane import MODES, NOT_TOLD, STRANGE, Pause, best, pause_of
from plugfest.requirement import requirement

PRIORITY = "IEEE 802.3-2022, 73.7.6 (priority resolution), table 73-5"
TECHNOLOGIES = tuple(MODES.values())
TWICE = (False, True)


def subsets(names):
    """All but the empty one."""
    return chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))


@requirement("CL73-HCD-01", level="MUST", source=PRIORITY, falsified_by=("link.speed.wrong", NOT_TOLD))
@pytest.mark.budget(240)
def test_highest(far, local, advertise, linked, gives_up, step):
    """Whatever the two ends advertise, the link is the highest that they have in common; without any there is no link."""
    for ours in subsets(local):
        with step(f"Have the driver advertise {', '.join(ours)}"):
            far.offer(*TECHNOLOGIES)
            advertise(*ours)
            linked(best((local[mode] for mode in ours), TECHNOLOGIES))
        for theirs in subsets(TECHNOLOGIES):
            common = best((local[mode] for mode in ours), theirs)
            with step(f"Let the partner offer {', '.join(theirs)}: {common or 'no link'}"):
                far.offer(*theirs)
                if common is None:
                    gives_up()
                else:
                    linked(common)


@requirement(
    "CL73-HCD-02",
    level="MUST",
    source=f"{PRIORITY}; 73.6.4 (technology ability field: bits that an end does not know)",
    falsified_by=("link.speed.wrong", NOT_TOLD),
)
def test_strange(far, local, linked, until, step):
    """A partner's technologies that the port does not have do not keep it from what both have."""
    highest = best(local.values(), TECHNOLOGIES)
    with step(f"Let the partner offer {', '.join(STRANGE)}, and {highest}"):
        far.offer(*STRANGE, highest)
    with step("The link is that"):
        until(lambda: far.seen is not None, what="the partner has the driver's page", timeout=5)
        linked(highest)
        assert set(far.get()["abilities"]["technologies"]) == {*STRANGE, highest}


@requirement(
    "CL73-LP-01",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_LINKMODES_PEER; IEEE 802.3-2022, 45.2.7.7",
    falsified_by=("link.speed.wrong", "an.page.stale", NOT_TOLD),
)
@pytest.mark.budget(120)
def test_partner_is_told(far, local, linked, dut, until, step):
    """The driver tells what the partner advertises: technologies that it knows itself, and pause."""
    for theirs in subsets(local.values()):
        for pause in TWICE:
            with step(f"Let the partner offer {', '.join(theirs)}, {'and' if pause else 'without'} pause"):
                far.offer(*theirs, pause=pause)
                linked(best(local.values(), theirs))
            with step("The driver tells these"):
                wanted = {mode for mode, name in MODES.items() if name in theirs}

                def told(wanted=wanted, pause=pause):
                    peer = dut.link_modes().peer
                    return (peer & MODES.keys(), "Pause" in peer) == (wanted, pause)

                until(told, what=f"{sorted(wanted)} and {'pause' if pause else 'no pause'} are told", timeout=5)


@requirement(
    "CL73-ADV-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.2 (an end that renegotiates), 45.2.7.6; include/uapi/linux/ethtool.h, ETHTOOL_SLINKSETTINGS",
    falsified_by=("link.speed.wrong", "program:settings.not-set"),
)
@pytest.mark.usefixtures("several")
@pytest.mark.budget(120)
def test_advertisement(far, local, advertise, linked, step):
    """A change of what the driver advertises starts a negotiation, and the partner gets exactly that."""
    for ours in subsets(local):
        with step(f"Have the driver advertise {', '.join(ours)}"):
            advertise(*ours)
            linked(best((local[mode] for mode in ours), far.abilities["technologies"]))
        with step("The partner has got these"):
            assert far.seen.technologies == {local[mode] for mode in ours}


@requirement(
    "CL73-ADV-02",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.6; Documentation/networking/operstates.rst",
    falsified_by="program:settings.not-set",
)
@pytest.mark.usefixtures("several")
@pytest.mark.fresh_guest
def test_advertisement_without_common(far, local, advertise, linked, gives_up, step):
    """A change of what the driver advertises that leaves the ends nothing in common takes the link and the carrier down."""
    first, second = list(local)[:2]
    with step(f"Let the partner offer {local[first]} alone"):
        far.offer(local[first])
        linked(local[first])
    with step(f"Have the driver advertise {second} alone: there is no carrier"):
        advertise(second)
        gives_up()
    with step("Let the partner offer that: there is a link again"):
        far.offer(local[second])
        linked(local[second])


@requirement(
    "CL73-PAUSE-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.6.6 (pause ability), 28B.3 (pause resolution)",
    falsified_by=("link.speed.wrong", NOT_TOLD),
)
@pytest.mark.budget(180)
def test_pause(far, local, linked, dut, until, step, unclaimed):
    """The pause bits of the page are those that the driver advertises, and what it says of the partner's is what that sent."""
    pauses = [Pause(first, second) for first in TWICE for second in TWICE]
    if dut.get("pause") is None:
        unclaimed("pause", evidence="ethtool -a: EOPNOTSUPP")
    advertised = dut.link_modes().advertised
    ours = Pause("Pause" in advertised, "Asym_Pause" in advertised)
    for theirs in pauses:
        with step(f"Let the partner offer pause {theirs.first:d}, asymmetric {theirs.second:d}: the ends agree"):
            far.offer(*local.values(), pause=theirs.first, asymmetric_pause=theirs.second)
            linked(best(local.values(), local.values()))
            assert far.seen.pause == ours
            mine = pause_of(theirs, ours)
            resolved = far.get()["resolved"]["pause"]
            assert (resolved["transmit"], resolved["receive"]) == mine
        with step("The driver tells the partner's bits"):

            def told(theirs=theirs):
                peer = dut.link_modes().peer
                return Pause("Pause" in peer, "Asym_Pause" in peer) == theirs

            until(told, what=f"pause {theirs.first:d}, asymmetric {theirs.second:d} are told", timeout=5)


@requirement(
    "CL73-FEC-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.6.5 (FEC capability): used if both ends are able and one requests it",
    falsified_by=("tx.frame.dropped", NOT_TOLD),
)
@pytest.mark.usefixtures("kr")
@pytest.mark.budget(120)
def test_fec(far, linked, crossing, step):
    """10GBASE-KR uses FEC if both ends are able to and one of them asks for it, and the link carries frames either way."""
    for able, asks in ((False, False), (True, False), (True, True)):
        with step(f"Let the partner be {'able' if able else 'unable'}, {'asking' if asks else 'not asking'}"):
            far.offer("10GBASE-KR", fec=able, fec_request=asks)
            linked("10GBASE-KR")
        with step("FEC is on where both are able and one asks; frames go both ways"):
            ours, wish = far.seen.fec
            assert far.get()["resolved"]["fec"] == (ours and able and (wish or asks))
            crossing.both_ways()
