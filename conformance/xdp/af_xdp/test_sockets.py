# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets: binding them, and the frames that they receive and send, byte for byte."""

from __future__ import annotations

import errno
import time

import pytest
from plugfest.frames.probe import burst, frames_of
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, WIRE_TIMEOUT, check_same
from plugfest.xdp.af_xdp import CHUNKS, XDP_PACKET_HEADROOM, XDP_UMEM_UNALIGNED_CHUNK_FLAG, enter_all, open_all

SOCKET = "Documentation/networking/af_xdp.rst"
ZERO_COPY = f"{SOCKET}, XDP_COPY and XDP_ZEROCOPY bind flags; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_XSK_ZEROCOPY"
UNALIGNED_OFFSET = 700
"""Bytes from the start of a chunk to a buffer in unaligned mode."""
HEADROOM = 64
ON_TIME = 0.7
"""Seconds, on any guest, within which most frames are sent. A driver's periodic check of its queues takes 1 s or more."""


@requirement(
    "XDP-XSK-01",
    level="MUST",
    source=ZERO_COPY,
    falsified_by="program:af_xdp.other-mode",
    proves="xdp-act:xsk-zerocopy",
)
def test_zero_copy(require, af_xdp, xsk_program, traffic, step):
    """Where the driver advertises xsk-zerocopy, a socket can be bound to each queue with XDP_ZEROCOPY, and the kernel reports zero-copy."""
    require("xdp-act:xsk-zerocopy")
    for queue in range(traffic.queues()):
        with step(f"Bind a socket to queue {queue} with XDP_ZEROCOPY"):
            socket = af_xdp.umem(xsk_program.maps["sockets"]).open(queue, "zero-copy")
        with step("The kernel reports zero-copy (XDP_OPTIONS)"):
            assert socket.zero_copy


@requirement(
    "XDP-XSK-02",
    level="MUST",
    source=ZERO_COPY,
    falsified_by="program:af_xdp.other-mode",
    refuses="xdp-act:xsk-zerocopy",
)
def test_zero_copy_unadvertised(require_absent, af_xdp, xsk_program, traffic, step):  # noqa: ARG001 - attached
    """Where the driver does not advertise xsk-zerocopy, binding with XDP_ZEROCOPY fails with EOPNOTSUPP, and traffic is not affected."""
    require_absent("xdp-act:xsk-zerocopy")
    with step("Try to bind a socket to queue 0 with XDP_ZEROCOPY"):
        error = af_xdp.try_bind(0, "zero-copy")
        assert error is not None, "the kernel bound the socket"
        assert error.errno == errno.EOPNOTSUPP, f"expected EOPNOTSUPP, found {error}"
    with step("Test frames of every size reach the stack exactly once, unchanged"):
        traffic.check_delivery()


RECEIVE_FAULTS = ("program:af_xdp.not-entered", "program:traffic.one-flow", "rx.frame.corrupted", "rx.frame.dropped")


@requirement("XDP-XSK-03", level="MUST", source=SOCKET, falsified_by=RECEIVE_FAULTS, variant="copy")
@requirement(
    "XDP-XSK-04",
    level="MUST",
    source=ZERO_COPY,
    falsified_by=RECEIVE_FAULTS,
    proves="xdp-act:xsk-zerocopy",
    variant="zero-copy",
)
def test_receive(bind_sockets, check_receive, step):
    """A socket receives every frame that a program redirects to it exactly once, unchanged."""
    with step("Bind a socket to each receive queue, and attach a program that redirects test frames to them"):
        sockets = bind_sockets()
    with step(
        "Send IPv4 and IPv6 test frames of every size in all flows: the sockets receive each exactly once, unchanged"
    ):
        check_receive(sockets)


TRANSMIT_FAULTS = ("program:af_xdp.completion-lost", "tx.frame.corrupted", "tx.frame.dropped")


@requirement("XDP-XSK-05", level="MUST", source=SOCKET, falsified_by=TRANSMIT_FAULTS, variant="copy")
@requirement(
    "XDP-XSK-06",
    level="MUST",
    source=ZERO_COPY,
    falsified_by=TRANSMIT_FAULTS,
    proves="xdp-act:xsk-zerocopy",
    variant="zero-copy",
)
def test_send(bind_sockets, check_transmit, step):
    """Every frame that a socket sends is on the wire exactly once, unchanged, and its buffer is completed exactly once."""
    with step("Bind a socket to each queue"):
        sockets = bind_sockets()
    with step(
        "Send IPv4 and IPv6 frames of every size from each socket: each is on the wire and completed exactly once"
    ):
        check_transmit(sockets)


