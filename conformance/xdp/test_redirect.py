# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP_REDIRECT: to another interface, to another CPU, and to targets that reject the frame."""

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
"""What the devmap program writes over the first bytes of the payload."""
CPUMAP_QUEUE_SIZE = 2048
"""Frames that the queue of a cpumap entry holds."""
BATCH = 64
"""Frames that any receive ring holds."""


@pytest.fixture
def send_more_than_ring(adjustment, traffic, native, dut):
    """``send_more_than_ring()`` sends more test frames to one queue than its ring has descriptors, a few at a time; returns how many."""

    def send():
        count = (dut.get("rings") or {}).get("rx", 512) + BATCH
        probes = traffic.probes(sizes=(60,) * count, versions=(4,), flows=1)
        for first in range(0, count, BATCH):
            traffic.send(probes[first : first + BATCH])
            native.wait(of_frames(frames_of(probes[: first + BATCH])), adjustment.program)
        return count

    return send


@pytest.fixture
def record_tracepoint(guest, defer):
    """``events = record_tracepoint("xdp:xdp_exception")`` records a tracepoint; ``events()`` returns the fields of each event so far."""

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
@pytest.mark.usefixtures("native_redirect")
def test_redirect_to_device(adjustment, traffic, pair, step):
    """A frame that a program redirects to another interface leaves that interface exactly once, unchanged, and does not reach the stack."""
    with step("Attach a program that redirects test frames to one end of a veth pair"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        probes = traffic.probes()
        traffic.send(probes)
    with step("Each frame arrives at the far end exactly once, unchanged"):
        found = pair.packet_receiver.take(is_probe, len(probes))
        check_same(found, frames_of(probes), "frames at the far end of the veth pair")
    with step("The stack receives none of them"):
        assert traffic.nothing_received()


@requirement(
    "XDP-REDIRECT-02",
    level="MUST",
    source=f"{DEVMAP}; include/uapi/linux/bpf.h, struct bpf_devmap_val",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:redirect",
)
@pytest.mark.usefixtures("native_redirect")
def test_devmap_program(adjustment, traffic, pair, native, step):
    """A frame redirected through a devmap entry with a program leaves as that program modified it."""
    with step("Attach a program that redirects test frames; a devmap program overwrites the start of their payload"):
        pair.accept()
        adjustment.aim(pair.near.ifname, native.load("xdp_devmap", section=True))
        adjustment.configure(verdict=Action.REDIRECT)
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        probes = traffic.probes()
        traffic.send(probes)
    with step("Each frame arrives at the far end exactly once, with the bytes that the devmap program wrote"):
        found = pair.packet_receiver.take(is_probe, len(probes))
        found_payloads = [frame[HEADERS[4 if frame[12] == 8 and frame[13] == 0 else 6] :] for frame in found]
        check_same(
            found_payloads,
            [WRITTEN + payload[SCRATCH:] for payload in payloads(probes)],
            "payloads at the far end of the veth pair",
        )


@requirement(
    "XDP-REDIRECT-03",
    level="MUST",
    source=CPUMAP,
    falsified_by=("program:xdp.not-attached", "rx.frame.corrupted", "rx.frame.dropped"),
    proves="xdp-act:redirect",
)
def test_redirect_to_cpu(native_redirect, traffic, step):
    """A frame redirected to a CPU is seen there by the cpumap program, and reaches the stack exactly once, unchanged."""
    with step("Load a counting cpumap program, and attach a program that redirects test frames to the chosen CPU"):
        cpu_program = native_redirect.load("xdp_cpumap", section=True)
        program = native_redirect.load("xdp_redirect_cpu")
        for cpu in range(traffic.cpus()):
            native_redirect.agent.call(
                "bpf.map_set_program",
                map=program.maps["target"],
                key=struct.pack("=I", cpu).hex(),
                value=struct.pack("=I", CPUMAP_QUEUE_SIZE).hex(),
                program=cpu_program.handle,
            )
        native_redirect.attach_program(program)
    sent = Account()
    for cpu in range(traffic.cpus()):
        with step(f"Choose CPU {cpu} and send test frames of every size in enough flows to reach every receive queue"):
            entry = {"key": struct.pack("=I", 0).hex(), "value": struct.pack("=I", cpu).hex()}
            native_redirect.agent.call("bpf.map_update", map=program.maps["chosen"], **entry)
            probes = traffic.probes()
            traffic.send(probes)
        with step("The stack receives every payload exactly once, unchanged"):
            check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
        with step(
            "The attached program saw each frame once, and the cpumap program saw it once, on the chosen CPU only"
        ):
            sent_to_cpu = of_frames(probe.frame for probe in probes)
            sent += sent_to_cpu
            assert total(native_redirect.seen(program).values()) == sent
            assert native_redirect.seen(cpu_program) == dict.fromkeys(range(cpu + 1), sent_to_cpu)


@pytest.fixture
def rejection_tracepoint(guest):
    """The tracepoint of a frame that the redirect target rejects.

    The kernel finds out as the frame is redirected; before Linux 6.3, which knows no features of drivers, only as it is transmitted.
    """
    knows_features = guest.agent.call("system.kernel_has", name="NETDEV_XDP_ACT_NDO_XMIT")
    return "xdp:xdp_redirect_err" if knows_features else "xdp:xdp_devmap_xmit"


@requirement(
    "XDP-REDIRECT-04",
    level="MUST",
    source=f"{REDIRECT}; include/trace/events/xdp.h, xdp_redirect_err, xdp_devmap_xmit",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.duplicated"),
    proves="xdp-act:redirect",
)
@pytest.mark.usefixtures("native_redirect")
def test_target_rejects(adjustment, send_more_than_ring, record_tracepoint, rejection_tracepoint, traffic, pair, step):
    """Frames that the redirect target rejects are dropped and traced, and no receive buffer is lost, even after more than a ring holds."""
    with step(
        "Attach a program that redirects test frames to a veth interface that rejects them, as its peer has no program"
    ):
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
    with step(f"Record the tracepoint {rejection_tracepoint}"):
        events = record_tracepoint(rejection_tracepoint)
    with step("Send more test frames than a receive ring has descriptors, all to one queue, a few at a time"):
        count = send_more_than_ring()
    with step("The tracepoint tells of each frame, with an error; the stack received no frame"):
        fields = events()
        assert sum(int(each.get("drops", 1)) for each in fields) == count
        assert {each["prog_id"] for each in fields if "prog_id" in each} <= {str(adjustment.program.identifier)}
        assert all(int(each["err"]) < 0 for each in fields)
        assert traffic.nothing_received()
    with step("Have the program pass test frames: frames of every size reach the stack"):
        adjustment.configure(verdict=Action.PASS)
        traffic.check_delivery()


@requirement(
    "XDP-REDIRECT-06",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_REDIRECT; include/trace/events/xdp.h, xdp_exception",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.duplicated"),
    refuses="xdp-act:redirect",
)
def test_unadvertised(require_absent, adjustment, send_more_than_ring, record_tracepoint, traffic, pair, step):
    """A driver that runs programs but does not advertise redirect drops and traces the frames that they redirect, and loses no buffer.

    XDP-REDIRECT-04 covers drivers that do advertise it, with a target that rejects the frames.
    """
    require_absent("xdp-act:redirect")
    with step("Attach a program that redirects test frames to one end of a veth pair"):
        pair.accept()
        adjustment.aim(pair.near.ifname)
        adjustment.configure(verdict=Action.REDIRECT)
    with step("Record the tracepoint xdp:xdp_exception"):
        events = record_tracepoint("xdp:xdp_exception")
    with step("Send more test frames than a receive ring has descriptors, all to one queue, a few at a time"):
        count = send_more_than_ring()
    with step("The tracepoint fired once per frame, with this program and the action REDIRECT"):
        fields = events()
        assert len(fields) == count
        assert {(each["prog_id"], each["action"]) for each in fields} == {
            (str(adjustment.program.identifier), "REDIRECT")
        }
    with step("No frame arrived at the far end, and the stack received none"):
        assert pair.nothing_came_out()
        assert traffic.nothing_received()
    with step("Have the program pass test frames: frames of every size reach the stack"):
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
def test_redirect_between_nics(native_redirect, adjustment, second_nic, traffic, remote, until, step, require):
    """Frames that one of the driver's NICs redirects to another are on that NIC's wire exactly once, unchanged, in both directions."""
    with step("On each of two NICs, attach a program that redirects test frames to the other"):
        reverse = Adjustment(second_nic.xdp)
        for sender, target_ifname in ((adjustment, second_nic.dut.ifname), (reverse, native_redirect.ifname)):
            sender.aim(target_ifname)
            sender.configure(verdict=Action.REDIRECT)
        assert native_redirect.state()["attached"] == "native"
        require("xdp-act:ndo-xmit")
        traffic.ready()
        second_nic.settings.ready()
    ends_from_second = Ends(second_nic.dut.mac, remote.mac, traffic.ends.destination, traffic.ends.sources)
    for ends, near, far in ((traffic.ends, remote, second_nic.remote), (ends_from_second, second_nic.remote, remote)):
        with step("Send one NIC IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
            sent = frames_of(burst(ends, flows=FLOWS_PER_QUEUE * traffic.queues(), sizes=SIZES))
            with far.capture() as capture:

                def seen(found=capture):
                    return [frame for frame in found.received() if is_probe(frame)]

                near.send(sent)
                until(
                    lambda seen=seen, sent=sent: len(seen()) >= len(sent),
                    what=f"{len(sent)} frames are on the other NIC's wire",
                )
        with step("Each frame is on the other NIC's wire exactly once, unchanged"):
            check_same(seen(), sent, "frames on the other NIC's wire")
