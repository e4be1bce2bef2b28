# SPDX-License-Identifier: GPL-2.0-or-later
"""The optional counters of netlink's queue statistics mean what netdev.yaml says, if the driver reports them."""

from __future__ import annotations

from collections import Counter

import pytest
from plugfest.dut.skb_trace import Checksum
from plugfest.frames.payload import digest, generate
from plugfest.frames.probe import burst, only
from plugfest.frames.segmentation import TxRequest
from plugfest.requirements.requirement import requirement
from plugfest.statistics.accounts import differences, explain
from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.traffic import check_same, payloads

QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats"
COUNTER_OFF = ("program:qstat.counter-off",)
SEGMENT = 1440
CUT = (5 * SEGMENT, 10 * SEGMENT + 100)
"""Bytes of TCP payload of the packets that the device is to segment."""
COALESCED = "rx-gro-hw"
STREAM_LENGTH = 200_001
CHECKSUM_SENT = ("tx-csum-none", "tx-needs-csum")
CHECKSUM_RECEIVED = ("rx-csum-complete", "rx-csum-unnecessary", "rx-csum-none", "rx-csum-bad")
GSO = ("tx-hw-gso-packets", "tx-hw-gso-bytes", "tx-hw-gso-wire-packets", "tx-hw-gso-wire-bytes")
GRO = ("rx-hw-gro-packets", "rx-hw-gro-bytes", "rx-hw-gro-wire-packets", "rx-hw-gro-wire-bytes")
DROPS = (
    *("rx-alloc-fail", "rx-hw-drops", "rx-hw-drop-overruns", "rx-hw-drop-ratelimits"),
    *("tx-hw-drops", "tx-hw-drop-errors", "tx-hw-drop-ratelimits"),
)
STOPS = ("tx-stop", "tx-wake")
FEW_DESCRIPTORS = 32
"""Transmit descriptors: few enough for a few packets of several buffers to fill the ring."""
FLOOD_RINGS, DEFAULT_DESCRIPTORS = 4, 1024
"""Transmit rings full of frames that flood a queue; descriptors in a ring, if the driver does not report them."""
LONG_STREAM = 1_000_000
"""Bytes."""


@pytest.fixture
def require_counters(netlink_counters, skip_unsupported):
    """``require_counters(*names)`` returns those of the counters that the driver reports; skips if it reports none of them."""

    def reported(*names):
        found = sorted(netlink_counters.read().netlink)
        if not set(names) & set(found):
            skip_unsupported(" or ".join(names), evidence={"counters of netdev qstats-get": found})
        return [name for name in names if name in found]

    return reported


def tx_requests(ends):
    """Return packets that need a checksum, and packets that need segmentation, each of a flow of its own."""
    plain = [TxRequest(ends, 4, generate(size, size), ports=(30000 + size, 31000)) for size in (100, 500, 1400)]
    cut = [TxRequest(ends, 4, generate(size, size), segment=SEGMENT, ports=(30000 + size, 31000)) for size in CUT]
    return plain, cut


@requirement("QSTAT-MEAN-01", level="MUST", source=f"{QSTATS}, {', '.join(CHECKSUM_SENT)}", falsified_by=COUNTER_OFF)
def test_checksums_sent(netlink_counters, require_counters, tx_offload, traffic, packet_sender, step, until):
    """tx-needs-csum counts the wire packets for which the device calculates a checksum, and tx-csum-none those for which it does not."""
    names = require_counters(*CHECKSUM_SENT)
    plain, cut = tx_requests(tx_offload.ends)
    finished = [probe.frame for probe in burst(traffic.ends_back, flows=4, sizes=(100,), versions=(4,))]
    with (
        step("Hand over CHECKSUM_PARTIAL packets, some of them to be segmented, and complete frames"),
        netlink_counters.measure() as measured,
        traffic.capture_sent() as seen,
    ):
        result = tx_offload.do([*plain, *cut])
        packet_sender.send(finished)
        until(lambda: seen.reached(len(finished)), what="the complete frames are on the wire", timeout=1)
    asked = [request for request in result.requests if request.length in {each.length for each in result.uncut}]
    needed = sum(len(request.pieces) for request in asked)
    expected = {"tx-needs-csum": needed, "tx-csum-none": len(measured.from_dut) - needed}
    with step("The counters rose by as many wire packets"):
        assert differences(measured, names, expected) == [], explain(measured)


