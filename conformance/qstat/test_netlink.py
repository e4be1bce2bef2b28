# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink's queue statistics: which queues they cover, the device scope, and frames that XDP consumes."""

from __future__ import annotations

import pytest
from plugfest.dut.operations import NotOfferedError
from plugfest.requirements.requirement import requirement
from plugfest.statistics.accounts import explain
from plugfest.statistics.queue_counters import of_frames, total
from plugfest.traffic.traffic import WIRE_TIMEOUT

QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats"
RX = f"{QSTATS}, rx-packets, rx-bytes: wire packets"
TX = f"{QSTATS}, tx-packets, tx-bytes: wire packets"
ACTIVE = f"{QSTATS}: only currently active queues"
RTNL = "include/uapi/linux/if_link.h, struct rtnl_link_stats64"
BASE = "include/net/netdev_queues.h, struct netdev_stat_ops, get_base_stats"
PLAIN = ("rx-packets", "rx-bytes", "tx-packets", "tx-bytes")


@requirement(
    "QSTAT-NL-01",
    level="MUST",
    source=f"{QSTATS}, queue-id, queue-type: only currently active queues",
    falsified_by=("program:qstat.queue-missing",),
)
def test_netlink_queues(netlink_counters, traffic, step):
    """Netlink's queue statistics have exactly one entry for each queue that the kernel uses."""
    with step("Read netlink's statistics: there is one entry for each receive and transmit queue, numbered from 0"):
        for direction in ("rx", "tx"):
            assert netlink_counters.netlink_queues(direction) == list(range(traffic.queues(direction))), direction


@requirement(
    "QSTAT-NL-02",
    level="MUST",
    source=f"{QSTATS}, scope",
    falsified_by=("program:qstat.total-differs",),
)
def test_netlink_scopes(netlink_counters, traffic, step, skip_unsupported):
    """Netlink's device-wide statistics have every counter that its queues have, and rise by the sum of what the queues rise by."""
    if not netlink_counters.netlink_device():
        skip_unsupported("netlink queue statistics of device scope", evidence=netlink_counters.qstats("device"))
    with step("Send test frames both ways"), netlink_counters.measure() as measured:
        traffic.check_delivery()
        traffic.send_back()
    with step("The device-wide statistics rose by as much as the queues' together"):
        rx, tx = total(measured.queues.rx.values()), total(measured.queues.tx.values())
        queues = {"rx-packets": rx.frames, "rx-bytes": rx.bytes, "tx-packets": tx.frames, "tx-bytes": tx.bytes}
        reported = {name: rise for name, rise in queues.items() if name in measured.netlink}
        assert {name: measured.netlink_device.get(name) for name in reported} == reported


@requirement(
    "QSTAT-NL-10",
    level="MUST",
    source=f"{RX}; packets consumed by XDP are still counted",
    falsified_by=("program:qstat.frame-missing", "rx.frame.duplicated"),
)
def test_dropped_by_xdp(netlink_counters, native, traffic, step):
    """Frames that an XDP program drops are counted as received, by their queues and by the device."""
    probes = traffic.probes()
    with step("Attach a program that drops test frames"):
        program = native.attach("xdp_drop")
        traffic.ready()
    with step("Send test frames of every size"), netlink_counters.measure() as measured:
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
    with step("The receive queues' counters rose by what the wire carried, and those of the device"):
        assert total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)
        assert device_scope(measured, "rx") in ({}, of_wire(measured.wire_rx, "rx")), explain(measured)


