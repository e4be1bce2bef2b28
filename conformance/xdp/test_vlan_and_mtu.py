# SPDX-License-Identifier: GPL-2.0-or-later
"""VLAN-tagged frames, and the longest frames that native XDP without fragments supports."""

from __future__ import annotations

from contextlib import suppress

import pytest
from plugfest.frames.probe import ETHERNET, swapped, tagged
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames
from plugfest.traffic.traffic import OUTSIDE_PORT, SIZES, WIRE_TIMEOUT, check_same, payloads

BASIC = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
VLANS = f"{BASIC}; IEEE 802.1Q-2022, clause 9.6; Documentation/networking/netdev-features.rst"
VLAN_STRIPPING = "rx-vlan-hw-parse"
VLAN = 100
STANDARD_MTU = 1500
JUMBO_MTU = 9000
LIKELY_LIMITS = (1500, 2026, 2030, 2034, 3050, 3054, 3058, 3498, 3502, 3506)
"""The standard MTU, and those with whose frames a buffer of 2048, 3072 or 4096 bytes is full: without tag and FCS, with one, or with
both; of the largest, XDP's headroom and struct skb_shared_info take 576 bytes."""


@pytest.fixture
def vlan_interface(add_vlan_interface):
    """Have the device accept frames of VLAN 100."""
    add_vlan_interface(VLAN)


@pytest.fixture
def vlan_stripping_off(dut, settings, skip_unsupported):
    """Turn VLAN stripping off, so that tags stay in received frames."""
    features = dut.features()
    if VLAN_STRIPPING in features.active and VLAN_STRIPPING not in features.free:
        skip_unsupported("turning VLAN stripping off", evidence={"ethtool -k": str(features)})
    if VLAN_STRIPPING in features.active:
        settings.set_features({VLAN_STRIPPING: False})


