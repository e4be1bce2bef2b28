# SPDX-License-Identifier: GPL-2.0-or-later
"""The carrier that the driver reports follows the link partner."""

from __future__ import annotations

import pytest
from plugfest.frames.probe import burst, only
from plugfest.requirements.requirement import requirement

OPERSTATES = "Documentation/networking/operstates.rst"
COUNTS = ("carrier-changes", "carrier-up-count", "carrier-down-count")
ROUNDS = 3
LOAD = 128
JUMBO, ETHERNET = 9000, 14
RESTARTS = 4
"""Not all drivers that leave the carrier on do so each time: a race that is lost once in ten shows in most runs."""
FLAPS = 20
FLOWS = 16
PROMPT = 2.0
"""Seconds within which the driver must notice that the link is up, on a guest of speed 1."""
PROMPT_DOWN = 0.5
BEFORE_WATCHDOG = 4.0
"""Seconds, on any guest: a loss that is not noticed for 5 s lets the kernel's transmit watchdog bite (dev_watchdog)."""


@pytest.fixture
def prompt(guest):
    """``prompt(up)``: seconds to wait for a report of that, on a guest of speed 1."""
    return lambda up: PROMPT if up else min(PROMPT_DOWN, BEFORE_WATCHDOG * min(1.0, guest.speed))


@pytest.fixture
def watch(until, prompt, dut):
    """``watch(up=True)`` waits until the driver reports the carrier so, and the kernel's operational state goes with it."""

    def wait(*, up):
        state = "up" if up else "down"

        def reported():
            link = dut.link()
            return bool(link["carrier"]) is up and link["operstate"] == state

        until(reported, what=f"{dut.ifname} is reported as {state}", timeout=prompt(up))

    return wait


@requirement("LINK-CARRIER-01", level="MUST", source=OPERSTATES, falsified_by="link.report.stuck")
def test_follows_partner(dut, link_partner, settings, watch, step):
    """The driver reports the carrier as gone when the link partner goes, and as there when it comes back."""
    settings.ready()
    for number in range(ROUNDS):
        with step(f"Take the partner down, time {number + 1}: carrier and operational state are down"):
            link_partner.set(up=False)
            watch(up=False)
            assert "running" not in dut.link()["flags"]
        with step("Bring it up: carrier and operational state are up"):
            link_partner.set(up=True)
            watch(up=True)
            assert "running" in dut.link()["flags"]


@requirement(
    "LINK-CARRIER-02",
    level="MUST",
    source="Documentation/ABI/testing/sysfs-class-net, carrier_changes, carrier_up_count, carrier_down_count",
    falsified_by="link.report.stuck",
)
def test_counted(dut, link_partner, settings, watch, step):
    """Each loss and each return of the carrier is counted once."""
    settings.ready()
    before = dut.link()
    with step(f"Take the partner down and bring it up, {ROUNDS} times"):
        for _ in range(ROUNDS):
            link_partner.set(up=False)
            watch(up=False)
            link_partner.set(up=True)
            watch(up=True)
    with step("The counters rose by that"):
        now = dut.link()
        rise = [now[name] - before[name] for name in COUNTS]
        assert rise == [2 * ROUNDS, ROUNDS, ROUNDS], dict(zip(COUNTS, rise, strict=True))


@requirement(
    "LINK-CARRIER-03",
    level="MUST",
    source="include/uapi/linux/rtnetlink.h, RTM_NEWLINK to RTNLGRP_LINK; Documentation/networking/operstates.rst",
    falsified_by="link.report.stuck",
)
def test_notified(guest, dut, link_partner, settings, until, prompt, defer, step):
    """User space is notified of each change of the carrier, in order."""
    settings.ready()
    monitor = guest.agent.call("link.monitor_open")
    defer(guest.agent.call, "handle.close", handle=monitor)
    told = []

    def last():
        news = guest.agent.call("link.monitor_read", monitor=monitor, ifname=dut.ifname, timeout=0.2)
        told.extend(bool(each["carrier"]) for each in news if "carrier" in each)
        return told[-1] if told else None

    for up in (False, True):
        with step(f"Turn the partner {'on' if up else 'off'}: a notification says so"):
            link_partner.set(up=up)
            until(
                lambda up=up: last() is up,
                what=f"a notification of carrier {'on' if up else 'off'}",
                timeout=prompt(up),
            )
    with step("There was one change in each direction"):
        changes = [state for state, previous in zip(told, [True, *told], strict=False) if state is not previous]
        assert changes == [False, True]


