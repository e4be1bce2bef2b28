# SPDX-License-Identifier: GPL-2.0-or-later
"""Multi-buffer frames (NETDEV_XDP_ACT_RX_SG), and drivers that do not support them."""

from __future__ import annotations

import errno

import pytest
from plugfest.frames.probe import ETHERNET, frames_of, is_probe
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames
from plugfest.traffic.traffic import JUMBO_MTU, WIRE_TIMEOUT, check_same, payloads
from plugfest.traffic.traffic import LONG_SIZES as SIZES
from plugfest.xdp.adjustment import Action, Adjustment

RX_SG = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG"
LOAD_STORE_BYTES = "include/uapi/linux/bpf.h, bpf_xdp_load_bytes, bpf_xdp_store_bytes"
TAIL = "include/uapi/linux/bpf.h, bpf_xdp_adjust_tail"
BLOCK_SIZE = 30
"""Bytes of each of the two adjacent blocks that xdp_swap_payload swaps."""
CUT_BYTES = 5000
"""Bytes to cut off, more than the last buffer of the longest frames holds."""
GROWTH_SIZES = (1, 64)


def swap_blocks(payload):
    """The payload after xdp_swap_payload has swapped its blocks pairwise."""
    pair_size = 2 * BLOCK_SIZE
    swapped_size = len(payload) // pair_size * pair_size
    blocks = [
        payload[at + BLOCK_SIZE : at + pair_size] + payload[at : at + BLOCK_SIZE]
        for at in range(0, swapped_size, pair_size)
    ]
    return b"".join(blocks) + payload[swapped_size:]


@pytest.fixture
def jumbo_xdp(xdp, dut, set_jumbo_mtu, skip_unsupported):
    """XDP at an MTU of 9000 on a driver with multi-buffer support; skips where the driver does not advertise rx-sg."""
    features = xdp.features()
    max_mtu = dut.link()["max-mtu"]
    if "rx-sg" not in features or max_mtu < JUMBO_MTU:
        skip_unsupported("multi-buffer frames", evidence={"xdp-features": sorted(features), "max-mtu": max_mtu})
    set_jumbo_mtu()
    return xdp


@pytest.fixture
def adjustment_frags(jumbo_xdp):
    """The program that moves the ends of frames as configured, with fragment support."""
    return Adjustment(jumbo_xdp, fragments=True)


