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
LOAD_STORE_BYTES = "include/uapi/linux/bpf.h, bpf_xdp_load_bytes, bpf_xdp_store_bytes"
TAIL = "include/uapi/linux/bpf.h, bpf_xdp_adjust_tail"
BLOCK_SIZE = 30
"""Octets that xdp_exchange exchanges with as many that follow."""
CUT_BYTES = 5000
"""Octets that are more than the last buffer of the longest frames holds."""
GROWTH_SIZES = (1, 64)


def swap_blocks(payload):
    """The payload as xdp_exchange leaves it."""
    pair_size = 2 * BLOCK_SIZE
    swapped_size = len(payload) // pair_size * pair_size
    blocks = [payload[at + BLOCK_SIZE : at + pair_size] + payload[at : at + BLOCK_SIZE] for at in range(0, swapped_size, pair_size)]
    return b"".join(blocks) + payload[swapped_size:]


@pytest.fixture
def jumbo_xdp(xdp, dut, set_jumbo_mtu, skip_unsupported):
    """XDP on an interface with an MTU of 9000 whose driver takes frames in several buffers; skips where it does not say so."""
    features = xdp.features()
    max_mtu = dut.link()["max-mtu"]
    if "rx-sg" not in features or max_mtu < JUMBO_MTU:
        skip_unsupported("frames in several buffers", evidence={"xdp-features": sorted(features), "max-mtu": max_mtu})
    set_jumbo_mtu()
    return xdp


@pytest.fixture
def adjustment_frags(jumbo_xdp, faults):
    """The program that moves the ends of frames as it is told, for frames in several buffers."""
    return Adjustment(jumbo_xdp, faults, fragments=True)


