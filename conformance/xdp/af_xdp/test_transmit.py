# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets that ask something of the device with a frame."""

from __future__ import annotations

import struct

import pytest
from plugfest.deadline import scaled
from plugfest.frames.probe import HEADERS, UDP_CHECKSUM, frames_of, unfinished
from plugfest.requirements.requirement import requirement
from plugfest.xdp.af_xdp import XDP_TX_METADATA, XDP_UMEM_TX_METADATA_LEN

METADATA = "Documentation/networking/xsk-tx-metadata.rst; include/uapi/linux/if_xdp.h, struct xsk_tx_metadata"
TIMESTAMP, CHECKSUM, LAUNCH_TIME = 1 << 0, 1 << 1, 1 << 2
"""XDP_TXMD_FLAGS_…"""
REQUEST = struct.Struct("=QHHIQ")
"""Flags, csum_start, csum_offset, reserved, launch_time."""
COMPLETION = struct.Struct("=QQ8x")
"""Flags, tx_timestamp."""
SOON = 1.0
"""Seconds for frames to be on the wire, on a guest of speed 1."""
AHEAD = 0.5
"""Seconds from now to a launch time, on a guest of speed 1: less than any device's horizon."""


@pytest.fixture
def requesting(bound):
    """A socket whose umem has room for requests before each frame."""
    return bound(flags=XDP_UMEM_TX_METADATA_LEN, metadata=REQUEST.size)[0]


@pytest.fixture
def offered(mode, require):
    """``offered("tx-checksum")`` skips in zero copy where the driver does not advertise it; in copy mode the stack has it."""

    def check(name):
        if mode == "zero-copy":
            require(f"xsk-flags:{name}")

    return check


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


STAMP_WRONG = ("program:af_xdp.metadata-lost", "program:clocks.ahead", "tx.frame.dropped")


@requirement("XDP-XSK-32", level="MUST", source=METADATA, falsified_by=STAMP_WRONG, variant="copy")
@requirement(
    "XDP-XSK-33",
    level="MUST",
    source=METADATA,
    falsified_by=STAMP_WRONG,
    proves="xsk-flags:tx-timestamp",
    variant="zero-copy",
)
def test_timestamp(offered, requesting, leaves, probes, clocks, guest_clocks, mode, step):
    """A frame whose time of sending the socket asks for is completed with it: by the kernel's clocks in copy mode, else by the device's.

    No driver here offers it with zero copy: XDP-XSK-35 tests that it is disregarded.
    """
    offered("tx-timestamp")
    frames = frames_of([*probes[4], *probes[6]])
    request = REQUEST.pack(TIMESTAMP, 0, 0, 0, 0)
    shown = guest_clocks if mode == "copy" else clocks
    with step("Look at the clock, send frames of every size, asking when each was sent, and look at it again"):
        before = shown.read()
        told = leaves(lambda: requesting.send(frames, options=XDP_TX_METADATA, metadata=request), frames)
        after = shown.read()
    with step("Each completion has a time, and it lies between the two"):
        times = [COMPLETION.unpack(each)[1] for each in told]
        assert len(times) == len(frames)
        assert all(times), f"{times.count(0)} of {len(times)} have none"
        shown.check(before, times, after)


@requirement(
    "XDP-XSK-17",
    level="MUST",
    source=f"{METADATA}, Launch Time",
    falsified_by=STAMP_WRONG,
    proves="xsk-flags:tx-launch-time-fifo",
    variant="zero-copy",
)
@pytest.mark.parametrize("mode", ["zero-copy"], indirect=True)
def test_launch_time(offered, requesting, clocks, come, traffic, probes, guest, until, skip_unsupported, step):
    """A frame with a launch time leaves when the device's clock shows that and not before, and what was sent after it goes behind it.

    No driver here offers it: XDP-XSK-36 tests that it is disregarded.
    """
    offered("tx-launch-time-fifo")
    clock = clocks.read()
    if len(clock) != 1:
        skip_unsupported("a hardware clock to launch frames by", evidence=clock)
    first, *rest = frames_of(probes[4])

    def now():
        return next(iter(clocks.read().values()))

    with traffic.capture_sent() as seen:
        with step("Send a frame with a launch time in the near future, and others without one behind it"):
            launch = now() + int(scaled(AHEAD, guest.speed) * 1e9)
            request = REQUEST.pack(LAUNCH_TIME, 0, 0, 0, launch)
            assert requesting.put([first], options=XDP_TX_METADATA, metadata=request) == 1
            assert requesting.put(rest) == len(rest)
            requesting.wake()
            assert now() < launch, "the launch time was over before the frame had been handed over"
        with step("When the first of them is seen on the wire, the launch time is there"):

            def seen_at():
                requesting.wake()
                return now() if seen.probes() else None

            assert until(seen_at, what="a frame is on the wire", timeout=AHEAD + SOON) >= launch
        with step("Each leaves once and unchanged, in the order in which they were sent"):
            come(seen, [first, *rest])
            assert seen.probes() == [first, *rest]


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
def test_not_offered(require_absent, bound, leaves, probes, asked, step):
    """What zero-copy AF_XDP does not advertise is disregarded where a socket asks for it: the frames leave at once, unchanged."""
    require_absent(f"xsk-flags:{asked}")
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
