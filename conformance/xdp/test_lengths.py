# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames at the edges of what native XDP takes: VLAN-tagged ones, and the longest."""

from __future__ import annotations

import pytest
from plugfest.frames.probe import ETHERNET, only, swapped, tagged
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames
from plugfest.traffic.traffic import OUTSIDE_PORT, SIZES, check_same, payloads
from plugfest.xdp.programs import SOON

BASIC = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
VLANS = f"{BASIC}; IEEE 802.1Q-2022, clause 9.6; Documentation/networking/netdev-features.rst"
STRIP = "rx-vlan-hw-parse"
VLAN = 100
STANDARD_MTU = 1500
JUMBO_MTU = 9000


@pytest.fixture
def vlan(member):
    """The device takes frames of VLAN 100."""
    member(VLAN)


@pytest.fixture
def unstripped(dut, settings, skip_unsupported):
    """Tags stay in the frames."""
    features = dut.features()
    if STRIP in features.active and STRIP not in features.free:
        skip_unsupported("receiving VLAN tags in frames", evidence={"ethtool -k": str(features)})
    if STRIP in features.active:
        settings.set_features({STRIP: False})


@requirement(
    "XDP-VLAN-01",
    level="MUST",
    source=VLANS,
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "rx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.usefixtures("vlan")
def test_pass(native, traffic, remote, step):
    """A tagged frame that the program passes reaches the stack of its VLAN, whether or not the device takes the tag out."""
    probes = traffic.probes()
    with step("Attach a program that counts test frames and passes them"):
        program = native.attach("xdp_pass")
        traffic.ready()
    with step("Send test frames of every size with a tag"):
        remote.send([tagged(probe.frame, VLAN) for probe in probes])
    with step("The stack receives every payload once and unchanged"):
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
    with step("The program saw each once, with its tag or without"):
        seen = sum(account.frames for account in native.seen(program).values())
        assert seen == len(probes)


@requirement(
    "XDP-VLAN-02",
    level="MUST",
    source=VLANS,
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.usefixtures("vlan", "unstripped")
def test_tx(native, traffic, remote, step, until):
    """With tags left in the frames, the program sees them, and a frame that it sends back leaves with its tag."""
    probes = traffic.probes()
    frames = [tagged(probe.frame, VLAN) for probe in probes]
    with step("Attach a program that exchanges the hardware addresses of test frames and sends them back"):
        program = native.attach("xdp_tx")
        traffic.ready()
    with step("Send test frames of every size with a tag"), remote.capture() as capture:

        def back():
            return list(only(capture.received()))

        remote.send(frames)
        until(lambda: len(back()) >= len(frames), what=f"{len(frames)} frames are back on the wire", timeout=SOON)
    with step("Every frame is on the wire once, with its tag, its addresses exchanged and nothing else changed"):
        check_same(back(), [swapped(frame) for frame in frames], "frames back on the wire")
    with step("The program saw each once, at its length with the tag"):
        native.wait(of_frames(frames), program)


@requirement(
    "XDP-VLAN-03",
    level="MUST",
    source=VLANS,
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
@pytest.mark.usefixtures("vlan")
def test_drop(native, traffic, remote, step, until):
    """A tagged frame for which the program returns XDP_DROP is gone, and no other tagged frame is."""
    probes, others = traffic.probes(), traffic.probes(port=OUTSIDE_PORT)
    with step("Attach a program that drops test frames and passes all else"):
        program = native.attach("xdp_drop")
        traffic.ready()
    with step("Send test frames of every size with a tag, and others"):
        remote.send([tagged(probe.frame, VLAN) for probe in (*probes, *others)])
    with step("The stack receives the others, and none of the test frames"):
        check_same(traffic.received(others, port=OUTSIDE_PORT), payloads(others), "payloads in the stack")
        until(
            lambda: sum(account.frames for account in native.seen(program).values()) == len(probes),
            what=f"xdp_drop has counted {len(probes)} frames",
            timeout=SOON,
        )
        assert traffic.nothing_received()


@pytest.fixture
def longest(native, dut, settings, evidence):
    """The largest MTU with which the driver takes a program without fragments; it is set."""

    def accepted(mtu):
        return dut.try_set_link(mtu=mtu) is None and native.try_attach_and_detach() is None

    settings.set_link(mtu=dut.mtu)  # what it is now is put back when the test ends
    good = min(STANDARD_MTU, dut.link()["max-mtu"])
    bad = min(dut.link()["max-mtu"], JUMBO_MTU) + 1
    assert accepted(good), f"no program is taken at an MTU of {good}"
    if bad - 1 > good and accepted(bad - 1):
        good = bad - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if accepted(middle) else (good, middle)
    dut.set_link(mtu=good)
    evidence("largest MTU for a program without fragments", good)
    return good


@requirement(
    "XDP-SIZE-01",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG: without it a frame lies in one buffer",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.budget(120)
def test_longest(native, traffic, longest, remote, step, until, defer):
    """At the largest MTU for which the driver takes a program, frames of every length up to it are seen, sent back, and passed."""
    sizes = sorted({*SIZES, 1999, 2048, 3000, longest + ETHERNET - 1, longest + ETHERNET})
    with step("Attach a program that exchanges the hardware addresses of test frames and sends them back"):
        defer(setattr, remote, "mtu", remote.mtu)
        remote.mtu = max(remote.mtu, longest)
        program = native.attach("xdp_tx")
        traffic.ready()
        probes = traffic.probes(sizes=[size for size in sizes if size <= longest + ETHERNET])
    with step("Send test frames of every length up to the longest that the MTU allows"), traffic.capture_sent() as seen:
        traffic.send(probes)
        until(
            lambda: len(seen.probes()) >= len(probes), what=f"{len(probes)} frames are back on the wire", timeout=SOON
        )
    with step("Every frame is on the wire once, its addresses exchanged and nothing else changed"):
        check_same(seen.probes(), [swapped(probe.frame) for probe in probes], "frames back on the wire")
        native.wait(of_frames(probe.frame for probe in probes), program)
    with step(
        "Attach a program that passes all in its place: the stack gets the payload of each frame once and unchanged"
    ):
        native.attach("xdp_pass")
        probes = traffic.probes(sizes=[size for size in sizes if size <= longest + ETHERNET])
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