@requirement(
    "XDP-SG-01",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "wire:frame.lost"),
    proves="xdp-act:rx-sg",
)
def test_pass(jumbo_xdp, traffic, step):
    """At an MTU of 9000 a program that takes fragments sees each frame at its length, and what it passes arrives unchanged."""
    with step("Attach a program that takes fragments, counts test frames and passes them"):
        program = jumbo_xdp.attach("xdp_fragments")
    with step("Send test frames of every length up to 9014 octets"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
    with step("The program sees each once and at its length; the stack gets each payload once and unchanged"):
        jumbo_xdp.wait(of_frames(frames_of(probes)), program)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")


@requirement(
    "XDP-SG-02",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_drop(adjustment_frags, jumbo_xdp, traffic, step):
    """Frames in several buffers that are dropped are gone, more of them than a ring has buffers, and others arrive after them."""
    with step("Attach a program that takes fragments and drops test frames"):
        adjustment_frags.configure(verdict=Action.DROP)
    with step("Send several hundred of the longest frames"):
        probes = traffic.probes(sizes=(JUMBO_MTU + ETHERNET,) * 400)
        traffic.send(probes)
        jumbo_xdp.wait(of_frames(frames_of(probes)), adjustment_frags.program)
        assert traffic.nothing_received()
    with step("Have the program pass test frames: those of every length arrive"):
        adjustment_frags.configure(verdict=Action.PASS)
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
def test_tx(adjustment_frags, traffic, step, until):
    """A frame in several buffers that the program sends back leaves whole, once and unchanged."""
    with step("Attach a program that takes fragments and sends test frames back"):
        adjustment_frags.configure(verdict=Action.TX)
    with step("Send test frames of every length up to 9014 octets"), traffic.sightings() as seen:
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        until(lambda: len(seen.probes()) >= len(probes), what=f"{len(probes)} frames are back", timeout=SOON)
    with step("Each is on the wire once and unchanged"):
        check_same(seen.probes(), frames_of(probes), "frames back on the wire")


@requirement(
    "XDP-SG-04",
    level="MUST",
    source=f"{RX_SG}; {LOAD_STORE_BYTES}",
    falsified_by=("program:xdp.not-attached", "wire:frame.lost"),
    proves="xdp-act:rx-sg",
)
def test_across_buffers(jumbo_xdp, traffic, guest, step):
    """What a program reads and writes across the borders of buffers is what was sent, and what the stack gets."""
    with step(
        f"Attach a program that exchanges each {BLOCK_SIZE} octets of a test frame's payload with the {BLOCK_SIZE} that follow"
    ):
        program = jumbo_xdp.load("xdp_exchange")
        jumbo_xdp.attach_program(program)
    with step("Send test frames of every length up to 9014 octets"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        jumbo_xdp.wait(of_frames(frames_of(probes)), program)
    with step("The stack gets each payload once, exchanged"):
        found = traffic.waiting(jumbo_xdp.agent, timeout=scaled(PATIENCE, guest.speed), count=len(probes))
        check_same(found, [swap_blocks(payload) for payload in payloads(probes)], "payloads in the stack")


@requirement(
    "XDP-SG-05",
    level="MUST",
    source=f"{RX_SG}; {TAIL}",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
@pytest.mark.budget(60)
def test_grow_tail(adjustment_frags, traffic, packet_receiver, remote, step):
    """What a program puts behind the last buffer of a frame arrives with it; where there is no room it is left as it was."""
    receiver = packet_receiver()
    for length in GROWTH_SIZES:
        with step(f"Have {length} octets put behind test frames of every length, and send some"):
            appended = bytes(0xA0 + at & 0xFF for at in range(length))
            adjustment_frags.configure(tail=length, behind=appended)
            frames = frames_of(traffic.probes(sizes=[size for size in SIZES if size + length <= SIZES[-1]]))
            traffic.ready()
            remote.send(frames)
            found = receiver.take(is_probe, len(frames))
        with step("Each arrives once, with these octets behind it or as it was, as the helper said"):
            sent = set(frames)
            grown = [frame for frame in found if frame not in sent]
            answers = adjustment_frags.answers()["tail"]
            assert (answers.accepted, answers.refused) == (len(grown), len(frames) - len(grown))
            assert all(frame.endswith(appended) for frame in grown)
            original = [frame if frame in sent else frame[:-length] for frame in found]
            check_same(original, frames, "frames out of the driver")
            assert grown, "no frame could be grown"


@requirement(
    "XDP-SG-06",
    level="MUST",
    source=f"{RX_SG}; {TAIL}",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_cut_tail(adjustment_frags, traffic, packet_receiver, remote, step):
    """A frame of which the program cuts off whole buffers arrives as what is left."""
    with step(f"Have {CUT_BYTES} octets cut off the end of test frames, and send long ones"):
        receiver = packet_receiver()
        adjustment_frags.configure(tail=-CUT_BYTES)
        probes = traffic.probes(sizes=[size for size in SIZES if size > CUT_BYTES + 100])
        traffic.ready()
        remote.send(frames_of(probes))
    with step("Each arrives once, shorter by that and otherwise unchanged"):
        found = receiver.take(is_probe, len(probes))
        check_same(found, [frame[:-CUT_BYTES] for frame in frames_of(probes)], "frames out of the driver")
        assert adjustment_frags.answers()["tail"].refused == 0


@requirement(
    "XDP-SG-07",
    level="MUST",
    source=f"{RX_SG}, NETDEV_XDP_ACT_REDIRECT; Documentation/bpf/redirect.rst",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_redirect(adjustment_frags, traffic, pair, step):
    """A frame in several buffers that is redirected to another interface leaves by that whole, once and unchanged."""
    with step("Attach a program that takes fragments and redirects test frames to a wire within the guest"):
        pair.set_mtu(JUMBO_MTU)
        pair.accept()
        adjustment_frags.aim(pair.near.ifname)
        adjustment_frags.configure(verdict=Action.REDIRECT)
    with step("Send test frames of every length up to 9014 octets"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
    with step("Each comes out at the far end once and unchanged"):
        check_same(pair.packet_receiver.take(is_probe, len(probes)), frames_of(probes), "frames at the far end")


@requirement(
    "XDP-SG-08",
    level="MUST",
    source=f"{RX_SG}: without it a frame lies in one buffer",
    falsified_by=("program:xdp.refused-attach-sticks", "rx.frame.dropped"),
    refuses="xdp-act:rx-sg",
)
def test_unadvertised(xdp, dut, set_jumbo_mtu, traffic, settings, step, skip_unsupported, evidence):
    """A driver without it refuses a program at an MTU that its buffers cannot hold, though it takes fragments, or loses no frame."""
    features = xdp.features()
    if "rx-sg" in features or "basic" not in features:
        skip_unsupported("native XDP without fragments", evidence={"xdp-features": sorted(features)})
    with step("Set the largest MTU up to 9000, and ask to attach a program that takes fragments"):
        if "rx-gro-hw" in dut.features().active & dut.features().free:
            settings.set_features({"rx-gro-hw": False})
        sizes = set_jumbo_mtu()
        error = xdp.try_attach("xdp_fragments")
        evidence("refusal", str(error))
    with step("Refused: with an errno, and nothing is attached. Attached: it is told as that"):
        if error is not None:
            assert error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.ERANGE}
        assert xdp.state()["attached"] == ("native" if error is None else "none")
    with step("Frames of every length that the MTU allows arrive"):
        probes = traffic.probes(sizes=sizes)
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
