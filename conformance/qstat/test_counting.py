# SPDX-License-Identifier: GPL-2.0-or-later
"""Frame and byte counts, by queue (``ethtool -S``, netlink) and of the interface, agree with the wire and the device."""

from __future__ import annotations

import pytest
from plugfest.dut.skb_trace import Checksum
from plugfest.frames.payload import digest, generate
from plugfest.frames.probe import is_segment, only
from plugfest.frames.segmentation import TxRequest
from plugfest.requirements.requirement import requirement
from plugfest.statistics.accounts import explain
from plugfest.statistics.queue_counters import Account, of_frames, total
from plugfest.traffic.traffic import WIRE_TIMEOUT, check_same, payloads
from plugfest.traffic.tx_offload import checksummed

LINK_STATS = "include/uapi/linux/if_link.h, struct rtnl_link_stats64"
QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats"
ETHTOOL = (
    "Documentation/networking/statistics.rst, ethtool: per-device-queue statistics; those of netlink mean the same"
)
RX = f"{QSTATS}, rx-packets, rx-bytes: wire packets"
TX = f"{QSTATS}, tx-packets, tx-bytes: wire packets"
MISCOUNTED = ("program:qstat.frame-missing", "program:qstat.bytes-short")
WRONG_QUEUE = ("program:qstat.wrong-queue",)
PROGRAMS = ("xdp_drop", "xdp_tx", "xdp_redirect")
COALESCED = ("rx-lro", "rx-gro-hw")
STREAM_LENGTH = 200_001
"""Bytes."""
FCS = 4
"""Bytes."""
MAC_COUNTER = "rx_crc_errors"
"""A statistic that a driver has only if it reads the counter registers of its device."""
SEGMENT = 1440
"""Bytes of TCP payload in a frame."""
SEGMENTED = 10 * SEGMENT + 100
"""Bytes of TCP payload that are handed to the device at once."""


@pytest.fixture
def tso_versions(dut, skip_unsupported):
    """The IP versions for which the device segments TCP; skips if it segments neither."""
    features = dut.features()
    offloads = ((4, "tx-tcp-segmentation"), (6, "tx-tcp6-segmentation"))
    versions = [version for version, name in offloads if name in features.active]
    if not versions:
        skip_unsupported("TCP segmentation offload", evidence=features)
    return versions


@pytest.fixture
def checksum_requests(dut, tx_offload, skip_unsupported):
    """CHECKSUM_PARTIAL packets of several flows; skips if the device has no transmit checksum offload."""
    features = dut.features()
    versions = checksummed(features.active)
    if not versions:
        skip_unsupported("transmit checksum offload", evidence=features)
    return [
        TxRequest(tx_offload.ends, version, generate(size, size), ports=(30000 + size, 31000))
        for version in versions
        for size in (100, 500, 1400)
    ]


@pytest.fixture
def send_merged_stream(dut, settings, peer, trace_skbs, evidence, skip_unsupported):
    """``measured = send_merged_stream(accounting)``: the accounts over a TCP stream that arrived whole; skips if no frames were merged.

    Whether a driver turns on what it offers is OFFLOAD-LRO-01's to test.
    """

    def send(accounting):
        features = dut.features()
        off = {name: True for name in COALESCED if name in features.free - features.active}
        if off:
            settings.restore_features()
            dut.try_set_features(off)
            settings.ready()
        features = dut.features()
        evidence("features", sorted(features.among(*COALESCED)))
        if not features.among(*COALESCED):
            what = " or ".join(off or COALESCED)
            skip_unsupported(
                f"turning on {what} (OFFLOAD-LRO-01)" if off else what, evidence={"ethtool -k": str(features)}
            )
        with accounting.measure() as measured, trace_skbs() as skbs:
            got = peer.to_dut(4, STREAM_LENGTH)
            assert (got.length, got.sha256) == (STREAM_LENGTH, digest(1, STREAM_LENGTH))
        longest = max((each.length for each in skbs.received()), default=0)
        if longest <= max(map(len, measured.to_dut)):
            skip_unsupported(
                "coalescing of these frames (OFFLOAD-LRO-01)", evidence={"longest skb from the driver": longest}
            )
        return measured

    return send


@requirement(
    "QSTAT-RX-01", level="SHOULD", source=ETHTOOL, falsified_by=(*MISCOUNTED, "rx.frame.duplicated"), variant="ethtool"
)
@requirement(
    "QSTAT-NL-03", level="MUST", source=RX, falsified_by=(*MISCOUNTED, "rx.frame.duplicated"), variant="netlink"
)
def test_received_frames(queue_counters, traffic, step):
    """Each received frame is counted once, at its length without FCS; the queues' counts add up to what the wire carried."""
    probes = traffic.probes()
    with (
        step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"),
        queue_counters.measure() as measured,
    ):
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
    with step("The sum of the receive queues' counters rose by the frames and bytes that the wire carried"):
        assert total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)


