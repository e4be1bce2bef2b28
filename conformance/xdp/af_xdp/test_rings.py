# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets whose rings run empty or full, that are closed amid traffic, or whose interface is changed."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.operations import other_channels, other_rings
from plugfest.frames.probe import burst, frames_of, number_in, number_of
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, check_same
from plugfest.xdp.af_xdp import RING, gather

SOCKET = "Documentation/networking/af_xdp.rst"
COMPLETION_RING = 64
"""Descriptors of a completion ring that a test fills."""
ROUNDS = 5
POSTED_BUFFERS = 256
WAKEUPS = 8
"""Times that the kernel is woken for what must not be sent."""
STACK_FRAME_NUMBER = 1 << 20
"""Number of a frame that the stack sends after those of a socket."""
"""Buffers posted to each queue again."""
SOON = 1.0
"""Seconds for frames to be on the wire, on a guest of speed 1."""


@pytest.fixture
def check_receive_ignoring_late(traffic, until, check_every_socket_received):
    """``comes_through(sockets)``: each test frame comes to one of them once and unchanged, and some to each; late ones are let pass."""

    def check(sockets):
        gather(sockets, (), until)
        probes = traffic.probes()
        traffic.send(probes)
        frames = set(frames_of(probes))
        found = [each for each in gather(sockets, frames, until) if each.data in frames]
        check_same([each.data for each in found], frames_of(probes), "frames that came to the sockets")
        check_every_socket_received(sockets, found)

    return check


@requirement(
    "XDP-XSK-20",
    level="MUST",
    source=f"{SOCKET}, UMEM Fill Ring; XDP_STATISTICS getsockopt",
    falsified_by=("program:af_xdp.statistics-lost", "program:af_xdp.not-filled"),
)
def test_empty_fill_ring(bind_sockets, traffic, until, check_receive_ignoring_late, step):
    """A socket without buffers loses what comes meanwhile, says so in its statistics, and receives again when it has some."""
    with step("Bind a socket to each receive queue, and post no buffer"):
        sockets = bind_sockets(fill=0)
    with step("Send test frames of every size in all flows: none comes, and the stack receives none"):
        traffic.send(traffic.probes())
        # Zero copy finds it out as it is bound, or when the device wants more, which a device that keeps what comes may never.
        with step("The sockets' statistics say that frames were lost, or fill rings found empty"):
            until(
                lambda: sum(map(frames_lost, sockets)) > 0,
                what="the sockets have counted that they have no buffers",
                timeout=SOON,
            )
        assert gather(sockets, (), until) == []
        assert traffic.nothing_received()
    with step("Post buffers: test frames of every size come to the sockets once and unchanged"):
        for socket in sockets:
            socket.fill(POSTED_BUFFERS)
        check_receive_ignoring_late(sockets)


def frames_lost(socket):
    """How often a socket has had no buffer for a frame."""
    counted = socket.statistics()
    return counted["rx_fill_ring_empty_descs"] + counted["rx_dropped"]


