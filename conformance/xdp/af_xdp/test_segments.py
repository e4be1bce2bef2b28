# SPDX-License-Identifier: GPL-2.0-or-later
"""Multi-buffer frames on AF_XDP sockets, in both directions."""

from __future__ import annotations

import errno

import pytest
from plugfest.frames.probe import frames_of
from plugfest.requirements.netdev_flags import MAX_SEGS
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import SIZES, WIRE_TIMEOUT, check_same
from plugfest.xdp.af_xdp import (
    CHUNK,
    XDP_PACKET_HEADROOM,
    XDP_PKT_CONTD,
    XDP_USE_SG,
    data_of,
    receive_frames,
    receive_packets,
)

MULTI_BUFFER = "Documentation/networking/af_xdp.rst, XDP_USE_SG bind flag (since Linux 6.6); Multi-Buffer Support"
MAX_SEGMENTS = "Documentation/netlink/specs/netdev.yaml, xdp-zc-max-segs"
SPLIT_OFFSETS = (1, 14, 50, 512, 1024)
"""Offsets at which frames are split into two buffers, bytes."""
SMALL_CHUNKS = {"size": 2048, "headroom": 1024}
"""A umem whose chunks hold half of the longest frame at an MTU of 1500."""


@pytest.fixture
def xsk_program(native_redirect, queues_reached_by_rss):  # noqa: ARG001 - before a program is attached
    """A program with fragment support, attached in native mode, that redirects test frames to the sockets in its map."""
    return native_redirect.attach("xdp_redirect_xsk_frags")


def room_in_chunk(size=CHUNK, headroom=0):
    """Bytes of a received frame that one chunk holds."""
    return size - headroom - XDP_PACKET_HEADROOM


@pytest.fixture
def check_receive_multi_buffer(traffic, until, check_every_socket_received, send_sentinels):
    """``check_receive_multi_buffer(sockets, sizes, room, headroom)`` checks that the sockets receive each test frame exactly once.

    Each frame arrives in buffers of at most `room` bytes, and each socket receives some frames.

    Returns:
        The largest number of buffers of one frame.
    """

    def check(sockets, sizes, room, headroom):
        probes = traffic.probes(sizes=sizes)
        assert any(len(probe.frame) > room for probe in probes)
        traffic.send(probes)
        packets = receive_packets(sockets, set(frames_of(probes)), until, send_sentinels)
        check_same([data_of(packet) for packet in packets], frames_of(probes), "frames that the sockets received")
        check_every_socket_received(sockets, [packet[0] for packet in packets])
        for packet in packets:
            lengths = [len(each.data) for each in packet]
            assert max(lengths) <= room, f"buffers of {lengths} bytes, in chunks with room for {room}"
            assert {each.offset for each in packet} == {XDP_PACKET_HEADROOM + headroom}
        assert traffic.nothing_received(), "the stack received a frame as well as the sockets"
        return max(len(packet) for packet in packets)

    return check


RECEIVE_FAULTS = (
    "program:af_xdp.not-joined",
    "program:traffic.one-flow",
    "program:af_xdp.not-entered",
    "rx.frame.corrupted",
    "rx.frame.dropped",
)


@requirement("XDP-XSK-40", level="MUST", source=MULTI_BUFFER, falsified_by=RECEIVE_FAULTS, variant="copy")
@pytest.mark.parametrize("mode", ["copy"], indirect=True)
def test_receive(bind_sockets, check_receive_multi_buffer, step):
    """A frame that does not fit into one chunk reaches a socket in several buffers, in order, exactly once, unchanged."""
    with step("Bind a socket with small chunks and multi-buffer support (XDP_USE_SG) to each queue"):
        sockets = bind_sockets(bind_flags=XDP_USE_SG, **SMALL_CHUNKS)
    with step(
        "Send test frames of every size: the sockets receive each exactly once, unchanged, at the proper offsets"
    ):
        assert check_receive_multi_buffer(sockets, SIZES, room_in_chunk(**SMALL_CHUNKS), SMALL_CHUNKS["headroom"]) == 2


@requirement(
    "XDP-XSK-41",
    level="MUST",
    source=MULTI_BUFFER,
    falsified_by=RECEIVE_FAULTS,
    proves="xdp-act:rx-sg",
    variant="copy",
)
@requirement(
    "XDP-XSK-42",
    level="MUST",
    source=f"{MULTI_BUFFER}; {MAX_SEGMENTS}",
    falsified_by=RECEIVE_FAULTS,
    proves=MAX_SEGS,
    variant="zero-copy",
)
def test_receive_jumbo(
    require,
    native_redirect,
    bind_sockets,
    check_receive_multi_buffer,
    set_jumbo_mtu,
    mode,
    skip_unsupported,
    step,
    evidence,
):
    """At an MTU of up to 9000, a frame longer than a chunk reaches a socket in several buffers, in zero-copy mode at most xdp-zc-max-segs.

    None of the drivers tested here advertises multi-buffer zero-copy; XDP-XSK-39 covers drivers without it.
    """
    require("xdp-act:rx-sg", *([MAX_SEGS] if mode == "zero-copy" else []))
    with step("Set the largest supported MTU, up to 9000, and bind a socket with multi-buffer support to each queue"):
        sizes = set_jumbo_mtu()
        if max(sizes) <= room_in_chunk():
            skip_unsupported(f"frames longer than {room_in_chunk()} bytes", evidence={"longest": max(sizes)})
        sockets = bind_sockets(bind_flags=XDP_USE_SG)
    if mode == "zero-copy":
        max_segments = native_redirect.max_segments()
        sizes = [size for size in sizes if size <= max_segments * room_in_chunk()]
    with step(
        "Send test frames of every size: the sockets receive each exactly once, unchanged, in no more buffers than advertised"
    ):
        buffers = check_receive_multi_buffer(sockets, sizes, room_in_chunk(), 0)
        evidence("largest number of buffers of a frame", buffers)
        assert mode == "copy" or buffers <= max_segments, (
            f"a frame arrived in {buffers} buffers, the driver advertises {max_segments}"
        )


