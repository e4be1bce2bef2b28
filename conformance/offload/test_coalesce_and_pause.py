# SPDX-License-Identifier: GPL-2.0-or-later
"""Interrupt coalescing and pause frames: settings that are accepted are told as set, and have effect."""

from __future__ import annotations

import time

from plugfest.deadline import Deadline
from plugfest.requirements.requirement import requirement

COALESCE = "Documentation/networking/ethtool-netlink.rst, COALESCE_SET"
PAUSE = "Documentation/networking/ethtool-netlink.rst, PAUSE_SET; IEEE 802.3, annex 31B"
USECS = (0, 20, 200)
SLOW = 1000
"""Microseconds between two interrupts."""
FRAMES = 200
OTHERS = 20
"""Frames that hosts send unasked meanwhile."""


@requirement("OFFLOAD-COALESCE-01", level="MUST", source=COALESCE, falsified_by="program:settings.not-set")
def test_settings(dut, settings, check_traffic, step, evidence, skip_unsupported):
    """Receive interrupt delays that the driver accepts are told as set, within its granularity; traffic goes on."""
    before = dut.get("coalesce")
    if before is None or "rx-usecs" not in before:
        skip_unsupported("interrupt coalescing", evidence={"ethtool -c": before})
    evidence("ethtool -c", before)
    accepted = []
    for usecs in USECS:
        with step(f"Ask for {usecs} µs"):
            error = settings.try_set("coalesce", rx_usecs=usecs)
            if error is None:
                reported = dut.get("coalesce")["rx-usecs"]
                assert abs(reported - usecs) <= max(4, usecs // 8), f"told as {told} µs"
                accepted.append(usecs)
    with step("At least one was accepted; frames go both ways, unchanged"):
        assert accepted, "no delay was accepted, although the driver tells one"
        check_traffic()


@requirement(
    "OFFLOAD-COALESCE-02",
    level="SHOULD",
    source=COALESCE,
    falsified_by="interrupt.vector.repeated",
)
def test_effect(model, dut, remote, traffic, settings, step, evidence, skip_unsupported):
    """With an interrupt delay, no vector fires more often than the delay lets it, nor more often than there are frames."""
    before = dut.get("coalesce")
    if before is None or "rx-usecs" not in before:
        skip_unsupported("interrupt coalescing", evidence={"ethtool -c": before})
    with step(f"Ask for {SLOW} µs between interrupts"):
        error = settings.try_set("coalesce", rx_usecs=SLOW)
        if error is not None:
            skip_unsupported(f"a delay of {SLOW} µs", evidence=str(error))
        delay = dut.get("coalesce")["rx-usecs"] / 1e6
    with step(f"Send {FRAMES} frames of one flow, each once the device has delivered the one before"):
        traffic.ready()
        frame = traffic.probes(sizes=(60,), versions=(4,))[0].frame
        before = model.call("model.counters")
        begin = time.monotonic()
        for number in range(FRAMES):
            remote.send(frame)
            limit = Deadline.after(1)
            while delivered(model, before) <= number and not limit.passed:
                pass
        seconds = time.monotonic() - begin
        assert delivered(model, before) >= FRAMES
    with step("No vector fired more often than the delay lets it"):
        now = model.call("model.counters")["interrupts"]
        fired = [after - first for after, first in zip(now, before["interrupts"], strict=True)]
        evidence("interrupts by vector, seconds, delay", {"fired": fired, "seconds": seconds, "delay": delay})
        assert max(fired) <= min(seconds / delay, FRAMES + OTHERS) + 2


def delivered(model, before):
    """Frames that the device has delivered since."""
    now = model.call("model.counters")
    return sum(after["frames"] - first["frames"] for after, first in zip(now["rx"], before["rx"], strict=True))


@requirement("OFFLOAD-PAUSE-01", level="MUST", source=PAUSE, falsified_by="program:settings.not-set")
def test_pause(dut, settings, check_traffic, step, evidence, skip_unsupported):
    """Pause settings are told as set, or refused without effect; traffic goes on."""
    before = dut.get("pause")
    if before is None:
        skip_unsupported("pause frames", evidence={"ethtool -a": before})
    evidence("ethtool -a", before)
    wanted = {"rx": 1 - before["rx"], "tx": 1 - before["tx"], "autoneg": 0}
    with step("Ask for the opposite of what is set, without negotiation"):
        error = settings.try_set("pause", **wanted)
        reported = dut.get("pause")
        if error is None:
            assert {name: reported[name] for name in wanted} == wanted
        else:
            evidence("refused", str(error))
            assert {name: reported[name] for name in wanted} == {name: before[name] for name in wanted}
    with step("Frames go both ways, unchanged"):
        settings.ready()
        check_traffic()
