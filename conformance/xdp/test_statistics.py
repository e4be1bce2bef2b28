# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted of frames that programs keep from the stack; those that are dropped or sent back are the area qstat's."""

from __future__ import annotations

import pytest
from plugfest.frames.probe import burst, is_probe
from plugfest.requirements.requirement import requirement
from plugfest.statistics.accounts import explain
from plugfest.statistics.queue_counters import of_frames, total
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES
from plugfest.xdp.adjustment import Action, Adjustment
from plugfest.xdp.counters import SEEN, SENT, by_verdict
from plugfest.xdp.programs import SOON

LINK_STATS = "include/uapi/linux/if_link.h, struct rtnl_link_stats64"
OWN = "Documentation/networking/statistics.rst, ethtool -S: driver-specific counters, named after what they count"
QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats, rx-packets: packets consumed by XDP are still counted"

OWN_WRONG = ("program:xdp.adjustment-lost", "rx.frame.duplicated")


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
def test_received(native, accounting, traffic, name, step):
    """Frames that a program passes, or aborts on, are counted as received once, by the interface and by the queues."""
    probes = traffic.probes()
    with step("Attach the program"):
        program = native.attach({"aborted": "xdp_aborted", "passed": "xdp_pass"}[name])
        traffic.ready()
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        accounting.measure() as measured,
    ):
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
    with step("The interface, and its queues where it has any, count what the wire carried to it"):
        assert measured.link_rx == measured.wire_rx, explain(measured)
        if accounting.queues():
            assert total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)


@requirement(
    "XDP-STAT-03",
    level="MUST",
    source=f"{LINK_STATS}, rx_packets, tx_packets; {QSTATS}",
    falsified_by=("program:qstat.frame-missing", "rx.frame.duplicated"),
    proves="xdp-act:redirect",
)
@pytest.mark.usefixtures("redirecting")
def test_redirected_away(adjustment, accounting, traffic, pair, step):
    """Frames that a program redirects to another interface are counted as received by this one, and not as sent."""
    with step("Attach a program that redirects test frames to a wire within the guest"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
        traffic.ready()
        probes = traffic.probes()
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        accounting.measure() as measured,
    ):
        traffic.send(probes)
        assert len(pair.packet_receiver.take(is_probe, len(probes))) == len(probes)
    with step("The interface counts what the wire carried to it and from it, and no more"):
        assert measured.link_rx == measured.wire_rx, explain(measured)
        assert measured.link_tx == measured.wire_tx, explain(measured)


@requirement(
    "XDP-STAT-04",
    level="MUST",
    source=f"{LINK_STATS}, tx_packets: what the host handed to the device",
    falsified_by=("program:qstat.frame-missing", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.usefixtures("target")
def test_redirected_here(accounting, traffic, pair, dut, until, step):
    """Frames that another interface's program redirects to this one are counted as sent by it."""
    with step("Attach a program to another interface that redirects test frames to the one under test"):
        source = Adjustment(pair.near)
        source.aim(dut.ifname)
        source.configure(verdict=Action.REDIRECT)
        frames = [probe.frame for probe in burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES)]
    with (
        step("Let test frames of every size come to the other interface"),
        accounting.measure() as measured,
        traffic.capture_sent() as seen,
    ):
        pair.packet_sender.send(frames)
        until(lambda: len(seen.probes()) >= len(frames), what=f"{len(frames)} frames are on the wire", timeout=SOON)
    with step("The interface counts what the wire carried from it"):
        assert measured.link_tx == measured.wire_tx, explain(measured)


def risen(accounting, before):
    """What each of the driver's own counters of XDP rose by."""
    return {what: count - before[what] for what, count in by_verdict(accounting.ethtool()).items()}


@requirement("XDP-STAT-05", level="MUST", source=OWN, falsified_by=OWN_WRONG, proves="xdp-act:basic", variant="aborted")
@requirement("XDP-STAT-06", level="MUST", source=OWN, falsified_by=OWN_WRONG, proves="xdp-act:basic", variant="drop")
@requirement(
    "XDP-STAT-07", level="MUST", source=OWN, falsified_by="rx.frame.duplicated", proves="xdp-act:basic", variant="pass"
)
@requirement("XDP-STAT-08", level="MUST", source=OWN, falsified_by=OWN_WRONG, proves="xdp-act:basic", variant="tx")
@requirement(
    "XDP-STAT-09", level="MUST", source=OWN, falsified_by=OWN_WRONG, proves="xdp-act:redirect", variant="redirect"
)
@pytest.mark.parametrize("verdict", ["aborted", "drop", "pass", "tx", "redirect"])
def test_own_counters(native, adjustment, require, accounting, traffic, remote, pair, verdict, step, skip_unsupported):
    """The driver's own counter of a verdict rises by the frames that got it, and no counter of another verdict does."""
    if verdict == "redirect":
        require("xdp-act:redirect")
    if verdict not in by_verdict(accounting.ethtool()):
        skip_unsupported(f"a counter of its own of {verdict}", evidence=[name for name, _ in accounting.ethtool()])
    with step(
        "Attach a program that gives each test frame this verdict, and read the driver's own counters (ethtool -S)"
    ):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action[verdict.upper()])
        traffic.ready()
        probes = traffic.probes()
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue, and read them again"),
        remote.capture() as capture,
    ):
        before = by_verdict(accounting.ethtool())
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), adjustment.program)
        accounting.settle()
        rises = risen(accounting, before)
    with step("It rose by their number, as did a counter of all frames that programs saw; what else came was passed"):
        # Neighbour discovery and the like, which the program passes.
        others = len(list(capture.sent())) - len(probes)
        for what, rise in rises.items():
            least = len(probes) if what in (verdict, SEEN) else 0
            # By some drivers what goes by XDP_TX is counted as sent, too.
            most = len(probes) if (verdict, what) == ("tx", SENT) else least
            most += others if what in ("pass", SEEN) else 0
            assert least <= rise <= most, f"{what}: {least} to {most} expected; all rose by {rises}"


@requirement(
    "XDP-STAT-10",
    level="MUST",
    source=OWN,
    falsified_by="program:xdp.adjustment-lost",
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.usefixtures("target")
def test_own_counter_of_target(accounting, traffic, pair, dut, until, step, skip_unsupported):
    """The driver's own counter of what other interfaces redirect to this one rises by those frames."""
    with step("Attach a program to another interface that redirects test frames to the one under test"):
        before = by_verdict(accounting.ethtool())
        if SENT not in before:
            skip_unsupported(
                "a counter of its own of what is redirected to it", evidence=[name for name, _ in accounting.ethtool()]
            )
        source = Adjustment(pair.near)
        source.aim(dut.ifname)
        source.configure(verdict=Action.REDIRECT)
        frames = [probe.frame for probe in burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES)]
    with step("Let test frames of every size come to the other interface: the counter rises by their number"):
        pair.packet_sender.send(frames)
        until(
            lambda: risen(accounting, before)[SENT] >= len(frames),
            what=f"{len(frames)} frames are counted",
            timeout=SOON,
        )
        assert risen(accounting, before)[SENT] == len(frames)