@requirement(
    "XDP-XSK-21",
    level="MUST",
    source=f"{SOCKET}, UMEM Completion Ring",
    falsified_by=("tx.frame.dropped", "program:af_xdp.completion-lost"),
)
def test_full_completion_ring(bind_sockets, traffic, packet_sender, until, step):
    """While nobody takes its completions a socket sends no more than they have room for; then all goes on, and nothing is lost."""
    with step(f"Bind a socket to each queue, with room for {COMPLETION_RING} completions"):
        socket = bind_sockets(ring=COMPLETION_RING, fill=0)[0]
    frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES))
    frames += frames_of(burst(traffic.ends_back, flows=2 * COMPLETION_RING, sizes=(60,), first=len(frames)))
    assert COMPLETION_RING < len(frames) < RING
    with traffic.sightings() as seen:
        with step("Put more frames than that into the transmit ring of the first, and take no completion"):
            assert socket.put(frames) == len(frames)
            wake_until(socket, until, lambda: len(seen.probes()) >= COMPLETION_RING, f"{COMPLETION_RING} frames are on the wire")
            # What is handed over by the stack now goes behind whatever the socket has been given leave for.
            for _ in range(WAKEUPS):
                socket.wake()
            sent_by_stack = packet_sender.send(
                [burst(traffic.ends_back, flows=1, sizes=(60,), versions=(4,), first=STACK_FRAME_NUMBER)[0].frame]
            )
            assert sent_by_stack == 1
            until(
                lambda: any(number_of(frame) == STACK_FRAME_NUMBER for frame in seen.probes()),
                what="a frame of the stack is on the wire",
                timeout=SOON,
            )
            sent = [frame for frame in seen.probes() if number_of(frame) != STACK_FRAME_NUMBER]
            assert len(sent) == COMPLETION_RING, f"{len(sent)} frames were sent, with {COMPLETION_RING} completions untaken"
        with step("Take completions: every frame is on the wire once, and completed once"):
            completed = []

            def all_completed():
                completed.extend(socket.reap())
                return len(completed) >= len(frames) and len(seen.probes()) > len(frames)

            wake_until(socket, until, all_completed, f"{len(frames)} frames are sent and completed")
            assert len(completed) == len(frames)
    check_same([frame for frame in seen.probes() if number_of(frame) != STACK_FRAME_NUMBER], frames, "frames on the wire")


def wake_until(socket, until, condition, what):
    """Wake the kernel for the transmit ring until a condition holds."""

    def wake_and_check():
        socket.wake()
        return condition()

    until(wake_and_check, what=what, timeout=SOON)


@requirement(
    "XDP-XSK-22",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/netdevices.rst",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped"),
)
@pytest.mark.budget(60)
def test_close_under_traffic(af_xdp, queues_reached_by_rss, xsk_program, mode, traffic, settings, until, native, step):
    """Sockets can be closed while frames come in, by the death of their process too, and leave the interface as it was."""
    queues = range(traffic.queues())
    with traffic.stream():
        for number in range(ROUNDS):
            with step(f"Amid traffic, bind a socket to each queue and wait for frames; close them, time {number + 1}"):
                umems = [af_xdp.umem(xsk_program.maps["sockets"]) for _ in queues]
                sockets = [umem.open(queue, mode) for umem, queue in zip(umems, queues, strict=True)]
                for socket in sockets:
                    socket.fill(POSTED_BUFFERS)
                    socket.enter()
                settings.ready()
                received_on = set()

                def all_received(sockets=sockets, received_on=received_on):
                    received_on |= {socket.queue for socket in sockets if socket.take()}
                    return received_on >= queues_reached_by_rss & set(queues)

                until(all_received, what="each socket whose queue frames reach has received one", timeout=SOON)
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
def test_ring_resize(bind_sockets, dut, settings, check_receive_ignoring_late, skip_unsupported, step, evidence):
    """With sockets bound, a change of the ring sizes is made or refused with a reason, and the sockets receive as before."""
    rings = dut.get("rings") or {}
    sizes = other_rings(rings)
    if sizes is None:
        skip_unsupported("rings that can be set", evidence=rings)
    with step("Bind a socket to each receive queue"):
        sockets = bind_sockets()
    with step("Ask for receive and transmit rings of another size"):
        error = settings.try_set("rings", **sizes)
        evidence("answer", str(error or f"made: {sizes}"))
        assert error is None or error.extack, f"it was refused without a reason: {error}"
        now = dut.get("rings")
        assert [now[name] for name in sizes] == ([rings[name] for name in sizes] if error else list(sizes.values()))
    with step("Test frames of every size come to the sockets once and unchanged"):
        check_receive_ignoring_late(sockets)


