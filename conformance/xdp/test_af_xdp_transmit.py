# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets that ask something of the device with a frame, or send one in several buffers."""

from __future__ import annotations

import errno
import struct

import pytest
from plugfest.af_xdp import XDP_PKT_CONTD, XDP_TX_METADATA, XDP_UMEM_TX_METADATA_LEN, XDP_USE_SG
from plugfest.probe import HEADERS, UDP_CHECKSUM, burst, frames_of, unfinished
from plugfest.requirement import requirement
from plugfest.traffic import FLOWS_PER_QUEUE, SIZES
from plugfest.xdp_flags import MAX_SEGS, of

METADATA = "Documentation/networking/xsk-tx-metadata.rst; include/uapi/linux/if_xdp.h, struct xsk_tx_metadata"
SEGMENTS = "Documentation/networking/af_xdp.rst, XDP_USE_SG bind flag; Multi-Buffer Support"
TIMESTAMP, CHECKSUM, LAUNCH_TIME = 1 << 0, 1 << 1, 1 << 2
"""XDP_TXMD_FLAGS_…"""
REQUEST = struct.Struct("=QHHIQ")
"""Flags, csum_start, csum_offset, reserved, launch_time."""
COMPLETION = struct.Struct("=QQ8x")
"""Flags, tx_timestamp."""
SLACK = 1e-6
"""Seconds that a clock told as a floating-point number may be off."""
PIECES = (1, 14, 50, 512, 1024)
"""Where frames are cut into buffers, octets."""
SOON = 1.0
"""Seconds for frames to be on the wire, on a guest of speed 1."""


@pytest.fixture
def requesting(bound):
    """A socket whose umem has room for requests before each frame."""
    return bound(flags=XDP_UMEM_TX_METADATA_LEN, metadata=REQUEST.size)[0]


@pytest.fixture
def offered(redirecting, mode, unclaimed):
    """``offered("tx-checksum")`` skips in zero copy where the driver does not advertise it; in copy mode the stack has it."""

    def check(name):
        found = of("xsk-flags", redirecting.advertised())
        if mode == "zero-copy" and name not in found:
            unclaimed(f"with zero-copy AF_XDP, {name}", evidence={"netdev dev-get xsk-features": sorted(found)})

    return check


@pytest.fixture
def leaves(traffic, come):
    """``leaves(send, wanted)``: exactly these frames are on the wire, once each, when `send` has sent; returns what that returned."""

    def check(send, wanted):
        with traffic.sightings() as seen:
            told = send()
            come(seen, wanted)
        return told

    return check


@pytest.fixture
def probes(traffic):
    """Probes from the interface under test, of every size, by IP version."""
    return {
        version: burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES, versions=(version,), first=100 * version)
        for version in (4, 6)
    }


CHECKSUM_WRONG = ("program:af_xdp.metadata-lost", "tx.frame.dropped")


@requirement("XDP-XSK-30", level="MUST", source=METADATA, falsified_by=CHECKSUM_WRONG, variant="copy")
@requirement(
    "XDP-XSK-31",
    level="MUST",
    source=METADATA,
    falsified_by=(*CHECKSUM_WRONG, "tx.checksum.wrong"),
    proves="xsk-flags:tx-checksum",
    variant="zero-copy",
)
def test_checksum(offered, requesting, leaves, probes, step):
    """A frame whose UDP checksum the socket asks for leaves with the right one, and otherwise unchanged."""
    offered("tx-checksum")
    for version, mine in probes.items():
        start = HEADERS[version] - 8
        request = REQUEST.pack(CHECKSUM, start, UDP_CHECKSUM, 0, 0)
        with step(
            f"Send IPv{version} frames of every size, asking for their checksums: they leave with the right ones"
        ):
            unsummed = [unfinished(probe) for probe in mine]
            leaves(
                lambda unsummed=unsummed, request=request: requesting.send(
                    unsummed, options=XDP_TX_METADATA, metadata=request
                ),
                frames_of(mine),
            )


@requirement(
    "XDP-XSK-32",
    level="MUST",
    source=METADATA,
    falsified_by=("program:af_xdp.metadata-lost", "tx.frame.dropped"),
    variant="copy",
)
@requirement(
    "XDP-XSK-33",
    level="MUST",
    source=METADATA,
    falsified_by=("program:af_xdp.metadata-lost", "tx.frame.dropped"),
    proves="xsk-flags:tx-timestamp",
    variant="zero-copy",
)
def test_timestamp(offered, requesting, leaves, probes, guest, mode, step):
    """A frame whose time of sending the socket asks for is completed with it: in copy mode that of the kernel's TAI clock."""
    offered("tx-timestamp")
    frames = frames_of([*probes[4], *probes[6]])
    request = REQUEST.pack(TIMESTAMP, 0, 0, 0, 0)
    with step("Send frames of every size, asking when each was sent: they leave once and unchanged"):
        before = guest.agent.call("system.clock")["tai"]
        told = leaves(lambda: requesting.send(frames, options=XDP_TX_METADATA, metadata=request), frames)
        after = guest.agent.call("system.clock")["tai"]
    with step("Each completion has a time"):
        times = [COMPLETION.unpack(each)[1] for each in told]
        assert len(times) == len(frames)
        assert all(times), f"{times.count(0)} of {len(times)} have none"
    if mode == "copy":
        with step("It lies between the beginning and the end of sending"):
            assert before - SLACK <= min(times) / 1e9
            assert max(times) / 1e9 <= after + SLACK


DISREGARDED_WRONG = ("tx.frame.dropped", "tx.frame.corrupted", "program:af_xdp.completion-lost")
DISREGARDED = f"{METADATA}, Querying Device Capabilities"


