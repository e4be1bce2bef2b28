# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames in several buffers (NETDEV_XDP_ACT_RX_SG), and drivers that do not have them."""

from __future__ import annotations

import errno

import pytest
from plugfest.deadline import scaled
from plugfest.frames.probe import ETHERNET, frames_of, is_probe
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames
from plugfest.traffic.traffic import JUMBO_MTU, PATIENCE, check_same, payloads
from plugfest.traffic.traffic import LONG_SIZES as SIZES
from plugfest.xdp.adjustment import Action, Adjustment
from plugfest.xdp.programs import SOON

RX_SG = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG"
ACROSS = "include/uapi/linux/bpf.h, bpf_xdp_load_bytes, bpf_xdp_store_bytes"
TAIL = "include/uapi/linux/bpf.h, bpf_xdp_adjust_tail"
HALF = 30
"""Octets that xdp_swap_payload exchanges with as many that follow."""
LONG = 5000
"""Octets that are more than the last buffer of the longest frames holds."""
GROWTH = (1, 64)


def exchanged(payload):
    """The payload as xdp_swap_payload leaves it."""
    measured = 2 * HALF
    whole = len(payload) // measured * measured
    parts = [payload[at + HALF : at + measured] + payload[at : at + HALF] for at in range(0, whole, measured)]
    return b"".join(parts) + payload[whole:]


@pytest.fixture
def jumbo(xdp, dut, long_frames, skip_unsupported):
    """XDP on an interface with an MTU of 9000 whose driver takes frames in several buffers; skips where it does not say so."""
    features = xdp.features()
    largest = dut.link()["max-mtu"]
    if "rx-sg" not in features or largest < JUMBO_MTU:
        skip_unsupported("frames in several buffers", evidence={"xdp-features": sorted(features), "max-mtu": largest})
    long_frames()
    return xdp


@pytest.fixture
def fragments(jumbo):
    """The program that moves the ends of frames as it is told, for frames in several buffers."""
    return Adjustment(jumbo, fragments=True)


