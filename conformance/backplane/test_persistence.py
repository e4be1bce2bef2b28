# SPDX-License-Identifier: GPL-2.0-or-later
"""Advertised modes and the link persist over down and up, a change of MTU, a reset, a self-test, and unbind and bind."""

from __future__ import annotations

import pytest
from plugfest.link.backplane import MODES
from plugfest.machine.console import TRANSMIT_WATCHDOG
from plugfest.requirements.requirement import requirement

SHORT = (60, 61, 1024)
"""Frame lengths in bytes that still pass after the test has lowered the MTU."""


@requirement(
    "CL73-STAY-01",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_stop and ndo_open; include/uapi/linux/ethtool.h",
    falsified_by=("tx.frame.dropped", "program:settings.not-set"),
)
@pytest.mark.usefixtures("has_multiple_technologies")
@pytest.mark.budget(90)
def test_modes_after_down_and_mtu(
    link_partner, local_modes, advertise, settings, dut, wait_for_link, check_traffic, step
):
    """The advertised modes that the user set stay when the interface goes down and up and when the MTU changes."""
    mode, name = list(local_modes.items())[-1]
    with step(f"Have the driver advertise {mode} alone"):
        advertise({mode})
        wait_for_link(name)
    for what, change in (
        ("Set the interface down and up", lambda: settings.set_link(up=False) or dut.set_link(up=True)),
        ("Lower the MTU", lambda: settings.set_link(mtu=dut.mtu - 100)),
    ):
        with step(f"{what}: the driver still reports and sends that technology alone"):
            link_partner.mark()
            change()
            wait_for_link(name)
            assert dut.link_modes().advertised & MODES.keys() == {mode}
            assert link_partner.base_page_received.technologies == {name}
    with step("Frames that fit the MTU pass in both directions"):
        check_traffic(SHORT)


@pytest.fixture
def negotiated_link(link_partner, local_modes, try_advertise, hcd, wait_for_link, check_traffic, dut, evidence):
    """``check_unchanged = negotiated_link()`` brings up a link with one technology advertised if the driver accepts that, else with all.

    ``check_unchanged()`` expects, once the link is up again, the same base page, the same advertised modes as the driver reports them,
    and frames in both directions.
    """

    def bring_up():
        mode, name = list(local_modes.items())[-1]
        alone = len(local_modes) > 1 and try_advertise({mode}) is None
        evidence("advertised", mode if alone else "all")
        technology = name if alone else hcd
        if not alone:
            link_partner.set(latency=0.001, restart=True)
        wait_for_link(technology)
        page, modes, negotiations = link_partner.base_page_received, dut.link_modes(), link_partner.negotiations
        link_partner.mark()

        def check():
            wait_for_link(technology, steady=True)
            evidence("negotiations meanwhile", link_partner.negotiations - negotiations)
            assert link_partner.base_page_received.content == page.content
            now = dut.link_modes()
            assert (now.advertised, now.autonegotiation) == (modes.advertised, modes.autonegotiation)
            check_traffic()

        return check

    return bring_up


@requirement(
    "CL73-STAY-03",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_tx_timeout; include/uapi/linux/ethtool.h, ETHTOOL_SLINKSETTINGS",
    falsified_by=("tx.frame.dropped", "program:settings.not-set"),
)
@pytest.mark.budget(120)
@pytest.mark.provokes(TRANSMIT_WATCHDOG)
@pytest.mark.fresh_guest  # where the driver does not reset the device, a queue may be left hanging
def test_modes_after_reset(negotiated_link, reset_by_watchdog, step):
    """The advertised modes and the link survive a device reset that the driver does because a transmit queue hangs."""
    with step("Have the driver advertise one technology alone, if it accepts that: the link comes up"):
        check_unchanged = negotiated_link()
    with step("Hang a transmit queue until the driver resets the device"):
        reset_by_watchdog()
    with step(
        "The driver sends the same page and reports the same modes; the link is up, and frames pass in both directions"
    ):
        check_unchanged()


@requirement(
    "CL73-STAY-04",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_TEST, ETH_TEST_FL_OFFLINE, ETHTOOL_SLINKSETTINGS",
    falsified_by=("tx.frame.dropped", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_modes_after_self_test(negotiated_link, self_test, step):
    """The advertised modes and the link survive the driver's offline self-test."""
    with step("Have the driver advertise one technology alone, if it accepts that: the link comes up"):
        check_unchanged = negotiated_link()
    with step("Run the offline self-test"):
        self_test()
    with step(
        "The driver sends the same page and reports the same modes; the link is up, and frames pass in both directions"
    ):
        check_unchanged()


@requirement(
    "CL73-STAY-02",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_stop and ndo_open; Documentation/driver-api/driver-model/binding.rst",
    falsified_by=("link.speed.wrong", "tx.frame.dropped"),
)
@pytest.mark.budget(150)
def test_page_after_down_mtu_and_bind(
    link_partner, hcd, restart_partner, binding, settings, dut, wait_for_link, check_traffic, step
):
    """The driver sends the same base page and brings up the same link after down and up, a change of MTU, and unbind and bind."""
    with step("The link partner restarts negotiation: the link comes up"):
        restart_partner(latency=0.001)
        wait_for_link(hcd)
        page, modes = link_partner.base_page_received, dut.link_modes()
    for what, change in (
        ("Set the interface down and up", lambda: settings.set_link(up=False) or dut.set_link(up=True)),
        ("Lower the MTU", lambda: settings.set_link(mtu=dut.mtu - 100)),
        ("Unbind the driver and bind it", lambda: binding.unbind() or binding.bind()),
    ):
        with step(f"{what}: the driver sends the same page and reports the same modes"):
            link_partner.mark()
            change()
            wait_for_link(hcd)
            assert link_partner.base_page_received.content == page.content
            now = dut.link_modes()
            assert (now.advertised, now.autonegotiation) == (modes.advertised, modes.autonegotiation)
    with step("Frames pass in both directions"):
        check_traffic()
