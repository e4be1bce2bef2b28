# SPDX-License-Identifier: GPL-2.0-or-later
"""Receive coalescing by the device (LRO, RSC, HW-GRO): segments that are merged, with not an octet lost."""

from __future__ import annotations

from plugfest.frames.payload import digest
from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/networking/netdev-features.rst; Documentation/networking/segmentation-offloads.rst"
LRO = ("rx-lro", "rx-gro-hw")
LENGTH = 700_001
FRAME = 1514


@requirement("OFFLOAD-LRO-01", level="MUST", source=SOURCE, falsified_by="rx.coalescing.corrupted")
def test_on(peer, active, dut, trace_skbs, step, evidence):
    """With receive coalescing on, TCP streams arrive whole, and segments really are merged."""
    with step("Turn it on"):
        evidence("features", active(*LRO))
        assert dut.features().among(*LRO)
    for version in (4, 6):
        with step(f"Send the DUT a stream by TCP over IPv{version}: it arrives whole"), trace_skbs() as seen:
            got = peer.to_dut(version, LENGTH, seed=version)
            assert (got.length, got.sha256) == (LENGTH, digest(version, LENGTH))
        if version == 4:
            with step("The driver handed over buffers longer than a frame"):
                assert max((each.length for each in seen.received()), default=0) > FRAME


@requirement("OFFLOAD-LRO-02", level="MUST", source=SOURCE, falsified_by="program:settings.not-turned-off")
def test_off(peer, active, inactive, trace_skbs, step):
    """With receive coalescing off, no buffer that the driver hands over holds more than one frame."""
    with step("Turn it on first, so that it is known to be on offer, and off again"):
        active(*LRO)
        inactive(*LRO)
    with step("Send the DUT a stream by TCP: it arrives whole"), trace_skbs() as seen:
        got = peer.to_dut(4, LENGTH)
        assert (got.length, got.sha256) == (LENGTH, digest(1, LENGTH))
    with step("Each buffer that the driver handed over is one frame"):
        told = seen.received()
        assert told, "the driver handed nothing over"
        assert max(each.length for each in told) <= FRAME
        assert {each.segment for each in told} == {0}
