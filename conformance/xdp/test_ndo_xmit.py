# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver as the target of redirections (ndo_xdp_xmit): frames that another interface received leave by it."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest
from plugfest.frames.probe import HEADERS, around, burst
from plugfest.requirements.requirement import requirement
from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES
from plugfest.xdp.adjustment import Action, Adjustment
from plugfest.xdp.programs import SOON

XMIT = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_NDO_XMIT; Documentation/bpf/redirect.rst"
XMIT_SG = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_NDO_XMIT_SG"
EACH = 128
"""Frames from each CPU, which a transmit ring holds: a full one may drop what is redirected to it."""
ROUNDS = 4
FIRST_BUFFER = 4096 - 256 - 320
"""Octets in the first buffer of a long frame that comes out of a veth: a page, less its headroom and its shared info."""
CUT = FIRST_BUFFER - 700
"""Octets that the program cuts off such a frame, so that what is left has 700 in the first buffer."""
LONG_MTU = 9000
LENGTHS = (701, 760, 1024, 1460, 1514)
"""Of what is left: more than there is in the first buffer."""


@pytest.fixture
def source(pair, dut):
    """``source(mode)``: a program on an interface of the guest that redirects test frames to the DUT."""

    def attach(mode, fragments=False):
        found = Adjustment(pair.near, mode=mode, fragments=fragments)
        found.aim(dut.ifname)
        found.configure(verdict=Action.REDIRECT)
        return found

    return attach


def frames_out(traffic, sizes=SIZES, first=0, count=FLOWS_PER_QUEUE):
    """Test frames to the wire end, of every size, IPv4 and IPv6."""
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
@pytest.mark.usefixtures("target")
def test_from(source, pair, traffic, come, mode, step):
    """Frames that another interface's program redirects to the driver's leave by that once and unchanged."""
    with step(
        f"Attach a program to another interface, in {mode} mode, that redirects test frames to the one under test"
    ):
        source(mode)
    with (
        step("Let test frames of every size, IPv4 and IPv6, come to the other interface"),
        traffic.capture_sent() as seen,
    ):
        frames = frames_out(traffic)
        pair.packet_sender.send(frames)
        with step("Each is on the wire once and unchanged"):
            come(seen, frames)


