# SPDX-License-Identifier: GPL-2.0-or-later
"""Native XDP: each verdict of the basic feature set takes effect on every receive queue, for IPv4 and IPv6, at every frame size."""

from __future__ import annotations

import base64

from plugfest.frames.probe import HEADERS, SCRATCH, around, only, swapped
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import from_model, of_frames, total
from plugfest.traffic.traffic import OUTSIDE_PORT, SIZES, WIRE_TIMEOUT, check_same, payloads

BASIC = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
WRITTEN = b"plugfest"
"""What xdp_modify writes over the first bytes of the payload."""
TRIMMED_BYTES = 4
"""Bytes that xdp_trim cuts off the end of a frame."""
MINIMUM_TRIMMED_SIZE = 100
"""Test frames longer than this remain valid test frames, longer than the Ethernet minimum, after xdp_trim."""


def check_queues_seen(seen, queues):
    """Check that some queue saw frames, and that every queue of `queues` did.

    Raises:
        AssertionError: no queue, or not each of `queues`, saw a frame.
    """
    assert seen, "no receive queue saw a frame"
    assert queues <= set(seen), (
        f"receive queues {sorted(queues - set(seen))} saw no frame; queues that did: {sorted(seen)}"
    )


@requirement(
    "XDP-BASIC-01",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_PASS",
    falsified_by=(
        "program:xdp.not-attached",
        "program:xdp.drop-instead",
        "program:traffic.one-flow",
        "rx.frame.corrupted",
        "rx.frame.dropped",
    ),
    proves="xdp-act:basic",
)
def test_pass(native, queues_reached_by_rss, traffic, step):
    """A frame for which the program returns XDP_PASS reaches the stack exactly once, unchanged."""
    probes = traffic.probes()
    with step("Attach a program that counts test frames and passes them"):
        program = native.attach("xdp_pass")
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        traffic.send(probes)
    with step("The program sees each frame exactly once, at its length"):
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
    with step("The program sees frames on every receive queue"):
        check_queues_seen(native.seen(program), queues_reached_by_rss)
    with step("The stack receives every payload exactly once, unchanged"):
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")