@requirement("QSTAT-MEAN-02", level="MUST", source=f"{QSTATS}, {', '.join(GSO)}", falsified_by=COUNTER_OFF)
def test_segmented(netlink_counters, require_counters, tx_offload, step):
    """The tx-hw-gso counters count the packets that the device segments, and the wire packets they become; no others."""
    names = require_counters(*GSO)
    plain, cut = tx_requests(tx_offload.ends)
    with step("Hand over packets to be segmented, and some that are not"), netlink_counters.measure() as measured:
        result = tx_offload.do([*plain, *cut])
    whole = [request for request in cut if request.length in {each.length for each in result.uncut}]
    frames = [
        frame
        for request, mine in zip(result.requests, result.frames, strict=True)
        if request in whole
        for frame in mine
    ]
    expected = {
        "tx-hw-gso-packets": len(whole),
        "tx-hw-gso-bytes": sum(request.length for request in whole),
        "tx-hw-gso-wire-packets": len(frames),
        "tx-hw-gso-wire-bytes": sum(map(len, frames)),
    }
    with step("The counters rose by the segmented packets, and by the frames they became"):
        assert differences(measured, names, expected) == [], explain(measured)


@requirement(
    "QSTAT-MEAN-03", level="MUST", source=f"{QSTATS}, {', '.join(CHECKSUM_RECEIVED)}", falsified_by=COUNTER_OFF
)
def test_checksums_received(netlink_counters, require_counters, traffic, trace_skbs, remote, step, until):
    """The rx-csum counters count each received frame as the driver marks its checksum, and rx-csum-bad the wrong checksums."""
    names = require_counters(*CHECKSUM_RECEIVED)
    good = traffic.probes(versions=(4,))
    bad = [probe.frame[:-1] + bytes([probe.frame[-1] ^ 0xFF]) for probe in traffic.probes(versions=(4,))]
    lengths = {len(frame) for frame in bad}
    with (
        step("Send frames with correct checksums, and frames with wrong ones"),
        netlink_counters.measure() as measured,
        trace_skbs() as skbs,
    ):
        traffic.send(good)
        check_same(traffic.received(good), payloads(good), "payloads in the stack")
        remote.send(bad)
        until(
            lambda: sum(each.length in lengths for each in skbs.received()) >= len(good) + len(bad),
            what="the driver has passed all frames to the stack",
            timeout=1,
        )
    count_by_checksum = Counter(each.checksum for each in skbs.received())
    expected = {
        "rx-csum-complete": count_by_checksum[Checksum.COMPLETE],
        "rx-csum-unnecessary": count_by_checksum[Checksum.UNNECESSARY],
        "rx-csum-none": count_by_checksum[Checksum.NONE] - (len(bad) if "rx-csum-bad" in names else 0),
        "rx-csum-bad": len(bad),
    }
    with step("The counters rose by the number of frames that the driver count_by_checksum so"):
        assert differences(measured, names, expected) == [], explain(measured)


@requirement("QSTAT-MEAN-04", level="MUST", source=f"{QSTATS}, {', '.join(GRO)}", falsified_by=COUNTER_OFF)
def test_coalesced(netlink_counters, require_counters, active, peer, trace_skbs, step):
    """The rx-hw-gro counters count the packets that the device coalesced, and the wire packets they consist of; no others."""
    names = require_counters(*GRO)
    with step("Turn coalescing on, and send a TCP stream: it arrives whole"):
        active(COALESCED)
        with netlink_counters.measure() as measured, trace_skbs() as skbs:
            got = peer.to_dut(4, STREAM_LENGTH)
            assert (got.length, got.sha256) == (STREAM_LENGTH, digest(1, STREAM_LENGTH))
    longest = max(map(len, measured.to_dut))
    whole = skbs.received()
    merged, single = (
        [each for each in whole if bool(each.length > longest or each.segment) is coalesced]
        for coalesced in (True, False)
    )
    expected = {
        "rx-hw-gro-packets": len(merged),
        "rx-hw-gro-bytes": sum(each.length for each in merged),
        "rx-hw-gro-wire-packets": len(measured.to_dut) - len(single),
        "rx-hw-gro-wire-bytes": measured.wire_rx.bytes - sum(each.length for each in single),
    }
    with step("The counters rose by the merged packets, and by the frames they consist of"):
        assert merged, "expected merged packets, but the driver passed on none"
        assert differences(measured, names, expected) == [], explain(measured)


