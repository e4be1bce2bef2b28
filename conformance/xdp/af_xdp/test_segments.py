# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames in several buffers of AF_XDP sockets, both ways."""

from __future__ import annotations

import errno

import pytest
from plugfest.frames.probe import frames_of
from plugfest.requirements.netdev_flags import MAX_SEGS
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import SIZES, check_same
from plugfest.xdp.af_xdp import (
    CHUNK,
    XDP_PACKET_HEADROOM,
    XDP_PKT_CONTD,
    XDP_USE_SG,
    data_of,
    receive_frames,
    receive_packets,
)

SEGMENTS = "Documentation/networking/af_xdp.rst, XDP_USE_SG bind flag; Multi-Buffer Support"
MOST = "Documentation/netlink/specs/netdev.yaml, xdp-zc-max-segs"
PIECES = (1, 14, 50, 512, 1024)
"""Where frames are cut into buffers, octets."""
SMALL = {"size": 2048, "headroom": 1024}
"""A umem whose chunks have room for half of the longest frame of an MTU of 1500."""
SOON = 1.0
"""Seconds for frames to be on the wire, on a guest of speed 1."""


@pytest.fixture
def to_sockets(redirecting, spread):  # noqa: ARG001 - before a program is attached
    """A program, attached in native mode, that gives test frames, of several buffers too, to the sockets in its map."""
    return redirecting.attach("xdp_redirect_xsk_frags")


def room_of(size=CHUNK, headroom=0):
    """Octets of a received frame that one chunk holds."""
    return size - headroom - XDP_PACKET_HEADROOM


@pytest.fixture
def in_several(traffic, until, check_each_fed):
    """``in_several(sockets, sizes, room, headroom)``: each test frame comes to one of them once, in buffers of at most `room` octets.

    Some come to each socket.

    Returns:
        How many buffers the frame in most of them had.
    """

    def check(sockets, sizes, room, headroom):
        probes = traffic.probes(sizes=sizes)
        assert any(len(probe.frame) > room for probe in probes)
        traffic.send(probes)
        packets = receive_packets(sockets, set(frames_of(probes)), until)
        check_same([data_of(packet) for packet in packets], frames_of(probes), "frames that came to the sockets")
        check_each_fed(sockets, [packet[0] for packet in packets])
        for packet in packets:
            lengths = [len(each.data) for each in packet]
            assert max(lengths) <= room, f"buffers of {lengths} octets, where {room} have room"
            assert {each.offset for each in packet} == {XDP_PACKET_HEADROOM + headroom}
        assert traffic.nothing_received(), "the stack received a frame that a socket had"
        return max(len(packet) for packet in packets)

    return check


RECEIVED_WRONG = (
    "program:af_xdp.not-joined",
    "program:traffic.one-flow",
    "program:af_xdp.not-entered",
    "rx.frame.corrupted",
    "rx.frame.dropped",
)


@requirement("XDP-XSK-40", level="MUST", source=SEGMENTS, falsified_by=RECEIVED_WRONG, variant="copy")
@pytest.mark.parametrize("mode", ["copy"], indirect=True)
def test_receive(bound, in_several, step):
    """A frame for which one chunk has no room comes to a socket in several buffers, in order, once and unchanged."""
    with step(
        "Bind a socket to each queue that may use several buffers for a frame (XDP_USE_SG), of chunks with little room"
    ):
        sockets = bound(bind_flags=XDP_USE_SG, **SMALL)
    with step(
        "Send test frames of every size: each comes once and unchanged, in buffers that begin where they have to"
    ):
        assert in_several(sockets, SIZES, room_of(**SMALL), SMALL["headroom"]) == 2