@requirement(
    "XDP-XSK-34",
    level="SHOULD",
    source=DISREGARDED,
    falsified_by=DISREGARDED_WRONG,
    refuses="xsk-flags:tx-checksum",
    variant="tx-checksum",
)
@requirement(
    "XDP-XSK-35",
    level="SHOULD",
    source=DISREGARDED,
    falsified_by=DISREGARDED_WRONG,
    refuses="xsk-flags:tx-timestamp",
    variant="tx-timestamp",
)
@requirement(
    "XDP-XSK-36",
    level="MUST",
    source=f"{METADATA}, Launch Time",
    falsified_by=DISREGARDED_WRONG,
    refuses="xsk-flags:tx-launch-time-fifo",
    variant="tx-launch-time-fifo",
)
@pytest.mark.parametrize("asked", ["tx-checksum", "tx-timestamp", "tx-launch-time-fifo"])
@pytest.mark.parametrize("mode", ["zero-copy"], indirect=True)
def test_not_offered(redirecting, bound, leaves, probes, asked, unclaimed, step):
    """What zero-copy AF_XDP does not advertise is disregarded where a socket asks for it: the frames leave at once, unchanged."""
    found = of("xsk-flags", redirecting.advertised())
    if asked in found:
        unclaimed(f"no {asked} with zero-copy AF_XDP", evidence={"netdev dev-get xsk-features": sorted(found)})
    socket = bound(flags=XDP_UMEM_TX_METADATA_LEN, metadata=REQUEST.size)[0]
    far_off = 1 << 62
    request = {
        "tx-checksum": REQUEST.pack(CHECKSUM, HEADERS[4] - 8, UDP_CHECKSUM, 0, 0),
        "tx-timestamp": REQUEST.pack(TIMESTAMP, 0, 0, 0, 0),
        "tx-launch-time-fifo": REQUEST.pack(LAUNCH_TIME, 0, 0, 0, far_off),
    }[asked]
    with step("Send frames of every size with the request: they leave once and unchanged, and each is completed once"):
        frames = frames_of(probes[4])
        told = leaves(lambda: socket.send(frames, options=XDP_TX_METADATA, metadata=request), frames)
    with step("What was asked for is not told in the completions either"):
        assert set(told) == {request}


@requirement(
    "XDP-XSK-37",
    level="MUST",
    source=SEGMENTS,
    falsified_by=("program:af_xdp.not-continued", "tx.frame.corrupted"),
    variant="copy",
)
@requirement(
    "XDP-XSK-38",
    level="MUST",
    source=SEGMENTS,
    falsified_by=("program:af_xdp.not-continued", "tx.frame.corrupted"),
    proves=MAX_SEGS,
    variant="zero-copy",
)
def test_segments(redirecting, af_xdp, to_sockets, mode, change, leaves, probes, until, unclaimed, step):
    """A frame that a socket sends in several buffers leaves as one, unchanged, and each of its buffers is completed once."""
    if mode == "zero-copy" and MAX_SEGS not in redirecting.advertised():
        unclaimed("zero-copy frames in several buffers", evidence={"netdev dev-get": sorted(redirecting.advertised())})
    with step("Bind a socket to queue 0 that may use several buffers for a frame (XDP_USE_SG)"):
        socket = af_xdp.umem(to_sockets.maps["sockets"]).open(0, mode, flags=XDP_USE_SG)
        change.ready()
    frames = frames_of([*probes[4], *probes[6]])
    cut = [halves(frame, PIECES[number % len(PIECES)]) for number, frame in enumerate(frames)]
    completed = []

    def send():
        for first, rest in cut:
            assert socket.put([first], options=XDP_PKT_CONTD) == 1
            assert socket.put([rest]) == 1

        def done():
            socket.wake()
            completed.extend(socket.reap())
            return len(completed) >= 2 * len(frames)

        until(done, what=f"{2 * len(frames)} buffers are completed", timeout=SOON)

    with step(
        "Send frames of every size, each in two buffers, cut at different places: each leaves once and unchanged"
    ):
        leaves(send, frames)
    with step("Each buffer was completed once"):
        completed += socket.reap()
        assert len(completed) == 2 * len(frames)


def halves(frame, at):
    """Both parts of a frame, neither of them empty."""
    at = min(at, len(frame) - 1)
    return frame[:at], frame[at:]


@requirement(
    "XDP-XSK-39",
    level="MUST",
    source=f"{SEGMENTS}; Documentation/netlink/specs/netdev.yaml, xdp-zc-max-segs",
    falsified_by="program:af_xdp.other-mode",
    refuses=MAX_SEGS,
)
def test_segments_refused(redirecting, af_xdp, to_sockets, traffic, unclaimed, step):  # noqa: ARG001 - attached
    """Where zero-copy frames may have one buffer only, a socket that demands more is refused with EOPNOTSUPP; traffic is as before."""
    if MAX_SEGS in redirecting.advertised():
        unclaimed("zero-copy frames in one buffer only", evidence={"netdev dev-get": sorted(redirecting.advertised())})
    with step("Ask to bind a socket to queue 0, demanding zero copy with several buffers (XDP_ZEROCOPY, XDP_USE_SG)"):
        refused = af_xdp.refusal(0, "zero-copy", XDP_USE_SG)
        assert refused is not None, "it was bound"
        assert refused.errno == errno.EOPNOTSUPP, f"expected EOPNOTSUPP, found {refused}"
    with step("Test frames of every size reach the stack once and unchanged"):
        traffic.check_delivery()
