# SPDX-License-Identifier: GPL-2.0-or-later
"""Links without autonegotiation: parallel detection, forced speeds, and brief losses of signal."""

from __future__ import annotations

import pytest
from plugfest.link.backplane import DETECTABLE, SPEEDS
from plugfest.machine.console import TRANSMIT_WATCHDOG
from plugfest.requirements.requirement import requirement

SHORT = (60, 61, 1024)
"""Frame lengths in bytes that still pass after the test has lowered the MTU."""
SILENCE = 0.02
"""Seconds for which the link partner sends nothing."""
DETECTION = "IEEE 802.3-2022, 73.7.4.1 (parallel detection: 1000BASE-KX and 10GBASE-KX4)"


@requirement(
    "CL73-PD-01", level="MUST", source=DETECTION, falsified_by=("tx.frame.dropped", "program:backplane.not-set")
)
@pytest.mark.budget(90)
def test_detected(link_partner, local_modes, wait_for_link, step, skip_unsupported, check_traffic):
    """With a link partner that transmits without pages, parallel detection brings the link up, for each technology that has it."""
    detectable = [name for name in local_modes.values() if name in DETECTABLE]
    if not detectable:
        skip_unsupported("a technology with parallel detection", evidence={"advertised": sorted(local_modes)})
    for name in detectable:
        with step(
            f"The link partner transmits {name} without pages: the link comes up, and frames pass in both directions"
        ):
            link_partner.offer(name, negotiates=False)
            wait_for_link(name)
            check_traffic()


@requirement(
    "CL73-PD-02",
    level="MUST",
    source=DETECTION,
    falsified_by=("link.report.stuck", "an.complete.lost", "program:backplane.not-set"),
)
@pytest.mark.usefixtures("has_kr")
@pytest.mark.budget(120)
def test_not_detected(link_partner, hcd, check_no_link, wait_for_link, step):
    """With a link partner that transmits 10GBASE-KR without pages, there is no link: parallel detection does not apply to 10GBASE-KR."""
    with step("The link partner transmits 10GBASE-KR without pages: there is no link and no carrier at any time"):
        link_partner.offer("10GBASE-KR", negotiates=False)
        check_no_link()
    with step("The link partner negotiates: the link comes up"):
        link_partner.offer(*link_partner.abilities["technologies"])
        wait_for_link(hcd)


@pytest.fixture
def try_disable_autoneg(dut, link_partner, restore_advertisement, evidence):
    """``try_disable_autoneg(10000)`` turns autonegotiation off at that speed in Mb/s; returns the error or None."""

    def change(speed):
        link_partner.mark()
        error = dut.try_set("linkmodes", autoneg=False, speed=speed, duplex=1)
        if error is not None:
            evidence(f"ethtool -s autoneg off speed {speed}", str(error))
            assert dut.link_modes().autonegotiation
            return error
        restore_advertisement()
        return None

    return change


