# SPDX-License-Identifier: GPL-2.0-or-later
"""Interrupt coalescing and pause frames: the driver reports accepted settings as set, and they take effect."""

from __future__ import annotations

import time

from plugfest.deadline import Deadline
from plugfest.requirements.requirement import requirement

COALESCE = "Documentation/networking/ethtool-netlink.rst, COALESCE_SET"
PAUSE = "Documentation/networking/ethtool-netlink.rst, PAUSE_SET; IEEE 802.3, annex 31B"
USECS = (0, 20, 200)
"""Values of rx-usecs to try."""
LONG_DELAY = 1000
"""Microseconds between two interrupts of a vector."""
FRAMES = 200
BACKGROUND = 20
"""Upper bound of the frames of background traffic meanwhile."""


@requirement("OFFLOAD-COALESCE-01", level="MUST", source=COALESCE, falsified_by="program:settings.not-set")
def test_rx_usecs(dut, settings, check_traffic, step, evidence, skip_unsupported):
    """The driver reports an accepted rx-usecs as set, within its granularity, and frames pass in both directions."""
    before = dut.get("coalesce")
    if before is None or "rx-usecs" not in before:
        skip_unsupported("interrupt coalescing", evidence={"ethtool -c": before})
    evidence("ethtool -c", before)
    accepted = []
    for usecs in USECS:
        with step(f"Set rx-usecs to {usecs}: if the driver accepts it, it reports that value"):
            error = settings.try_set("coalesce", rx_usecs=usecs)
            if error is None:
                reported = dut.get("coalesce")["rx-usecs"]
                assert abs(reported - usecs) <= max(4, usecs // 8), f"set to {usecs} µs, reported as {reported} µs"
                accepted.append(usecs)
    with step("The driver accepted at least one value; frames pass in both directions, unchanged"):
        assert accepted, "the driver accepts no rx-usecs, although it reports one"
        check_traffic()


@requirement(
    "OFFLOAD-COALESCE-02",
    level="SHOULD",
    source=COALESCE,
    falsified_by="interrupt.vector.repeated",
)
def test_interrupt_rate(model, dut, remote, traffic, settings, step, evidence, skip_unsupported):
    """With an interrupt delay set, no vector fires more often than once per delay, nor more often than once per frame."""
    before = dut.get("coalesce")
    if before is None or "rx-usecs" not in before:
        skip_unsupported("interrupt coalescing", evidence={"ethtool -c": before})
    with step(f"Set rx-usecs to {LONG_DELAY}"):
        error = settings.try_set("coalesce", rx_usecs=LONG_DELAY)
        if error is not None:
            skip_unsupported(f"rx-usecs of {LONG_DELAY}", evidence=str(error))
        delay = dut.get("coalesce")["rx-usecs"] / 1e6
    with step(f"Send {FRAMES} frames of one flow, each after the device has delivered the previous one"):
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
    with step("No vector fired more often than the delay and the number of frames allow"):
        now = model.call("model.counters")["interrupts"]
        fired = [after - first for after, first in zip(now, before["interrupts"], strict=True)]
        evidence("interrupts by vector, seconds, delay", {"fired": fired, "seconds": seconds, "delay": delay})
        assert max(fired) <= min(seconds / delay, FRAMES + BACKGROUND) + 2


def delivered(model, before):
    """Return how many frames the device has delivered since the counters `before`."""
    now = model.call("model.counters")
    return sum(after["frames"] - first["frames"] for after, first in zip(now["rx"], before["rx"], strict=True))


@requirement("OFFLOAD-PAUSE-01", level="MUST", source=PAUSE, falsified_by="program:settings.not-set")
def test_pause(dut, settings, check_traffic, step, evidence, skip_unsupported):
    """The driver reports accepted pause settings as set, or rejects them without a change; frames pass in both directions."""
    before = dut.get("pause")
    if before is None:
        skip_unsupported("pause frames", evidence={"ethtool -a": before})
    evidence("ethtool -a", before)
    wanted = {"rx": 1 - before["rx"], "tx": 1 - before["tx"], "autoneg": 0}
    with step(
        "Invert rx and tx pause, with pause autonegotiation off: the settings are as requested, or rejected and as before"
    ):
        error = settings.try_set("pause", **wanted)
        reported = dut.get("pause")
        if error is None:
            assert {name: reported[name] for name in wanted} == wanted
        else:
            evidence("rejected", str(error))
            assert {name: reported[name] for name in wanted} == {name: before[name] for name in wanted}
    with step("Frames pass in both directions, unchanged"):
        settings.ready()
        check_traffic()
