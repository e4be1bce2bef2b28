# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets whose rings run empty or full, that are closed amid traffic, or whose interface is changed."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.operations import other_channels, other_rings
from plugfest.frames.probe import burst, frames_of, number_in, number_of
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, check_same
from plugfest.xdp.af_xdp import RING, receive_frames

SOCKET = "Documentation/networking/af_xdp.rst"
SMALL = 64
"""Descriptors of a completion ring that a test fills."""
ROUNDS = 5
POSTED = 256
WAKES = 8
"""Times that the kernel is woken for what must not be sent."""
BEHIND = 1 << 20
"""Number of a frame that the stack sends after those of a socket."""
"""Buffers posted to each queue again."""
SOON = 1.0
"""Seconds for frames to be on the wire, on a guest of speed 1."""


@pytest.fixture
def comes_through(traffic, until, check_each_fed):
    """``comes_through(sockets)``: each test frame comes to one of them once and unchanged, and some to each; late ones are let pass."""

    def check(sockets):
        receive_frames(sockets, (), until)
        probes = traffic.probes()
        traffic.send(probes)
        frames = set(frames_of(probes))
        found = [each for each in receive_frames(sockets, frames, until) if each.data in frames]
        check_same([each.data for each in found], frames_of(probes), "frames that came to the sockets")
        check_each_fed(sockets, found)

    return check


@requirement(
    "XDP-XSK-20",
    level="MUST",
    source=f"{SOCKET}, UMEM Fill Ring; XDP_STATISTICS getsockopt",
    falsified_by=("program:af_xdp.statistics-lost", "program:af_xdp.not-filled"),
)
def test_starved(bound, traffic, until, comes_through, step):
    """A socket without buffers loses what comes meanwhile, says so in its statistics, and receives again when it has some."""
    with step("Bind a socket to each receive queue, and post no buffer"):
        sockets = bound(fill=0)
    with step("Send test frames of every size in all flows: none comes, and the stack receives none"):
        traffic.send(traffic.probes())
        # Zero copy finds it out as it is bound, or when the device wants more, which a device that keeps what comes may never.
        with step("The sockets' statistics say that frames were lost, or fill rings found empty"):
            until(
                lambda: sum(map(lost_by, sockets)) > 0,
                what="the sockets have counted that they have no buffers",
                timeout=SOON,
            )
        assert receive_frames(sockets, (), until) == []
        assert traffic.nothing_received()
    with step("Post buffers: test frames of every size come to the sockets once and unchanged"):
        for socket in sockets:
            socket.fill(POSTED)
        comes_through(sockets)


def lost_by(socket):
    """How often a socket has had no buffer for a frame."""
    counted = socket.statistics()
    return counted["rx_fill_ring_empty_descs"] + counted["rx_dropped"]


@requirement(
    "XDP-XSK-21",
    level="MUST",
    source=f"{SOCKET}, UMEM Completion Ring",
    falsified_by=("tx.frame.dropped", "program:af_xdp.completion-lost"),
)
def test_completions_left(bound, traffic, packet_sender, until, step):
    """While nobody takes its completions a socket sends no more than they have room for; then all goes on, and nothing is lost."""
    with step(f"Bind a socket to each queue, with room for {SMALL} completions"):
        socket = bound(ring=SMALL, fill=0)[0]
    frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES))
    frames += frames_of(burst(traffic.ends_back, flows=2 * SMALL, sizes=(60,), first=len(frames)))
    assert SMALL < len(frames) < RING
    with traffic.capture_sent() as seen:
        with step("Put more frames than that into the transmit ring of the first, and take no completion"):
            assert socket.put(frames) == len(frames)
            wake_until(socket, until, lambda: len(seen.probes()) >= SMALL, f"{SMALL} frames are on the wire")
            # What is handed over by the stack now goes behind whatever the socket has been given leave for.
            for _ in range(WAKES):
                socket.wake()
            behind = packet_sender.send(
                [burst(traffic.ends_back, flows=1, sizes=(60,), versions=(4,), first=BEHIND)[0].frame]
            )
            assert behind == 1
            until(
                lambda: any(number_of(frame) == BEHIND for frame in seen.probes()),
                what="a frame of the stack is on the wire",
                timeout=SOON,
            )
            sent = [frame for frame in seen.probes() if number_of(frame) != BEHIND]
            assert len(sent) == SMALL, f"{len(sent)} frames were sent, with {SMALL} completions untaken"
        with step("Take completions: every frame is on the wire once, and completed once"):
            completed = []

            def all_done():
                completed.extend(socket.reap())
                return len(completed) >= len(frames) and len(seen.probes()) > len(frames)

            wake_until(socket, until, all_done, f"{len(frames)} frames are sent and completed")
            assert len(completed) == len(frames)
    check_same([frame for frame in seen.probes() if number_of(frame) != BEHIND], frames, "frames on the wire")


