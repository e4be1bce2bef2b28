# SPDX-License-Identifier: GPL-2.0-or-later
"""Native XDP: each verdict of the basic set does what it says, on every receive queue, for IPv4 and IPv6, at every size."""

from __future__ import annotations

import base64

from plugfest.frames.probe import HEADERS, SCRATCH, around, only, swapped
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import from_model, of_frames, total
from plugfest.traffic.traffic import OUTSIDE_PORT, SIZES, check_same, payloads
from plugfest.xdp.programs import SOON

BASIC = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
WRITTEN = b"plugfest"
"""What xdp_modify writes over the first octets of the payload."""
TRIMMED = 4
"""Octets that xdp_trim takes off a frame's end."""
LONGEST_PADDED = 100
"""Octets of a frame that stays one of ours, and above the shortest of Ethernet, without these."""


def check_spread(seen, queues):
    """Every queue of `queues` must have seen frames, and at least one has.

    Raises:
        AssertionError: not so.
    """
    assert seen, "no receive queue saw a frame"
    assert queues <= set(seen), (
        f"receive queues {sorted(queues - set(seen))} saw no frame; those that did: {sorted(seen)}"
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
def test_pass(native, spread, traffic, step):
    """A frame for which the program returns XDP_PASS reaches the stack once and unchanged."""
    probes = traffic.probes()
    with step("Attach a program that counts test frames and passes them"):
        program = native.attach("xdp_pass")
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        traffic.send(probes)
    with step("The program sees each frame once and at its length"):
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
    with step("The program sees frames on every receive queue"):
        check_spread(native.seen(program), spread)
    with step("The stack receives every payload once and unchanged"):
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")


@requirement(
    "XDP-BASIC-02",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_DROP",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_drop(native, spread, traffic, step):
    """A frame for which the program returns XDP_DROP is gone, and no other frame is."""
    probes = traffic.probes()
    with step("Attach a program that counts and drops test frames and passes all else"):
        program = native.attach("xdp_drop")
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        traffic.send(probes)
    with step("The program sees each frame once and at its length, on every receive queue"):
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
        check_spread(native.seen(program), spread)
    with step("The stack receives none of them"):
        assert traffic.nothing_received()
    with step("Frames that the program passes go on to reach the stack"):
        traffic.check_delivery(port=OUTSIDE_PORT)


@requirement(
    "XDP-BASIC-03",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_TX",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "tx.frame.dropped", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
def test_tx(native, spread, traffic, guest, step, until):
    """A frame for which the program returns XDP_TX leaves by the same interface once, as the program left it."""
    probes = traffic.probes()
    device = guest.model
    with step("Attach a program that exchanges the hardware addresses of test frames and sends them back"):
        program = native.attach("xdp_tx")
        traffic.ready()
        before = from_model(device.call("model.counters")) if device else None
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        sent = of_frames(probe.frame for probe in probes)
        with traffic.capture_sent() as remote:
            traffic.send(probes)
            until(
                lambda: len(remote.probes()) >= len(probes),
                what=f"{len(probes)} frames are back on the wire",
                timeout=SOON,
            )
    with step("Every frame is on the wire once, its addresses exchanged and nothing else changed"):
        check_same(remote.probes(), [swapped(probe.frame) for probe in probes], "frames back on the wire")
    with step("The program saw each frame once, on every receive queue"):
        assert total(native.seen(program).values()) == sent
        check_spread(native.seen(program), spread)
    with step("The device was handed each frame once, by a transmit queue"):
        if before is not None:
            handed = total(from_model(device.call("model.counters")).since(before).tx.values())
            assert handed.frames >= sent.frames
            assert handed.bytes >= sent.bytes
    with step("The stack receives none of them"):
        assert traffic.nothing_received()


@requirement(
    "XDP-BASIC-04",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_ABORTED; include/trace/events/xdp.h, xdp_exception",
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_aborted(native, spread, traffic, dut, guest, step, defer):
    """A frame for which the program returns XDP_ABORTED is dropped, and the tracepoint xdp_exception tells of it once."""
    probes = traffic.probes()
    with step("Record the tracepoint xdp:xdp_exception"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_exception"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step("Attach a program that aborts on test frames and passes all else"):
        program = native.attach("xdp_aborted")
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        traffic.send(probes)
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
        check_spread(native.seen(program), spread)
    with step("The tracepoint fired once for each frame, with this program, this interface and the action ABORTED"):
        told = [entry["fields"] for entry in guest.agent.call("trace.read", trace=trace)]
        wanted = {"prog_id": str(program.identifier), "action": "ABORTED", "ifindex": str(dut.link()["ifindex"])}
        assert [fields for fields in told if fields != wanted] == []
        assert len(told) == len(probes)
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
    """What the program writes into a frame that it passes is what the stack receives."""
    probes = traffic.probes()
    with step("Attach a program that overwrites the head of a test frame's payload and passes it"):
        native.attach("xdp_modify")
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        traffic.send(probes)
    with step("The stack receives every payload with what the program wrote, and the rest unchanged"):
        written = [WRITTEN + payload[SCRATCH:] for payload in payloads(probes)]
        check_same(traffic.received(probes), written, "payloads in the stack")


@requirement(
    "XDP-BASIC-06",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, XDP_PACKET_HEADROOM, bpf_xdp_adjust_head, bpf_xdp_adjust_tail",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead"),
    proves="xdp-act:basic",
)
def test_adjust(native, traffic, guest, dut, step, defer):
    """The program can put octets before a frame, take them off and shorten the frame; the stack gets what is left.

    A driver may pad what is left to the shortest Ethernet frame, so the frames are longer than that here.
    """
    probes = traffic.probes(sizes=[size for size in SIZES if size > LONGEST_PADDED])
    with step("Attach a program that moves a test frame's head there and back and cuts its end"):
        program = native.attach("xdp_trim")
        traffic.ready()
    with step("Listen for raw frames behind the driver"):
        packet = guest.agent.call("packet.open", ifname=dut.ifname)
        defer(guest.agent.call, "handle.close", handle=packet)
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        traffic.send(probes)
    with step("Every frame comes out of the driver once, shorter by what was cut and otherwise unchanged"):
        native.wait(of_frames(probe.frame for probe in probes), program)
        frames = guest.agent.call("packet.receive", packet=packet, count=2 * len(probes), timeout=0)
        raw = [base64.b64decode(frame["frame"]) for frame in frames]
        check_same(list(only(raw)), [probe.frame[:-TRIMMED] for probe in probes], "frames out of the driver")


@requirement(
    "XDP-BASIC-07",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/bpf.h, enum xdp_action; net/core/filter.c, bpf_warn_invalid_xdp_action",
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_invalid(native, spread, traffic, guest, step, defer):
    """A frame for which the program returns no verdict that there is, is dropped, and xdp_exception tells of it once."""
    probes = traffic.probes()
    with step("Record the tracepoint xdp:xdp_exception"):
        trace = guest.agent.call("trace.open", events=["xdp:xdp_exception"])
        defer(guest.agent.call, "handle.close", handle=trace)
    with step("Attach a program that returns 77 for test frames"):
        program = native.attach("xdp_invalid")
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
        check_spread(native.seen(program), spread)
    with step("The tracepoint fired once for each frame, with this program"):
        told = [entry["fields"]["prog_id"] for entry in guest.agent.call("trace.read", trace=trace)]
        assert len(told) == len(probes)
        assert set(told) == {str(program.identifier)}
    with step("The stack receives none of them; what the program passes goes on"):
        assert traffic.nothing_received()
        traffic.check_delivery(port=OUTSIDE_PORT)


@requirement(
    "XDP-BASIC-08",
    level="MUST",
    source=f"{BASIC}; include/linux/skbuff.h, CHECKSUM_UNNECESSARY",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_checksum_mended(native, traffic, remote, step):
    """A frame whose bad checksum the program makes right reaches the stack: what the device said of it holds no more."""
    probes = traffic.probes()
    written = [WRITTEN + payload[SCRATCH:] for payload in payloads(probes)]
    with step("Attach a program that overwrites the head of a test frame's payload and leaves the checksum"):
        native.attach("xdp_overwrite")
        traffic.ready()
    with step("Send test frames with the checksum of what the program will write"):
        finished = [
            around(traffic.ends, probe.version, probe.flow, payload, probe.number)
            for probe, payload in zip(probes, written, strict=True)
        ]
        starts = [HEADERS[probe.version] for probe in probes]
        remote.send(
            [
                frame[:start] + probe.payload[:SCRATCH] + frame[start + SCRATCH :]
                for probe, frame, start in zip(probes, finished, starts, strict=True)
            ]
        )
    with step("The stack receives every payload as the program left it"):
        check_same(traffic.received(probes), written, "payloads in the stack")
