# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive coalescing by the device (LRO, RSC, HW GRO): the device merges TCP segments, and no byte is lost."""

from __future__ import annotations

from plugfest.frames.payload import digest
from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/networking/netdev-features.rst; Documentation/networking/segmentation-offloads.rst"
LRO = ("rx-lro", "rx-gro-hw")
LENGTH = 700_001
"""Bytes of a TCP stream."""
FRAME = 1514
"""Bytes of the longest frame at the standard MTU, without FCS."""


@requirement("OFFLOAD-LRO-01", level="MUST", source=SOURCE, falsified_by="rx.coalescing.corrupted")
def test_on(peer, active, dut, trace_skbs, step, evidence):
    """With receive coalescing on, the device merges TCP segments, and TCP streams arrive complete and unchanged."""
    with step("Turn receive coalescing on"):
        evidence("features", active(*LRO))
        assert dut.features().among(*LRO)
    for version in (4, 6):
        with step(f"Send a TCP stream to the DUT over IPv{version}: it arrives unchanged"), trace_skbs() as seen:
            received = peer.to_dut(version, LENGTH, seed=version)
            assert (received.length, received.sha256) == (LENGTH, digest(version, LENGTH))
        if version == 4:
            with step("The driver passed skbs longer than a frame to the stack"):
                assert max((each.length for each in seen.received()), default=0) > FRAME


@requirement("OFFLOAD-LRO-02", level="MUST", source=SOURCE, falsified_by="program:settings.not-turned-off")
def test_off(peer, active, inactive, trace_skbs, step):
    """With receive coalescing off, each skb that the driver passes to the stack is one frame."""
    with step("Turn receive coalescing on, to see that the driver supports it, and off again"):
        active(*LRO)
        inactive(*LRO)
    with step("Send a TCP stream to the DUT: it arrives unchanged"), trace_skbs() as seen:
        received = peer.to_dut(4, LENGTH)
        assert (received.length, received.sha256) == (LENGTH, digest(1, LENGTH))
    with step("Each skb that the driver passed to the stack is one frame"):
        skbs = seen.received()
        assert skbs, "the driver passed no skb to the stack"
        assert max(each.length for each in skbs) <= FRAME
        assert {each.segment for each in skbs} == {0}
