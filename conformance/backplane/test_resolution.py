# SPDX-License-Identifier: GPL-2.0-or-later
"""Priority resolution: the technology of the link, and the advertisement of each end."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from plugfest.link.backplane import MODES, STRANGE, best
from plugfest.requirements.requirement import requirement

PRIORITY = "IEEE 802.3-2022, 73.7.6 (priority resolution), table 73-5"
TECHNOLOGIES = tuple(MODES.values())


def subsets(names):
    """Return all subsets but the empty one."""
    return chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))


@requirement(
    "CL73-HCD-01", level="MUST", source=PRIORITY, falsified_by=("link.speed.wrong", "program:backplane.not-set")
)
@pytest.mark.budget(240)
def test_hcd(link_partner, local_modes, try_advertise, wait_for_link, check_no_link, dut, step, wait_for_no_carrier):
    """For all sets of technologies that the two ends advertise, the link is the highest common denominator; without one, there is no link.

    The test changes the driver's advertisement while the link is down; `CL73-ADV-02` tests a change while it is up.
    """
    for modes in subsets(local_modes):
        advertised = ", ".join(modes)
        with step(f"The link partner is silent; have the driver advertise {advertised}"):
            link_partner.set(up=False)
            wait_for_no_carrier()
            now = dut.link_modes().advertised & MODES.keys()  # the kernel does not call the driver if nothing changes
            if set(modes) != now and try_advertise(modes) is not None:
                continue
        for offered in subsets(TECHNOLOGIES):
            common = best((local_modes[mode] for mode in modes), offered)
            names, outcome = ", ".join(offered), common or "no link"
            with step(f"The link partner offers {names}: {outcome}"):
                link_partner.set(up=True, abilities={"technologies": list(offered)})
                if common is None:
                    check_no_link()
                else:
                    wait_for_link(common)


@requirement(
    "CL73-HCD-02",
    level="MUST",
    source=f"{PRIORITY}; 73.6.4 (technology ability field: bits that an end does not support)",
    falsified_by=("link.speed.wrong", "program:backplane.not-set"),
)
def test_unsupported_technologies(link_partner, local_modes, wait_for_link, until, step, capped_timeout):
    """If the link partner also offers technologies that the port does not support, the link is the one that both ends support."""
    hcd = best(local_modes.values(), TECHNOLOGIES)
    unsupported = ", ".join(STRANGE)
    with step(f"The link partner offers {unsupported} and {hcd}"):
        link_partner.offer(*STRANGE, hcd)
    with step(f"The link is {hcd}"):
        until(
            lambda: link_partner.base_page_received is not None,
            what="the link partner has received the driver's page",
            timeout=capped_timeout(5),
        )
        wait_for_link(hcd)
        assert set(link_partner.get()["abilities"]["technologies"]) == {*STRANGE, hcd}


@requirement(
    "CL73-LP-01",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_LINKMODES_PEER; IEEE 802.3-2022, 45.2.7.7",
    falsified_by=("link.speed.wrong", "an.page.stale", "program:backplane.not-set"),
)
@pytest.mark.budget(120)
def test_lp_technologies(link_partner, local_modes, wait_for_link, lp_advertised, capped_timeout, until, step):
    """The driver reports which of its own technologies the link partner advertises."""
    for offered in subsets(local_modes.values()):
        names = ", ".join(offered)
        with step(f"The link partner offers {names}"):
            link_partner.offer(*offered)
            wait_for_link(best(local_modes.values(), offered))
        with step("The driver reports these"):
            expected = {mode for mode, name in MODES.items() if name in offered}
            until(
                lambda expected=expected: lp_advertised() & MODES.keys() == expected,
                what=f"the driver reports {', '.join(sorted(expected))} of the link partner",
                timeout=capped_timeout(5),
            )


@requirement(
    "CL73-ADV-01",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.2 (an end that renegotiates), 45.2.7.6; include/uapi/linux/ethtool.h, ETHTOOL_SLINKSETTINGS",
    falsified_by=("link.speed.wrong", "program:settings.not-set"),
)
@pytest.mark.usefixtures("has_multiple_technologies")
@pytest.mark.budget(120)
def test_advertisement(link_partner, local_modes, advertise, wait_for_link, step):
    """A change of the advertised modes starts a negotiation, and the link partner receives exactly these technologies."""
    for modes in subsets(local_modes):
        advertised = ", ".join(modes)
        with step(f"Have the driver advertise {advertised}"):
            advertise(modes)
            wait_for_link(best((local_modes[mode] for mode in modes), link_partner.abilities["technologies"]))
        with step("The link partner has received these technologies"):
            assert link_partner.base_page_received.technologies == {local_modes[mode] for mode in modes}


@requirement(
    "CL73-ADV-02",
    level="MUST",
    source="IEEE 802.3-2022, 73.7.6; Documentation/networking/operstates.rst",
    falsified_by="program:settings.not-set",
)
@pytest.mark.usefixtures("has_multiple_technologies")
@pytest.mark.fresh_guest
def test_advertisement_without_common(link_partner, local_modes, advertise, wait_for_link, check_no_link, step):
    """A change of the advertised modes that leaves no common technology takes the link and the carrier down."""
    first, second = list(local_modes)[:2]
    with step(f"The link partner offers {local_modes[first]} alone"):
        link_partner.offer(local_modes[first])
        wait_for_link(local_modes[first])
    with step(f"Have the driver advertise {second} alone: the carrier goes off"):
        advertise({second})
        check_no_link()
    with step("The link partner offers that technology: the link comes up again"):
        link_partner.offer(local_modes[second])
        wait_for_link(local_modes[second])
