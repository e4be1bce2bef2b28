# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets that request TX offloads in the metadata of a frame."""

from __future__ import annotations

import struct

import pytest
from plugfest.deadline import scaled
from plugfest.frames.probe import HEADERS, UDP_CHECKSUM, frames_of, unfinished
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import WIRE_TIMEOUT
from plugfest.xdp.af_xdp import XDP_TX_METADATA, XDP_UMEM_TX_METADATA_LEN

METADATA = "Documentation/networking/xsk-tx-metadata.rst (since Linux 6.8); include/uapi/linux/if_xdp.h, struct xsk_tx_metadata"
TIMESTAMP, CHECKSUM, LAUNCH_TIME = 1 << 0, 1 << 1, 1 << 2
"""XDP_TXMD_FLAGS_…"""
REQUEST = struct.Struct("=QHHIQ")
"""Flags, csum_start, csum_offset, reserved, launch_time."""
COMPLETION = struct.Struct("=QQ8x")
"""Flags, tx_timestamp."""
LAUNCH_DELAY = 0.5
"""Seconds from now to a launch time, on a guest of speed 1; less than any device's horizon."""


@pytest.fixture
def metadata_socket(guest, skip_kernel_lacks, bind_sockets):
    """A socket whose umem has room for TX metadata before each frame; skips on a kernel that knows none."""
    if not guest.agent.call("system.kernel_has", name="xsk_tx_metadata"):
        skip_kernel_lacks("AF_XDP transmit metadata", evidence="the BTF has no struct xsk_tx_metadata")
    return bind_sockets(flags=XDP_UMEM_TX_METADATA_LEN, metadata=REQUEST.size)[0]


@pytest.fixture
def require_xsk_flag(mode, require):
    """``require_xsk_flag("tx-checksum")`` skips in zero-copy mode if it is not advertised; in copy mode the stack provides it."""

    def check(name):
        if mode == "zero-copy":
            require(f"xsk-flags:{name}")

    return check


CHECKSUM_FAULTS = ("program:af_xdp.metadata-lost", "tx.frame.dropped")


@requirement("XDP-XSK-30", level="MUST", source=METADATA, falsified_by=CHECKSUM_FAULTS, variant="copy")
@requirement(
    "XDP-XSK-31",
    level="MUST",
    source=METADATA,
    falsified_by=(*CHECKSUM_FAULTS, "tx.checksum.wrong"),
    proves="xsk-flags:tx-checksum",
    variant="zero-copy",
)
def test_checksum(require_xsk_flag, metadata_socket, send_and_check, probes_by_version, step):
    """A frame for which the socket requests UDP checksum offload leaves with the correct checksum, and otherwise unchanged."""
    require_xsk_flag("tx-checksum")
    for version, probes in probes_by_version.items():
        start = HEADERS[version] - 8
        request = REQUEST.pack(CHECKSUM, start, UDP_CHECKSUM, 0, 0)
        with step(f"Send IPv{version} frames of every size with the request: they leave with correct checksums"):
            without_checksums = [unfinished(probe) for probe in probes]
            send_and_check(
                lambda without_checksums=without_checksums, request=request: metadata_socket.send(
                    without_checksums, options=XDP_TX_METADATA, metadata=request
                ),
                frames_of(probes),
            )


TIMESTAMP_FAULTS = ("program:af_xdp.metadata-lost", "program:clocks.ahead", "tx.frame.dropped")


@requirement("XDP-XSK-32", level="MUST", source=METADATA, falsified_by=TIMESTAMP_FAULTS, variant="copy")
@requirement(
    "XDP-XSK-33",
    level="MUST",
    source=METADATA,
    falsified_by=TIMESTAMP_FAULTS,
    proves="xsk-flags:tx-timestamp",
    variant="zero-copy",
)
def test_timestamp(
    require_xsk_flag, metadata_socket, send_and_check, probes_by_version, clocks, guest_clocks, mode, step
):
    """A frame for which the socket requests a TX timestamp is completed with one, from the kernel's clock in copy mode, else the device's.

    None of the drivers tested here advertises it for zero-copy; XDP-XSK-35 covers drivers without it.
    """
    require_xsk_flag("tx-timestamp")
    frames = frames_of([*probes_by_version[4], *probes_by_version[6]])
    request = REQUEST.pack(TIMESTAMP, 0, 0, 0, 0)
    reference_clocks = guest_clocks if mode == "copy" else clocks
    with step("Read the clock, send frames of every size with the request, and read the clock again"):
        before = reference_clocks.read()
        completions = send_and_check(
            lambda: metadata_socket.send(frames, options=XDP_TX_METADATA, metadata=request), frames
        )
        after = reference_clocks.read()
    with step("Each completion carries a timestamp between the two readings"):
        times = [COMPLETION.unpack(each)[1] for each in completions]
        assert len(times) == len(frames)
        assert all(times), f"{times.count(0)} of {len(times)} completions have no timestamp"
        reference_clocks.check(before, times, after)