def wake_until(socket, until, condition, what):
    """Wake the kernel for the transmit ring until a condition holds."""

    def again():
        socket.wake()
        return condition()

    until(again, what=what, timeout=SOON)


@requirement(
    "XDP-XSK-22",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/netdevices.rst",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped"),
)
@pytest.mark.budget(60)
def test_closed_amid_traffic(af_xdp, spread, to_sockets, mode, traffic, settings, until, native, step):
    """Sockets can be closed while frames come in, by the death of their process too, and leave the interface as it was."""
    queues = range(traffic.queues())
    with traffic.stream():
        for number in range(ROUNDS):
            with step(f"Amid traffic, bind a socket to each queue and wait for frames; close them, time {number + 1}"):
                umems = [af_xdp.umem(to_sockets.maps["sockets"]) for _ in queues]
                sockets = [umem.open(queue, mode) for umem, queue in zip(umems, queues, strict=True)]
                for socket in sockets:
                    socket.fill(POSTED)
                    socket.enter()
                settings.ready()
                came = set()

                def fed(sockets=sockets, came=came):
                    came |= {socket.queue for socket in sockets if socket.take()}
                    return came >= spread & set(queues)

                until(fed, what="each socket whose queue frames reach has received one", timeout=SOON)
                if number % 2:
                    for umem in umems:
                        umem.close()
                else:
                    for socket in sockets:
                        socket.close()
                    for umem in umems:
                        umem.close()
    with step("Detach the program: test frames of every size reach the stack once and unchanged"):
        native.detach()
        settings.ready()
        traffic.discard()
        traffic.check_delivery()


@requirement(
    "XDP-XSK-23",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/ethtool-netlink.rst, RINGS_SET",
    falsified_by=("program:af_xdp.not-entered", "program:traffic.one-flow", "rx.frame.dropped"),
)
def test_ring_resize(bound, dut, settings, comes_through, skip_unsupported, step, evidence):
    """With sockets bound, a change of the ring sizes is made or refused with a reason, and the sockets receive as before."""
    rings = dut.get("rings") or {}
    sizes = other_rings(rings)
    if sizes is None:
        skip_unsupported("rings that can be set", evidence=rings)
    with step("Bind a socket to each receive queue"):
        sockets = bound()
    with step("Ask for receive and transmit rings of another size"):
        refused = settings.try_set("rings", **sizes)
        evidence("answer", str(refused or f"made: {sizes}"))
        assert refused is None or refused.extack, f"it was refused without a reason: {refused}"
        now = dut.get("rings")
        assert [now[name] for name in sizes] == ([rings[name] for name in sizes] if refused else list(sizes.values()))
    with step("Test frames of every size come to the sockets once and unchanged"):
        comes_through(sockets)


