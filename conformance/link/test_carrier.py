# SPDX-License-Identifier: GPL-2.0-or-later
"""The carrier that the driver reports follows the link."""

from __future__ import annotations

import pytest
from plugfest.frames.probe import burst, only
from plugfest.requirements.requirement import requirement

OPERSTATES = "Documentation/networking/operstates.rst"
COUNTS = ("carrier-changes", "carrier-up-count", "carrier-down-count")
ROUNDS = 3
QUEUED_FRAMES = 128
"""More frames of a jumbo MTU than the FIFO of a device holds."""
JUMBO_MTU, ETHERNET_HEADER = 9000, 14
RESTARTS = 4
"""A driver that leaves the carrier on may do so only now and then: several rounds make a race visible in most runs."""
FLAPS = 20
FLOWS = 16
NOTIFICATION_WAIT = 0.2
"""Seconds for which one look at the notifications waits for one."""
FIRST_UP_TIMEOUT = 10.0
"""Seconds on a guest of speed 1 within which the link must come up after the interface was set up."""
FIRST_UP_LIMIT = 30.0
"""Upper bound of `FIRST_UP_TIMEOUT` in seconds of wall time, by which drivers' timers go: several of the longest, 5 s."""


@requirement("LINK-UP-01", level="MUST", source=OPERSTATES, falsified_by="program:link.carrier-lost", base="link")
def test_up(guest, settings, step):
    """With a link partner that is up, the driver reports carrier, and the operational state is up."""
    with step("The interface is up, and so is the link partner: carrier and operational state are up"):
        settings.ready(timeout=min(FIRST_UP_TIMEOUT, FIRST_UP_LIMIT * guest.speed))


@requirement("LINK-CARRIER-01", level="MUST", source=OPERSTATES, falsified_by="link.report.stuck")
def test_follows_partner(dut, link_partner, settings, wait_for_carrier, step):
    """The driver reports no carrier when the link partner goes down, and carrier when it comes back up."""
    settings.ready()
    for number in range(1, ROUNDS + 1):
        with step(f"Round {number}: take the link partner down: carrier and operational state are down"):
            link_partner.set(up=False)
            wait_for_carrier(up=False)
            assert "running" not in dut.link()["flags"]
        with step("Bring the link partner up: carrier and operational state are up"):
            link_partner.set(up=True)
            wait_for_carrier(up=True)
            assert "running" in dut.link()["flags"]


@requirement(
    "LINK-CARRIER-02",
    level="MUST",
    source="Documentation/ABI/testing/sysfs-class-net, carrier_changes, carrier_up_count, carrier_down_count",
    falsified_by="link.report.stuck",
)
def test_counted(dut, link_partner, settings, wait_for_carrier, step):
    """The carrier counters count each loss and each return of the carrier once."""
    settings.ready()
    before = dut.link()
    with step(f"Take the link partner down and bring it up, {ROUNDS} times"):
        for _ in range(ROUNDS):
            link_partner.set(up=False)
            wait_for_carrier(up=False)
            link_partner.set(up=True)
            wait_for_carrier(up=True)
    with step(f"carrier_up_count and carrier_down_count rose by {ROUNDS} each, carrier_changes by their sum"):
        now = dut.link()
        rise = [now[name] - before[name] for name in COUNTS]
        assert rise == [2 * ROUNDS, ROUNDS, ROUNDS], dict(zip(COUNTS, rise, strict=True))


@requirement(
    "LINK-CARRIER-03",
    level="MUST",
    source="include/uapi/linux/rtnetlink.h, RTM_NEWLINK to RTNLGRP_LINK; Documentation/networking/operstates.rst",
    falsified_by="link.report.stuck",
)
def test_notified(guest, dut, link_partner, settings, until, carrier_timeout, defer, step):
    """The kernel notifies user space of each change of the carrier, in order."""
    settings.ready()
    monitor = guest.agent.call("link.monitor_open")
    defer(guest.agent.call, "handle.close", handle=monitor)
    states = []

    def last_state(limit):
        within = min(NOTIFICATION_WAIT, limit.remaining)
        messages = guest.agent.call("link.monitor_read", monitor=monitor, ifname=dut.ifname, timeout=within)
        states.extend(bool(each["carrier"]) for each in messages if "carrier" in each)
        return states[-1] if states else None

    for up, action, state in (
        (False, "Take the link partner down", "no carrier"),
        (True, "Bring the link partner up", "carrier"),
    ):
        with step(f"{action}: RTM_NEWLINK reports {state}"):
            link_partner.set(up=up)
            limit = guest.deadline(carrier_timeout(up))
            until(
                lambda up=up, limit=limit: last_state(limit) is up,
                what=f"RTM_NEWLINK reports {state}",
                timeout=carrier_timeout(up),
                required=True,
            )
    with step("The notifications show one change in each direction"):
        changes = [state for state, previous in zip(states, [True, *states], strict=False) if state is not previous]
        assert changes == [False, True]