@requirement(
    "XDP-NDOXMIT-03",
    level="MUST",
    source=XMIT,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.budget(60)
@pytest.mark.usefixtures("target")
def test_from_several_cpus(source, pair, traffic, come, guest, defer, step):
    """Frames that are redirected to the driver from several CPUs at once are each on the wire once and unchanged."""
    cpus = traffic.cpus()
    outlets = [PacketSender(guest.agent.another(), pair.far.ifname, defer) for _ in range(cpus)]
    with step("Attach a program to another interface that redirects test frames to the one under test"):
        source("native")
    for number in range(ROUNDS):
        with (
            step(f"Round {number}: let {EACH} test frames come to it on each CPU at once"),
            traffic.capture_sent() as seen,
        ):
            lots = [
                frames_out(traffic, first=EACH * (number * cpus + cpu), count=EACH // len(HEADERS))
                for cpu in range(cpus)
            ]
            with ThreadPoolExecutor(cpus) as threads:
                sent = [
                    threads.submit(out.send, lot, cpu=cpu)
                    for cpu, (out, lot) in enumerate(zip(outlets, lots, strict=True))
                ]
                assert [each.result() for each in sent] == [len(lot) for lot in lots]
            come(seen, [frame for lot in lots for frame in lot])


@requirement(
    "XDP-NDOXMIT-04",
    level="MUST",
    source=f"{XMIT}; kernel/bpf/devmap.c, a target without the flag is refused with EOPNOTSUPP",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    refuses="xdp-act:ndo-xmit",
)
def test_unadvertised(require_absent, source, pair, traffic, check_traffic, guest, dut, defer, until, step):
    """While the driver does not advertise it, frames that are redirected to it are dropped and told of; nothing else changes."""
    require_absent("xdp-act:ndo-xmit")
    with step("Record the tracepoint xdp:xdp_redirect_err"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_redirect_err"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step(
        "Attach a program to another interface that redirects test frames to the one under test, and let some come"
    ):
        source("native")
        frames = frames_out(traffic)
        with traffic.capture_sent() as seen:
            pair.packet_sender.send(frames)
            until(
                lambda: len(guest.agent.call("trace.read", trace=trace)) >= len(frames),
                what=f"{len(frames)} redirections failed",
                timeout=SOON,
            )
    with step("Each was refused with EOPNOTSUPP, and none is on the wire"):
        told = [entry["fields"] for entry in guest.agent.call("trace.read", trace=trace)]
        index = str(dut.link()["ifindex"])
        assert {(each["err"], each["to_ifindex"]) for each in told} == {(str(-errno.EOPNOTSUPP), index)}
        assert len(told) == len(frames)
        assert seen.probes() == []
    with step("Frames cross the interface as before"):
        check_traffic()


@requirement(
    "XDP-NDOXMIT-05",
    level="MUST",
    source=XMIT_SG,
    falsified_by=("program:xdp.adjustment-lost", "tx.frame.corrupted", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit-sg",
)
@pytest.mark.budget(60)
def test_fragments(target, source, pair, traffic, come, step, require):  # noqa: ARG001 - attached
    """A frame in several buffers that is redirected to the driver leaves by it whole, once and unchanged."""
    require("xdp-act:ndo-xmit-sg")
    with step("Attach a program to another interface that cuts the head off long frames and redirects what is left"):
        pair.set_mtu(LONG_MTU)
        program = source("native", fragments=True)
    for version in HEADERS:
        with step(f"Let such frames of IPv{version} come to it, in which two buffers hold what is left"):
            program.configure(head=CUT, verdict=Action.REDIRECT)
            frames = frames_out(traffic, sizes=LENGTHS, count=len(LENGTHS))
            filler = bytes(CUT - HEADERS[version])
            wrapped = [around(traffic.ends_back, version, 0, filler + frame) for frame in frames]
            assert min(map(len, wrapped)) > FIRST_BUFFER
            with traffic.capture_sent() as seen:
                pair.packet_sender.send(wrapped)
                come(seen, frames)
            assert program.answers()["head"].rejected == 0


@requirement(
    "XDP-NDOXMIT-06",
    level="MUST",
    source=f"{XMIT_SG}; kernel/bpf/devmap.c, a target without the flag is refused with EOPNOTSUPP",
    falsified_by="program:xdp.adjustment-lost",
    refuses="xdp-act:ndo-xmit-sg",
)
@pytest.mark.budget(60)
def test_fragments_unadvertised(require_absent, source, pair, traffic, guest, defer, until, step):
    """While the driver does not advertise it, frames in several buffers that are redirected to it are dropped and told of."""
    require_absent("xdp-act:ndo-xmit-sg")
    with step("Record the tracepoint xdp:xdp_redirect_err"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_redirect_err"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step("Attach a program to another interface that redirects long frames, and let some come"):
        pair.set_mtu(LONG_MTU)
        program = source("native", fragments=True)
        program.configure(head=CUT, verdict=Action.REDIRECT)
        frames = frames_out(traffic, sizes=LENGTHS, count=len(LENGTHS))
        filler = bytes(CUT - HEADERS[4])
        with traffic.capture_sent() as seen:
            pair.packet_sender.send([around(traffic.ends_back, 4, 0, filler + frame) for frame in frames])
            until(
                lambda: len(guest.agent.call("trace.read", trace=trace)) >= len(frames),
                what=f"{len(frames)} redirections failed",
                timeout=SOON,
            )
    with step("Each was refused with EOPNOTSUPP, none is on the wire, and frames reach the stack as before"):
        told = [entry["fields"]["err"] for entry in guest.agent.call("trace.read", trace=trace)]
        assert told == [str(-errno.EOPNOTSUPP)] * len(frames)
        assert seen.probes() == []
        traffic.check_delivery()


@requirement(
    "XDP-NDOXMIT-07",
    level="MUST",
    source=XMIT,
    falsified_by=("program:xdp.not-attached", "tx.frame.dropped"),
    proves="xdp-act:ndo-xmit",
)
@pytest.mark.budget(60)
@pytest.mark.usefixtures("target")
def test_down(source, pair, traffic, come, dut, defer, step):
    """Frames that are redirected to an interface that is down are lost without harm, and leave again once it is up."""
    with step("Attach a program to another interface that redirects test frames to the one under test"):
        source("native")
    with step("Take the one under test down, and let test frames come to the other"), traffic.capture_sent() as seen:
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        pair.packet_sender.send(frames_out(traffic), repeat=8)
    with step("None is on the wire"):
        assert seen.probes() == []
    with step("Take it up again, and let others come: each is on the wire once and unchanged"):
        dut.set_link(up=True)
        traffic.ready()
        with traffic.capture_sent() as seen:
            frames = frames_out(traffic, first=1000)
            pair.packet_sender.send(frames)
            come(seen, frames)
