# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets with empty or full rings, closed under traffic, or on an interface that is reconfigured."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from plugfest.dut.operations import other_channels, other_rings
from plugfest.frames.probe import burst, frames_of, number_of
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, LOSS_TIMEOUT, SIZES, WIRE_TIMEOUT, check_same
from plugfest.xdp.af_xdp import RING, enter_all, open_all, receive_frames, take_all

SOCKET = "Documentation/networking/af_xdp.rst"
COMPLETION_RING = 64
"""Descriptors of the completion ring that a test fills."""
ROUNDS = 5
POSTED_BUFFERS = 256
"""Buffers posted to each fill ring after it was empty, or to each new socket."""
WAKEUPS = 8
"""Wakeups of the kernel while the completion ring has no room."""
STACK_FRAME_NUMBER = 1 << 20
"""Number of the frame that the stack sends after the frames of a socket."""


@pytest.fixture
def check_receive_ignoring_late(traffic, until, check_every_socket_received, send_sentinels):
    """``check_receive_ignoring_late(sockets)`` checks the same as check_receive(), but ignores frames of earlier bursts."""

    def check(sockets):
        receive_frames(sockets, (), until)
        probes = traffic.probes()
        traffic.send(probes)
        frames = set(frames_of(probes))
        found = [each for each in receive_frames(sockets, frames, until, send_sentinels) if each.data in frames]
        check_same([each.data for each in found], frames_of(probes), "frames that the sockets received")
        check_every_socket_received(sockets, found)

    return check


@requirement(
    "XDP-XSK-20",
    level="MUST",
    source=f"{SOCKET}, UMEM Fill Ring; XDP_STATISTICS getsockopt",
    falsified_by=("program:af_xdp.statistics-lost", "program:af_xdp.not-filled"),
)
def test_empty_fill_ring(bind_sockets, traffic, until, check_receive_ignoring_late, step):
    """A socket without buffers drops frames and counts them in its statistics, and receives again once it has buffers."""
    with step("Bind a socket to each receive queue, and post no buffer"):
        sockets = bind_sockets(fill=0)
    with step("Send test frames of every size in all flows: neither the sockets nor the stack receive any"):
        traffic.send(traffic.probes())
        # A zero-copy driver finds the fill ring empty when the socket is bound, or when it refills the RX ring, which may never happen.
        with step("The sockets' statistics count dropped frames, or empty fill rings"):
            until(
                lambda: sum(map(frames_lost, sockets)) > 0,
                what="the sockets have counted that they have no buffers",
                timeout=WIRE_TIMEOUT,
            )
        assert receive_frames(sockets, (), until) == []
        assert traffic.nothing_received()
    with step("Post buffers: the sockets receive test frames of every size exactly once, unchanged"):
        for socket in sockets:
            socket.fill(POSTED_BUFFERS)
        check_receive_ignoring_late(sockets)


def frames_lost(socket):
    """How often the socket had no buffer for a frame."""
    counted = socket.statistics()
    return counted["rx_fill_ring_empty_descs"] + counted["rx_dropped"]


@requirement(
    "XDP-XSK-21",
    level="MUST",
    source=f"{SOCKET}, UMEM Completion Ring",
    falsified_by=("tx.frame.dropped", "program:af_xdp.completion-lost"),
)
def test_full_completion_ring(bind_sockets, traffic, packet_sender, until, step):
    """A socket sends no more frames than its completion ring holds; once its completions are taken, it sends the rest and loses none."""
    with step(f"Bind a socket to each queue, with a completion ring of {COMPLETION_RING} descriptors"):
        socket = bind_sockets(ring=COMPLETION_RING, fill=0)[0]
    frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES))
    frames += frames_of(burst(traffic.ends_back, flows=2 * COMPLETION_RING, sizes=(60,), first=len(frames)))
    assert COMPLETION_RING < len(frames) < RING
    with traffic.capture_sent() as seen:
        with step("Put more frames than that into the transmit ring of the first socket, and take no completion"):
            assert socket.put(frames) == len(frames)
            wake_until(
                socket,
                until,
                lambda: seen.reached(COMPLETION_RING),
                f"{COMPLETION_RING} frames are on the wire",
            )
            # A frame that the stack sends now follows all frames that the socket was allowed to send.
            for _ in range(WAKEUPS):
                socket.wake()
            sent_by_stack = packet_sender.send(
                [burst(traffic.ends_back, flows=1, sizes=(60,), versions=(4,), first=STACK_FRAME_NUMBER)[0].frame]
            )
            assert sent_by_stack == 1
            until(
                lambda: any(number_of(frame) == STACK_FRAME_NUMBER for frame in seen.frames()),
                what="a frame of the stack is on the wire",
                timeout=WIRE_TIMEOUT,
            )
            sent = [frame for frame in seen.frames() if number_of(frame) != STACK_FRAME_NUMBER]
            assert len(sent) == COMPLETION_RING, (
                f"the socket sent {len(sent)} frames, with {COMPLETION_RING} completions not taken"
            )
        with step("Take completions: every frame is on the wire and completed exactly once"):
            completed = []

            def all_completed():
                completed.extend(socket.reap())
                return len(completed) >= len(frames) and len(seen.frames()) > len(frames)

            wake_until(socket, until, all_completed, f"{len(frames)} frames are sent and completed")
            assert len(completed) == len(frames)
    check_same(
        [frame for frame in seen.frames() if number_of(frame) != STACK_FRAME_NUMBER], frames, "frames on the wire"
    )