@requirement("QSTAT-MEAN-05", level="MUST", source=f"{QSTATS}, {', '.join(DROPS)}", falsified_by=COUNTER_OFF)
def test_no_drops(netlink_counters, require_counters, traffic, step):
    """The drop and error counters do not rise while every frame is received and sent."""
    names = require_counters(*DROPS)
    probes = traffic.probes()
    with step("Send test frames both ways: every one arrives"), netlink_counters.measure() as measured:
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        sent = traffic.send_back()
    with step("The wire carried every frame, and none of these counters rose"):
        check_same(list(only(measured.from_dut)), sent, "frames on the wire")
        assert differences(measured, names, dict.fromkeys(names, 0)) == [], explain(measured)


@requirement(
    "QSTAT-MEAN-06", level="MUST", source=f"{QSTATS}, tx-stop, tx-wake", falsified_by=("program:qstat.wake-lost",)
)
def test_stopped_and_woken(
    netlink_counters,
    require_counters,
    settings,
    traffic,
    guest,
    peer,
    dut,
    step,
    until,
    defer,
    evidence,
    skip_unsupported,
):
    """Each stop of a full queue is followed by a wake: once everything is sent, tx-wake has risen by as much as tx-stop."""
    require_counters(*STOPS)
    with step(f"Set the number of transmit descriptors to {FEW_DESCRIPTORS}, if the driver allows it"):
        if (dut.get("rings") or {}).get("tx", 0) > FEW_DESCRIPTORS:
            error = settings.try_set("rings", tx=FEW_DESCRIPTORS)
            evidence(f"ethtool -G tx {FEW_DESCRIPTORS}", str(error or "done"))
    flood = FLOOD_RINGS * ((dut.get("rings") or {}).get("tx") or DEFAULT_DESCRIPTORS)
    frame = burst(traffic.ends_back, flows=1, sizes=(60,), versions=(4,))[0].frame
    with (
        step(
            f"Have the stack send {FLOOD_RINGS} transmit rings full of frames of one flow, as fast as it can, and a TCP stream"
        ),
        netlink_counters.measure() as measured,
        traffic.capture_sent() as seen,
    ):
        sent = PacketSender(guest, dut.ifname, defer).send([frame], repeat=flood, cpu=0)
        until(lambda: seen.reached(sent), what=f"{sent} frames are on the wire", timeout=12)
        assert peer.from_dut(4, LONG_STREAM).length == LONG_STREAM
    rises = netlink_counters.stops(measured)
    evidence("tx-stop and tx-wake", rises)
    if not any(rises.values()):
        skip_unsupported("a transmit queue that fills up", evidence={"frames": flood, **rises})
    with step("tx-wake rose by as much as tx-stop"):
        assert rises["tx-wake"] == rises["tx-stop"]


@requirement(
    "QSTAT-MEAN-07", level="MUST", source=f"{QSTATS}, tx-stop: because the queue was full", falsified_by=COUNTER_OFF
)
def test_not_stopped(netlink_counters, require_counters, operations, step, evidence):
    """tx-stop counts only stops because the queue was full: it does not rise when an idle interface is reconfigured."""
    require_counters("tx-stop")
    rises = {}
    before = netlink_counters.read().netlink
    for done in operations.one_by_one():
        with step(f"{done}, while the stack sends little: read the counter"):
            after = netlink_counters.read().netlink
            # A new queue counts from 0.
            rise = after["tx-stop"] - before["tx-stop"]
            rises[done] = rise if rise >= 0 else after["tx-stop"]
            before = netlink_counters.read().netlink
    evidence("not offered", operations.not_offered)
    with step("tx-stop rose over none of these operations"):
        assert {done: rise for done, rise in rises.items() if rise} == {}
