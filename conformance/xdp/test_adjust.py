# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that move the ends of a frame: what they leave is what the stack, or the wire, gets."""

from __future__ import annotations

import itertools

import pytest
from plugfest.frames.probe import HEADERS, around, frames_of, is_probe
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.traffic.traffic import check_same, payloads
from plugfest.xdp.adjustment import Action
from plugfest.xdp.programs import SOON

HEAD = "include/uapi/linux/bpf.h, bpf_xdp_adjust_head"
TAIL = "include/uapi/linux/bpf.h, bpf_xdp_adjust_tail"
META = "include/uapi/linux/bpf.h, bpf_xdp_adjust_meta; Documentation/networking/xdp-rx-metadata.rst"
VERDICTS = {"pass": Action.PASS, "tx": Action.TX}
LOCAL = bytes.fromhex("88b5")
GROWTH_HEAD = (16, 64, 128)
"""Octets that a program may put before a frame: an outer header, or two."""
GROWTH_TAIL = (1, 4, 64)
SIZES = (60, 61, 64, 127, 128, 256, 512, 1023, 1500)
ROOMY = 512
"""A frame of this length leaves room behind it in the smallest buffer that a driver may use, of half a page."""
INNER = (60, 61, 127, 512, 1024, 1400)
"""Lengths of frames that fit into the payload of others."""
LONGEST_HEAD = 100
"""Octets of a frame that is still one of ours: it has its number within these."""
META_BEYOND = (-256, -3, 4, -4096)
"""Octets that the beginning of metadata cannot be moved by."""
HEADROOM = 256 - 40
"""Octets of XDP_PACKET_HEADROOM that a program can use: the kernel keeps struct xdp_frame at its beginning."""


@pytest.fixture
def got(request, traffic, packet_receiver, remote, until):
    """``got(frames, wanted)`` sends frames, and returns those that came: out of the driver, or back on the wire.

    A driver may take its link down to attach, so the link must be up.
    """
    where = request.getfixturevalue("verdict")

    def from_stack(frames, wanted):
        raw = packet_receiver()
        traffic.ready()
        remote.send(frames)
        return raw.take(wanted, len(frames))

    def from_wire(frames, wanted):
        traffic.ready()
        with remote.capture() as capture:

            def back():
                return [frame for frame in capture.received() if wanted(frame)]

            remote.send(frames)
            until(lambda: len(back()) >= len(frames), what=f"{len(frames)} frames are back on the wire", timeout=SOON)
            return back()

    return from_stack if where is Action.PASS else from_wire


@pytest.fixture(params=VERDICTS)
def verdict(request):
    """Whether the frames go on to the stack or back to the wire."""
    return VERDICTS[request.param]


def of_local(frame):
    """Whether a frame is one that a program put something before."""
    return frame[12:14] == LOCAL


def header(dut, remote, verdict, length):
    """The head of a frame with an EtherType of no protocol, for the stack or for the wire end, `length` octets."""
    ends = (dut.mac, remote.mac) if verdict is Action.PASS else (remote.mac, dut.mac)
    return bytes.fromhex("".join(ends).replace(":", "")) + LOCAL + bytes(at & 0xFF for at in range(length - 14))


def wrapped(traffic, version):
    """Frames of INNER's lengths, each in the payload of a datagram of its own, and the frames alone."""
    inner = traffic.probes(sizes=INNER, versions=(version,))
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
def test_grow_head(adjustment, traffic, got, verdict, dut, remote, step):
    """What a program puts before a frame is there when the frame reaches the stack or the wire, the rest unchanged."""
    for octets in GROWTH_HEAD:
        with step(f"Have {octets} octets put before test frames of every length, and send some"):
            before = header(dut, remote, verdict, octets)
            adjustment.configure(head=-octets, verdict=verdict, before=before)
            # The longest would not fit what a frame may be.
            probes = traffic.probes(sizes=[size for size in SIZES if size + octets <= 1514])
            found = got(frames_of(probes), of_local)
        with step("Each comes once, with these octets before it"):
            check_same(found, [before + frame for frame in frames_of(probes)], "frames")
            assert adjustment.answers()["head"].rejected == 0