@requirement(
    "XDP-BASIC-02",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_DROP",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_drop(native, queues_reached_by_rss, traffic, step):
    """A frame for which the program returns XDP_DROP does not reach the stack, and every other frame does."""
    probes = traffic.probes()
    with step("Attach a program that counts and drops test frames and passes all others"):
        program = native.attach("xdp_drop")
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        traffic.send(probes)
    with step("The program sees each frame exactly once, at its length, and sees frames on every receive queue"):
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
        check_queues_seen(native.seen(program), queues_reached_by_rss)
    with step("The stack receives none of them"):
        assert traffic.nothing_received()
    with step("Frames that the program passes reach the stack"):
        traffic.check_delivery(port=OUTSIDE_PORT)


@requirement(
    "XDP-BASIC-03",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_TX",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "tx.frame.dropped", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
def test_tx(native, queues_reached_by_rss, traffic, guest, step, until):
    """A frame for which the program returns XDP_TX leaves the same interface exactly once, as the program left it."""
    probes = traffic.probes()
    device = guest.model
    with step("Attach a program that swaps the MAC addresses of test frames and returns XDP_TX"):
        program = native.attach("xdp_tx")
        traffic.ready()
        before = from_model(device.call("model.counters")) if device else None
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        sent = of_frames(probe.frame for probe in probes)
        with traffic.capture_sent() as seen:
            traffic.send(probes)
            until(
                lambda: seen.reached(len(probes)),
                what=f"{len(probes)} frames are back on the wire",
                timeout=WIRE_TIMEOUT,
            )
    with step("Every frame is on the wire exactly once, with its MAC addresses swapped and nothing else changed"):
        check_same(seen.frames(), [swapped(probe.frame) for probe in probes], "frames back on the wire")
    with step("The program saw each frame exactly once, and saw frames on every receive queue"):
        assert total(native.seen(program).values()) == sent
        check_queues_seen(native.seen(program), queues_reached_by_rss)
    with step("The driver handed each frame to a transmit queue of the device once"):
        if before is not None:
            transmitted = total(from_model(device.call("model.counters")).since(before).tx.values())
            assert transmitted.frames >= sent.frames
            assert transmitted.bytes >= sent.bytes
    with step("The stack receives none of them"):
        assert traffic.nothing_received()


@requirement(
    "XDP-BASIC-04",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_ABORTED; include/trace/events/xdp.h, xdp_exception",
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_aborted(native, queues_reached_by_rss, traffic, dut, guest, step, defer):
    """A frame for which the program returns XDP_ABORTED is dropped, and the tracepoint xdp_exception fires once for it."""
    probes = traffic.probes()
    with step("Record the tracepoint xdp:xdp_exception"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_exception"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step("Attach a program that returns XDP_ABORTED for test frames and passes all others"):
        program = native.attach("xdp_aborted")
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        traffic.send(probes)
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
        check_queues_seen(native.seen(program), queues_reached_by_rss)
    with step("The tracepoint fired once per frame, with this program, this interface and the action ABORTED"):
        events = [entry["fields"] for entry in guest.agent.call("trace.read", trace=trace)]
        wanted = {"prog_id": str(program.identifier), "action": "ABORTED", "ifindex": str(dut.link()["ifindex"])}
        assert [fields for fields in events if fields != wanted] == []
        assert len(events) == len(probes)
    with step("The stack receives none of them"):
        assert traffic.nothing_received()


@requirement(
    "XDP-BASIC-05",
    level="MUST",
    source=f"{BASIC}; Documentation/bpf/redirect.rst",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead"),
    proves="xdp-act:basic",
)
def test_modify(native, traffic, step):
    """The stack receives a passed frame with the bytes that the program wrote into it."""
    probes = traffic.probes()
    with step("Attach a program that overwrites the start of a test frame's payload and passes the frame"):
        native.attach("xdp_modify")
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        traffic.send(probes)
    with step("The stack receives every payload with the bytes that the program wrote, and the rest unchanged"):
        written = [WRITTEN + payload[SCRATCH:] for payload in payloads(probes)]
        check_same(traffic.received(probes), written, "payloads that the stack received")


@requirement(
    "XDP-BASIC-06",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_PACKET_HEADROOM, bpf_xdp_adjust_head, bpf_xdp_adjust_tail",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead"),
    proves="xdp-act:basic",
)
def test_adjust(native, traffic, guest, dut, step, defer):
    """A program can prepend bytes to a frame, remove them again and shorten the frame; the stack receives what remains.

    A driver may pad short frames to the Ethernet minimum, so the test uses longer ones.
    """
    probes = traffic.probes(sizes=[size for size in SIZES if size > MINIMUM_TRIMMED_SIZE])
    with step("Attach a program that moves the head of a test frame out and back and cuts bytes off its end"):
        program = native.attach("xdp_trim")
        traffic.ready()
    with step("Open a packet socket on the DUT"):
        packet = guest.agent.call("packet.open", ifname=dut.ifname)
        defer(guest.agent.call, "handle.close", handle=packet)
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        traffic.send(probes)
    with step("The driver delivers every frame exactly once, without the bytes cut off and otherwise unchanged"):
        native.wait(of_frames(probe.frame for probe in probes), program)
        frames = guest.agent.call("packet.receive", packet=packet, count=2 * len(probes), timeout=0)
        raw = [base64.b64decode(frame["frame"]) for frame in frames]
        check_same(
            list(only(raw)), [probe.frame[:-TRIMMED_BYTES] for probe in probes], "frames that the driver delivered"
        )


@requirement(
    "XDP-BASIC-07",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, enum xdp_action; net/core/filter.c, bpf_warn_invalid_xdp_action",
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_invalid_action(native, queues_reached_by_rss, traffic, guest, step, defer):
    """A frame for which the program returns an invalid verdict is dropped, and the tracepoint xdp_exception fires once for it."""
    probes = traffic.probes()
    with step("Record the tracepoint xdp:xdp_exception"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_exception"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step("Attach a program that returns 77 for test frames"):
        program = native.attach("xdp_invalid")
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
        check_queues_seen(native.seen(program), queues_reached_by_rss)
    with step("The tracepoint fired once per frame, with this program"):
        events = [entry["fields"]["prog_id"] for entry in guest.agent.call("trace.read", trace=trace)]
        assert len(events) == len(probes)
        assert set(events) == {str(program.identifier)}
    with step("The stack receives none of them, and receives the frames that the program passes"):
        assert traffic.nothing_received()
        traffic.check_delivery(port=OUTSIDE_PORT)


@requirement(
    "XDP-BASIC-08",
    level="MUST",
    source=f"{BASIC}; include/linux/skbuff.h, CHECKSUM_UNNECESSARY",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_checksum_fixed_by_program(native, traffic, remote, step):
    """A frame whose wrong checksum the program corrects reaches the stack: the device's earlier checksum result no longer applies."""
    probes = traffic.probes()
    written = [WRITTEN + payload[SCRATCH:] for payload in payloads(probes)]
    with step("Attach a program that overwrites the start of a test frame's payload and leaves the checksum alone"):
        native.attach("xdp_overwrite")
        traffic.ready()
    with step("Send test frames with the checksum of the payload that the program will write"):
        complete = [
            around(traffic.ends, probe.version, probe.flow, payload, probe.number)
            for probe, payload in zip(probes, written, strict=True)
        ]
        starts = [HEADERS[probe.version] for probe in probes]
        remote.send(
            [
                frame[:start] + probe.payload[:SCRATCH] + frame[start + SCRATCH :]
                for probe, frame, start in zip(probes, complete, starts, strict=True)
            ]
        )
    with step("The stack receives every payload as the program left it"):
        check_same(traffic.received(probes), written, "payloads that the stack received")
