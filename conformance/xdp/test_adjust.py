# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that move the head or the tail of a frame: exactly what they leave reaches the stack, or the wire."""

from __future__ import annotations

import bisect

import pytest
from plugfest.frames.probe import HEADERS, around, frames_of, is_probe
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import WIRE_TIMEOUT, check_same, payloads
from plugfest.xdp.adjustment import Action

HEAD = "include/uapi/linux/bpf.h, bpf_xdp_adjust_head"
TAIL = "include/uapi/linux/bpf.h, bpf_xdp_adjust_tail"
META = "include/uapi/linux/bpf.h, bpf_xdp_adjust_meta; Documentation/networking/xdp-rx-metadata.rst"
VERDICTS = {"pass": Action.PASS, "tx": Action.TX}
ETH_P_802_EX1 = bytes.fromhex("88b5")
HEAD_GROWTH = (16, 64, 128)
"""Bytes that a program may prepend to a frame: one outer header, or two."""
TAIL_GROWTH = (1, 4, 64)
SIZES = (60, 61, 64, 127, 128, 256, 512, 1023, 1500)
ALWAYS_GROWABLE = 512
"""Up to this size a frame has tailroom in the smallest buffer that a driver may use, half a page."""
INNER_SIZES = (60, 61, 127, 512, 1024, 1400)
"""Sizes of frames that fit into the payload of others."""
MINIMUM_CUT_SIZE = 100
"""A test frame cut to this many bytes still carries its number."""
INVALID_META_OFFSETS = (-256, -3, 4, -4096)
"""Invalid offsets of the metadata from the frame, bytes."""
USABLE_HEADROOM = 256 - 40
"""Bytes of XDP_PACKET_HEADROOM that a program can use: the kernel keeps struct xdp_frame at its start."""


@pytest.fixture
def send_and_collect(request, traffic, packet_receiver, remote, until):
    """``send_and_collect(frames, wanted)`` sends frames and returns those that arrive, in the stack or back on the wire.

    A driver may take its link down to attach a program, so it waits for the link first.
    """
    verdict = request.getfixturevalue("verdict")

    def from_stack(frames, wanted):
        receiver = packet_receiver()
        traffic.ready()
        remote.send(frames)
        return receiver.take(wanted, len(frames))

    def from_wire(frames, wanted):
        traffic.ready()
        with traffic.capture_sent(wanted) as seen:
            remote.send(frames)
            until(
                lambda: seen.reached(len(frames)),
                what=f"{len(frames)} frames are back on the wire",
                timeout=WIRE_TIMEOUT,
            )
        return seen.frames()

    return from_stack if verdict is Action.PASS else from_wire


@pytest.fixture(params=VERDICTS)
def verdict(request):
    """Where frames go next: to the stack or back to the wire."""
    return VERDICTS[request.param]


def has_local_header(frame):
    """Whether a frame begins with a header that a program prepended."""
    return frame[12:14] == ETH_P_802_EX1


def local_header(dut, remote, verdict, length):
    """An Ethernet header with a local experimental EtherType, to the DUT or to the remote end, padded to `length` bytes."""
    ends = (dut.mac, remote.mac) if verdict is Action.PASS else (remote.mac, dut.mac)
    return bytes.fromhex("".join(ends).replace(":", "")) + ETH_P_802_EX1 + bytes(at & 0xFF for at in range(length - 14))


def encapsulate(traffic, version):
    """Probes of INNER_SIZES, and datagrams that carry one of their frames each; returns the datagrams, then the probes."""
    inner = traffic.probes(sizes=INNER_SIZES, versions=(version,))
    outer = [around(traffic.ends, version, probe.flow, probe.frame, probe.number) for probe in inner]
    return outer, inner


@requirement(
    "XDP-ADJUST-01",
    level="MUST",
    source=HEAD,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.corrupted"),
    proves="xdp-act:basic",
    variant="pass",
)
@requirement(
    "XDP-ADJUST-02",
    level="MUST",
    source=HEAD,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted"),
    proves="xdp-act:basic",
    variant="tx",
)
@pytest.mark.budget(60)
def test_grow_head(adjustment, traffic, send_and_collect, verdict, dut, remote, step):
    """Bytes that a program prepends to a frame arrive in the stack, or on the wire, with the frame itself unchanged."""
    for length in HEAD_GROWTH:
        with step(f"Have the program prepend {length} bytes to test frames of every size, and send some"):
            prepended = local_header(dut, remote, verdict, length)
            adjustment.configure(head=-length, verdict=verdict, before=prepended)
            # Frames that would become longer than 1514 bytes are left out.
            probes = traffic.probes(sizes=[size for size in SIZES if size + length <= 1514])
            found = send_and_collect(frames_of(probes), has_local_header)
        with step("Each arrives exactly once, with these bytes in front"):
            check_same(found, [prepended + frame for frame in frames_of(probes)], "frames")
            assert adjustment.answers()["head"].rejected == 0