@requirement(
    "QSTAT-NL-11",
    level="MUST",
    source=f"{TX}; {BASE}: packets transferred outside of the main set of queues",
    falsified_by=("program:qstat.total-differs", "tx.frame.dropped"),
)
@pytest.mark.parametrize("program", ["xdp_tx", "xdp_redirect"])
def test_sent_by_xdp(netlink_counters, native, require, traffic, step, until, skip_unsupported, program):
    """Frames that an XDP program sends back or redirects are counted by the device, as received and as sent."""
    if program == "xdp_redirect":
        require("xdp-act:redirect")
    probes = traffic.probes()
    with step(f"Attach the program {program}"):
        native.attach(program)
        traffic.ready()
        if program == "xdp_redirect":
            require("xdp-act:ndo-xmit")
    with (
        step("Send test frames of every size"),
        netlink_counters.measure() as measured,
        traffic.capture_sent() as seen,
    ):
        traffic.send(probes)
        until(lambda: seen.reached(len(probes)), what=f"{len(probes)} frames are back", timeout=WIRE_TIMEOUT)
    with step("The sum of the receive queues' counters rose by what the wire carried"):
        assert total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)
    with step("The device-wide counters rose by what the wire carried, both ways"):
        if not measured.netlink_device:
            skip_unsupported("netlink queue statistics of device scope", evidence=dict(measured.netlink_device))
        assert device_scope(measured, "rx") == of_wire(measured.wire_rx, "rx"), explain(measured)
        assert device_scope(measured, "tx") == of_wire(measured.wire_tx, "tx"), explain(measured)


@requirement(
    "QSTAT-NL-12",
    level="MUST",
    source=f"{QSTATS}: extend (and partially duplicate) {RTNL}; {BASE}",
    falsified_by=("program:qstat.total-differs",),
)
def test_agree_with_rtnetlink(netlink_counters, traffic, settings, step, skip_unsupported):
    """Netlink's device-wide counters equal rtnetlink's, before and after traffic, and after the interface was down."""
    if not netlink_counters.netlink_device():
        skip_unsupported("netlink queue statistics of device scope", evidence=netlink_counters.qstats("device"))

    def differences():
        """Return the counters that differ, each with both values, at a moment when no frame was counted in between."""
        while True:
            before, device, after = (
                netlink_counters.read().link,
                netlink_counters.netlink_device(),
                netlink_counters.read().link,
            )
            if before == after:
                pairs = {name: (after[name.replace("-", "_")], device.get(name)) for name in PLAIN}
                return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    with step("Read both while no frame is in flight: they are equal"):
        assert differences() == {}
    with step("Send test frames both ways, then read both: they are equal"):
        traffic.check_delivery()
        traffic.send_back()
        assert differences() == {}
    with step("Take the interface down and up, then read both: they are equal"):
        settings.set_link(up=False)
        settings.set_link(up=True)
        settings.ready()
        assert differences() == {}


@requirement("QSTAT-NL-13", level="MUST", source=ACTIVE, falsified_by=("program:settings.not-set",))
def test_while_down(netlink_counters, settings, step):
    """While the interface is down, no queue has statistics, and the device-wide ones, if there are any, are still reported."""
    whole = netlink_counters.netlink_device()
    with step("Take the interface down: no queue is active, so netlink reports none"):
        settings.set_link(up=False)
        assert netlink_counters.qstats() == []
    with step("The device-wide statistics have the same counters as before, and none decreased"):
        now = netlink_counters.netlink_device()
        assert now.keys() == whole.keys()
        assert {name: (value, now[name]) for name, value in whole.items() if now[name] < value} == {}


@requirement(
    "QSTAT-NL-14", level="MUST", source=ACTIVE, falsified_by=("program:qstat.queue-missing", "program:settings.not-set")
)
def test_after_channel_change(netlink_counters, traffic, operations, step, defer, skip_unsupported):
    """After a change of the number of channels, netlink has statistics for exactly the current queues, numbered from 0."""
    before = {way: netlink_counters.netlink_queues(way) for way in ("rx", "tx")}
    with step("Change the number of channels by one"):
        try:
            operations.other_channels(defer)
        except NotOfferedError as error:
            skip_unsupported("another number of channels", evidence=str(error))
    with step("There is one entry for each current queue"):
        after = {way: netlink_counters.netlink_queues(way) for way in ("rx", "tx")}
        assert after != before
        assert after == {way: list(range(traffic.queues(way))) for way in after}


def device_scope(measured, direction):
    """Return what the device-wide frame and byte counters of a direction rose by; empty if there are none."""
    return {
        name: rise for name, rise in measured.netlink_device.items() if name in PLAIN and name.startswith(direction)
    }


def of_wire(account, direction):
    """Return an account under the names of netlink's counters."""
    return {f"{direction}-packets": account.frames, f"{direction}-bytes": account.bytes}