@requirement(
    "CL73-FORCED-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE; IEEE 802.3-2022, 45.2.7.1 (7.0.12)",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_forced(
    link_partner,
    local_modes,
    dut,
    try_disable_autoneg,
    wait_for_link,
    until,
    check_traffic,
    step,
    skip_unsupported,
    evidence,
    capped_timeout,
):
    """With autonegotiation off at both ends, the link comes up at each speed of the port.

    If the port has several technologies of one speed, the driver chooses one; the link partner then uses the one that it receives.
    """
    accepted = False
    for speed in sorted({SPEEDS[name] for name in local_modes.values()}):
        names = {name for name in local_modes.values() if SPEEDS[name] == speed}
        expected = " or ".join(sorted(names))
        with step(f"Turn autonegotiation off at {speed} Mb/s: the driver transmits {expected} without pages"):
            if try_disable_autoneg(speed) is not None:
                continue
            accepted = True
            link_partner.offer(min(names), negotiates=False)
            found = until(
                lambda names=names: link_partner.carried in names and link_partner.carried,
                what=f"the driver transmits {expected}",
                timeout=capped_timeout(5),
            )
            evidence(f"{speed} Mb/s", found)
        with step(
            "The link partner transmits the same without pages: the link comes up, and frames pass in both directions"
        ):
            link_partner.offer(found, negotiates=False)
            wait_for_link(found)
            assert not dut.link_modes().autonegotiation
            check_traffic()
    if not accepted:
        skip_unsupported("turning autonegotiation off", evidence="the driver rejects each speed, see above")


@pytest.fixture
def forced_link(link_partner, local_modes, dut, try_disable_autoneg, wait_for_link, check_traffic, skip_unsupported):
    """``check_unchanged = forced_link()`` brings up a link without autonegotiation, at the first speed that the driver accepts.

    Skips if the driver accepts none. ``check_unchanged()`` expects the same link again, autonegotiation off, and frames in both
    directions; ``check_unchanged(SHORT)`` sends frames of these lengths only.
    """

    def bring_up():
        name = next((each for each in local_modes.values() if try_disable_autoneg(SPEEDS[each]) is None), None)
        if name is None:
            skip_unsupported("turning autonegotiation off", evidence="the driver rejects each speed, see above")
        link_partner.offer(name, negotiates=False)
        wait_for_link(name)
        link_partner.mark()

        def check(*sizes):
            wait_for_link(name)
            assert not dut.link_modes().autonegotiation
            check_traffic(*sizes)
            link_partner.mark()

        return check

    return bring_up


@requirement(
    "CL73-FORCED-02",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE; Documentation/networking/netdevices.rst, ndo_stop and ndo_open",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_forced_after_down_and_mtu(forced_link, dut, settings, step):
    """Autonegotiation that is off stays off when the interface goes down and up and when the MTU changes; the link is as before."""
    with step("Turn autonegotiation off; the link partner transmits without pages: the link comes up"):
        check_unchanged = forced_link()
    with step(
        "Set the interface down and up: autonegotiation is off, the link is up, and frames pass in both directions"
    ):
        settings.set_link(up=False)
        dut.set_link(up=True)
        check_unchanged()
    with step(
        "Lower the MTU: autonegotiation is off, the link is up, and frames that fit the MTU pass in both directions"
    ):
        settings.set_link(mtu=dut.mtu - 100)
        check_unchanged(SHORT)


@requirement(
    "CL73-FORCED-03",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE; Documentation/networking/netdevices.rst, ndo_tx_timeout",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
@pytest.mark.provokes(TRANSMIT_WATCHDOG)
@pytest.mark.fresh_guest  # where the driver does not reset the device, a queue may be left hanging
def test_forced_after_reset(forced_link, reset_by_watchdog, step):
    """Autonegotiation that is off stays off when the driver resets the device because a transmit queue hangs."""
    with step("Turn autonegotiation off; the link partner transmits without pages: the link comes up"):
        check_unchanged = forced_link()
    with step("Hang a transmit queue until the driver resets the device"):
        reset_by_watchdog()
    with step("Autonegotiation is off, the link is up, and frames pass in both directions"):
        check_unchanged()


@requirement(
    "CL73-FORCED-04",
    level="MUST",
    source="include/uapi/linux/ethtool.h, AUTONEG_DISABLE, ETHTOOL_TEST, ETH_TEST_FL_OFFLINE",
    falsified_by=("tx.frame.dropped", "program:backplane.not-set", "program:settings.not-set"),
)
@pytest.mark.budget(120)
def test_forced_after_self_test(forced_link, self_test, step):
    """Autonegotiation that is off stays off when the driver runs its offline self-test."""
    with step("Turn autonegotiation off; the link partner transmits without pages: the link comes up"):
        check_unchanged = forced_link()
    with step("Run the offline self-test"):
        self_test()
    with step("Autonegotiation is off, the link is up, and frames pass in both directions"):
        check_unchanged()


@requirement(
    "CL73-LOSS-01",
    level="SHOULD",
    source="Documentation/networking/operstates.rst; IEEE 802.3-2022, 45.2.3.2.7 (PCS receive link status stays low until it is read)",
    falsified_by=("an.latch.missing", "program:backplane.not-set"),
)
@pytest.mark.budget(90)
def test_brief_loss(forced_link, link_partner, dut, until, step, capped_timeout, evidence):
    """With autonegotiation off, the driver reports a loss of signal that ends before it reads the status: the carrier goes off and on."""
    with step("Turn autonegotiation off; the link partner transmits without pages: the link comes up"):
        check_unchanged = forced_link()
        before, entries = dut.link(), link_partner.record()[-1]["sequence"]
    with step(f"The link partner is silent for {SILENCE} s"):
        link_partner.set(flap={"times": 1, "down": SILENCE, "up": SILENCE})
        until(
            lambda: not link_partner.get()["flapping"] and link_partner.technology is not None,
            what="the link partner transmits again",
            timeout=capped_timeout(5),
        )
        evidence("record of the link partner", [each["event"] for each in link_partner.record(entries)])
    with step("The driver reports that the carrier went off and on; the link is as before"):

        def is_reported():
            now = dut.link()
            return all(now[name] > before[name] for name in ("carrier-down-count", "carrier-up-count"))

        until(is_reported, what="the carrier has gone off and on", timeout=capped_timeout(5))
        check_unchanged()