@requirement(
    "XDP-ADJUST-03",
    level="MUST",
    source=f"{HEAD}; include/linux/skbuff.h, CHECKSUM_COMPLETE",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_cut_head_for_stack(adjustment, traffic, remote, step):
    """A frame whose outer headers the program takes off is, to the stack, the inner frame, its checksum good."""
    for version in HEADERS:
        with step(
            f"Have the headers of an outer datagram of IPv{version} taken off, and send frames in such datagrams"
        ):
            adjustment.configure(head=HEADERS[version])
            outer, inner = wrapped(traffic, version)
            traffic.ready()
            remote.send(outer)
        with step("The stack gets the payload of each inner frame once"):
            check_same(traffic.received(inner), payloads(inner), "payloads in the stack")


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
def test_cut_head(adjustment, traffic, got, verdict, step):
    """A frame whose head the program cuts off goes on as what is left, octet for octet."""
    for version in HEADERS:
        with step(f"Have the headers of an outer datagram of IPv{version} cut off, and send frames in such datagrams"):
            adjustment.configure(head=HEADERS[version], verdict=verdict)
            outer, inner = wrapped(traffic, version)
            found = got(outer, is_probe)
        with step("Each inner frame comes once and unchanged"):
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
def test_grow_tail(adjustment, traffic, got, verdict, step):
    """What a program puts behind a frame is there when the frame goes on; where there is no room it is left as it was."""
    for octets in GROWTH_TAIL:
        with step(f"Have {octets} octets put behind test frames of every length, and send some"):
            behind = bytes(0xA0 + at & 0xFF for at in range(octets))
            adjustment.configure(tail=octets, verdict=verdict, behind=behind)
            frames = frames_of(traffic.probes(sizes=[size for size in SIZES if size + octets <= 1514]))
            found = got(frames, is_probe)
        with step("Each comes once: with these octets behind it, or, of those longer than half a buffer, as it was"):
            grown = [frame for frame in found if frame.endswith(behind) and frame not in frames]
            answers = adjustment.answers()["tail"]
            assert (answers.accepted, answers.rejected) == (len(grown), len(frames) - len(grown))
            check_same([frame[: -len(behind)] if frame in grown else frame for frame in found], frames, "frames")
            assert not [frame for frame in found if len(frame) <= ROOMY and frame not in grown]


@requirement(
    "XDP-ADJUST-08",
    level="MUST",
    source=TAIL,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.parametrize("verdict", [Action.TX], ids=["tx"])
def test_cut_tail_on_wire(adjustment, traffic, got, verdict, step):
    """A frame whose tail the program cuts off leaves by XDP_TX as what is left.

    A driver may pad to the shortest Ethernet frame, so what is left is longer than that here.
    """
    for octets in GROWTH_TAIL:
        with step(f"Have {octets} octets cut off the end of test frames, and send some back"):
            adjustment.configure(tail=-octets, verdict=verdict)
            frames = frames_of(traffic.probes(sizes=[size for size in SIZES if size - octets >= LONGEST_HEAD]))
            found = got(frames, is_probe)
        with step("Each is on the wire once, shorter by that and otherwise unchanged"):
            check_same(found, [frame[:-octets] for frame in frames], "frames")


@requirement(
    "XDP-ADJUST-09",
    level="MUST",
    source=f"{HEAD}, bpf_xdp_adjust_tail: 0 on success, or a negative error",
    falsified_by=("program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_beyond_limits(adjustment, traffic, step):
    """A move beyond the buffer or the frame is refused, and the frame reaches the stack as if it had not been asked for."""
    for end, octets in (("head", -4096), ("head", 2048), ("tail", 1 << 16), ("tail", -2048)):
        with step(f"Ask for a move of the {end} by {octets} octets, and send test frames of every length"):
            adjustment.configure(**{end: octets})
            probes = traffic.probes(sizes=(60, 512, 1514))
            traffic.send(probes)
        with step("The helper refuses all; the stack gets each payload once and unchanged"):
            check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
            answers = adjustment.answers()[end]
            assert (answers.accepted, answers.rejected) == (0, len(probes))


@requirement(
    "XDP-ADJUST-12",
    level="MUST",
    source=f"{META}; net/core/filter.c, bpf_xdp_adjust_meta: multiples of 4 octets, up to 252, before the frame",
    falsified_by=("program:xdp.adjustment-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_metadata_beyond_limits(adjustment, traffic, step):
    """Metadata that is too long, of an odd length or within the frame is refused, and the frame reaches the stack all the same."""
    for octets in META_BEYOND:
        with step(
            f"Ask for the metadata to begin {octets:+} octets from the frame, and send test frames of every length"
        ):
            adjustment.configure(meta=octets)
            probes = traffic.probes(sizes=(60, 512, 1514))
            traffic.send(probes)
        with step("The helper refuses all; the stack gets each payload once and unchanged"):
            check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
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
    """A program has XDP_PACKET_HEADROOM, less what the kernel keeps of it, before each frame."""
    with step("Find out how many octets it can put before a frame of 64 octets, in steps of 8"):
        most, raw = 0, packet_receiver()
        for octets in itertools.takewhile(lambda each: each <= HEADROOM, itertools.count(16, 8)):
            adjustment.configure(head=-octets, before=header(dut, remote, Action.PASS, octets))
            (probe,) = traffic.probes(sizes=(64,), versions=(4,), flows=1)
            traffic.ready()
            remote.send([probe.frame])
            if not raw.take(of_local, 1) or not adjustment.answers()["head"].accepted:
                break
            most = octets
        evidence("octets", most)
    with step(f"These are {HEADROOM}"):
        assert most == HEADROOM, f"{most} octets can be put before a frame"


@pytest.fixture
def reader(native, guest, kernel, skip_unsupported, defer):
    """A program behind the driver that reads metadata (tcx ingress): a function that returns right, wrong and none."""
    loaded = guest.agent.call("bpf.load", object="tc_meta", type=None)
    handles = [loaded["program"], *loaded["maps"].values()]
    for handle in handles:
        defer(guest.agent.call, "handle.close", handle=handle)
    try:
        link = guest.agent.call("bpf.link_create", program=loaded["program"], ifname=native.ifname, type="tcx_ingress")
    except AgentError as error:
        skip_unsupported("tcx, which this kernel has not", evidence=f"{kernel.release}: {error}")
    defer(guest.agent.call, "handle.close", handle=link)
    return lambda: guest.agent.call("bpf.map_counters", map=loaded["maps"]["count"])[0]


@requirement(
    "XDP-ADJUST-11",
    level="MUST",
    source=META,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
def test_metadata(native, traffic, reader, step, skip_unsupported, evidence):
    """What a program puts into a frame's metadata is there, and of this frame, when a classifier behind the driver sees it."""
    with step("Attach a program that puts each test frame's number before it"):
        program = native.load("xdp_meta")
        native.attach_program(program)
    with step("Send test frames of every size, IPv4 and IPv6, in flows enough to reach every receive queue"):
        probes = traffic.probes()
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        ((accepted, refused),) = native.agent.call("bpf.map_counters", map=program.maps["answers"])
        evidence("bpf_xdp_adjust_meta", {"accepted": accepted, "refused": refused})
        if refused and not accepted:
            skip_unsupported("metadata before a frame", evidence=f"bpf_xdp_adjust_meta refused {refused} of {refused}")
    with step("The classifier finds each frame's number before it"):
        right, wrong, none = reader()
        assert (right, wrong, none) == (len(probes), 0, 0), f"{right} right, {wrong} wrong, {none} without metadata"