@requirement(
    "XDP-XSK-17",
    level="MUST",
    source=f"{METADATA}, Launch Time",
    falsified_by=TIMESTAMP_FAULTS,
    proves="xsk-flags:tx-launch-time-fifo",
    variant="zero-copy",
)
@pytest.mark.parametrize("mode", ["zero-copy"], indirect=True)
def test_launch_time(
    require_xsk_flag,
    metadata_socket,
    clocks,
    check_on_wire,
    traffic,
    probes_by_version,
    guest,
    until,
    skip_unsupported,
    step,
):
    """A frame with a launch time leaves when the device's clock has reached that time, not earlier; frames sent after it leave after it.

    None of the drivers tested here advertises it; XDP-XSK-36 covers drivers without it.
    """
    require_xsk_flag("tx-launch-time-fifo")
    clock = clocks.read()
    if len(clock) != 1:
        skip_unsupported("one hardware clock for launch times", evidence=clock)
    first, *rest = frames_of(probes_by_version[4])

    def now():
        return next(iter(clocks.read().values()))

    with traffic.capture_sent() as seen:
        with step("Send a frame with a launch time in the near future, followed by others without one"):
            launch_time = now() + int(scaled(LAUNCH_DELAY, guest.speed) * 1e9)
            request = REQUEST.pack(LAUNCH_TIME, 0, 0, 0, launch_time)
            assert metadata_socket.put([first], options=XDP_TX_METADATA, metadata=request) == 1
            assert metadata_socket.put(rest) == len(rest)
            metadata_socket.wake()
            assert now() < launch_time, "the launch time passed before the frame was handed to the kernel"
        with step("The first frame appears on the wire at its launch time or later"):

            def time_seen():
                metadata_socket.wake()
                return now() if seen.frames() else None

            assert until(time_seen, what="a frame is on the wire", timeout=LAUNCH_DELAY + WIRE_TIMEOUT) >= launch_time
        with step("Each frame leaves exactly once, unchanged, in the order of sending"):
            check_on_wire(seen, [first, *rest])
            assert seen.frames() == [first, *rest]


UNADVERTISED_FAULTS = ("tx.frame.dropped", "tx.frame.corrupted", "program:af_xdp.completion-lost")
QUERY_CAPABILITIES = f"{METADATA}, Querying Device Capabilities"


@requirement(
    "XDP-XSK-34",
    level="SHOULD",
    source=QUERY_CAPABILITIES,
    falsified_by=UNADVERTISED_FAULTS,
    refuses="xsk-flags:tx-checksum",
    variant="tx-checksum",
)
@requirement(
    "XDP-XSK-35",
    level="SHOULD",
    source=QUERY_CAPABILITIES,
    falsified_by=UNADVERTISED_FAULTS,
    refuses="xsk-flags:tx-timestamp",
    variant="tx-timestamp",
)
@requirement(
    "XDP-XSK-36",
    level="MUST",
    source=f"{METADATA}, Launch Time",
    falsified_by=UNADVERTISED_FAULTS,
    refuses="xsk-flags:tx-launch-time-fifo",
    variant="tx-launch-time-fifo",
)
@pytest.mark.parametrize("flag", ["tx-checksum", "tx-timestamp", "tx-launch-time-fifo"])
@pytest.mark.parametrize("mode", ["zero-copy"], indirect=True)
def test_unadvertised(require_absent, bind_sockets, send_and_check, probes_by_version, flag, step):
    """A request for a TX offload that zero-copy AF_XDP does not advertise is ignored: the frames leave at once, unchanged."""
    require_absent(f"xsk-flags:{flag}")
    socket = bind_sockets(flags=XDP_UMEM_TX_METADATA_LEN, metadata=REQUEST.size)[0]
    distant_time = 1 << 62
    request = {
        "tx-checksum": REQUEST.pack(CHECKSUM, HEADERS[4] - 8, UDP_CHECKSUM, 0, 0),
        "tx-timestamp": REQUEST.pack(TIMESTAMP, 0, 0, 0, 0),
        "tx-launch-time-fifo": REQUEST.pack(LAUNCH_TIME, 0, 0, 0, distant_time),
    }[flag]
    with step("Send frames of every size with the request: each leaves unchanged and is completed, exactly once"):
        frames = frames_of(probes_by_version[4])
        completions = send_and_check(lambda: socket.send(frames, options=XDP_TX_METADATA, metadata=request), frames)
    with step("The completions leave the metadata as the socket wrote it"):
        assert set(completions) == {request}