@requirement(
    "XDP-ADJUST-03",
    level="MUST",
    source=f"{HEAD}; include/linux/skbuff.h, CHECKSUM_COMPLETE",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_decapsulate(adjustment, traffic, remote, step):
    """A frame whose outer headers the program removes reaches the stack as the inner frame, with a correct checksum."""
    for version in HEADERS:
        with step(f"Have the program remove outer IPv{version} and UDP headers, and send frames in such datagrams"):
            adjustment.configure(head=HEADERS[version])
            outer, inner = encapsulate(traffic, version)
            traffic.ready()
            remote.send(outer)
        with step("The stack receives the payload of each inner frame exactly once"):
            check_same(traffic.received(inner), payloads(inner), "payloads that the stack received")


@requirement(
    "XDP-ADJUST-04",
    level="MUST",
    source=HEAD,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted"),
    proves="xdp-act:basic",
    variant="tx",
)
@requirement(
    "XDP-ADJUST-05",
    level="MUST",
    source=HEAD,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.corrupted"),
    proves="xdp-act:basic",
    variant="pass",
)
def test_cut_head(adjustment, traffic, send_and_collect, verdict, step):
    """When a program cuts the head off a frame, the remainder arrives in the stack, or on the wire, byte for byte."""
    for version in HEADERS:
        with step(f"Have the program cut off outer IPv{version} and UDP headers, and send frames in such datagrams"):
            adjustment.configure(head=HEADERS[version], verdict=verdict)
            outer, inner = encapsulate(traffic, version)
            found = send_and_collect(outer, is_probe)
        with step("Each inner frame arrives exactly once, unchanged"):
            check_same(found, frames_of(inner), "frames")


@requirement(
    "XDP-ADJUST-06",
    level="MUST",
    source=TAIL,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.corrupted"),
    proves="xdp-act:basic",
    variant="pass",
)
@requirement(
    "XDP-ADJUST-07",
    level="MUST",
    source=TAIL,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted"),
    proves="xdp-act:basic",
    variant="tx",
)
@pytest.mark.budget(60)
def test_grow_tail(adjustment, traffic, send_and_collect, verdict, step):
    """Bytes that a program appends to a frame arrive with it in the stack, or on the wire; a frame without tailroom arrives unchanged."""
    for length in TAIL_GROWTH:
        with step(f"Have the program append {length} bytes to test frames of every size, and send some"):
            appended = bytes(0xA0 + at & 0xFF for at in range(length))
            adjustment.configure(tail=length, verdict=verdict, behind=appended)
            frames = frames_of(traffic.probes(sizes=[size for size in SIZES if size + length <= 1514]))
            found = send_and_collect(frames, is_probe)
        with step(
            "Each arrives exactly once: with these bytes at its end, or, if longer than half a buffer, possibly unchanged"
        ):
            grown = [frame for frame in found if frame.endswith(appended) and frame not in frames]
            answers = adjustment.answers()["tail"]
            assert (answers.accepted, answers.rejected) == (len(grown), len(frames) - len(grown))
            check_same([frame[: -len(appended)] if frame in grown else frame for frame in found], frames, "frames")
            assert not [frame for frame in found if len(frame) <= ALWAYS_GROWABLE and frame not in grown]


@requirement(
    "XDP-ADJUST-08",
    level="MUST",
    source=TAIL,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.parametrize("verdict", [Action.TX], ids=["tx"])
def test_cut_tail_on_wire(adjustment, traffic, send_and_collect, verdict, step):
    """When a program cuts the tail off a frame and returns XDP_TX, exactly the remainder leaves the interface.

    A driver may pad short frames to the Ethernet minimum, so the remaining frames are longer here.
    """
    for length in TAIL_GROWTH:
        with step(f"Have the program cut {length} bytes off the end of test frames and return XDP_TX, and send some"):
            adjustment.configure(tail=-length, verdict=verdict)
            frames = frames_of(traffic.probes(sizes=[size for size in SIZES if size - length >= MINIMUM_CUT_SIZE]))
            found = send_and_collect(frames, is_probe)
        with step(f"Each is on the wire exactly once, {length} bytes shorter and otherwise unchanged"):
            check_same(found, [frame[:-length] for frame in frames], "frames")


@requirement(
    "XDP-ADJUST-09",
    level="MUST",
    source=f"{HEAD}, bpf_xdp_adjust_tail: 0 on success, or a negative error",
    falsified_by=("program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_invalid_moves(adjustment, traffic, step):
    """The helper rejects a move beyond the buffer or the frame, and the frame reaches the stack unchanged."""
    for end, offset in (("head", -4096), ("head", 2048), ("tail", 1 << 16), ("tail", -2048)):
        with step(f"Have the program move the {end} by {offset} bytes, and send test frames of several sizes"):
            adjustment.configure(**{end: offset})
            probes = traffic.probes(sizes=(60, 512, 1514))
            traffic.send(probes)
        with step("The helper rejects every move; the stack receives each payload exactly once, unchanged"):
            check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
            answers = adjustment.answers()[end]
            assert (answers.accepted, answers.rejected) == (0, len(probes))


@requirement(
    "XDP-ADJUST-12",
    level="MUST",
    source=f"{META}; net/core/filter.c, bpf_xdp_adjust_meta: multiples of 4 bytes, up to 252, before the frame",
    falsified_by=("program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_invalid_metadata(adjustment, traffic, step):
    """The helper rejects metadata that is too long, misaligned or inside the frame, and the frame reaches the stack unchanged."""
    for offset in INVALID_META_OFFSETS:
        with step(
            f"Have the program place the metadata {offset:+} bytes from the frame, and send test frames of several sizes"
        ):
            adjustment.configure(meta=offset)
            probes = traffic.probes(sizes=(60, 512, 1514))
            traffic.send(probes)
        with step("The helper rejects every move; the stack receives each payload exactly once, unchanged"):
            check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
            answers = adjustment.answers()["meta"]
            assert (answers.accepted, answers.rejected) == (0, len(probes))


@requirement(
    "XDP-ADJUST-10",
    level="SHOULD",
    source="include/uapi/linux/bpf.h, XDP_PACKET_HEADROOM",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_headroom(adjustment, traffic, packet_receiver, dut, remote, step, evidence):
    """A program can use XDP_PACKET_HEADROOM bytes in front of each frame, less those that the kernel keeps."""
    receiver = packet_receiver()

    def can_prepend(length):
        adjustment.configure(head=-length, before=local_header(dut, remote, Action.PASS, length))
        (probe,) = traffic.probes(sizes=(64,), versions=(4,), flows=1)
        traffic.send([probe])
        # A frame whose move the helper rejects arrives as well, as it was sent.
        arrived = receiver.take(lambda frame: has_local_header(frame) or is_probe(frame), 1)
        assert arrived, f"a frame did not arrive, with {length} bytes prepended or without"
        return any(map(has_local_header, arrived)) and adjustment.answers()["head"].accepted > 0

    with step(f"Have the program prepend {USABLE_HEADROOM} bytes to a frame of 64 bytes, or find the most that it can"):
        lengths = range(16, USABLE_HEADROOM + 1, 8)
        largest = USABLE_HEADROOM if can_prepend(USABLE_HEADROOM) else 0
        if not largest:
            first_too_long = bisect.bisect_left(lengths, True, key=lambda length: not can_prepend(length))
            largest = lengths[first_too_long - 1] if first_too_long else 0
        evidence("bytes", largest)
    with step(f"The number is {USABLE_HEADROOM}"):
        assert largest == USABLE_HEADROOM, f"the program can prepend {largest} bytes"


@pytest.fixture
def metadata_classifier(native, guest, defer):
    """A tcx ingress classifier that reads the metadata; calling it returns the counts of right, wrong and missing metadata."""
    loaded = guest.agent.call("bpf.load", object="tc_meta", type=None)
    handles = [loaded["program"], *loaded["maps"].values()]
    for handle in handles:
        defer(guest.agent.call, "handle.close", handle=handle)
    link = guest.agent.call("bpf.link_create", program=loaded["program"], ifname=native.ifname, type="tcx_ingress")
    defer(guest.agent.call, "handle.close", handle=link)
    return lambda: guest.agent.call("bpf.map_counters", map=loaded["maps"]["count"])[0]


@requirement(
    "XDP-ADJUST-11",
    level="MUST",
    source=META,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_metadata(native, traffic, metadata_classifier, step, skip_unsupported, evidence):
    """A classifier behind the driver reads, for each frame, the metadata that the program wrote for that frame."""
    with step("Attach a program that writes each test frame's number into its metadata"):
        program = native.load("xdp_meta")
        native.attach_program(program)
    with step("Send IPv4 and IPv6 test frames of every size in enough flows to reach every receive queue"):
        probes = traffic.probes()
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
        ((accepted, rejected),) = native.agent.call("bpf.map_counters", map=program.maps["answers"])
        evidence("bpf_xdp_adjust_meta", {"accepted": accepted, "rejected": rejected})
        if rejected and not accepted:
            skip_unsupported(
                "metadata before a frame", evidence=f"bpf_xdp_adjust_meta failed {rejected} times of {rejected}"
            )
    with step("The classifier finds the number of each frame in its metadata"):
        right, wrong, none = metadata_classifier()
        assert (right, wrong, none) == (len(probes), 0, 0), f"{right} right, {wrong} wrong, {none} without metadata"