def wake_until(socket, until, condition, what):
    """Wake the kernel for the transmit ring until a condition holds."""

    def wake_and_check():
        socket.wake()
        return condition()

    until(wake_and_check, what=what, timeout=WIRE_TIMEOUT)


@requirement(
    "XDP-XSK-22",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/netdevices.rst",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped"),
)
@pytest.mark.budget(60)
def test_close_under_traffic(af_xdp, queues_reached_by_rss, xsk_program, mode, traffic, settings, until, native, step):
    """Sockets can be closed under traffic, even by killing their process, and frames then reach the stack as before."""
    queues = range(traffic.queues())
    with traffic.stream():
        for number in range(ROUNDS):
            with step(
                f"Under traffic, bind a socket to each queue, wait for frames, and close the sockets, round {number + 1}"
            ):
                umems = af_xdp.umems(len(queues), xsk_program.maps["sockets"])
                sockets = open_all(dict(zip(queues, umems, strict=True)), mode)
                enter_all(sockets, fill=POSTED_BUFFERS)
                settings.ready()
                received_on = set()

                def all_received(sockets=sockets, received_on=received_on):
                    received_on |= {buffer.queue for buffers in take_all(sockets) for buffer in buffers}
                    return received_on >= queues_reached_by_rss & set(queues)

                until(
                    all_received,
                    what="each socket on a queue that test frames reach has received one",
                    timeout=WIRE_TIMEOUT,
                )
                if number % 2:
                    for umem in umems:
                        umem.close()
                else:
                    for socket in sockets:
                        socket.close()
                    for umem in umems:
                        umem.close()
    with step("Detach the program: test frames of every size reach the stack exactly once, unchanged"):
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
    """With sockets bound, the driver changes ring sizes or rejects the change with an extack, and the sockets receive frames afterwards."""
    rings = dut.get("rings") or {}
    sizes = other_rings(rings)
    if sizes is None:
        skip_unsupported("changing the ring sizes", evidence=rings)
    with step("Bind a socket to each receive queue"):
        sockets = bind_sockets()
    with step("Try to set other sizes of the receive and transmit rings"):
        error = settings.try_set("rings", **sizes)
        evidence("result", str(error or f"set: {sizes}"))
        assert error is None or error.extack, f"no extack message: {error}"
        now = dut.get("rings")
        assert [now[name] for name in sizes] == ([rings[name] for name in sizes] if error else list(sizes.values()))
    with step("The sockets receive test frames of every size exactly once, unchanged"):
        check_receive_ignoring_late(sockets)


