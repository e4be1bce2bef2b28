# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets: binding them, and what they receive and send, octet for octet."""

from __future__ import annotations

import errno
import time

import pytest
from plugfest.frames.probe import burst, frames_of
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, check_same
from plugfest.xdp.af_xdp import CHUNKS, XDP_PACKET_HEADROOM, XDP_UMEM_UNALIGNED_CHUNK_FLAG

SOCKET = "Documentation/networking/af_xdp.rst"
ZERO_COPY = f"{SOCKET}, XDP_COPY and XDP_ZEROCOPY bind flags; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_XSK_ZEROCOPY"
UNALIGNED = 700
"""Octets from the start of a chunk at which buffers of unaligned mode begin."""
HEADROOM = 64
SOON = 1.0
"""Seconds for a frame to be on the wire, on a guest of speed 1."""
AT_ONCE = 0.7
"""Seconds, on any guest, within which most frames are sent: the least time between two looks of a driver at its queues is 1 s."""


@requirement(
    "XDP-XSK-01",
    level="MUST",
    source=ZERO_COPY,
    falsified_by="program:af_xdp.other-mode",
    proves="xdp-act:xsk-zerocopy",
)
def test_zero_copy(require, af_xdp, to_sockets, traffic, step):
    """Where zero-copy AF_XDP is advertised, a socket that demands it is bound to each queue, and the kernel says that it is."""
    require("xdp-act:xsk-zerocopy")
    for queue in range(traffic.queues()):
        with step(f"Bind a socket to queue {queue}, demanding zero copy (XDP_ZEROCOPY)"):
            socket = af_xdp.umem(to_sockets.maps["sockets"]).open(queue, "zero-copy")
        with step("The kernel says that it has it (XDP_OPTIONS)"):
            assert socket.zero_copy


@requirement(
    "XDP-XSK-02",
    level="MUST",
    source=ZERO_COPY,
    falsified_by="program:af_xdp.other-mode",
    refuses="xdp-act:xsk-zerocopy",
)
def test_zero_copy_refused(require_absent, af_xdp, to_sockets, traffic, step):  # noqa: ARG001 - attached
    """Where zero-copy AF_XDP is not advertised, a socket that demands it is refused with EOPNOTSUPP, and traffic is as before."""
    require_absent("xdp-act:xsk-zerocopy")
    with step("Ask to bind a socket to queue 0, demanding zero copy (XDP_ZEROCOPY)"):
        refused = af_xdp.try_bind(0, "zero-copy")
        assert refused is not None, "it was bound"
        assert refused.errno == errno.EOPNOTSUPP, f"expected EOPNOTSUPP, found {refused}"
    with step("Test frames of every size reach the stack once and unchanged"):
        traffic.check_delivery()


RECEIVED_WRONG = ("program:af_xdp.not-entered", "program:traffic.one-flow", "rx.frame.corrupted", "rx.frame.dropped")


@requirement("XDP-XSK-03", level="MUST", source=SOCKET, falsified_by=RECEIVED_WRONG, variant="copy")
@requirement(
    "XDP-XSK-04",
    level="MUST",
    source=ZERO_COPY,
    falsified_by=RECEIVED_WRONG,
    proves="xdp-act:xsk-zerocopy",
    variant="zero-copy",
)
def test_receive(bound, receives, step):
    """Every frame that a program redirects to the socket of its queue comes to that socket once and unchanged."""
    with step("Bind a socket to each receive queue, and attach a program that redirects test frames to them"):
        sockets = bound()
    with step("Send test frames of every size, IPv4 and IPv6, in all flows: each comes to a socket once and unchanged"):
        receives(sockets)


SENT_WRONG = ("program:af_xdp.completion-lost", "tx.frame.corrupted", "tx.frame.dropped")