@requirement("LINK-CARRIER-04", level="MUST", source=OPERSTATES, falsified_by="program:settings.not-set")
@pytest.mark.budget(120)
def test_not_before_the_link(dut, link_partner, settings, defer, step):
    """An interface that was taken down and comes up again has no carrier before it has a link."""
    settings.ready()
    defer(settings.steady)
    defer(link_partner.set, up=True)
    defer(dut.set_link, up=True)
    for number in range(RESTARTS):
        with step(f"Take the interface down, and the partner too, time {number + 1}"):
            dut.set_link(up=False)
            link_partner.set(up=False)
            assert "up" not in dut.link()["flags"]
        with step("Take the interface up: there is no carrier"):
            dut.set_link(up=True)
            assert not dut.carrier
        with step("Bring the partner up: there is"):
            link_partner.set(up=True)
            settings.ready()


@requirement(
    "LINK-DOWN-01",
    level="MUST",
    source="Documentation/networking/operstates.rst; Documentation/networking/netdevices.rst, ndo_tx_timeout",
    falsified_by=("tx.frame.dropped", "link.report.stuck"),
)
def test_down(dut, link_partner, settings, check_traffic, traffic, packet_sender, remote, watch, step):
    """While the link is down nothing is on the wire and sending does not hang; when it is up again, traffic goes both ways."""
    settings.ready()
    frames = [probe.frame for probe in burst(traffic.ends_back, flows=FLOWS, sizes=(60, 1514))]
    with step("Take the partner down"):
        link_partner.set(up=False)
        watch(up=False)
    with step("Have the DUT send: nothing is on the wire"), remote.capture() as seen:
        before = dut.stats64()
        packet_sender.send(frames)
        assert list(only(seen.received())) == []
    with step("Bring the partner up: frames go both ways, unchanged"):
        link_partner.set(up=True)
        watch(up=True)
        check_traffic()
    with step("No transmit error was counted"):
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
    dut, link_partner, settings, check_traffic, traffic, packet_sender, watch, until, step, evidence
):
    """Whatever was being sent when the link went, sending goes on when it is back.

    What the device has not come to then, because its own queues are full, must not be left half done: neither its
    descriptors to a driver that no longer cares, nor the device's place in the ring to chance.
    """
    largest = min(dut.link().get("max-mtu") or JUMBO, JUMBO)
    settings.set_link(mtu=largest)
    settings.ready()
    frames = [probe.frame for probe in burst(traffic.ends_back, flows=1, sizes=(largest + ETHERNET,), versions=(4,))]
    with step("Take the partner down while the DUT sends in one flow, more than a device keeps in a queue of its own"):
        link_partner.set(up=False)
        evidence("frames handed over", packet_sender.send(frames, repeat=LOAD))
        watch(up=False)
    with step("Bring the partner up: frames go both ways, unchanged"):
        link_partner.set(up=True)
        watch(up=True)
        until(lambda: link_partner.linked, what="the partner has the link", timeout=5)
        traffic.discard()
        check_traffic()


@requirement("LINK-FLAP-01", level="MUST", source=OPERSTATES, falsified_by="link.report.stuck")
def test_flaps(dut, link_partner, settings, check_traffic, watch, until, step, evidence):
    """However often the link flaps, the driver ends up with the carrier as it is, down or up, and carries traffic."""
    settings.ready()
    before = dut.link()["carrier-changes"]
    with step(f"Let the partner flap {FLAPS} times, and take it down: the carrier is reported down"):
        link_partner.flap(FLAPS)
        until(lambda: link_partner.quiet, what="the partner has flapped", timeout=5)
        link_partner.set(up=False)
        watch(up=False)
    with step(f"Let it flap {FLAPS} times more, and leave it up: the carrier is reported up"):
        link_partner.flap(FLAPS)
        until(lambda: link_partner.quiet, what="the partner has flapped", timeout=5)
        link_partner.set(up=True)
        watch(up=True)
    with step("Frames go both ways, unchanged"):
        evidence("carrier changes reported", dut.link()["carrier-changes"] - before)
        check_traffic()