@requirement(
    "XDP-XSK-24",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, CHANNELS_SET; net/ethtool/common.c, ethtool_check_max_channel",
    falsified_by="rx.frame.dropped",
)
def test_queue_with_socket_stays(bind_sockets, dut, traffic, check_receive_ignoring_late, skip_unsupported, step, evidence):
    """A queue with a socket is not taken away: fewer channels are refused with EINVAL and a reason, and the socket receives."""
    channels = dut.get("channels") or {}
    name = next((name for name in ("combined", "rx") if (channels.get(f"{name}-count") or 0) > 1), None)
    if name is None or traffic.queues() < 2:
        skip_unsupported("several channels that can be set", evidence=channels)
    with step("Bind a socket to each receive queue"):
        sockets = bind_sockets()
    with step("Ask for a channel less"):
        error = dut.try_set("channels", **{f"{name}_count": channels[f"{name}-count"] - 1})
        evidence("answer", str(error))
        if error is not None and error.errno == errno.EOPNOTSUPP:
            skip_unsupported("a change of the number of channels", evidence=str(error))
        assert error is not None, "it was granted"
        assert error.errno == errno.EINVAL
        assert error.extack, f"it was refused without a reason: {error}"
        assert dut.get("channels") == channels
    with step("Test frames of every size come to the sockets once and unchanged"):
        check_receive_ignoring_late(sockets)


@requirement(
    "XDP-XSK-26",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped", "tx.frame.dropped"),
)
@pytest.mark.budget(60)
def test_more_channels(
    af_xdp,
    bind_sockets,
    xsk_program,
    mode,
    dut,
    settings,
    traffic,
    until,
    check_receive_ignoring_late,
    check_transmit,
    step,
    skip_unsupported,
    evidence,
):
    """With sockets bound, a channel more is made or refused with a reason; the sockets receive and send on, and the new queue takes one."""
    channels = dut.get("channels") or {}
    fewer_channels = other_channels(channels)
    if fewer_channels is None or any(count >= channels[name.replace("_", "-")] for name, count in fewer_channels.items()):
        skip_unsupported("several channels that can be set", evidence=channels)
    with step("Take a channel away, and bind a socket to each receive queue that is left"):
        if (error := settings.try_set("channels", **fewer_channels)) is not None:
            skip_unsupported("fewer channels while a program is attached", evidence=str(error))
        sockets = bind_sockets()
    with step("Ask for the channel that was taken away"):
        error = settings.try_set_without_undo("channels", **{name: channels[name.replace("_", "-")] for name in fewer_channels})
        settings.ready()
        evidence("answer", str(error or "made"))
        assert error is None or error.extack, f"it was refused without a reason: {error}"
    with step("Test frames of every size come to a socket, or by the new queue to the stack, once and unchanged"):
        gather(sockets, (), until)
        probes = traffic.probes()
        traffic.send(probes)
        frames = set(frames_of(probes))
        received = [each.data for each in gather(sockets, frames, until)]
        in_stack = {number_in(payload) for payload in traffic.received(probes)}
        received += [probe.frame for probe in probes if probe.number in in_stack]
        check_same([frame for frame in received if frame in frames], frames_of(probes), "frames that came")
        assert error is None or not in_stack, "the stack received a frame, though each queue has a socket"
    with step("Frames of every size from each socket are on the wire once, and completed once"):
        check_transmit(sockets)
    if error is None:
        with step("Bind a socket to the new queue: test frames of every size come to the sockets, some to each"):
            new = af_xdp.umem(xsk_program.maps["sockets"]).open(traffic.queues() - 1, mode)
            new.fill(POSTED_BUFFERS)
            new.enter()
            settings.ready()
            check_receive_ignoring_late([*sockets, new])


@requirement(
    "XDP-XSK-25",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/netdevices.rst, ndo_stop",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped", "tx.frame.dropped"),
)
def test_down_and_up(bind_sockets, dut, settings, check_receive_ignoring_late, traffic, check_on_wire, defer, step):
    """A socket stays bound while its interface is down, and receives and sends when it is up again."""
    with step("Bind a socket to each receive queue"):
        sockets = bind_sockets()
    with step("Take the interface down and up"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
    with step("Test frames of every size come to the sockets once and unchanged"):
        check_receive_ignoring_late(sockets)
    with (
        step("Frames of every size from the first are on the wire once, and completed once"),
        traffic.sightings() as seen,
    ):
        frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES))
        sockets[0].send(frames)
        check_on_wire(seen, frames)