@requirement("QSTAT-RX-02", level="SHOULD", source=ETHTOOL, falsified_by=WRONG_QUEUE, variant="ethtool")
@requirement("QSTAT-NL-04", level="MUST", source=RX, falsified_by=WRONG_QUEUE, variant="netlink")
@pytest.mark.usefixtures("model")
def test_received_on_their_queue(queue_counters, traffic, step):
    """Each received frame is counted on the queue on which the device delivered it, and on no other."""
    queues = traffic.queues()
    probes = traffic.probes()
    with step("Send test frames in flows enough to reach every receive queue"), queue_counters.measure() as measured:
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
    with step("The device delivered frames on every queue"):
        assert set(measured.device.rx) == set(range(queues)), explain(measured)
    with step("Each queue's counters rose by what the device delivered on that queue"):
        assert measured.queues.rx == measured.device.rx, explain(measured)


@requirement(
    "QSTAT-TX-01", level="SHOULD", source=ETHTOOL, falsified_by=(*MISCOUNTED, "tx.frame.dropped"), variant="ethtool"
)
@requirement(
    "QSTAT-NL-05",
    level="MUST",
    source=TX,
    falsified_by=(*MISCOUNTED, "tx.frame.dropped"),
    variant="netlink",
)
def test_sent_frames(queue_counters, traffic, step):
    """Each transmitted frame is counted once, at its length without FCS; the queues' counts add up to what the wire carried."""
    with (
        step("Send frames of every size, IPv4 and IPv6, from every CPU of the guest"),
        queue_counters.measure() as measured,
    ):
        sent = traffic.send_back()
    with step("The wire carries every frame, unchanged"):
        check_same(list(only(measured.from_dut)), sent, "frames on the wire")
    with step("The sum of the transmit queues' counters rose by the frames and bytes that the wire carried"):
        assert total(measured.queues.tx.values()) == measured.wire_tx, explain(measured)


@requirement("QSTAT-TX-02", level="SHOULD", source=ETHTOOL, falsified_by=WRONG_QUEUE, variant="ethtool")
@requirement("QSTAT-NL-06", level="MUST", source=TX, falsified_by=WRONG_QUEUE, variant="netlink")
@pytest.mark.usefixtures("model")
def test_sent_on_their_queue(queue_counters, traffic, step, evidence):
    """Each transmitted frame is counted on the queue on which the driver handed it to the device, and on no other."""
    with (
        step("Send frames of every size, IPv4 and IPv6, from every CPU of the guest"),
        queue_counters.measure() as measured,
    ):
        traffic.send_back()
    with step("The driver used several queues, if there are several"):
        evidence("queues used", sorted(measured.device.tx))
        assert len(measured.device.tx) >= min(traffic.cpus(), traffic.queues("tx")), explain(measured)
    with step("Each queue's counters rose by what the driver handed to the device on that queue"):
        assert measured.queues.tx == measured.device.tx, explain(measured)


@requirement(
    "QSTAT-TX-03",
    level="SHOULD",
    source=ETHTOOL,
    falsified_by=("program:qstat.frame-missing", "tx.frame.dropped"),
    variant="ethtool",
)
@requirement(
    "QSTAT-NL-07",
    level="MUST",
    source=TX,
    falsified_by=("program:qstat.frame-missing", "tx.frame.dropped"),
    variant="netlink",
)
def test_segmented_frames(queue_counters, tso_versions, traffic, step):
    """TCP packets that the device segments are counted as the frames and bytes that the wire carries."""
    with (
        step(f"Hand {SEGMENTED} bytes of TCP payload to the device at once, to be segmented at {SEGMENT}"),
        queue_counters.measure() as measured,
    ):
        expected = traffic.send_segmented(tso_versions, payload=SEGMENTED, segment=SEGMENT)
    with step("The wire carries full segments and a short last one"):
        assert sorted(len(frame) for frame in measured.from_dut if is_segment(frame)) == expected
    with step("The transmit queues' counters rose by the frames and bytes that the wire carried"):
        assert total(measured.queues.tx.values()) == measured.wire_tx, explain(measured)


