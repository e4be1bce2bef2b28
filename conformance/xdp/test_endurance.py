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
WARM_UP_CYCLES = 10
"""Cycles before the first reading: caches fill in the first ones."""
MINUTES = 4
SLOW_GUEST = 0.25
"""Below this speed a guest gets a fifth of the cycles and of the minutes."""
BATCH_INTERVAL = 0.05
"""Seconds between two batches of the traffic beside: enough for each cycle to meet some."""
TRAFFIC_CHECK_INTERVAL = 10
"""Of so many cycles one is looked at, whether frames come."""
STALL_TIMEOUT = 2.0
"""Seconds without a frame, on a guest of speed 1, that are a stall where a driver may take its link down to attach."""
WINDOW = 256
"""Frames that are under way at most: every receive ring, and that of a target of redirections, has room for them."""
FIRST_KEY = struct.pack("=I", 0).hex()


def scale_to_guest(guest, amount):
    """What a guest of this speed is asked to do."""
    return amount if guest.speed >= SLOW_GUEST else amount // 5


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
    cycles = scale_to_guest(guest, CYCLES)

    def cycle(times):
        for number in range(times):
            check_frames = number % TRAFFIC_CHECK_INTERVAL == 0
            native.clear(program)
            native.attach_program(program)
            if check_frames:
                until(lambda: native.seen(program), what="the program sees frames", timeout=STALL_TIMEOUT)
            native.detach()
            if check_frames:
                traffic.discard()
                until(lambda: not traffic.nothing_received(), what="the stack receives frames", timeout=STALL_TIMEOUT)

    def read():
        traffic.discard()  # what waits in the sockets is no residue
        return leak_check.read()

    with traffic.stream(BATCH_INTERVAL):
        with step(f"Attach and detach {WARM_UP_CYCLES} times, and read what the kernel has allocated"):
            cycle(WARM_UP_CYCLES)
            readings = [read()]
        with step(
            f"Attach and detach {CYCLES} times under traffic, or a fifth of that, and read again half way and at the end; after "
            f"every {TRAFFIC_CHECK_INTERVAL}th attachment the program sees frames, and after its detachment the stack receives some"
        ):
            for _ in range(2):
                cycle(cycles // 2)
                readings.append(read())
    traffic.discard()  # sockets that are full take nothing more
    evidence("cycles", cycles)
    evidence("readings", [str(each) for each in readings])
    with step("Nothing has grown with the number of cycles"):
        leaks = leak_check.grown(readings, cycles // 2)
        assert not leaks, leaks
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
    verdicts = [action for action in Action if redirects or action is not Action.REDIRECT]
    with step("Attach a program that gives each test frame the verdict that its number asks for"):
        far_program = pair.accept()
        program = native.load("xdp_mixed")
        native.agent.call(
            "bpf.map_update", map=program.maps["kinds"], key=FIRST_KEY, value=struct.pack("=I", len(verdicts)).hex()
        )
        index = native.agent.call("link.get", ifname=pair.near.ifname)["ifindex"]
        target = {"key": FIRST_KEY, "value": struct.pack("=I", index).hex(), "program": None}
        native.agent.call("bpf.map_refer", map=program.maps["target"], **target)
        native.attach_program(program)
        traffic.ready()
    probes = traffic.probes()
    endless_probes = itertools.cycle(probes)
    sent, sent_back, received = Counter(), Counter(), Counter()
    start, longest_wait = time.monotonic(), 0.0
    end = start + scale_to_guest(guest, MINUTES * 60)

    def in_flight():
        # Not by way of `seen`, which reads an element for each of many queues: the sooner the answer, the higher the rate.
        counters = native.agent.call("bpf.map_counters", map=program.count, keys=len(verdicts))
        return sent.total() - sum(frames for frames, _ in counters)

    with remote.capture() as capture:

        def collect():
            sent_back.update(frame.data for frame in capture.forget() if frame.received and is_probe(frame.data))
            received.update(traffic.waiting(native.agent, timeout=0))

        with step(
            f"For {MINUTES} minutes, or a fifth of that, send test frames of every size, up to {WINDOW} ahead of what the program has "
            "counted, which goes on all the time"
        ):
            while (now := time.monotonic()) < end:
                batch = list(itertools.islice(endless_probes, WINDOW // 2))
                remote.send([probe.frame for probe in batch])
                sent.update(probe.number for probe in batch)
                collect()
                until(
                    lambda: in_flight() <= WINDOW // 2, what=f"all but {WINDOW // 2} frames are counted", timeout=SOON
                )
                longest_wait = max(longest_wait, time.monotonic() - now)
        seconds = time.monotonic() - start
        rate = round(sent.total() / seconds)
        evidence("frames", {"sent": sent.total(), "a second": rate, "longest wait in seconds": round(longest_wait, 3)})

        probes_by_verdict = {
            verdict: [each for each in probes if each.number % len(verdicts) == verdict for _ in range(sent[each.number])]
            for verdict in verdicts
        }
        with step("Of each verdict the program has counted as many frames and octets as were sent"):
            wanted = {verdict: of_frames(each.frame for each in probes_by_verdict[verdict]) for verdict in verdicts}
            until(lambda: native.seen(program) == wanted, what=f"the program has counted {wanted}", timeout=SOON)
        with step(
            "Those of XDP_TX are back on the wire, once and unchanged, those of XDP_PASS in the stack, and no other is"
        ):

            def all_arrived():
                collect()
                return sent_back.total() >= len(probes_by_verdict[Action.TX]) and received.total() >= len(probes_by_verdict[Action.PASS])

            with suppress(AssertionError):  # what differs says more than that frames are too few
                until(all_arrived, what="they are all there", timeout=SOON)
            check_same(list(sent_back.elements()), [each.frame for each in probes_by_verdict[Action.TX]], "frames back on the wire")
            check_same(list(received.elements()), payloads(probes_by_verdict[Action.PASS]), "payloads in the stack")
    if redirects:
        with step("Those of XDP_REDIRECT are at the far end, and no other is"):
            assert total(pair.far.seen(far_program).values()) == wanted[Action.REDIRECT]
    with step("Detach it: frames of every size reach the stack, and nothing else does"):
        native.detach()
        traffic.ready()
        assert traffic.nothing_received()
        traffic.check_delivery()
