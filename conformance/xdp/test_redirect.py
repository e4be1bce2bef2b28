# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP_REDIRECT: to another interface, to another CPU, and where it cannot go."""

from __future__ import annotations

import struct

import pytest
from plugfest.frames.probe import HEADERS, SCRATCH, Ends, burst, frames_of, is_probe
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import Account, of_frames, total
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, check_same, payloads
from plugfest.xdp.adjustment import Action, Adjustment

REDIRECT = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_REDIRECT; Documentation/bpf/redirect.rst"
DEVMAP = f"{REDIRECT}; Documentation/bpf/map_devmap.rst"
CPUMAP = f"{REDIRECT}; Documentation/bpf/map_cpumap.rst"
WRITTEN = b"plugfest"
"""What the second program of the device map writes over the first octets of the payload."""
CPU_QUEUE = 2048
"""Frames that may wait for a CPU."""
BATCH = 64
"""Frames that any receive ring holds."""


@pytest.fixture
def overfill(adjustment, traffic, native, dut):
    """``overfill()`` sends more test frames than a receive ring has descriptors, by one queue, few at once; returns how many."""

    def send():
        count = (dut.get("rings") or {}).get("rx", 512) + BATCH
        probes = traffic.probes(sizes=(60,) * count, versions=(4,), flows=1)
        for first in range(0, count, BATCH):
            traffic.send(probes[first : first + BATCH])
            native.wait(of_frames(frames_of(probes[: first + BATCH])), adjustment.program)
        return count

    return send


@pytest.fixture
def record(guest, defer):
    """``told = record("xdp:xdp_exception")`` records a tracepoint; ``told()`` is what it told, each time by field."""

    def start(event):
        trace = guest.agent.call("trace.open", events=[event], kilobytes=4096)
        defer(guest.agent.call, "handle.close", handle=trace)
        return lambda: [entry["fields"] for entry in guest.agent.call("trace.read", trace=trace)]

    return start