@requirement(
    "QSTAT-TX-04", level="SHOULD", source=ETHTOOL, falsified_by=(*MISCOUNTED, "tx.frame.dropped"), variant="ethtool"
)
@requirement("QSTAT-NL-08", level="MUST", source=TX, falsified_by=(*MISCOUNTED, "tx.frame.dropped"), variant="netlink")
def test_checksummed_frames(queue_counters, checksum_requests, tx_offload, step):
    """Frames whose checksum the device fills in are counted like any other frame."""
    with step("Hand CHECKSUM_PARTIAL packets to the driver"), queue_counters.measure() as measured:
        result = tx_offload.do(checksum_requests)
    with step("The driver got them as CHECKSUM_PARTIAL, and the wire carries each once, with a correct checksum"):
        assert {each.checksum for each in result.uncut} == {Checksum.PARTIAL}
        result.check()
    with step("The transmit queues' counters rose by the frames and bytes that the wire carried"):
        assert total(measured.queues.tx.values()) == measured.wire_tx, explain(measured)


@requirement("QSTAT-RX-03", level="SHOULD", source=ETHTOOL, falsified_by=MISCOUNTED, variant="ethtool")
@requirement(
    "QSTAT-NL-09", level="MUST", source=RX, falsified_by=(*MISCOUNTED, "rx.frame.duplicated"), variant="netlink"
)
def test_coalesced_frames(queue_counters, send_merged_stream, step):
    """Frames that the device coalesces are counted as the frames and bytes that the wire carried."""
    with step("Turn receive coalescing on, and send a TCP stream: it arrives whole, and frames were merged"):
        measured = send_merged_stream(queue_counters)
    with step("The receive queues' counters rose by the frames and bytes that the wire carried"):
        assert total(measured.queues.rx.values()) in measured.arrived, explain(measured)


@requirement("QSTAT-TX-05", level="SHOULD", source=ETHTOOL, falsified_by=WRONG_QUEUE, variant="ethtool")
@requirement("QSTAT-NL-15", level="MUST", source=TX, falsified_by=WRONG_QUEUE, variant="netlink")
@pytest.mark.usefixtures("model")
def test_segmented_on_their_queue(queue_counters, tso_versions, traffic, step):
    """TCP packets that the device segments are counted, segment by segment, on the queue they were handed over on, and on no other."""
    with (
        step(f"Hand {SEGMENTED} bytes of TCP payload to the device at once, to be segmented at {SEGMENT}"),
        queue_counters.measure() as measured,
    ):
        traffic.send_segmented(tso_versions, payload=SEGMENTED, segment=SEGMENT)
    with step("The device segmented packets"):
        assert total(measured.carried.tx.values()).frames > total(measured.device.tx.values()).frames, explain(measured)
    with step("Each queue's counters rose by the frames that left the device from that queue"):
        assert measured.queues.tx == measured.carried.tx, explain(measured)


@requirement("QSTAT-TX-06", level="SHOULD", source=ETHTOOL, falsified_by=WRONG_QUEUE, variant="ethtool")
@requirement("QSTAT-NL-16", level="MUST", source=TX, falsified_by=WRONG_QUEUE, variant="netlink")
@pytest.mark.usefixtures("model")
def test_checksummed_on_their_queue(queue_counters, checksum_requests, tx_offload, step):
    """Frames whose checksum the device fills in are counted on the queue they were handed over on, and on no other."""
    with step("Hand CHECKSUM_PARTIAL packets to the driver"), queue_counters.measure() as measured:
        result = tx_offload.do(checksum_requests)
    with step("The driver got them as CHECKSUM_PARTIAL"):
        assert {each.checksum for each in result.uncut} == {Checksum.PARTIAL}
    with step("Each queue's counters rose by the frames that left the device from that queue"):
        assert measured.carried.tx, explain(measured)
        assert measured.queues.tx == measured.carried.tx, explain(measured)


@requirement("QSTAT-RX-04", level="SHOULD", source=ETHTOOL, falsified_by=WRONG_QUEUE, variant="ethtool")
@requirement("QSTAT-NL-17", level="MUST", source=RX, falsified_by=WRONG_QUEUE, variant="netlink")
@pytest.mark.usefixtures("model")
def test_coalesced_on_their_queue(queue_counters, send_merged_stream, step):
    """Frames that the device coalesces are counted, as the wire carried them, on the queue they arrived on, and on no other."""
    with step("Turn receive coalescing on, and send a TCP stream: it arrives whole, and frames were merged"):
        measured = send_merged_stream(queue_counters)
    with step("Each queue's counters rose by what the device delivered on that queue"):
        assert measured.device.rx, explain(measured)
        assert measured.queues.rx == measured.device.rx, explain(measured)