@requirement(
    "XDP-XSK-41",
    level="MUST",
    source=SEGMENTS,
    falsified_by=RECEIVED_WRONG,
    proves="xdp-act:rx-sg",
    variant="copy",
)
@requirement(
    "XDP-XSK-42",
    level="MUST",
    source=f"{SEGMENTS}; {MOST}",
    falsified_by=RECEIVED_WRONG,
    proves=MAX_SEGS,
    variant="zero-copy",
)
def test_receive_long(require, redirecting, bound, in_several, long_frames, mode, skip_unsupported, step, evidence):
    """At an MTU of up to 9000 a frame longer than a chunk comes to a socket in several buffers, with zero copy in no more than advertised.

    No driver here advertises several zero-copy buffers: XDP-XSK-39 tests that a socket that demands them is refused.
    """
    require("xdp-act:rx-sg", *([MAX_SEGS] if mode == "zero-copy" else []))
    with step(
        "Set the largest MTU up to 9000, and bind a socket to each queue that may use several buffers for a frame"
    ):
        sizes = long_frames()
        if max(sizes) <= room_of():
            skip_unsupported(f"frames longer than {room_of()} octets", evidence={"longest": max(sizes)})
        sockets = bound(bind_flags=XDP_USE_SG)
    if mode == "zero-copy":
        most = redirecting.max_segments()
        sizes = [size for size in sizes if size <= most * room_of()]
    with step(
        "Send test frames of every length: each comes once and unchanged, in no more buffers than are advertised"
    ):
        used = in_several(sockets, sizes, room_of(), 0)
        evidence("buffers of a frame, at most", used)
        assert mode == "copy" or used <= most, f"a frame came in {used} buffers, where {most} are advertised"


@requirement(
    "XDP-XSK-43",
    level="MUST",
    source=SEGMENTS,
    falsified_by=("program:af_xdp.not-entered", "program:af_xdp.statistics-lost", "rx.frame.dropped"),
    variant="copy",
)
@pytest.mark.parametrize("mode", ["copy"], indirect=True)
def test_not_asked_for(bound, traffic, until, step):
    """A socket that did not ask for several buffers loses what one has no room for, says so, and gets all else unchanged."""
    room = room_of(**SMALL)
    with step("Bind a socket to each queue, of chunks with little room, without XDP_USE_SG"):
        sockets = bound(**SMALL)
    with step("Send test frames of every size: those that fit come once and unchanged"):
        probes = traffic.probes()
        short = [frame for frame in frames_of(probes) if len(frame) <= room]
        traffic.send(probes)
        check_same(
            [each.data for each in receive_frames(sockets, set(short), until)], short, "frames that came to the sockets"
        )
    with step("The others are counted as dropped (rx_dropped), and are not in the stack either"):
        until(
            lambda: sum(socket.statistics()["rx_dropped"] for socket in sockets) == len(probes) - len(short),
            what=f"the sockets have counted {len(probes) - len(short)} frames as dropped",
            timeout=SOON,
        )
        assert traffic.nothing_received()


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
def test_send(require, af_xdp, to_sockets, mode, settings, leaves, probes, until, step):
    """A frame that a socket sends in several buffers leaves as one, unchanged, and each of its buffers is completed once."""
    if mode == "zero-copy":
        require(MAX_SEGS)
    with step("Bind a socket to queue 0 that may use several buffers for a frame (XDP_USE_SG)"):
        socket = af_xdp.umem(to_sockets.maps["sockets"]).open(0, mode, flags=XDP_USE_SG)
        settings.ready()
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
    source=f"{SEGMENTS}; {MOST}",
    falsified_by="program:af_xdp.other-mode",
    refuses=MAX_SEGS,
)
def test_refused(require_absent, af_xdp, to_sockets, traffic, step):  # noqa: ARG001 - attached
    """Where zero-copy frames may have one buffer only, a socket that demands more is refused with EOPNOTSUPP; traffic is as before."""
    require_absent(MAX_SEGS)
    with step("Ask to bind a socket to queue 0, demanding zero copy with several buffers (XDP_ZEROCOPY, XDP_USE_SG)"):
        refused = af_xdp.try_bind(0, "zero-copy", XDP_USE_SG)
        assert refused is not None, "it was bound"
        assert refused.errno == errno.EOPNOTSUPP, f"expected EOPNOTSUPP, found {refused}"
    with step("Test frames of every size reach the stack once and unchanged"):
        traffic.check_delivery()
