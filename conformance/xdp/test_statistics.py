# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics of frames that a program passes, aborts or redirects; those of XDP_DROP and XDP_TX are in the area qstat."""

from __future__ import annotations

import pytest
from plugfest.frames.probe import burst, is_probe
from plugfest.requirements.requirement import requirement
from plugfest.statistics.accounts import explain
from plugfest.statistics.queue_counters import of_frames, total
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, WIRE_TIMEOUT
from plugfest.xdp.adjustment import Action, Adjustment
from plugfest.xdp.counters import SEEN, SENT, by_verdict

LINK_STATS = "include/uapi/linux/if_link.h, struct rtnl_link_stats64"
ETHTOOL_STATS = (
    "Documentation/networking/statistics.rst, ethtool -S: driver-specific counters, named after what they count"
)
QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats, rx-packets: packets consumed by XDP are still counted"

ETHTOOL_STATS_FAULTS = ("program:xdp.adjustment-lost", "rx.frame.duplicated")


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
@pytest.mark.parametrize("verdict", ["aborted", "passed"])
def test_received(native, accounting, traffic, verdict, step):
    """The interface and its queues count each frame that a program passes or aborts as received, exactly once."""
    probes = traffic.probes()
    with step("Attach the program"):
        program = native.attach({"aborted": "xdp_aborted", "passed": "xdp_pass"}[verdict])
        traffic.ready()
    with (
        step("Send test frames of every size in enough flows to reach every receive queue"),
        accounting.measure() as measured,
    ):
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
    with step("The interface and its queues, if it has any, count exactly what the wire carried to it"):
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
@pytest.mark.usefixtures("native_redirect")
def test_redirected_to_other_interface(adjustment, accounting, traffic, pair, step):
    """The interface counts frames that its program redirects to another interface as received, and not as sent."""
    with step("Attach a program that redirects test frames to one end of a veth pair"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
        traffic.ready()
        probes = traffic.probes()
    with (
        step("Send test frames of every size in enough flows to reach every receive queue"),
        accounting.measure() as measured,
    ):
        traffic.send(probes)
        assert len(pair.packet_receiver.take(is_probe, len(probes))) == len(probes)
    with step("The interface counts exactly what the wire carried to it and from it"):
        assert measured.link_rx == measured.wire_rx, explain(measured)
        assert measured.link_tx == measured.wire_tx, explain(measured)


@requirement(
    "XDP-STAT-04",
    level="MUST",
    source=f"{LINK_STATS}, tx_packets: what the host handed to the device",
    falsified_by=("program:qstat.frame-missing", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.usefixtures("redirect_target")
def test_redirected_from_other_interface(accounting, traffic, pair, dut, until, step):
    """The interface counts frames that another interface's program redirects to it as sent."""
    with step("On another interface, attach a program that redirects test frames to the DUT"):
        redirector = Adjustment(pair.near)
        redirector.aim(dut.ifname)
        redirector.configure(verdict=Action.REDIRECT)
        frames = [probe.frame for probe in burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES)]
    with (
        step("Send test frames of every size to the other interface"),
        accounting.measure() as measured,
        traffic.capture_sent() as seen,
        pair.lossless(),
    ):
        pair.packet_sender.send(frames)
        until(
            lambda: seen.reached(len(frames)),
            what=f"{len(frames)} frames are on the wire",
            timeout=WIRE_TIMEOUT,
        )
    with step("The interface counts exactly what the wire carried from it"):
        assert measured.link_tx == measured.wire_tx, explain(measured)


def counter_deltas(accounting, before):
    """By how much each of the driver's own XDP counters increased."""
    return {counter: count - before[counter] for counter, count in by_verdict(accounting.ethtool()).items()}


@requirement(
    "XDP-STAT-05",
    level="MUST",
    source=ETHTOOL_STATS,
    falsified_by=ETHTOOL_STATS_FAULTS,
    proves="xdp-act:basic",
    variant="aborted",
)
@requirement(
    "XDP-STAT-06",
    level="MUST",
    source=ETHTOOL_STATS,
    falsified_by=ETHTOOL_STATS_FAULTS,
    proves="xdp-act:basic",
    variant="drop",
)
@requirement(
    "XDP-STAT-07",
    level="MUST",
    source=ETHTOOL_STATS,
    falsified_by="rx.frame.duplicated",
    proves="xdp-act:basic",
    variant="pass",
)
@requirement(
    "XDP-STAT-08",
    level="MUST",
    source=ETHTOOL_STATS,
    falsified_by=ETHTOOL_STATS_FAULTS,
    proves="xdp-act:basic",
    variant="tx",
)
@requirement(
    "XDP-STAT-09",
    level="MUST",
    source=ETHTOOL_STATS,
    falsified_by=ETHTOOL_STATS_FAULTS,
    proves="xdp-act:redirect",
    variant="redirect",
)
@pytest.mark.parametrize("verdict", ["aborted", "drop", "pass", "tx", "redirect"])
def test_driver_counters(
    native, adjustment, require, accounting, traffic, remote, pair, verdict, step, skip_unsupported
):
    """The driver's own counter of a verdict increases by the number of frames with that verdict, and no counter of another verdict does."""
    if verdict == "redirect":
        require("xdp-act:redirect")
    if verdict not in by_verdict(accounting.ethtool()):
        skip_unsupported(f"an ethtool counter of {verdict}", evidence=[name for name, _ in accounting.ethtool()])
    with step("Attach a program that returns this verdict for each test frame"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action[verdict.upper()])
        traffic.ready()
        probes = traffic.probes()
    with (
        step(
            "Send test frames of every size in enough flows; read the driver's counters (ethtool -S) before and after"
        ),
        remote.capture() as capture,
    ):
        before = by_verdict(accounting.ethtool())
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), adjustment.program)
        accounting.settle()
        deltas = counter_deltas(accounting, before)
    with step(
        "The counter of the verdict, and that of all frames if there is one, increased by the test frames; other frames are passed"
    ):
        # Neighbour discovery and the like, which the program passes.
        other_frames = len(list(capture.sent())) - len(probes)
        for counter, delta in deltas.items():
            minimum = len(probes) if counter in (verdict, SEEN) else 0
            # Some drivers count XDP_TX in the counter of transmitted frames, too.
            maximum = len(probes) if (verdict, counter) == ("tx", SENT) else minimum
            maximum += other_frames if counter in ("pass", SEEN) else 0
            assert minimum <= delta <= maximum, (
                f"{counter}: expected an increase of {minimum} to {maximum}; all counters increased by {deltas}"
            )


@requirement(
    "XDP-STAT-10",
    level="MUST",
    source=ETHTOOL_STATS,
    falsified_by="program:xdp.adjustment-lost",
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.usefixtures("redirect_target")
def test_driver_counter_of_redirect_target(accounting, traffic, pair, dut, until, step, skip_unsupported):
    """The driver's own counter of frames that other interfaces redirect to this one increases by the number of those frames."""
    with step("On another interface, attach a program that redirects test frames to the DUT"):
        before = by_verdict(accounting.ethtool())
        if SENT not in before:
            skip_unsupported(
                "an ethtool counter of frames redirected to it", evidence=[name for name, _ in accounting.ethtool()]
            )
        redirector = Adjustment(pair.near)
        redirector.aim(dut.ifname)
        redirector.configure(verdict=Action.REDIRECT)
        frames = [probe.frame for probe in burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES)]
    with step("Send test frames of every size to the other interface: the counter increases by their number"):
        pair.packet_sender.send(frames)
        until(
            lambda: counter_deltas(accounting, before)[SENT] >= len(frames),
            what=f"{len(frames)} frames are counted",
            timeout=WIRE_TIMEOUT,
        )
        assert counter_deltas(accounting, before)[SENT] == len(frames)