@requirement(
    "XDP-XSK-07",
    level="MUST",
    source=f"{SOCKET}, XDP_SHARED_UMEM bind flag",
    falsified_by=(
        "program:af_xdp.not-entered",
        "program:af_xdp.completion-lost",
        "rx.frame.dropped",
        "tx.frame.dropped",
    ),
)
def test_shared_umem(
    af_xdp, xsk_program, mode, traffic, settings, check_receive, check_transmit, skip_unsupported, step
):
    """Sockets on several queues that share one umem receive and send frames like sockets with a umem each."""
    queues = traffic.queues()
    if queues < 2:
        skip_unsupported("more than one receive queue", evidence=queues)
    with step("Bind a socket to each queue, all with one umem, and post buffers for each"):
        umem = af_xdp.umem(xsk_program.maps["sockets"], chunks=2 * CHUNKS)
        sockets = open_all(dict.fromkeys(range(queues), umem), mode)
        enter_all(sockets, fill=CHUNKS // 2)
        settings.ready()
    with step("The sockets receive test frames of every size exactly once, unchanged"):
        check_receive(sockets)
    with step("Send frames of every size from each socket: each is on the wire and completed exactly once"):
        check_transmit(sockets)


CHUNK_FAULTS = ("program:af_xdp.not-entered", "rx.frame.dropped", "tx.frame.dropped")


@requirement("XDP-XSK-08", level="MUST", source=f"{SOCKET}, UMEM", falsified_by=CHUNK_FAULTS, variant="headroom")
@requirement("XDP-XSK-12", level="MUST", source=f"{SOCKET}, UMEM", falsified_by=CHUNK_FAULTS, variant="2 KiB")
@requirement(
    "XDP-XSK-13",
    level="MUST",
    source=f"{SOCKET}, UMEM; include/uapi/linux/if_xdp.h, XDP_UMEM_UNALIGNED_CHUNK_FLAG",
    falsified_by=CHUNK_FAULTS,
    variant="unaligned",
)
@pytest.mark.parametrize("chunks", ["headroom", "2 KiB", "unaligned"])
def test_chunks(bind_sockets, check_receive, check_transmit, chunks, step):
    """Received frames lie at the right offset for every chunk size, headroom and buffer alignment, and sockets send from such chunks."""
    size = 2048 if chunks == "2 KiB" else 4096
    headroom = HEADROOM if chunks == "headroom" else 0
    offset = UNALIGNED_OFFSET if chunks == "unaligned" else 0
    with step(f"Bind a socket to each queue, chunks: {chunks}"):
        flags = XDP_UMEM_UNALIGNED_CHUNK_FLAG if offset else 0
        sockets = bind_sockets(size=size, headroom=headroom, flags=flags, offset=offset)
    with step("The sockets receive test frames of every size exactly once, unchanged"):
        found = check_receive(sockets)
    with step("Each frame begins after the kernel's headroom and that of the umem"):
        assert {each.offset for each in found} == {offset + XDP_PACKET_HEADROOM + headroom}
    with step("Send frames of every size from each socket: each is on the wire and completed exactly once"):
        check_transmit(sockets)


@requirement(
    "XDP-XSK-09",
    level="MUST",
    source=f"{SOCKET}, XDP_USE_NEED_WAKEUP bind flag",
    falsified_by=("program:af_xdp.not-woken", "rx.frame.dropped"),
    variant="need-wakeup",
)
@requirement(
    "XDP-XSK-10",
    level="MUST",
    source=f"{SOCKET}, XDP_USE_NEED_WAKEUP bind flag",
    falsified_by=("program:af_xdp.completion-lost", "rx.frame.dropped"),
    variant="always",
)
@pytest.mark.parametrize("wakeup", ["need-wakeup", "always"])
def test_wakeup(bind_sockets, check_receive, check_transmit, traffic, until, wakeup, step):
    """Every frame is sent if a socket wakes the kernel whenever the need_wakeup flag is set, or, without the flag, after every frame."""
    with step(f"Bind a socket to each queue, wakeup mode: {wakeup}"):
        sockets = bind_sockets(wakeup=wakeup == "need-wakeup")
    with step("The sockets receive test frames of every size exactly once, unchanged"):
        check_receive(sockets)
    if wakeup == "always":
        with step(
            "Send frames of every size from each socket, and always wake the kernel: each is on the wire exactly once"
        ):
            check_transmit(sockets)
        return
    # A driver that sends only when it checks its queues (every 1 or 2 s) is late for every frame; a busy host is late for a few.
    with (
        step(
            "Put frames one by one into the first TX ring, and wake the kernel only if need_wakeup is set: each is sent on time"
        ),
        traffic.capture_sent() as seen,
    ):
        frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES))
        late = 0
        for number, frame in enumerate(frames, start=1):
            assert sockets[0].put([frame]) == 1

            def sent(number=number):
                if sockets[0].wants_wakeup("transmit"):
                    sockets[0].wake()
                return seen.reached(number)

            begin = time.monotonic()
            until(sent, what=f"frame {number} of {len(frames)} is on the wire", timeout=WIRE_TIMEOUT)
            late += time.monotonic() - begin > ON_TIME
            assert late <= len(frames) // 4, f"{late} of {number} frames were sent later than {ON_TIME} s"
    check_same(seen.frames(), frames, "frames on the wire")
