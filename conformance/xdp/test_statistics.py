# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted of frames that programs keep from the stack; those that are dropped or sent back are the area qstat's."""

from __future__ import annotations

import pytest
from plugfest.adjustment import Action, Adjustment
from plugfest.ledger import explain
from plugfest.probe import burst, is_probe
from plugfest.queue_counters import of_frames, total
from plugfest.requirement import requirement
from plugfest.traffic import FLOWS_PER_QUEUE, SIZES
from plugfest.xdp import SOON

LINK_STATS = "include/uapi/linux/if_link.h, struct rtnl_link_stats64"
QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats, rx-packets: packets consumed by XDP are still counted"


@requirement(
    "XDP-STAT-01",
    level="MUST",
    source=f"{LINK_STATS}, rx_packets; {QSTATS}",
    falsified_by=("program:qstat.frame-missing", "rx.frame.duplicated"),
    proves="xdp-act:basic",
    variant="aborted",
)
@requirement(
    "XDP-STAT-02",
    level="MUST",
    source=f"{LINK_STATS}, rx_packets; {QSTATS}",
    falsified_by=("program:qstat.frame-missing", "rx.frame.duplicated"),
    proves="xdp-act:basic",
    variant="passed",
)
@pytest.mark.parametrize("name", ["aborted", "passed"])
def test_received(native, ledger, traffic, name, step):
    """Frames that a program passes, or aborts on, are counted as received once, by the interface and by the queues."""
    probes = traffic.probes()
    with step("Attach the program"):
        program = native.attach({"aborted": "xdp_aborted", "passed": "xdp_pass"}[name])
        traffic.ready()
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        ledger.stretch() as stretch,
    ):
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
    with step("The interface, and its queues where it has any, count what the wire carried to it"):
        assert stretch.link_rx == stretch.wire_rx, explain(stretch)
        if ledger.queues():
            assert total(stretch.queues.rx.values()) == stretch.wire_rx, explain(stretch)


@requirement(
    "XDP-STAT-03",
    level="MUST",
    source=f"{LINK_STATS}, rx_packets, tx_packets; {QSTATS}",
    falsified_by=("program:qstat.frame-missing", "rx.frame.duplicated"),
    proves="xdp-act:redirect",
)
@pytest.mark.usefixtures("redirecting")
def test_redirected_away(adjustment, ledger, traffic, pair, step):
    """Frames that a program redirects to another interface are counted as received by this one, and not as sent."""
    with step("Attach a program that redirects test frames to a wire within the guest"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.tell(verdict=Action.REDIRECT)
        traffic.ready()
        probes = traffic.probes()
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        ledger.stretch() as stretch,
    ):
        traffic.send(probes)
        assert len(pair.inlet.take(is_probe, len(probes))) == len(probes)
    with step("The interface counts what the wire carried to it and from it, and no more"):
        assert stretch.link_rx == stretch.wire_rx, explain(stretch)
        assert stretch.link_tx == stretch.wire_tx, explain(stretch)


@requirement(
    "XDP-STAT-04",
    level="MUST",
    source=f"{LINK_STATS}, tx_packets: what the host handed to the device",
    falsified_by=("program:qstat.frame-missing", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.usefixtures("target")
def test_redirected_here(ledger, traffic, pair, faults, dut, until, step):
    """Frames that another interface's program redirects to this one are counted as sent by it."""
    with step("Attach a program to another interface that redirects test frames to the one under test"):
        source = Adjustment(pair.near, faults)
        source.aim(dut.ifname)
        source.tell(verdict=Action.REDIRECT)
        frames = [probe.frame for probe in burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES)]
    with (
        step("Let test frames of every size come to the other interface"),
        ledger.stretch() as stretch,
        traffic.sightings() as seen,
    ):
        pair.outlet.send(frames)
        until(lambda: len(seen.probes()) >= len(frames), what=f"{len(frames)} frames are on the wire", timeout=SOON)
    with step("The interface counts what the wire carried from it"):
        assert stretch.link_tx == stretch.wire_tx, explain(stretch)