@requirement(
    "XDP-XSK-24",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, CHANNELS_SET; net/ethtool/common.c, ethtool_check_max_channel",
    falsified_by="rx.frame.dropped",
)
def test_queue_is_not_taken_away(bound, dut, traffic, comes_through, skip_unsupported, step, evidence):
    """A queue with a socket is not taken away: fewer channels are refused with EINVAL and a reason, and the socket receives."""
    channels = dut.get("channels") or {}
    name = next((name for name in ("combined", "rx") if (channels.get(f"{name}-count") or 0) > 1), None)
    if name is None or traffic.queues() < 2:
        skip_unsupported("several channels that can be set", evidence=channels)
    with step("Bind a socket to each receive queue"):
        sockets = bound()
    with step("Ask for a channel less"):
        refused = dut.try_set("channels", **{f"{name}_count": channels[f"{name}-count"] - 1})
        evidence("answer", str(refused))
        if refused is not None and refused.errno == errno.EOPNOTSUPP:
            skip_unsupported("a change of the number of channels", evidence=str(refused))
        assert refused is not None, "it was granted"
        assert refused.errno == errno.EINVAL
        assert refused.extack, f"it was refused without a reason: {refused}"
        assert dut.get("channels") == channels
    with step("Test frames of every size come to the sockets once and unchanged"):
        comes_through(sockets)


@requirement(
    "XDP-XSK-26",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped", "tx.frame.dropped"),
)
@pytest.mark.budget(60)
def test_more_channels(
    af_xdp,
    bound,
    to_sockets,
    mode,
    dut,
    settings,
    traffic,
    until,
    comes_through,
    sends,
    step,
    skip_unsupported,
    evidence,
):
    """With sockets bound, a channel more is made or refused with a reason; the sockets receive and send on, and the new queue takes one."""
    before = dut.get("channels") or {}
    fewer = other_channels(before)
    if fewer is None or any(count >= before[name.replace("_", "-")] for name, count in fewer.items()):
        skip_unsupported("several channels that can be set", evidence=before)
    with step("Take a channel away, and bind a socket to each receive queue that is left"):
        if (refused := settings.try_set("channels", **fewer)) is not None:
            skip_unsupported("fewer channels while a program is attached", evidence=str(refused))
        sockets = bound()
    with step("Ask for the channel that was taken away"):
        refused = settings.try_set_without_undo("channels", **{name: before[name.replace("_", "-")] for name in fewer})
        settings.ready()
        evidence("answer", str(refused or "made"))
        assert refused is None or refused.extack, f"it was refused without a reason: {refused}"
    with step("Test frames of every size come to a socket, or by the new queue to the stack, once and unchanged"):
        receive_frames(sockets, (), until)
        probes = traffic.probes()
        traffic.send(probes)
        frames = set(frames_of(probes))
        reached = [each.data for each in receive_frames(sockets, frames, until)]
        passed = {number_in(payload) for payload in traffic.received(probes)}
        reached += [probe.frame for probe in probes if probe.number in passed]
        check_same([frame for frame in reached if frame in frames], frames_of(probes), "frames that came")
        assert refused is None or not passed, "the stack received a frame, though each queue has a socket"
    with step("Frames of every size from each socket are on the wire once, and completed once"):
        sends(sockets)
    if refused is None:
        with step("Bind a socket to the new queue: test frames of every size come to the sockets, some to each"):
            new = af_xdp.umem(to_sockets.maps["sockets"]).open(traffic.queues() - 1, mode)
            new.fill(POSTED)
            new.enter()
            settings.ready()
            comes_through([*sockets, new])


@requirement(
    "XDP-XSK-25",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/netdevices.rst, ndo_stop",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped", "tx.frame.dropped"),
)
def test_down_and_up(bound, dut, settings, comes_through, traffic, come, defer, step):
    """A socket stays bound while its interface is down, and receives and sends when it is up again."""
    with step("Bind a socket to each receive queue"):
        sockets = bound()
    with step("Take the interface down and up"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
    with step("Test frames of every size come to the sockets once and unchanged"):
        comes_through(sockets)
    with (
        step("Frames of every size from the first are on the wire once, and completed once"),
        traffic.capture_sent() as seen,
    ):
        frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES))
        sockets[0].send(frames)
        come(seen, frames)