@requirement(
    "QSTAT-LINK-01",
    level="MUST",
    source=f"{LINK_STATS}, rx_packets, rx_bytes, tx_packets, tx_bytes",
    falsified_by=("program:qstat.frame-missing", "program:qstat.bytes-short", "rx.frame.duplicated"),
)
def test_interface_statistics(accounting, traffic, step):
    """The interface's statistics count each frame once, in both directions, at its length without FCS."""
    probes = traffic.probes()
    with step("Send test frames of every size both ways"), accounting.measure() as measured:
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        sent = traffic.send_back()
    with step("The wire carries every frame from the interface, unchanged"):
        check_same(list(only(measured.from_dut)), sent, "frames on the wire")
    with step("rx_packets and rx_bytes rose by what the wire carried to the interface"):
        assert measured.link_rx == measured.wire_rx, explain(measured)
    with step("tx_packets and tx_bytes rose by what the wire carried from it"):
        assert measured.link_tx == measured.wire_tx, explain(measured)


@requirement(
    "QSTAT-LINK-02",
    level="MUST",
    source=f"{LINK_STATS}; {QSTATS}",
    falsified_by=("program:qstat.total-differs",),
)
def test_queues_add_up(per_queue_counters, traffic, step):
    """While the interface is not reconfigured, the queues' counters add up to the interface's."""
    probes = traffic.probes()
    with step("Send test frames of every size both ways"), per_queue_counters.measure() as measured:
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        traffic.send_back()
    with step("The sums over the queues rose by as much as the interface's statistics"):
        assert total(measured.queues.rx.values()) == measured.link_rx, explain(measured)
        assert total(measured.queues.tx.values()) == measured.link_tx, explain(measured)


@requirement(
    "QSTAT-XDP-01",
    level="MUST",
    source=f"{QSTATS}, rx-packets: packets consumed by XDP are still counted; {LINK_STATS}, rx_packets",
    falsified_by=("program:qstat.frame-missing", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_dropped_by_xdp(native, accounting, traffic, step):
    """Frames that an XDP program drops are counted as received, by their queue and by the interface."""
    probes = traffic.probes()
    with step("Attach a program that drops test frames"):
        program = native.attach("xdp_drop")
        traffic.ready()
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        accounting.measure() as measured,
    ):
        traffic.send(probes)
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
    with step("rx_packets and rx_bytes of the interface rose by what the wire carried"):
        assert measured.link_rx == measured.wire_rx, explain(measured)
    with step("So did the receive queues' counters, if the driver has any"):
        if accounting.queues():
            assert total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)


@requirement(
    "QSTAT-XDP-02",
    level="MUST",
    source=f"{LINK_STATS}, tx_packets: what the host handed to the device",
    falsified_by=("program:qstat.frame-missing", "tx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_sent_by_xdp(native, accounting, traffic, step, until):
    """Frames that an XDP program sends back (XDP_TX) are counted as received and as sent by the interface."""
    probes = traffic.probes()
    with step("Attach a program that sends test frames back"):
        native.attach("xdp_tx")
        traffic.ready()
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        accounting.measure() as measured,
        traffic.capture_sent() as seen,
    ):
        traffic.send(probes)
        until(
            lambda: seen.reached(len(probes)),
            what=f"{len(probes)} frames are back on the wire",
            timeout=WIRE_TIMEOUT,
        )
    with step("rx_packets and rx_bytes of the interface rose by what the wire carried to it"):
        assert measured.link_rx == measured.wire_rx, explain(measured)
    with step("tx_packets and tx_bytes rose by what the wire carried from it"):
        assert measured.link_tx == measured.wire_tx, explain(measured)


@requirement(
    "QSTAT-XDP-03",
    level="MUST",
    source=f"{LINK_STATS}, rx_packets, tx_packets; Documentation/bpf/redirect.rst",
    falsified_by=("program:qstat.frame-missing", "tx.frame.dropped"),
    proves="xdp-act:redirect",
)
def test_redirected_by_xdp(native, require, accounting, traffic, step, until):
    """Frames that an XDP program redirects to the interface they arrived on are counted as received and as sent by it."""
    require("xdp-act:redirect")
    probes = traffic.probes()
    with step("Attach a program that redirects test frames to the interface they arrived on"):
        native.attach("xdp_redirect")
        traffic.ready()
        require("xdp-act:ndo-xmit")
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        accounting.measure() as measured,
        traffic.capture_sent() as seen,
    ):
        traffic.send(probes)
        until(
            lambda: seen.reached(len(probes)),
            what=f"{len(probes)} frames are back on the wire",
            timeout=WIRE_TIMEOUT,
        )
    with step("rx_packets and rx_bytes of the interface rose by what the wire carried to it"):
        assert measured.link_rx == measured.wire_rx, explain(measured)
    with step("tx_packets and tx_bytes rose by what the wire carried from it"):
        assert measured.link_tx == measured.wire_tx, explain(measured)


