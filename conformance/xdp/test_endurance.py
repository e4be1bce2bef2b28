# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching again and again, and all verdicts at once for minutes: nothing leaks, stalls or is lost."""

from __future__ import annotations

import struct
import time

import pytest
from plugfest.adjustment import Action
from plugfest.probe import is_probe
from plugfest.queue_counters import of_frames
from plugfest.requirement import requirement
from plugfest.traffic import check_same, payloads

BASIC = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
CYCLES = 500
FIRST = 10
"""Cycles before the first reading: caches fill in the first ones."""
MINUTES = 4
SLOW = 0.25
"""Below this speed a guest gets a fifth of the cycles and of the minutes."""
PACE = 0.05
"""Seconds between two batches of the traffic beside: enough for each cycle to meet some."""
FIRST_KEY = struct.pack("=I", 0).hex()


def scaled_down(guest, amount):
    """What a guest of this speed is asked to do."""
    return amount if guest.speed >= SLOW else amount // 5


@requirement(
    "XDP-ENDURE-01",
    level="MUST",
    source=BASIC,
    falsified_by=("program:qapi.memory-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
@pytest.mark.slow
@pytest.mark.budget(300)
def test_cycles(native, guest, residue, traffic, crossing, step, evidence):
    """Hundreds of attachments and detachments under traffic leave nothing behind in the guest, and frames go both ways after them."""
    program = native.load("xdp_drop")
    cycles = scaled_down(guest, CYCLES)

    def cycle(times):
        for _ in range(times):
            native.put(program)
            native.detach()

    def read():
        traffic.discard()  # what waits in the sockets is no residue
        return residue.read()

    with traffic.stream(PACE):
        with step(f"Attach and detach {FIRST} times, and read what the kernel has allocated"):
            cycle(FIRST)
            readings = [read()]
        with step(
            f"Attach and detach {CYCLES} times under traffic, or a fifth of that, and read again half way and at the end"
        ):
            for _ in range(2):
                cycle(cycles // 2)
                readings.append(read())
    traffic.discard()  # sockets that are full take nothing more
    evidence("cycles", cycles)
    evidence("readings", [str(each) for each in readings])
    with step("Nothing has grown with the number of cycles"):
        grown = residue.grown(readings, cycles // 2)
        assert not grown, grown
    with step("Nothing is attached, and frames go both ways, once and unchanged"):
        assert native.state()["attached"] == "none"
        crossing.both_ways()
        traffic.check_delivery()


@requirement(
    "XDP-ENDURE-02",
    level="MUST",
    source=f"{BASIC}, NETDEV_XDP_ACT_REDIRECT",
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped", "tx.frame.dropped"),
    proves=("xdp-act:basic", "xdp-act:redirect"),
)
@pytest.mark.slow
@pytest.mark.budget(300)
def test_mixed_verdicts(native, guest, traffic, pair, wire, until, step, evidence):
    """Frames with each verdict in turn, for minutes: of each verdict as many as were sent, and each where the verdict says."""
    redirects = "redirect" in native.features()
    kinds = [action for action in Action if redirects or action is not Action.REDIRECT]
    with step("Attach a program that gives each test frame the verdict that its number asks for"):
        pair.accept()
        program = native.load("xdp_mixed")
        native.agent.call(
            "bpf.map_update", map=program.maps["kinds"], key=FIRST_KEY, value=struct.pack("=I", len(kinds)).hex()
        )
        index = native.agent.call("link.get", ifname=pair.near.ifname)["ifindex"]
        target = {"key": FIRST_KEY, "value": struct.pack("=I", index).hex(), "program": None}
        native.agent.call("bpf.map_refer", map=program.maps["target"], **target)
        native.put(program)
        traffic.ready()
    seconds = scaled_down(guest, MINUTES * 60)
    rounds, began = 0, time.monotonic()
    with step(f"For {MINUTES} minutes, or a fifth of that, send bursts of test frames of every size; after each:"):
        while time.monotonic() < began + seconds:
            native.clear(program)
            probes = traffic.probes()
            lots = {kind: [each for each in probes if each.number % len(kinds) == kind] for kind in kinds}
            sent_back = [probe.frame for probe in lots[Action.TX]]

            with wire.capture() as capture:

                def back(seen=capture):
                    return [frame for frame in seen.received() if is_probe(frame)]

                wire.send([probe.frame for probe in probes])
                with step("the program saw each frame once"):
                    wanted = {kind: of_frames(each.frame for each in lots[kind]) for kind in kinds}
                    until(
                        lambda wanted=wanted: native.seen(program) == wanted,
                        what="the program has counted as many frames of each verdict as were sent",
                    )
                with step("those of XDP_TX are back on the wire, once and unchanged"):
                    until(
                        lambda back=back, sent_back=sent_back: len(back()) >= len(sent_back),
                        what=f"{len(sent_back)} frames are back on the wire",
                    )
                    check_same(back(), sent_back, "frames back on the wire")
            with step("those of XDP_PASS are in the stack, those of XDP_REDIRECT at the far end, and no other is"):
                check_same(traffic.received(lots[Action.PASS]), payloads(lots[Action.PASS]), "payloads in the stack")
                if redirects:
                    gone = [probe.frame for probe in lots[Action.REDIRECT]]
                    check_same(pair.inlet.take(is_probe, len(gone)), gone, "frames at the far end")
            rounds += 1
    evidence("bursts", {"rounds": rounds, "seconds": round(time.monotonic() - began)})
    with step("Detach it: frames of every size reach the stack, and nothing else does"):
        native.detach()
        traffic.ready()
        assert traffic.nothing_received()
        traffic.check_delivery()