@requirement(
    "XDP-XSK-24",
    level="MUST",
    source="Documentation/networking/ethtool-netlink.rst, CHANNELS_SET; net/ethtool/common.c, ethtool_check_max_channel",
    falsified_by="rx.frame.dropped",
)
def test_queue_with_socket_stays(
    bind_sockets, dut, traffic, check_receive_ignoring_late, skip_unsupported, step, evidence
):
    """With a socket bound to each queue, reducing the channels fails with EINVAL and an extack, and the sockets receive frames."""
    channels = dut.get("channels") or {}
    name = next((name for name in ("combined", "rx") if (channels.get(f"{name}-count") or 0) > 1), None)
    if name is None or traffic.queues() < 2:
        skip_unsupported("changing the number of channels, of several", evidence=channels)
    with step("Bind a socket to each receive queue"):
        sockets = bind_sockets()
    with step("Try to remove one channel"):
        error = dut.try_set("channels", **{f"{name}_count": channels[f"{name}-count"] - 1})
        evidence("result", str(error))
        if error is not None and error.errno == errno.EOPNOTSUPP:
            skip_unsupported("changing the number of channels", evidence=str(error))
        assert error is not None, "the kernel removed a channel that has a socket"
        assert error.errno == errno.EINVAL
        assert error.extack, f"no extack message: {error}"
        assert dut.get("channels") == channels
    with step("The sockets receive test frames of every size exactly once, unchanged"):
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
    guest,
    step,
    skip_unsupported,
    evidence,
):
    """With sockets bound, adding a channel works or fails with an extack; all sockets receive and send, including one on the new queue."""
    channels = dut.get("channels") or {}
    fewer_channels = other_channels(channels)
    if fewer_channels is None or any(
        count >= channels[name.replace("_", "-")] for name, count in fewer_channels.items()
    ):
        skip_unsupported("changing the number of channels, of several", evidence=channels)
    with step("Remove a channel, and bind a socket to each remaining receive queue"):
        if (error := settings.try_set("channels", **fewer_channels)) is not None:
            skip_unsupported("removing a channel while a program is attached", evidence=str(error))
        sockets = bind_sockets()
    with step("Try to add the channel again"):
        error = settings.try_set_without_undo(
            "channels", **{name: channels[name.replace("_", "-")] for name in fewer_channels}
        )
        settings.ready()
        evidence("result", str(error or "made"))
        assert error is None or error.extack, f"no extack message: {error}"
    with step("The sockets, and the stack by the new queue, receive test frames of every size exactly once, unchanged"):
        receive_frames(sockets, (), until)
        probes = traffic.probes()
        traffic.send(probes)
        frames = set(frames_of(probes))
        frame_of = {probe.payload: probe.frame for probe in probes}
        received, in_stack = [], []

        def more():
            from_sockets = [each.data for each in receive_frames(sockets, (), until) if each.data in frames]
            payloads = traffic.waiting(guest.agent, timeout=0)
            from_stack = [frame_of[payload] for payload in payloads if payload in frame_of]
            received.extend(from_sockets + from_stack)
            in_stack.extend(from_stack)
            return bool(from_sockets or from_stack)

        with suppress(AssertionError):  # check_same() below says more
            while len(received) < len(frames):
                until(more, what="the sockets or the stack receive more frames", timeout=LOSS_TIMEOUT)
        more()  # a second copy of a frame comes with the first one: it is there by now
        check_same(received, frames_of(probes), "frames that the sockets or the stack received")
        assert error is None or not in_stack, "the stack received a frame, although each queue has a socket"
    with step("Send frames of every size from each socket: each is on the wire and completed exactly once"):
        check_transmit(sockets)
    if error is None:
        with step("Bind a socket to the new queue: the sockets receive test frames of every size, each socket some"):
            new = af_xdp.umem(xsk_program.maps["sockets"]).open(traffic.queues() - 1, mode)
            new.enter(fill=POSTED_BUFFERS)
            settings.ready()
            check_receive_ignoring_late([*sockets, new])


@requirement(
    "XDP-XSK-25",
    level="MUST",
    source=f"{SOCKET}; Documentation/networking/netdevices.rst, ndo_stop",
    falsified_by=("program:af_xdp.not-entered", "rx.frame.dropped", "tx.frame.dropped"),
)
def test_down_and_up(bind_sockets, dut, settings, check_receive_ignoring_late, traffic, check_on_wire, defer, step):
    """A socket stays bound while its interface is down, and receives and sends frames when it is up again."""
    with step("Bind a socket to each receive queue"):
        sockets = bind_sockets()
    with step("Take the interface down and bring it up"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
    with step("The sockets receive test frames of every size exactly once, unchanged"):
        check_receive_ignoring_late(sockets)
    with (
        step("Send frames of every size from the first socket: each is on the wire and completed exactly once"),
        traffic.capture_sent() as seen,
    ):
        frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES))
        sockets[0].send(frames)
        check_on_wire(seen, frames)