@requirement(
    "XDP-XSK-43",
    level="MUST",
    source=MULTI_BUFFER,
    falsified_by=("program:af_xdp.not-entered", "program:af_xdp.statistics-lost", "rx.frame.dropped"),
    variant="copy",
)
@pytest.mark.parametrize("mode", ["copy"], indirect=True)
def test_receive_without_use_sg(bind_sockets, traffic, until, step):
    """A socket without XDP_USE_SG drops and counts a frame that does not fit into one chunk, and receives all others unchanged."""
    room = room_in_chunk(**SMALL_CHUNKS)
    with step("Bind a socket with small chunks to each queue, without XDP_USE_SG"):
        sockets = bind_sockets(**SMALL_CHUNKS)
    with step("Send test frames of every size: the sockets receive those that fit exactly once, unchanged"):
        probes = traffic.probes()
        fitting = [frame for frame in frames_of(probes) if len(frame) <= room]
        traffic.send(probes)
        check_same(
            [each.data for each in receive_frames(sockets, set(fitting), until)],
            fitting,
            "frames that the sockets received",
        )
    with step("The sockets count the others as dropped (rx_dropped), and the stack does not receive them either"):
        until(
            lambda: sum(socket.statistics()["rx_dropped"] for socket in sockets) == len(probes) - len(fitting),
            what=f"the sockets have counted {len(probes) - len(fitting)} frames as dropped",
            timeout=WIRE_TIMEOUT,
        )
        assert traffic.nothing_received()


@requirement(
    "XDP-XSK-37",
    level="MUST",
    source=MULTI_BUFFER,
    falsified_by=("program:af_xdp.not-continued", "tx.frame.corrupted"),
    variant="copy",
)
@requirement(
    "XDP-XSK-38",
    level="MUST",
    source=MULTI_BUFFER,
    falsified_by=("program:af_xdp.not-continued", "tx.frame.corrupted"),
    proves=MAX_SEGS,
    variant="zero-copy",
)
def test_send(require, af_xdp, xsk_program, mode, settings, send_and_check, probes_by_version, until, step):
    """A frame that a socket sends in several buffers leaves as one frame, unchanged, and each buffer is completed exactly once."""
    if mode == "zero-copy":
        require(MAX_SEGS)
    with step("Bind a socket with multi-buffer support (XDP_USE_SG) to queue 0"):
        socket = af_xdp.umem(xsk_program.maps["sockets"]).open(0, mode, flags=XDP_USE_SG)
        settings.ready()
    frames = frames_of([*probes_by_version[4], *probes_by_version[6]])
    split_frames = [split(frame, SPLIT_OFFSETS[number % len(SPLIT_OFFSETS)]) for number, frame in enumerate(frames)]
    completed = []

    def send():
        for first, second in split_frames:
            assert socket.put([first], options=XDP_PKT_CONTD) == 1
            assert socket.put([second]) == 1

        def done():
            socket.wake()
            completed.extend(socket.reap())
            return len(completed) >= 2 * len(frames)

        until(done, what=f"{2 * len(frames)} buffers are completed", timeout=WIRE_TIMEOUT)

    with step("Send frames of every size, each split into two buffers: each leaves exactly once, unchanged"):
        send_and_check(send, frames)
    with step("Each buffer was completed exactly once"):
        completed += socket.reap()
        assert len(completed) == 2 * len(frames)


def split(frame, at):
    """Both parts of a frame, neither of them empty."""
    at = min(at, len(frame) - 1)
    return frame[:at], frame[at:]


@requirement(
    "XDP-XSK-39",
    level="MUST",
    source=f"{MULTI_BUFFER}; {MAX_SEGMENTS}",
    falsified_by="program:af_xdp.other-mode",
    refuses=MAX_SEGS,
)
def test_bind_unadvertised(require_absent, af_xdp, xsk_program, traffic, step):  # noqa: ARG001 - attached
    """If xdp-zc-max-segs is not advertised, a zero-copy bind with XDP_USE_SG fails with EOPNOTSUPP, and traffic is not affected."""
    require_absent(MAX_SEGS)
    with step("Try to bind a socket to queue 0 with XDP_ZEROCOPY and XDP_USE_SG"):
        error = af_xdp.try_bind(0, "zero-copy", XDP_USE_SG)
        assert error is not None, "the kernel bound the socket"
        assert error.errno == errno.EOPNOTSUPP, f"expected EOPNOTSUPP, found {error}"
    with step("Test frames of every size reach the stack exactly once, unchanged"):
        traffic.check_delivery()
