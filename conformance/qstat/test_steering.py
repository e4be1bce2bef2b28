# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that is steered to a queue is counted on that queue. Each queue gets a different number of frames, to tell them apart."""

from __future__ import annotations

from collections import Counter

import pytest
from plugfest.dut.steering import NTUPLE
from plugfest.frames.probe import burst
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.statistics.accounts import explain
from plugfest.statistics.queue_counters import total
from plugfest.traffic.per_queue import frame_count, frames_for_queue, miscounted
from plugfest.traffic.traffic import check_same, payloads

QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats, queue-id"
SCALING = "Documentation/networking/scaling.rst"
TOEPLITZ = 1
FIRST_PORT = 40300


@pytest.fixture
def multi_queue_counters(per_queue_counters, dut, skip_unsupported):
    """The accounts; skips unless there are several receive queues with counters."""
    queues = dut.queues()
    if queues < 2 or len(per_queue_counters.queues().rx) < 2:
        skip_unsupported("counters of several receive queues", evidence={"receive queues": queues})
    return per_queue_counters


@requirement(
    "QSTAT-STEER-01",
    level="MUST",
    source=f"{QSTATS}; {SCALING}, RSS indirection table",
    falsified_by=("program:qstat.wrong-queue", "rx.rss.queue"),
)
def test_by_table(multi_queue_counters, dut, settings, traffic, step, skip_unsupported):
    """Frames that the RSS indirection table steers to a queue are counted on that queue, and on no other."""
    rss = dut.rss()
    if rss is None:
        skip_unsupported("an indirection table", evidence={"ethtool -x": rss})
    steered = {}
    with (
        step("Point the whole indirection table at each queue in turn, and send each a different number of frames"),
        multi_queue_counters.measure() as measured,
    ):
        for queue in range(dut.queues()):
            try:
                settings.set_rss(table=[queue] * len(rss.table))
            except AgentError as error:
                skip_unsupported("setting the indirection table", evidence=str(error))
            probes = traffic.probes(versions=(4,))[: frame_count(queue)]
            traffic.send(probes)
            check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
            steered[queue] = [probe.frame for probe in probes]
    with step("Each queue's counters rose by its own frames and bytes"):
        assert miscounted(measured, steered) == [], explain(measured)


@requirement(
    "QSTAT-STEER-02",
    level="MUST",
    source=f"{QSTATS}; include/uapi/linux/ethtool.h, ETHTOOL_SRXCLSRLINS",
    falsified_by=("program:qstat.wrong-queue", "rx.flow-director.ignored"),
)
def test_by_rule(multi_queue_counters, dut, active, steering, traffic, until, step):
    """Frames that a flow rule steers to a queue are counted on that queue, and on no other."""
    steered = {}
    rules = {queue: FIRST_PORT + queue for queue in range(dut.queues())}
    with step("Insert a rule for each queue that steers one destination port to it"):
        active(NTUPLE)
        traffic.ready()
        for queue, port in rules.items():
            rule = steering.add_rule("udp", 4, port, queue)
            assert rule is not None, f"{NTUPLE} is on, but the driver returned EOPNOTSUPP for a rule"
    with step("Send a different number of frames to each port"), multi_queue_counters.measure() as measured:
        before = total(multi_queue_counters.queues().rx.values()).frames
        for queue, port in rules.items():
            probes = traffic.probes(versions=(4,), port=port)[: frame_count(queue)]
            traffic.send(probes)
            steered[queue] = [probe.frame for probe in probes]
        count = sum(len(frames) for frames in steered.values())
        until(
            lambda: total(multi_queue_counters.queues().rx.values()).frames - before >= count,
            what=f"{count} frames are counted",
            timeout=1,
        )
    with step("Each queue's counters rose by its own frames and bytes"):
        assert miscounted(measured, steered) == [], explain(measured)