@requirement(
    "XDP-REDIRECT-01",
    level="MUST",
    source=DEVMAP,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.corrupted", "rx.frame.dropped"),
    proves="xdp-act:redirect",
)
@pytest.mark.usefixtures("redirecting")
def test_to_device(adjustment, traffic, pair, step):
    """A frame that a program redirects to another interface leaves by that, once and unchanged, and reaches no stack here."""
    with step("Attach a program that redirects test frames to one end of a wire within the guest"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        probes = traffic.probes()
        traffic.send(probes)
    with step("Each comes out at the other end once and unchanged"):
        found = pair.packet_receiver.take(is_probe, len(probes))
        check_same(found, frames_of(probes), "frames at the far end")
    with step("The stack receives none of them"):
        assert traffic.nothing_received()


@requirement(
    "XDP-REDIRECT-02",
    level="MUST",
    source=f"{DEVMAP}; include/uapi/linux/bpf.h, struct bpf_devmap_val",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:redirect",
)
@pytest.mark.usefixtures("redirecting")
def test_second_program(adjustment, traffic, pair, native, step):
    """A frame that is redirected through a device map with a second program leaves as that program made it."""
    with step(
        "Attach a program that redirects test frames, through a second one that overwrites the head of their payload"
    ):
        pair.accept()
        adjustment.aim(pair.near.ifname, native.load("xdp_devmap", section=True))
        adjustment.configure(verdict=Action.REDIRECT)
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        probes = traffic.probes()
        traffic.send(probes)
    with step("Each comes out at the other end once, with what the second program wrote"):
        found = pair.packet_receiver.take(is_probe, len(probes))
        bodies = [frame[HEADERS[4 if frame[12] == 8 and frame[13] == 0 else 6] :] for frame in found]
        check_same(bodies, [WRITTEN + payload[SCRATCH:] for payload in payloads(probes)], "payloads at the far end")


@requirement(
    "XDP-REDIRECT-03",
    level="MUST",
    source=CPUMAP,
    falsified_by=("program:xdp.not-attached", "rx.frame.corrupted", "rx.frame.dropped"),
    proves="xdp-act:redirect",
)
def test_to_cpu(redirecting, traffic, step):
    """A frame that is redirected to a CPU is seen there by that CPU's program, and reaches the stack once and unchanged."""
    with step("Load a program for each CPU that counts, and one that sends test frames to the chosen CPU"):
        there = redirecting.load("xdp_cpumap", section=True)
        program = redirecting.load("xdp_redirect_cpu")
        for cpu in range(traffic.cpus()):
            redirecting.agent.call(
                "bpf.map_set_program",
                map=program.maps["target"],
                key=struct.pack("=I", cpu).hex(),
                value=struct.pack("=I", CPU_QUEUE).hex(),
                program=there.handle,
            )
        redirecting.attach_program(program)
    sent = Account()
    for cpu in range(traffic.cpus()):
        with step(f"Choose CPU {cpu} and send test frames of every size, in flows enough to reach every receive queue"):
            choice = {"key": struct.pack("=I", 0).hex(), "value": struct.pack("=I", cpu).hex()}
            redirecting.agent.call("bpf.map_update", map=program.maps["chosen"], **choice)
            probes = traffic.probes()
            traffic.send(probes)
        with step("The stack receives every payload once and unchanged"):
            check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        with step("Each frame was seen by the receiving queue's program, then on this CPU and no other"):
            account = of_frames(probe.frame for probe in probes)
            sent += account
            assert total(redirecting.seen(program).values()) == sent
            assert redirecting.seen(there) == dict.fromkeys(range(cpu + 1), account)


@requirement(
    "XDP-REDIRECT-04",
    level="MUST",
    source=f"{REDIRECT}; include/trace/events/xdp.h, xdp_redirect_err, xdp_exception",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.duplicated"),
    proves="xdp-act:redirect",
)
@pytest.mark.usefixtures("redirecting")
def test_refused(adjustment, overfill, record, traffic, pair, step):
    """Frames that the target of a redirection refuses are dropped and told of, and cost no buffer: more than a ring full may come."""
    with step(
        "Attach a program that redirects test frames to an interface that takes none: nobody listens at its far end"
    ):
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
    with step("Record the tracepoint xdp:xdp_redirect_err"):
        told = record("xdp:xdp_redirect_err")
    with step("Send more test frames than a receive ring has descriptors, all by one queue, and few enough at once"):
        count = overfill()
    with step("The tracepoint fired for each, with an error; the stack got none of them"):
        fields = told()
        assert len(fields) == count
        assert {each["prog_id"] for each in fields} == {str(adjustment.program.identifier)}
        assert all(int(each["err"]) < 0 for each in fields)
        assert traffic.nothing_received()
    with step("With the program told to pass, frames of every size reach the stack"):
        adjustment.configure(verdict=Action.PASS)
        traffic.check_delivery()


@requirement(
    "XDP-REDIRECT-06",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_REDIRECT; include/trace/events/xdp.h, xdp_exception",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.duplicated"),
    refuses="xdp-act:redirect",
)
def test_unadvertised(require_absent, adjustment, overfill, record, traffic, pair, step):
    """A driver that runs programs but does not advertise redirection drops what they redirect, and tells of it; no buffer is lost.

    On a driver that advertises it XDP-REDIRECT-04 asks the same of redirections that the target refuses.
    """
    require_absent("xdp-act:redirect")
    with step("Attach a program that redirects test frames to one end of a wire within the guest"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
    with step("Record the tracepoint xdp:xdp_exception"):
        told = record("xdp:xdp_exception")
    with step("Send more test frames than a receive ring has descriptors, all by one queue, and few enough at once"):
        count = overfill()
    with step("The tracepoint fired once for each, with this program and the action REDIRECT"):
        fields = told()
        assert len(fields) == count
        assert {(each["prog_id"], each["action"]) for each in fields} == {
            (str(adjustment.program.identifier), "REDIRECT")
        }
    with step("None came out at the far end, and the stack got none"):
        assert pair.packet_receiver.take(is_probe, 1) == []
        assert traffic.nothing_received()
    with step("With the program told to pass, frames of every size reach the stack"):
        adjustment.configure(verdict=Action.PASS)
        traffic.check_delivery()


@requirement(
    "XDP-REDIRECT-05",
    level="MUST",
    source=f"{DEVMAP}; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_NDO_XMIT",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.corrupted", "tx.frame.dropped"),
    proves=("xdp-act:redirect", "xdp-act:ndo-xmit"),
)
@pytest.mark.fresh_guest
@pytest.mark.budget(60)
def test_to_second_nic(redirecting, adjustment, second, traffic, remote, until, step, require):
    """Between two NICs of the driver, frames that one redirects to the other leave by that once and unchanged, and back."""
    with step("Attach a program to each of two NICs that redirects test frames to the other"):
        back = Adjustment(second.xdp)
        for sender, target in ((adjustment, second.dut.ifname), (back, redirecting.ifname)):
            sender.aim(target)
            sender.configure(verdict=Action.REDIRECT)
        assert redirecting.state()["attached"] == "native"
        require("xdp-act:ndo-xmit")
        traffic.ready()
        second.change.ready()
    away = Ends(second.dut.mac, remote.mac, traffic.ends.destination, traffic.ends.sources)
    for ends, near, far in ((traffic.ends, remote, second.remote), (away, second.remote, remote)):
        with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue of one"):
            sent = frames_of(burst(ends, flows=FLOWS_PER_QUEUE * traffic.queues(), sizes=SIZES))
            with far.capture() as capture:

                def seen(found=capture):
                    return [frame for frame in found.received() if is_probe(frame)]

                near.send(sent)
                until(
                    lambda seen=seen, sent=sent: len(seen()) >= len(sent),
                    what=f"{len(sent)} frames are on the other wire",
                )
        with step("Each is on the other's wire once and unchanged"):
            check_same(seen(), sent, "frames on the other wire")