@requirement(
    "XDP-VLAN-01",
    level="MUST",
    source=VLANS,
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "rx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.usefixtures("vlan_interface")
def test_pass(native, traffic, remote, step):
    """A tagged frame that the program passes reaches the stack by its VLAN interface, whether or not the device strips the tag."""
    probes = traffic.probes()
    with step("Attach a program that counts test frames and passes them"):
        program = native.attach("xdp_pass")
        traffic.ready()
    with step("Send test frames of every size with a VLAN tag"):
        remote.send([tagged(probe.frame, VLAN) for probe in probes])
    with step("The stack receives every payload exactly once, unchanged"):
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
    with step("The program saw each frame exactly once, with or without its tag"):
        seen = sum(account.frames for account in native.seen(program).values())
        assert seen == len(probes)


@requirement(
    "XDP-VLAN-02",
    level="MUST",
    source=VLANS,
    falsified_by=("program:xdp.not-attached", "program:xdp.drop-instead", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.usefixtures("vlan_interface", "vlan_stripping_off")
def test_tx(native, traffic, remote, step, until):
    """With VLAN stripping off, the program sees the tag of a frame, and a tagged frame that it sends back keeps its tag."""
    probes = traffic.probes()
    frames = [tagged(probe.frame, VLAN) for probe in probes]
    with step("Attach a program that swaps the MAC addresses of test frames and returns XDP_TX"):
        program = native.attach("xdp_tx")
        traffic.ready()
    with step("Send test frames of every size with a VLAN tag"), traffic.capture_sent() as seen:
        remote.send(frames)
        until(
            lambda: seen.reached(len(frames)),
            what=f"{len(frames)} frames are back on the wire",
            timeout=WIRE_TIMEOUT,
        )
    with step(
        "Every frame is on the wire exactly once, tagged, with its MAC addresses swapped and nothing else changed"
    ):
        check_same(seen.frames(), [swapped(frame) for frame in frames], "frames back on the wire")
    with step("The program saw each frame exactly once, at its length including the tag"):
        native.wait(of_frames(frames), program)


@requirement(
    "XDP-VLAN-03",
    level="MUST",
    source=VLANS,
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "rx.frame.duplicated"),
    proves="xdp-act:basic",
)
@pytest.mark.usefixtures("vlan_interface")
def test_drop(native, traffic, remote, step, until):
    """A tagged frame for which the program returns XDP_DROP does not reach the stack, and every other tagged frame does."""
    probes, others = traffic.probes(), traffic.probes(port=OUTSIDE_PORT)
    with step("Attach a program that drops test frames and passes all others"):
        program = native.attach("xdp_drop")
        traffic.ready()
    with step("Send tagged test frames of every size, and other tagged frames"):
        remote.send([tagged(probe.frame, VLAN) for probe in (*probes, *others)])
    with step("The stack receives the other frames, and none of the test frames"):
        check_same(traffic.received(others, port=OUTSIDE_PORT), payloads(others), "payloads that the stack received")
        until(
            lambda: sum(account.frames for account in native.seen(program).values()) == len(probes),
            what=f"xdp_drop has counted {len(probes)} frames",
            timeout=WIRE_TIMEOUT,
        )
        assert traffic.nothing_received()


@pytest.fixture
def largest_mtu(native, dut, settings, evidence):
    """The largest MTU at which the driver attaches a program without fragment support; the fixture sets it.

    Most drivers restart the device for each MTU and for each program, so the likely limits are tried first.
    """

    def accepts(mtu):
        return dut.try_set_link(mtu=mtu) is None and native.try_attach_and_detach() is None

    settings.set_link(mtu=dut.mtu)  # restores the present MTU when the test ends
    possible = dut.link()["max-mtu"]
    accepted, too_large = min(STANDARD_MTU, possible), min(possible, JUMBO_MTU) + 1
    likely = sorted({too_large - 1, *LIKELY_LIMITS, *(mtu + 1 for mtu in LIKELY_LIMITS)})
    assert accepts(accepted), f"the driver attaches no program at an MTU of {accepted}"
    while too_large - accepted > 1:
        candidates = [mtu for mtu in likely if accepted < mtu < too_large] or range(accepted + 1, too_large)
        mtu = candidates[len(candidates) // 2]
        accepted, too_large = (mtu, too_large) if accepts(mtu) else (accepted, mtu)
    dut.set_link(mtu=accepted)
    evidence("largest MTU for a program without fragment support", accepted)
    return accepted


@requirement(
    "XDP-SIZE-01",
    level="MUST",
    source=f"{BASIC}; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG: without it a frame lies in one buffer",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "tx.frame.corrupted"),
    proves="xdp-act:basic",
)
@pytest.mark.budget(120)
def test_largest_mtu(native, traffic, largest_mtu, remote, step, until, defer):
    """At the largest MTU at which the driver attaches a program, the program sees, sends back and passes frames of every size up to it."""
    sizes = sorted({*SIZES, 1999, 2048, 3000, largest_mtu + ETHERNET - 1, largest_mtu + ETHERNET})
    with step("Attach a program that swaps the MAC addresses of test frames and returns XDP_TX"):
        defer(setattr, remote, "mtu", remote.mtu)
        remote.mtu = max(remote.mtu, largest_mtu)
        program = native.attach("xdp_tx")
        traffic.ready()
        probes = traffic.probes(sizes=[size for size in sizes if size <= largest_mtu + ETHERNET])
    with step("Send test frames of every size up to the longest that the MTU allows"), traffic.capture_sent() as seen:
        traffic.send(probes)
        with suppress(AssertionError):  # `check_same` names the lengths that are missing
            until(
                lambda: seen.reached(len(probes)),
                what=f"{len(probes)} frames are back on the wire",
                timeout=WIRE_TIMEOUT,
            )
    with step("Every frame is on the wire exactly once, with its MAC addresses swapped and nothing else changed"):
        check_same(seen.frames(), [swapped(probe.frame) for probe in probes], "frames back on the wire")
        native.wait(of_frames(probe.frame for probe in probes), program)
    with step(
        "Replace it with a program that passes all frames: the stack receives each payload exactly once, unchanged"
    ):
        native.attach("xdp_pass")
        probes = traffic.probes(sizes=[size for size in sizes if size <= largest_mtu + ETHERNET])
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