@requirement(
    "QSTAT-STEER-03",
    level="MUST",
    source=f"{QSTATS}; {SCALING}, RSS; Microsoft, Verifying the RSS hash calculation",
    falsified_by=("program:qstat.wrong-queue", "rx.rss.queue"),
)
def test_by_source_port(multi_queue_counters, dut, traffic, remote, step, until, skip_unsupported):
    """Frames whose source port the RSS hash maps to a queue are counted on that queue, and on no other."""
    rss = dut.rss()
    if rss is None or not rss.key or rss.function not in (0, TOEPLITZ) or len(set(rss.table)) < 2:
        skip_unsupported("RSS with the Toeplitz hash over several queues", evidence={"ethtool -x": rss})
    with step("Choose source ports that the Toeplitz hash, with the driver's key and table, maps to each queue"):
        steered = frames_for_queue(dut, rss, traffic.ends)
        if not steered:
            skip_unsupported("ports in the RSS hash", evidence="ethtool -n rx-flow-hash names no source port")
        assert {queue: len(frames) for queue, frames in steered.items()} == {
            queue: frame_count(queue) for queue in steered
        }
    frames = [frame for each in steered.values() for frame in each]
    with step("Send them"), multi_queue_counters.measure() as measured:
        traffic.ready()
        before = total(multi_queue_counters.queues().rx.values()).frames
        remote.send(frames)
        until(
            lambda: total(multi_queue_counters.queues().rx.values()).frames - before >= len(frames),
            what=f"{len(frames)} frames are counted",
            timeout=1,
        )
    with step("Each queue's counters rose by its own frames and bytes"):
        assert miscounted(measured, steered) == [], explain(measured)


@requirement(
    "QSTAT-STEER-04",
    level="MUST",
    source=f"{QSTATS}; {SCALING}, XPS; Documentation/ABI/testing/sysfs-class-net-queues",
    falsified_by=("program:qstat.wrong-queue", "tx.frame.dropped"),
)
@pytest.mark.fresh_guest  # an earlier test may have cost the queues their XPS, which is another requirement's matter
def test_by_sender(
    per_queue_counters, dut, guest, packet_sender, traffic, trace_skbs, until, step, defer, evidence, skip_unsupported
):
    """Frames that XPS steers to a transmit queue are counted on that queue, and on no other."""
    queues = dut.queues("tx")
    if queues < 2 or len(per_queue_counters.queues().tx) < 2:
        skip_unsupported("counters of several transmit queues", evidence={"transmit queues": queues})
    maps = [f"/sys/class/net/{dut.ifname}/queues/tx-{queue}/xps_cpus" for queue in range(queues)]
    before = guest.agent.call("files.read_many", paths=maps)
    all_cpus = f"{(1 << traffic.cpus()) - 1:x}"
    remaining = [probe.frame for probe in _unanswered(traffic)]
    steered = {}
    with (
        step("Assign all CPUs to each transmit queue in turn (XPS), and send a different number of frames from there"),
        per_queue_counters.measure() as measured,
        trace_skbs() as skbs,
        traffic.capture_sent() as seen,
    ):
        for queue in range(queues):
            for number, path in enumerate(maps):
                defer(guest.agent.call, "files.write", path=path, text=before[path] or "0")
                guest.agent.call("files.write", path=path, text=all_cpus if number == queue else "0")
            steered[queue], remaining = remaining[: frame_count(queue)], remaining[frame_count(queue) :]
            packet_sender.send(steered[queue])
        sent = [frame for frames in steered.values() for frame in frames]
        until(
            lambda: seen.reached(len(sent)),
            what=f"{len(sent)} frames are on the wire",
            timeout=1,
        )
    with step("The stack handed the frames to the intended queues, and the wire carried each once"):
        lengths = {len(frame) for frame in sent}
        queued = Counter(each.queue for each in skbs.sent() if each.length in lengths)
        evidence("frames handed to each queue", dict(queued))
        if any(queued[queue] < len(frames) for queue, frames in steered.items()):
            skip_unsupported(
                "transmit queue selection by CPU (XPS)", evidence={"frames handed to each queue": dict(queued)}
            )
        check_same(seen.frames(), sent, "frames on the wire")
    with step("Each queue's counters rose by its own frames and bytes"):
        assert miscounted(measured, steered, "tx") == [], explain(measured)


def _unanswered(traffic):
    """Return frames that no host answers, of many lengths, enough for all queues."""
    count = sum(frame_count(queue) for queue in range(traffic.queues("tx")))
    return burst(traffic.ends_back, flows=count, sizes=tuple(range(200, 200 + count)), versions=(4,))