@requirement(
    "XDP-SG-01",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "wire:frame.lost"),
    proves="xdp-act:rx-sg",
)
def test_pass(jumbo, traffic, step):
    """At an MTU of 9000 a program that takes fragments sees each frame at its length, and what it passes arrives unchanged."""
    with step("Attach a program that takes fragments, counts test frames and passes them"):
        program = jumbo.attach("xdp_pass_frags")
    with step("Send test frames of every length up to 9014 octets"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
    with step("The program sees each once and at its length; the stack gets each payload once and unchanged"):
        jumbo.wait(of_frames(frames_of(probes)), program)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")


@requirement(
    "XDP-SG-02",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_drop(fragments, jumbo, traffic, step):
    """Frames in several buffers that are dropped are gone, more of them than a ring has buffers, and others arrive after them."""
    with step("Attach a program that takes fragments and drops test frames"):
        fragments.configure(verdict=Action.DROP)
    with step("Send several hundred of the longest frames"):
        probes = traffic.probes(sizes=(JUMBO_MTU + ETHERNET,) * 400)
        traffic.send(probes)
        jumbo.wait(of_frames(frames_of(probes)), fragments.program)
        assert traffic.nothing_received()
    with step("Have the program pass test frames: those of every length arrive"):
        fragments.configure(verdict=Action.PASS)
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")


@requirement(
    "XDP-SG-03",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_tx(fragments, traffic, step, until):
    """A frame in several buffers that the program sends back leaves whole, once and unchanged."""
    with step("Attach a program that takes fragments and sends test frames back"):
        fragments.configure(verdict=Action.TX)
    with step("Send test frames of every length up to 9014 octets"), traffic.capture_sent() as seen:
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        until(lambda: len(seen.probes()) >= len(probes), what=f"{len(probes)} frames are back", timeout=SOON)
    with step("Each is on the wire once and unchanged"):
        check_same(seen.probes(), frames_of(probes), "frames back on the wire")


@requirement(
    "XDP-SG-04",
    level="MUST",
    source=f"{RX_SG}; {ACROSS}",
    falsified_by=("program:xdp.not-attached", "wire:frame.lost"),
    proves="xdp-act:rx-sg",
)
def test_across_buffers(jumbo, traffic, guest, step):
    """What a program reads and writes across the borders of buffers is what was sent, and what the stack gets."""
    with step(
        f"Attach a program that exchanges each {HALF} octets of a test frame's payload with the {HALF} that follow"
    ):
        program = jumbo.load("xdp_swap_payload")
        jumbo.attach_program(program)
    with step("Send test frames of every length up to 9014 octets"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        jumbo.wait(of_frames(frames_of(probes)), program)
    with step("The stack gets each payload once, exchanged"):
        found = traffic.waiting(jumbo.agent, timeout=scaled(PATIENCE, guest.speed), count=len(probes))
        check_same(found, [exchanged(payload) for payload in payloads(probes)], "payloads in the stack")


@requirement(
    "XDP-SG-05",
    level="MUST",
    source=f"{RX_SG}; {TAIL}",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
@pytest.mark.budget(60)
def test_grow_tail(fragments, traffic, packet_receiver, remote, step):
    """What a program puts behind the last buffer of a frame arrives with it; where there is no room it is left as it was."""
    raw = packet_receiver()
    for octets in GROWTH:
        with step(f"Have {octets} octets put behind test frames of every length, and send some"):
            behind = bytes(0xA0 + at & 0xFF for at in range(octets))
            fragments.configure(tail=octets, behind=behind)
            frames = frames_of(traffic.probes(sizes=[size for size in SIZES if size + octets <= SIZES[-1]]))
            traffic.ready()
            remote.send(frames)
            found = raw.take(is_probe, len(frames))
        with step("Each arrives once, with these octets behind it or as it was, as the helper said"):
            known = set(frames)
            grown = [frame for frame in found if frame not in known]
            answers = fragments.answers()["tail"]
            assert (answers.accepted, answers.rejected) == (len(grown), len(frames) - len(grown))
            assert all(frame.endswith(behind) for frame in grown)
            bare = [frame if frame in known else frame[:-octets] for frame in found]
            check_same(bare, frames, "frames out of the driver")
            assert grown, "no frame could be grown"


@requirement(
    "XDP-SG-06",
    level="MUST",
    source=f"{RX_SG}; {TAIL}",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_cut_tail(fragments, traffic, packet_receiver, remote, step):
    """A frame of which the program cuts off whole buffers arrives as what is left."""
    with step(f"Have {LONG} octets cut off the end of test frames, and send long ones"):
        raw = packet_receiver()
        fragments.configure(tail=-LONG)
        probes = traffic.probes(sizes=[size for size in SIZES if size > LONG + 100])
        traffic.ready()
        remote.send(frames_of(probes))
    with step("Each arrives once, shorter by that and otherwise unchanged"):
        found = raw.take(is_probe, len(probes))
        check_same(found, [frame[:-LONG] for frame in frames_of(probes)], "frames out of the driver")
        assert fragments.answers()["tail"].rejected == 0


@requirement(
    "XDP-SG-07",
    level="MUST",
    source=f"{RX_SG}, NETDEV_XDP_ACT_REDIRECT; Documentation/bpf/redirect.rst",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_redirect(fragments, traffic, pair, step):
    """A frame in several buffers that is redirected to another interface leaves by that whole, once and unchanged."""
    with step("Attach a program that takes fragments and redirects test frames to a wire within the guest"):
        pair.set_mtu(JUMBO_MTU)
        pair.accept()
        fragments.aim(pair.near.ifname)
        fragments.configure(verdict=Action.REDIRECT)
    with step("Send test frames of every length up to 9014 octets"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
    with step("Each comes out at the far end once and unchanged"):
        check_same(pair.packet_receiver.take(is_probe, len(probes)), frames_of(probes), "frames at the far end")


@requirement(
    "XDP-SG-08",
    level="MUST",
    source=f"{RX_SG}: without it a frame lies in one buffer",
    falsified_by=("program:xdp.rejected-attach-sticks", "rx.frame.dropped"),
    refuses="xdp-act:rx-sg",
)
def test_unadvertised(xdp, dut, long_frames, traffic, settings, step, skip_unsupported, evidence):
    """A driver without it refuses a program at an MTU that its buffers cannot hold, though it takes fragments, or loses no frame."""
    features = xdp.features()
    if "rx-sg" in features or "basic" not in features:
        skip_unsupported("native XDP without fragments", evidence={"xdp-features": sorted(features)})
    with step("Set the largest MTU up to 9000, and ask to attach a program that takes fragments"):
        if "rx-gro-hw" in dut.features().active & dut.features().free:
            settings.set_features({"rx-gro-hw": False})
        sizes = long_frames()
        refused = xdp.try_attach("xdp_pass_frags")
        evidence("refusal", str(refused))
    with step("Refused: with an errno, and nothing is attached. Attached: it is told as that"):
        if refused is not None:
            assert refused.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.ERANGE}
        assert xdp.state()["attached"] == ("native" if refused is None else "none")
    with step("Frames of every length that the MTU allows arrive"):
        probes = traffic.probes(sizes=sizes)
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
