# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver as a redirect target (ndo_xdp_xmit): it transmits frames that another interface redirects to it."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest
from plugfest.frames.probe import HEADERS, around, burst
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, WIRE_TIMEOUT
from plugfest.xdp.adjustment import Action, Adjustment

XMIT = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_NDO_XMIT; Documentation/bpf/redirect.rst"
XMIT_SG = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_NDO_XMIT_SG"
SHARE_OF_RING = 4
"""Of a transmit ring's descriptors a round uses one in so many: frames from all CPUs may go through one ring, descriptors of the round
before may not be free yet, and a full ring may drop redirected frames."""
DEFAULT_RING = 256
"""Descriptors of a ring where the driver does not report them."""
ROUNDS = 8
FIRST_BUFFER_SIZE = 4096 - 256 - 320
"""Bytes in the first buffer of a long frame from a veth: a page without the headroom and struct skb_shared_info."""
CUT_BYTES = FIRST_BUFFER_SIZE - 700
"""Bytes that the program cuts off the head of such a frame, which leaves 700 in the first buffer."""
LONG_MTU = 9000
REMAINING_SIZES = (701, 760, 1024, 1460, 1514)
"""Sizes of the remaining frames, which need the second buffer as well."""


@pytest.fixture
def attach_redirect_to_dut(pair, dut):
    """``attach_redirect_to_dut(mode)`` attaches a program to a veth interface of the guest that redirects test frames to the DUT."""

    def attach(mode, fragments=False):
        adjustment = Adjustment(pair.near, mode=mode, fragments=fragments)
        adjustment.aim(dut.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
        return adjustment

    return attach


def frames_to_remote(traffic, sizes=SIZES, first=0, count=FLOWS_PER_QUEUE):
    """IPv4 and IPv6 test frames of every size, addressed to the remote end of the wire."""
    return [probe.frame for probe in burst(traffic.ends_back, flows=count, sizes=sizes, first=first)]


@requirement(
    "XDP-NDOXMIT-01",
    level="MUST",
    source=XMIT,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
    variant="native",
)
@requirement(
    "XDP-NDOXMIT-02",
    level="MUST",
    source=f"{XMIT}; net/core/dev.c, generic_xdp_tx",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
    variant="generic",
)
@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.usefixtures("redirect_target")
def test_redirect_to_dut(attach_redirect_to_dut, pair, traffic, check_on_wire, mode, step):
    """Frames that another interface's program redirects to the DUT are on the wire exactly once, unchanged."""
    with step(f"On another interface, attach a program in {mode} mode that redirects test frames to the DUT"):
        attach_redirect_to_dut(mode)
    with (
        step("Send IPv4 and IPv6 test frames of every size to the other interface"),
        traffic.capture_sent() as seen,
        pair.lossless(),
    ):
        frames = frames_to_remote(traffic)
        pair.packet_sender.send(frames)
        with step("Each frame is on the wire exactly once, unchanged"):
            check_on_wire(seen, frames)


@requirement(
    "XDP-NDOXMIT-03",
    level="MUST",
    source=XMIT,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.budget(60)
@pytest.mark.usefixtures("redirect_target")
def test_redirect_from_several_cpus(attach_redirect_to_dut, pair, traffic, check_on_wire, dut, step, evidence):
    """Frames redirected to the DUT from several CPUs at once are on the wire exactly once, unchanged."""
    cpus = traffic.cpus()
    ring = (dut.get("rings") or {}).get("tx", DEFAULT_RING)
    flows = max(1, ring // SHARE_OF_RING // cpus // len(HEADERS))
    frames_per_cpu = len(HEADERS) * max(flows, len(SIZES))
    evidence("transmit ring and frames in a round", (ring, cpus * frames_per_cpu))
    senders = [pair.another_packet_sender() for _ in range(cpus)]
    with step("On another interface, attach a program that redirects test frames to the DUT"):
        attach_redirect_to_dut("native")
    for number in range(ROUNDS):
        with (
            step(f"Round {number}: send {frames_per_cpu} test frames to the other interface on each CPU at once"),
            traffic.capture_sent() as seen,
            pair.lossless(),
        ):
            frames_by_cpu = [
                frames_to_remote(traffic, first=frames_per_cpu * (number * cpus + cpu), count=flows)
                for cpu in range(cpus)
            ]
            with ThreadPoolExecutor(cpus) as threads:
                sent = [
                    threads.submit(sender.send, frames, cpu=cpu)
                    for cpu, (sender, frames) in enumerate(zip(senders, frames_by_cpu, strict=True))
                ]
                assert [each.result() for each in sent] == [len(frames) for frames in frames_by_cpu]
            check_on_wire(seen, [frame for frames in frames_by_cpu for frame in frames])


@requirement(
    "XDP-NDOXMIT-04",
    level="MUST",
    source=f"{XMIT}; kernel/bpf/devmap.c, EOPNOTSUPP for a target without the flag",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    refuses="xdp-act:ndo-xmit",
)
def test_unadvertised(
    require_absent, attach_redirect_to_dut, pair, traffic, check_traffic, guest, dut, defer, until, step
):
    """While the driver does not advertise ndo-xmit, frames redirected to it are dropped and traced, and nothing else changes."""
    require_absent("xdp-act:ndo-xmit")
    with step("Record the tracepoint xdp:xdp_redirect_err"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_redirect_err"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step("On another interface, attach a program that redirects test frames to the DUT, and send it some"):
        attach_redirect_to_dut("native")
        frames = frames_to_remote(traffic)
        with traffic.capture_sent() as seen:
            pair.packet_sender.send(frames)
            until(
                lambda: len(guest.agent.call("trace.read", trace=trace)) >= len(frames),
                what=f"{len(frames)} redirections failed",
                timeout=WIRE_TIMEOUT,
            )
    with step("Each redirection failed with EOPNOTSUPP, and no frame is on the wire"):
        events = [entry["fields"] for entry in guest.agent.call("trace.read", trace=trace)]
        index = str(dut.link()["ifindex"])
        assert {(each["err"], each["to_ifindex"]) for each in events} == {(str(-errno.EOPNOTSUPP), index)}
        assert len(events) == len(frames)
        assert seen.frames() == []
    with step("Traffic works in both directions"):
        check_traffic()


@requirement(
    "XDP-NDOXMIT-05",
    level="MUST",
    source=XMIT_SG,
    falsified_by=("program:xdp.adjustment-lost", "tx.frame.corrupted", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit-sg",
)
@pytest.mark.budget(60)
def test_multi_buffer(redirect_target, attach_redirect_to_dut, pair, traffic, check_on_wire, step, require):  # noqa: ARG001 - attached
    """A multi-buffer frame redirected to the DUT is on the wire as one frame, exactly once, unchanged."""
    require("xdp-act:ndo-xmit-sg")
    with step("On another interface, attach a program that cuts the head off frames and redirects the rest to the DUT"):
        pair.set_mtu(LONG_MTU)
        program = attach_redirect_to_dut("native", fragments=True)
    for version in HEADERS:
        with step(f"Send it long IPv{version} frames, of which parts in two buffers remain after the cut"):
            program.configure(head=CUT_BYTES, verdict=Action.REDIRECT)
            frames = frames_to_remote(traffic, sizes=REMAINING_SIZES, count=len(REMAINING_SIZES))
            filler = bytes(CUT_BYTES - HEADERS[version])
            long_frames = [around(traffic.ends_back, version, 0, filler + frame) for frame in frames]
            assert min(map(len, long_frames)) > FIRST_BUFFER_SIZE
            with traffic.capture_sent() as seen, pair.lossless():
                pair.packet_sender.send(long_frames)
                check_on_wire(seen, frames)
            assert program.answers()["head"].rejected == 0


@requirement(
    "XDP-NDOXMIT-06",
    level="MUST",
    source=f"{XMIT_SG}; kernel/bpf/devmap.c, EOPNOTSUPP for a target without the flag",
    falsified_by="program:xdp.adjustment-lost",
    refuses="xdp-act:ndo-xmit-sg",
)
@pytest.mark.budget(60)
def test_multi_buffer_unadvertised(require_absent, attach_redirect_to_dut, pair, traffic, guest, defer, until, step):
    """While the driver does not advertise ndo-xmit-sg, multi-buffer frames redirected to it are dropped and traced."""
    require_absent("xdp-act:ndo-xmit-sg")
    with step("Record the tracepoint xdp:xdp_redirect_err"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_redirect_err"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step("On another interface, attach a program that redirects long frames to the DUT, and send it some"):
        pair.set_mtu(LONG_MTU)
        program = attach_redirect_to_dut("native", fragments=True)
        program.configure(head=CUT_BYTES, verdict=Action.REDIRECT)
        frames = frames_to_remote(traffic, sizes=REMAINING_SIZES, count=len(REMAINING_SIZES))
        filler = bytes(CUT_BYTES - HEADERS[4])
        with traffic.capture_sent() as seen:
            pair.packet_sender.send([around(traffic.ends_back, 4, 0, filler + frame) for frame in frames])
            until(
                lambda: len(guest.agent.call("trace.read", trace=trace)) >= len(frames),
                what=f"{len(frames)} redirections failed",
                timeout=WIRE_TIMEOUT,
            )
    with step("Each redirection failed with EOPNOTSUPP, no frame is on the wire, and frames reach the stack"):
        events = [entry["fields"]["err"] for entry in guest.agent.call("trace.read", trace=trace)]
        assert events == [str(-errno.EOPNOTSUPP)] * len(frames)
        assert seen.frames() == []
        traffic.check_delivery()


@requirement(
    "XDP-NDOXMIT-07",
    level="MUST",
    source=XMIT,
    falsified_by=("program:xdp.not-attached", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.budget(60)
@pytest.mark.usefixtures("redirect_target")
def test_redirect_while_down(attach_redirect_to_dut, pair, traffic, check_on_wire, dut, defer, step):
    """Frames redirected to an interface that is down are dropped without harm; once it is up again, it transmits redirected frames."""
    with step("On another interface, attach a program that redirects test frames to the DUT"):
        attach_redirect_to_dut("native")
    with step("Take the DUT down, and send test frames to the other interface"), traffic.capture_sent() as seen:
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        pair.packet_sender.send(frames_to_remote(traffic), repeat=8)
    with step("No frame is on the wire"):
        assert seen.frames() == []
    with step("Bring the DUT up again and send other test frames: each is on the wire exactly once, unchanged"):
        dut.set_link(up=True)
        traffic.ready()
        with traffic.capture_sent() as seen, pair.lossless():
            frames = frames_to_remote(traffic, first=1000)
            pair.packet_sender.send(frames)
            check_on_wire(seen, frames)
