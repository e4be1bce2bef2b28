# SPDX-License-Identifier: GPL-2.0-or-later
"""What two ends agree on: the technology, and what each tells the other of its own."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from plugfest.link.backplane import MODES, STRANGE, best
from plugfest.requirements.requirement import requirement

PRIORITY = "IEEE 802.3-2022, 73.7.6 (priority resolution), table 73-5"
TECHNOLOGIES = tuple(MODES.values())
TWICE = (False, True)


def subsets(names):
    """All but the empty one."""
    return chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))


@requirement(
    "CL73-HCD-01", level="MUST", source=PRIORITY, falsified_by=("link.speed.wrong", "program:backplane.not-set")
)
@pytest.mark.budget(240)
def test_highest(link_partner, local, advertise, linked, gives_up, dut, until, step, patience):
    """Whatever the two ends advertise, the link is the highest that they have in common; without any there is no link.

    The driver's advertisement is changed while there is no link: what a change does to one is `CL73-ADV-02`.
    """
    for ours in subsets(local):
        with step(f"Silence the partner, and have the driver advertise {', '.join(ours)}"):
            link_partner.set(up=False)
            until(lambda: not dut.carrier, what="there is no carrier", timeout=patience(5))
            now = dut.link_modes().advertised & MODES.keys()  # the kernel does not ask a driver for what is so already
            if set(ours) != now and not advertise(ours, may_refuse=True):
                continue
        for theirs in subsets(TECHNOLOGIES):
            common = best((local[mode] for mode in ours), theirs)
            with step(f"Let the partner offer {', '.join(theirs)}: {common or 'no link'}"):
                link_partner.set(up=True, abilities={"technologies": list(theirs)})
                if common is None:
                    gives_up()
                else:
                    linked(common)


@requirement(
    "CL73-HCD-02",
    level="MUST",
    source=f"{PRIORITY}; 73.6.4 (technology ability field: bits that an end does not know)",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
def test_strange(link_partner, local, linked, until, step, patience):
    """A partner's technologies that the port does not have do not keep it from what both have."""
    highest = best(local.values(), TECHNOLOGIES)
    with step(f"Let the partner offer {', '.join(STRANGE)}, and {highest}"):
        link_partner.offer(*STRANGE, highest)
    with step("The link is that"):
        until(
            lambda: link_partner.base_page_received is not None,
            what="the partner has the driver's page",
            timeout=patience(5),
        )
        linked(highest)
        assert set(link_partner.get()["abilities"]["technologies"]) == {*STRANGE, highest}


@requirement(
    "CL73-LP-01",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_LINKMODES_PEER; IEEE 802.3-2022, 45.2.7.7",
    falsified_by=("link.speed.wrong", "an.page.stale", "program:backplane.not-set"),
)
@pytest.mark.budget(120)
def test_partner_is_told(link_partner, local, linked, peer_modes, patience, until, step):
    """The driver tells which of its own technologies the partner advertises."""
    for theirs in subsets(local.values()):
        with step(f"Let the partner offer {', '.join(theirs)}"):
            link_partner.offer(*theirs)
            linked(best(local.values(), theirs))
        with step("The driver tells these"):
            wanted = {mode for mode, name in MODES.items() if name in theirs}
            until(
                lambda wanted=wanted: peer_modes() & MODES.keys() == wanted,
                what=f"{sorted(wanted)} are told",
                timeout=patience(5),
            )


@requirement(
    "CL73-ADV-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.2 (an end that renegotiates), 45.2.7.6; include/uapi/linux/ethtool.h, ETHTOOL_SLINKSETTINGS",
    falsified_by=("link.speed.wrong", "program:settings.not-set"),
)
@pytest.mark.usefixtures("several")
@pytest.mark.budget(120)
def test_advertisement(link_partner, local, advertise, linked, step):
    """A change of what the driver advertises starts a negotiation, and the partner gets exactly that."""
    for ours in subsets(local):
        with step(f"Have the driver advertise {', '.join(ours)}"):
            advertise(ours)
            linked(best((local[mode] for mode in ours), link_partner.abilities["technologies"]))
        with step("The partner has got these"):
            assert link_partner.base_page_received.technologies == {local[mode] for mode in ours}


@requirement(
    "CL73-ADV-02",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.6; Documentation/networking/operstates.rst",
    falsified_by="program:settings.not-set",
)
@pytest.mark.usefixtures("several")
@pytest.mark.fresh_guest
def test_advertisement_without_common(link_partner, local, advertise, linked, gives_up, step):
    """A change of what the driver advertises that leaves the ends nothing in common takes the link and the carrier down."""
    first, second = list(local)[:2]
    with step(f"Let the partner offer {local[first]} alone"):
        link_partner.offer(local[first])
        linked(local[first])
    with step(f"Have the driver advertise {second} alone: there is no carrier"):
        advertise({second})
        gives_up()
    with step("Let the partner offer that: there is a link again"):
        link_partner.offer(local[second])
        linked(local[second])