@requirement("XDP-XSK-05", level="MUST", source=SOCKET, falsified_by=SENT_WRONG, variant="copy")
@requirement(
    "XDP-XSK-06",
    level="MUST",
    source=ZERO_COPY,
    falsified_by=SENT_WRONG,
    proves="xdp-act:xsk-zerocopy",
    variant="zero-copy",
)
def test_send(bound, sends, step):
    """Every frame that a socket sends is on the wire once and unchanged, and its buffer is given back once."""
    with step("Bind a socket to each queue"):
        sockets = bound()
    with step("Send frames of every size, IPv4 and IPv6, from each: each is on the wire once, and completed once"):
        sends(sockets)


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
def test_shared(af_xdp, to_sockets, mode, traffic, settings, receives, sends, skip_unsupported, step):
    """Sockets of several queues with one umem receive and send as those with a umem each."""
    queues = traffic.queues()
    if queues < 2:
        skip_unsupported("more than one receive queue", evidence=queues)
    with step("Bind a socket to each queue, all with one umem, and post buffers for each"):
        umem = af_xdp.umem(to_sockets.maps["sockets"], chunks=2 * CHUNKS)
        sockets = [umem.open(queue, mode) for queue in range(queues)]
        for socket in sockets:
            socket.fill(CHUNKS // 2)
            socket.enter()
        settings.ready()
    with step("Test frames of every size come to the sockets once and unchanged"):
        receives(sockets)
    with step("Frames of every size from each are on the wire once, and completed once"):
        sends(sockets)


CHUNKS_WRONG = ("program:af_xdp.not-entered", "rx.frame.dropped", "tx.frame.dropped")


@requirement("XDP-XSK-08", level="MUST", source=f"{SOCKET}, UMEM", falsified_by=CHUNKS_WRONG, variant="with headroom")
@requirement("XDP-XSK-12", level="MUST", source=f"{SOCKET}, UMEM", falsified_by=CHUNKS_WRONG, variant="of half a page")
@requirement(
    "XDP-XSK-13",
    level="MUST",
    source=f"{SOCKET}, UMEM; include/uapi/linux/if_xdp.h, XDP_UMEM_UNALIGNED_CHUNK_FLAG",
    falsified_by=CHUNKS_WRONG,
    variant="unaligned",
)
@pytest.mark.parametrize("chunks", ["with headroom", "of half a page", "unaligned"])
def test_chunks(bound, receives, sends, chunks, step):
    """Whatever the size of the chunks, their headroom and where buffers begin in them, frames lie where they have to."""
    size = 2048 if chunks == "of half a page" else 4096
    headroom = HEADROOM if chunks == "with headroom" else 0
    offset = UNALIGNED if chunks == "unaligned" else 0
    with step(f"Bind a socket to each queue, with chunks {chunks}"):
        flags = XDP_UMEM_UNALIGNED_CHUNK_FLAG if offset else 0
        sockets = bound(size=size, headroom=headroom, flags=flags, offset=offset)
    with step("Test frames of every size come to the sockets once and unchanged"):
        found = receives(sockets)
    with step("Each begins behind the kernel's headroom and that of the umem"):
        assert {each.offset for each in found} == {offset + XDP_PACKET_HEADROOM + headroom}
    with step("Frames of every size from each are on the wire once, and completed once"):
        sends(sockets)


@requirement(
    "XDP-XSK-09",
    level="MUST",
    source=f"{SOCKET}, XDP_USE_NEED_WAKEUP bind flag",
    falsified_by=("program:af_xdp.not-woken", "rx.frame.dropped"),
    variant="asked",
)
@requirement(
    "XDP-XSK-10",
    level="MUST",
    source=f"{SOCKET}, XDP_USE_NEED_WAKEUP bind flag",
    falsified_by=("program:af_xdp.completion-lost", "rx.frame.dropped"),
    variant="always",
)
@pytest.mark.parametrize("woken", ["asked", "always"])
def test_wakeup(bound, receives, sends, traffic, until, woken, step):
    """A kernel that is woken when it asks for that, or at every turn by a socket that does not want to be asked, sends all."""
    with step(f"Bind a socket to each queue that wakes the kernel: {woken}"):
        sockets = bound(wakeup=woken == "asked")
    with step("Test frames of every size come to the sockets once and unchanged"):
        receives(sockets)
    if woken == "always":
        with step("Frames of every size from each, with the kernel woken at every turn, are on the wire once"):
            sends(sockets)
        return
    # A driver that sends unwoken, whenever it looks after its queues (every 1 or 2 s), is late for each frame; a busy host for a few.
    with (
        step(
            "Put frames one by one into the first one's transmit ring, and wake the kernel only while it asks for that: "
            "each is sent at once"
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
                return len(seen.probes()) >= number

            begin = time.monotonic()
            until(sent, what=f"frame {number} of {len(frames)} is on the wire", timeout=SOON)
            late += time.monotonic() - begin > AT_ONCE
            assert late <= len(frames) // 4, f"{late} of {number} frames were sent more than {AT_ONCE} s late"
    check_same(seen.probes(), frames, "frames on the wire")
