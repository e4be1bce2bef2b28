# SPDX-License-Identifier: GPL-2.0-or-later
"""Hundreds of attachments, and minutes of mixed verdicts: nothing leaks, stalls or is lost."""

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
from plugfest.traffic.traffic import WIRE_TIMEOUT, check_same, payloads
from plugfest.xdp.adjustment import Action

BASIC = "include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
CYCLES = 500
WARM_UP_CYCLES = 10
"""Cycles before the first reading, during which the kernel's caches fill."""
MINUTES = 4
SLOW_GUEST = 0.25
"""Guests below this speed run a fifth of the cycles and of the minutes."""
BATCH_INTERVAL = 0.05
"""Seconds between two batches of background traffic, short enough that every cycle sees frames."""
TRAFFIC_CHECK_INTERVAL = 10
"""One in this many cycles checks that frames arrive."""
STALL_TIMEOUT = 2.0
"""Seconds without a frame that count as a stall, on a guest of speed 1; a driver may take its link down to attach."""
WINDOW = 256
"""Frames in flight at most; every receive ring, and the ring of every redirect target, holds as many."""
FIRST_KEY = struct.pack("=I", 0).hex()


def scale_to_guest(guest, amount):
    """The amount of work for a guest of this speed."""
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
    """Hundreds of attach and detach cycles under traffic leak nothing; frames arrive after each, and in both directions at the end."""
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

    def repeat():
        cycle(cycles // 2)
        traffic.discard()  # frames waiting in the sockets are not a leak

    with traffic.stream(BATCH_INTERVAL):
        with step(f"Attach and detach {WARM_UP_CYCLES} times"):
            cycle(WARM_UP_CYCLES)
            traffic.discard()
        with step(
            f"Attach and detach {CYCLES} times (a fifth on a slow guest) under traffic, reading the kernel's allocations before, halfway "
            f"and at the end; in every {TRAFFIC_CHECK_INTERVAL}th cycle the program sees frames while attached, and the stack receives "
            "frames after the detach"
        ):
            readings = leak_check.rounds(repeat, cycles // 2)
    traffic.discard()  # full socket buffers would drop the test frames that follow
    evidence("cycles", cycles)
    evidence("readings", [str(each) for each in readings])
    with step("No allocation has grown with the number of cycles"):
        leaks = leak_check.grown(readings, cycles // 2)
        assert not leaks, leaks
    with step("No program is attached, and frames arrive in both directions exactly once, unchanged"):
        assert native.state()["attached"] == "none"
        check_traffic()
        traffic.check_delivery()
    with step("If the device keeps an account of buffers and completions, none is missing"):
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
    """Under minutes of mixed verdicts at the highest rate the guest sustains, each verdict takes effect and nothing stalls or is lost."""
    redirects = "redirect" in native.features()
    verdicts = [action for action in Action if redirects or action is not Action.REDIRECT]
    with step("Attach a program that picks the verdict by the number of the test frame"):
        far_program = pair.accept()
        program = native.load("xdp_mixed_verdicts")
        native.agent.call(
            "bpf.map_update", map=program.maps["verdicts"], key=FIRST_KEY, value=struct.pack("=I", len(verdicts)).hex()
        )
        index = native.agent.call("link.get", ifname=pair.near.ifname)["ifindex"]
        target = {"key": FIRST_KEY, "value": struct.pack("=I", index).hex(), "program": None}
        native.agent.call("bpf.map_set_program", map=program.maps["target"], **target)
        native.attach_program(program)
        traffic.ready()
    probes = traffic.probes()
    endless_probes = itertools.cycle(probes)
    sent, sent_back, received = Counter(), Counter(), Counter()
    start, longest_wait = time.monotonic(), 0.0
    end = start + scale_to_guest(guest, MINUTES * 60)

    def in_flight():
        # Not xdp.seen(), which reads one map element for each of many queues: a faster answer allows a higher rate.
        counters = native.agent.call("bpf.map_counters", map=program.count, keys=len(verdicts))
        return sent.total() - sum(frames for frames, _ in counters)

    with remote.capture() as capture:

        def collect():
            sent_back.update(frame.data for frame in capture.forget() if frame.received and is_probe(frame.data))
            received.update(traffic.waiting(native.agent, timeout=0))

        with step(
            f"For {MINUTES} minutes (a fifth on a slow guest) send test frames of every size, at most {WINDOW} ahead of the program, which "
            "keeps counting them"
        ):
            while (now := time.monotonic()) < end:
                batch = list(itertools.islice(endless_probes, WINDOW // 2))
                remote.send([probe.frame for probe in batch])
                sent.update(probe.number for probe in batch)
                collect()
                until(
                    lambda: in_flight() <= WINDOW // 2,
                    what=f"the program has counted all but {WINDOW // 2} frames",
                    timeout=WIRE_TIMEOUT,
                )
                longest_wait = max(longest_wait, time.monotonic() - now)
        seconds = time.monotonic() - start
        rate = round(sent.total() / seconds)
        evidence(
            "frames", {"sent": sent.total(), "per second": rate, "longest wait in seconds": round(longest_wait, 3)}
        )

        probes_by_verdict = {
            verdict: [
                each for each in probes if each.number % len(verdicts) == verdict for _ in range(sent[each.number])
            ]
            for verdict in verdicts
        }
        with step("For each verdict the program has counted as many frames and bytes as were sent"):
            wanted = {verdict: of_frames(each.frame for each in probes_by_verdict[verdict]) for verdict in verdicts}
            until(
                lambda: native.seen(program) == wanted, what=f"the program has counted {wanted}", timeout=WIRE_TIMEOUT
            )
        with step(
            "XDP_TX frames are on the wire exactly once, unchanged; the stack receives XDP_PASS frames likewise; no other frame goes there"
        ):

            def all_arrived():
                collect()
                return sent_back.total() >= len(probes_by_verdict[Action.TX]) and received.total() >= len(
                    probes_by_verdict[Action.PASS]
                )

            # check_same() below reports what differs, which is more useful than a timeout.
            with suppress(AssertionError):
                until(all_arrived, what="all frames of XDP_TX and XDP_PASS have arrived", timeout=WIRE_TIMEOUT)
            check_same(
                list(sent_back.elements()),
                [each.frame for each in probes_by_verdict[Action.TX]],
                "frames sent back to the wire",
            )
            check_same(
                list(received.elements()), payloads(probes_by_verdict[Action.PASS]), "payloads that the stack received"
            )
    if redirects:
        with step("XDP_REDIRECT frames are at the far end of the veth pair, and no other frame is"):
            assert total(pair.far.seen(far_program).values()) == wanted[Action.REDIRECT]
    with step("Detach the program: frames of every size reach the stack, and no other frame does"):
        native.detach()
        traffic.ready()
        assert traffic.nothing_received()
        traffic.check_delivery()