@requirement("QSTAT-RX-05", level="SHOULD", source=ETHTOOL, falsified_by=WRONG_QUEUE, variant="ethtool")
@requirement(
    "QSTAT-NL-18",
    level="MUST",
    source=f"{RX}; packets consumed by XDP are still counted",
    falsified_by=WRONG_QUEUE,
    variant="netlink",
)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.usefixtures("model")
def test_handled_by_xdp_on_their_queue(native, require, queue_counters, traffic, step, until, program):
    """Frames that an XDP program drops, sends back or redirects are counted on the receive queue they arrived on, and on no other."""
    if program == "xdp_redirect":
        require("xdp-act:redirect")
    probes = traffic.probes()
    with step(f"Attach {program}, which consumes test frames"):
        attached = native.attach(program)
        traffic.ready()
        if program == "xdp_redirect":
            require("xdp-act:ndo-xmit")
    with (
        step("Send test frames of every size, in flows enough to reach every receive queue"),
        queue_counters.measure() as measured,
        traffic.capture_sent() as seen,
    ):
        traffic.send(probes)
        if program == "xdp_drop":
            native.wait(of_frames(probe.frame for probe in probes), attached)
        else:
            until(lambda: seen.reached(len(probes)), what=f"{len(probes)} frames are back", timeout=WIRE_TIMEOUT)
    with step("Each receive queue's counters rose by what the device delivered on that queue"):
        assert measured.device.rx, explain(measured)
        assert measured.queues.rx == measured.device.rx, explain(measured)


@requirement(
    "QSTAT-READ-01",
    level="MUST",
    source="Documentation/networking/statistics.rst",
    falsified_by=("program:qstat.frame-missing",),
)
def test_reading_has_no_effect(per_queue_counters, traffic, step):
    """Reading the statistics repeatedly, through every interface, neither loses nor adds a frame."""
    probes = traffic.probes()
    with (
        step("Read the statistics through every interface before, while and after test frames arrive"),
        per_queue_counters.measure() as measured,
    ):
        for start in range(0, len(probes), 16):
            traffic.send(probes[start : start + 16])
            per_queue_counters.ethtool()
            per_queue_counters.qstats()
            per_queue_counters.read()
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
    with step("The counters rose by what the wire carried"):
        assert total(measured.queues.rx.values()) == measured.wire_rx, explain(measured)
    with (
        step("Keep reading while the test sends nothing"),
        per_queue_counters.measure() as quiet,
    ):
        for _ in range(5):
            per_queue_counters.ethtool()
            per_queue_counters.qstats()
    with step("The counters rose by what else the wire carried, and by nothing more"):
        accounts = [total(side.values()) for side in (quiet.queues.rx, quiet.queues.tx)]
        assert accounts == [quiet.wire_rx, quiet.wire_tx], explain(quiet)


@requirement(
    "QSTAT-READ-02",
    level="MUST",
    source="Documentation/networking/statistics.rst; clear-on-read registers, as in the 82599's datasheet",
    falsified_by=(
        "program:qstat.frame-missing",
        "rx.counter.doubled",
        "rx.counter.bytes",
        "tx.counter.doubled",
        "tx.counter.bytes",
    ),
)
def test_register_counters(accounting, traffic, step, skip_unsupported):
    """Counters that a driver accumulates from its device's registers count each frame and its bytes once, however often they are read."""
    before = accounting.registers()
    if before is None or MAC_COUNTER not in accounting.names():
        skip_unsupported("ethtool counters that are known to come from device registers", evidence=accounting.names())
    probes = traffic.probes()
    with (
        step("Read the counters repeatedly while test frames go both ways"),
        accounting.measure() as measured,
    ):
        before = accounting.registers()
        for start in range(0, len(probes), 16):
            traffic.send(probes[start : start + 16])
            accounting.registers()
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        traffic.send_back()
    with step("They rose by the frames that the wire carried, and by their bytes, with or without FCS"):
        for now, then, carried in zip(
            accounting.registers(), before, (measured.wire_rx, measured.wire_tx), strict=True
        ):
            rise = now - then
            more = rise.frames - carried.frames
            difference = f"{abs(more)} frames too {'many' if more > 0 else 'few'}" if more else "other bytes"
            assert rise in (carried, carried + Account(0, FCS * carried.frames)), (
                f"rose by {rise}, {difference}; {explain(measured)}"
            )
