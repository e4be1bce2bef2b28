# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching again and again, and all verdicts at once for minutes: nothing leaks, stalls or is lost."""

from __future__ import annotations

import itertools
import struct
import time
from collections import Counter
from contextlib import suppress

import pytest
from plugfest.frames.probe import is_probe
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames, total
from plugfest.traffic.traffic import check_same, payloads
from plugfest.xdp.adjustment import Action
from plugfest.xdp.programs import SOON

BASIC = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
CYCLES = 500
FIRST = 10
"""Cycles before the first reading: caches fill in the first ones."""
MINUTES = 4
SLOW = 0.25
"""Below this speed a guest gets a fifth of the cycles and of the minutes."""
PACE = 0.05
"""Seconds between two batches of the traffic beside: enough for each cycle to meet some."""
STRIDE = 10
"""Of so many cycles one is looked at, whether frames come."""
STALL = 2.0
"""Seconds without a frame, on a guest of speed 1, that are a stall where a driver may take its link down to attach."""
WINDOW = 256
"""Frames that are under way at most: every receive ring, and that of a target of redirections, has room for them."""
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
def test_cycles(native, guest, leak_check, traffic, check_traffic, until, check_account, step, evidence):
    """Hundreds of attachments and detachments under traffic leave nothing behind; frames come after each, and go both ways at the end."""
    program = native.load("xdp_drop")
    cycles = scaled_down(guest, CYCLES)

    def cycle(times):
        for number in range(times):
            looked_at = number % STRIDE == 0
            native.clear(program)
            native.attach_program(program)
            if looked_at:
                until(lambda: native.seen(program), what="the program sees frames", timeout=STALL)
            native.detach()
            if looked_at:
                traffic.discard()
                until(lambda: not traffic.nothing_received(), what="the stack receives frames", timeout=STALL)

    def read():
        traffic.discard()  # what waits in the sockets is no residue
        return leak_check.read()

    with traffic.stream(PACE):
        with step(f"Attach and detach {FIRST} times, and read what the kernel has allocated"):
            cycle(FIRST)
            readings = [read()]
        with step(
            f"Attach and detach {CYCLES} times under traffic, or a fifth of that, and read again half way and at the end; after "
            f"every {STRIDE}th attachment the program sees frames, and after its detachment the stack receives some"
        ):
            for _ in range(2):
                cycle(cycles // 2)
                readings.append(read())
    traffic.discard()  # sockets that are full take nothing more
    evidence("cycles", cycles)
    evidence("readings", [str(each) for each in readings])
    with step("Nothing has grown with the number of cycles"):
        grown = leak_check.grown(readings, cycles // 2)
        assert not grown, grown
    with step("Nothing is attached, and frames go both ways, once and unchanged"):
        assert native.state()["attached"] == "none"
        check_traffic()
        traffic.check_delivery()
    with step("By the account of a device that keeps one, no buffer and no completion is missing"):
        check_account()


@requirement(
    "XDP-ENDURE-02",
    level="MUST",
    source=f"{BASIC}, NETDEV_XDP_ACT_REDIRECT",
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped", "tx.frame.dropped"),
    proves=("xdp-act:basic", "xdp-act:redirect"),
)
@pytest.mark.slow
@pytest.mark.budget(300)
def test_mixed_verdicts(native, guest, traffic, pair, remote, until, step, evidence):
    """Frames with each verdict in turn, as many as the guest takes, for minutes: each goes where its verdict says, and nothing stalls."""
    redirects = "redirect" in native.features()
    kinds = [action for action in Action if redirects or action is not Action.REDIRECT]
    with step("Attach a program that gives each test frame the verdict that its number asks for"):
        far_end = pair.accept()
        program = native.load("xdp_mixed_verdicts")
        native.agent.call(
            "bpf.map_update", map=program.maps["verdicts"], key=FIRST_KEY, value=struct.pack("=I", len(kinds)).hex()
        )
        index = native.agent.call("link.get", ifname=pair.near.ifname)["ifindex"]
        target = {"key": FIRST_KEY, "value": struct.pack("=I", index).hex(), "program": None}
        native.agent.call("bpf.map_set_program", map=program.maps["target"], **target)
        native.attach_program(program)
        traffic.ready()
    probes = traffic.probes()
    supply = itertools.cycle(probes)
    sent, back, taken = Counter(), Counter(), Counter()
    began, longest = time.monotonic(), 0.0
    end = began + scaled_down(guest, MINUTES * 60)

    def under_way():
        # Not by way of `seen`, which reads an element for each of many queues: the sooner the answer, the higher the rate.
        counted = native.agent.call("bpf.map_counters", map=program.count, keys=len(kinds))
        return sent.total() - sum(frames for frames, _ in counted)

    with remote.capture() as capture:

        def gather():
            back.update(frame.data for frame in capture.forget() if frame.received and is_probe(frame.data))
            taken.update(traffic.waiting(native.agent, timeout=0))

        with step(
            f"For {MINUTES} minutes, or a fifth of that, send test frames of every size, up to {WINDOW} ahead of what the program has "
            "counted, which goes on all the time"
        ):
            while (now := time.monotonic()) < end:
                batch = list(itertools.islice(supply, WINDOW // 2))
                remote.send([probe.frame for probe in batch])
                sent.update(probe.number for probe in batch)
                gather()
                until(
                    lambda: under_way() <= WINDOW // 2, what=f"all but {WINDOW // 2} frames are counted", timeout=SOON
                )
                longest = max(longest, time.monotonic() - now)
        seconds = time.monotonic() - began
        rate = round(sent.total() / seconds)
        evidence("frames", {"sent": sent.total(), "a second": rate, "longest wait in seconds": round(longest, 3)})

        lots = {
            kind: [each for each in probes if each.number % len(kinds) == kind for _ in range(sent[each.number])]
            for kind in kinds
        }
        with step("Of each verdict the program has counted as many frames and octets as were sent"):
            wanted = {kind: of_frames(each.frame for each in lots[kind]) for kind in kinds}
            until(lambda: native.seen(program) == wanted, what=f"the program has counted {wanted}", timeout=SOON)
        with step(
            "Those of XDP_TX are back on the wire, once and unchanged, those of XDP_PASS in the stack, and no other is"
        ):

            def all_there():
                gather()
                return back.total() >= len(lots[Action.TX]) and taken.total() >= len(lots[Action.PASS])

            with suppress(AssertionError):  # what differs says more than that frames are too few
                until(all_there, what="they are all there", timeout=SOON)
            check_same(list(back.elements()), [each.frame for each in lots[Action.TX]], "frames back on the wire")
            check_same(list(taken.elements()), payloads(lots[Action.PASS]), "payloads in the stack")
    if redirects:
        with step("Those of XDP_REDIRECT are at the far end, and no other is"):
            assert total(pair.far.seen(far_end).values()) == wanted[Action.REDIRECT]
    with step("Detach it: frames of every size reach the stack, and nothing else does"):
        native.detach()
        traffic.ready()
        assert traffic.nothing_received()
        traffic.check_delivery()