@requirement("LINK-CARRIER-04", level="MUST", source=OPERSTATES, falsified_by="program:settings.not-set")
@pytest.mark.budget(120)
def test_no_carrier_before_link(dut, link_partner, settings, defer, step):
    """When an interface is set up while its link partner is down, the driver reports no carrier until there is a link."""
    settings.ready()
    defer(settings.ready)
    defer(link_partner.set, up=True)
    defer(dut.set_link, up=True)
    for number in range(1, RESTARTS + 1):
        with step(f"Round {number}: set the interface down, and take the link partner down"):
            dut.set_link(up=False)
            link_partner.set(up=False)
            assert "up" not in dut.link()["flags"]
        with step("Set the interface up: there is no carrier"):
            dut.set_link(up=True)
            assert not dut.carrier, "there is carrier while the link partner is down"
        with step("Bring the link partner up: there is carrier"):
            link_partner.set(up=True)
            settings.ready()


@requirement(
    "LINK-DOWN-01",
    level="MUST",
    source="Documentation/networking/operstates.rst; Documentation/networking/netdevices.rst, ndo_tx_timeout",
    falsified_by=("tx.frame.dropped", "link.report.stuck"),
)
def test_down(dut, link_partner, settings, check_traffic, traffic, packet_sender, remote, wait_for_carrier, step):
    """While the link is down, the driver sends no frame and sending does not block; after that, frames pass in both directions."""
    settings.ready()
    frames = [probe.frame for probe in burst(traffic.ends_back, flows=FLOWS, sizes=(60, 1514))]
    with step("Take the link partner down"):
        link_partner.set(up=False)
        wait_for_carrier(up=False)
    with step("Send frames from the DUT: none is on the wire"), remote.capture() as seen:
        before = dut.stats64()
        packet_sender.send(frames)
        assert list(only(seen.received())) == []
    with step("Bring the link partner up: frames pass in both directions, unchanged"):
        link_partner.set(up=True)
        wait_for_carrier(up=True)
        check_traffic()
    with step("tx_errors did not rise"):
        assert dut.stats64()["tx_errors"] == before["tx_errors"]


@requirement(
    "LINK-DOWN-02",
    level="MUST",
    source="Documentation/networking/netdevices.rst, ndo_start_xmit, ndo_tx_timeout",
    falsified_by="tx.queue.stuck",
)
@pytest.mark.fresh_guest
@pytest.mark.budget(60)
def test_down_under_load(
    dut, link_partner, settings, check_traffic, traffic, packet_sender, wait_for_carrier, until, step, evidence
):
    """If the link goes down while the DUT sends, transmission resumes when the link comes back.

    The device may stop in the middle of the ring because its FIFO is full. The driver must then neither leak the descriptors that the
    device has not completed nor lose track of the device's position in the ring.
    """
    largest = min(dut.link().get("max-mtu") or JUMBO_MTU, JUMBO_MTU)
    settings.set_link(mtu=largest)
    settings.ready()
    frames = [
        probe.frame for probe in burst(traffic.ends_back, flows=1, sizes=(largest + ETHERNET_HEADER,), versions=(4,))
    ]
    with step("Take the link partner down, and send more frames of one flow than the device's FIFO holds"):
        link_partner.set(up=False)
        evidence("frames sent", packet_sender.send(frames, repeat=QUEUED_FRAMES))
        wait_for_carrier(up=False)
    with step("Bring the link partner up: frames pass in both directions, unchanged"):
        link_partner.set(up=True)
        wait_for_carrier(up=True)
        until(lambda: link_partner.linked, what="the link partner has the link", timeout=5)
        traffic.discard()
        check_traffic()


@requirement("LINK-FLAP-01", level="MUST", source=OPERSTATES, falsified_by="link.report.stuck")
def test_flaps(dut, link_partner, settings, check_traffic, wait_for_carrier, until, step, evidence):
    """After many link flaps, the driver reports the carrier state that the link ends in, and frames pass in both directions."""
    settings.ready()
    before = dut.link()["carrier-changes"]
    with step(f"The link partner flaps {FLAPS} times and goes down: the driver reports no carrier"):
        link_partner.flap(FLAPS)
        until(lambda: link_partner.quiet, what="the link partner has flapped", timeout=5)
        link_partner.set(up=False)
        wait_for_carrier(up=False)
    with step(f"The link partner flaps {FLAPS} times and stays up: the driver reports carrier"):
        link_partner.flap(FLAPS)
        until(lambda: link_partner.quiet, what="the link partner has flapped", timeout=5)
        link_partner.set(up=True)
        wait_for_carrier(up=True)
    with step("Frames pass in both directions, unchanged"):
        evidence("carrier changes reported", dut.link()["carrier-changes"] - before)
        check_traffic()