@requirement(
    "XDP-SG-01",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "wire:frame.lost"),
    proves="xdp-act:rx-sg",
)
def test_pass(jumbo_xdp, traffic, step):
    """At an MTU of 9000 a program with fragment support sees each frame at its length, and frames that it passes arrive unchanged."""
    with step("Attach a program with fragment support that counts test frames and passes them"):
        program = jumbo_xdp.attach("xdp_pass_frags")
    with step("Send test frames of every size up to 9014 bytes"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
    with step("The program sees each frame at its length; the stack receives each payload exactly once, unchanged"):
        jumbo_xdp.wait(of_frames(frames_of(probes)), program)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")


@requirement(
    "XDP-SG-02",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_drop(adjustment_frags, jumbo_xdp, traffic, step):
    """Dropped multi-buffer frames, more than a receive ring has buffers, do not reach the stack, and frames arrive after them."""
    with step("Attach a program with fragment support that drops test frames"):
        adjustment_frags.configure(verdict=Action.DROP)
    with step("Send several hundred frames of the largest size"):
        probes = traffic.probes(sizes=(JUMBO_MTU + ETHERNET,) * 400)
        traffic.send(probes)
        jumbo_xdp.wait(of_frames(frames_of(probes)), adjustment_frags.program)
        assert traffic.nothing_received()
    with step("Have the program pass test frames: frames of every size arrive"):
        adjustment_frags.configure(verdict=Action.PASS)
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")


@requirement(
    "XDP-SG-03",
    level="MUST",
    source=RX_SG,
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_tx(adjustment_frags, traffic, step, until):
    """A multi-buffer frame for which the program returns XDP_TX is on the wire as one frame, exactly once, unchanged."""
    with step("Attach a program with fragment support that returns XDP_TX for test frames"):
        adjustment_frags.configure(verdict=Action.TX)
    with step("Send test frames of every size up to 9014 bytes"), traffic.capture_sent() as seen:
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        until(
            lambda: seen.reached(len(probes)),
            what=f"{len(probes)} frames are back on the wire",
            timeout=WIRE_TIMEOUT,
        )
    with step("Each frame is on the wire exactly once, unchanged"):
        check_same(seen.frames(), frames_of(probes), "frames back on the wire")


@requirement(
    "XDP-SG-04",
    level="MUST",
    source=f"{RX_SG}; {LOAD_STORE_BYTES}",
    falsified_by=("program:xdp.not-attached", "wire:frame.lost"),
    proves="xdp-act:rx-sg",
)
def test_across_buffers(jumbo_xdp, traffic, step):
    """A program can read and write across buffer boundaries: it sees the bytes that were sent, and the stack receives what it wrote."""
    with step(f"Attach a program that swaps each {BLOCK_SIZE} bytes of the payload with the next {BLOCK_SIZE}"):
        program = jumbo_xdp.load("xdp_swap_payload")
        jumbo_xdp.attach_program(program)
    with step("Send test frames of every size up to 9014 bytes"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
        jumbo_xdp.wait(of_frames(frames_of(probes)), program)
    with step("The stack receives each payload exactly once, with its blocks swapped"):
        found = traffic.collect(len(probes))
        check_same(found, [swap_blocks(payload) for payload in payloads(probes)], "payloads that the stack received")


@requirement(
    "XDP-SG-05",
    level="MUST",
    source=f"{RX_SG}; {TAIL}",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
@pytest.mark.budget(60)
def test_grow_tail(adjustment_frags, traffic, packet_receiver, remote, step):
    """Bytes that a program appends to the last buffer of a frame arrive with it; a frame without tailroom arrives unchanged."""
    receiver = packet_receiver()
    for length in GROWTH_SIZES:
        with step(f"Have the program append {length} bytes to test frames of every size, and send some"):
            appended = bytes(0xA0 + at & 0xFF for at in range(length))
            adjustment_frags.configure(tail=length, behind=appended)
            frames = frames_of(traffic.probes(sizes=[size for size in SIZES if size + length <= SIZES[-1]]))
            traffic.ready()
            remote.send(frames)
            found = receiver.take(is_probe, len(frames))
        with step("Each arrives once, extended if the helper succeeded and unchanged if it failed"):
            sent = set(frames)
            grown = [frame for frame in found if frame not in sent]
            answers = adjustment_frags.answers()["tail"]
            assert (answers.accepted, answers.rejected) == (len(grown), len(frames) - len(grown))
            assert all(frame.endswith(appended) for frame in grown)
            original = [frame if frame in sent else frame[:-length] for frame in found]
            check_same(original, frames, "frames that the driver delivered")
            assert grown, "the program could not extend any frame"


@requirement(
    "XDP-SG-06",
    level="MUST",
    source=f"{RX_SG}; {TAIL}",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_cut_tail(adjustment_frags, traffic, packet_receiver, remote, step):
    """When a program cuts whole buffers off a frame, the remainder arrives unchanged."""
    with step(f"Have the program cut {CUT_BYTES} bytes off the end of test frames, and send long ones"):
        receiver = packet_receiver()
        adjustment_frags.configure(tail=-CUT_BYTES)
        probes = traffic.probes(sizes=[size for size in SIZES if size > CUT_BYTES + 100])
        traffic.ready()
        remote.send(frames_of(probes))
    with step(f"Each arrives exactly once, {CUT_BYTES} bytes shorter and otherwise unchanged"):
        found = receiver.take(is_probe, len(probes))
        check_same(found, [frame[:-CUT_BYTES] for frame in frames_of(probes)], "frames that the driver delivered")
        assert adjustment_frags.answers()["tail"].rejected == 0


@requirement(
    "XDP-SG-07",
    level="MUST",
    source=f"{RX_SG}, NETDEV_XDP_ACT_REDIRECT; Documentation/bpf/redirect.rst",
    falsified_by=("program:xdp.not-attached", "program:xdp.adjustment-lost"),
    proves="xdp-act:rx-sg",
)
def test_redirect(adjustment_frags, traffic, pair, step):
    """A multi-buffer frame redirected to another interface leaves it as one frame, exactly once, unchanged."""
    with step("Attach a program with fragment support that redirects test frames to one end of a veth pair"):
        pair.set_mtu(JUMBO_MTU)
        pair.accept()
        adjustment_frags.aim(pair.near.ifname)
        adjustment_frags.configure(verdict=Action.REDIRECT)
    with step("Send test frames of every size up to 9014 bytes"):
        probes = traffic.probes(sizes=SIZES)
        traffic.send(probes)
    with step("Each frame arrives at the far end exactly once, unchanged"):
        check_same(
            pair.packet_receiver.take(is_probe, len(probes)),
            frames_of(probes),
            "frames at the far end of the veth pair",
        )


@requirement(
    "XDP-SG-08",
    level="MUST",
    source=f"{RX_SG}: without it a frame lies in one buffer",
    falsified_by=("program:xdp.rejected-attach-sticks", "rx.frame.dropped"),
    refuses="xdp-act:rx-sg",
)
def test_unadvertised(xdp, dut, set_jumbo_mtu, traffic, settings, step, skip_unsupported, evidence):
    """At an MTU beyond one buffer, a driver without rx-sg rejects even a program with fragment support, or delivers every frame."""
    features = xdp.features()
    if "rx-sg" in features or "basic" not in features:
        skip_unsupported("native XDP without rx-sg", evidence={"xdp-features": sorted(features)})
    with step("Set the largest supported MTU, up to 9000, and try to attach a program with fragment support"):
        if "rx-gro-hw" in dut.features().active & dut.features().free:
            settings.set_features({"rx-gro-hw": False})
        sizes = set_jumbo_mtu()
        error = xdp.try_attach("xdp_pass_frags")
        evidence("error", str(error))
    with step(
        "If the driver rejected it: an errno, and no program is attached. If it attached: the kernel reports native mode"
    ):
        if error is not None:
            assert error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.ERANGE}
        assert xdp.state()["attached"] == ("native" if error is None else "none")
    with step("Frames of every size that the MTU allows reach the stack"):
        probes = traffic.probes(sizes=sizes)
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
