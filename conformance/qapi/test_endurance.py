# SPDX-License-Identifier: GPL-2.0-or-later
"""Stopping and starting a queue many times leaks nothing."""

from __future__ import annotations

import pytest
from plugfest.queues.memory_provider import RELEASE_TIMEOUT
from plugfest.requirements.requirement import requirement

OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"
CYCLES = 100
"""Each cycle stops and starts the queue twice."""
WARMUP_CYCLES = 5
"""Cycles before the first reading, in which caches fill."""


@pytest.fixture
def cycle(last_queue, view, until):
    """``cycle(memory, 50)`` binds memory to the last queue and unbinds it, so many times.

    The kernel unbinds an io_uring's memory some time after its ring was closed, and binds no other until then.
    """

    def bind_and_unbind(memory, count):
        for _ in range(count):
            memory.bind(last_queue)
            memory.unbind()
            until(lambda: last_queue not in view.bound(), what=f"queue {last_queue} is free", timeout=RELEASE_TIMEOUT)

    return bind_and_unbind


@requirement(
    "QAPI-ENDURE-01",
    level="MUST",
    source=f"{OPS}, ndo_queue_mem_free",
    falsified_by=("program:qapi.pool-left", "program:qapi.memory-lost"),
)
@pytest.mark.budget(180)
def test_no_leak_in_the_guest(last_queue, kind, cycle, allocate, leak_check, traffic, check_unbound, step, evidence):
    """100 bind and unbind cycles under traffic leak no page pool, slab object, page or module reference in the guest."""
    memory = allocate(kind)

    def repeat(count=CYCLES // 2):
        # Read while no stream runs: data queued in its sockets is no leak, and a reading takes as long as hundreds of frames.
        with traffic.stream():
            cycle(memory, count)
        traffic.discard()

    with step(f"Bind and unbind memory {WARMUP_CYCLES} times under traffic"):
        repeat(WARMUP_CYCLES)
    with step(f"Bind and unbind it {CYCLES} times under traffic; read what the kernel has allocated, also halfway"):
        readings = leak_check.rounds(repeat, CYCLES // 2)
    evidence("readings", [str(each) for each in readings])
    with step("Nothing grew with the number of cycles"):
        grown = leak_check.grown(readings, CYCLES // 2)
        assert not grown, grown
    with step("The queue receives frames of every size into kernel memory; no page pool is left"):
        check_unbound(last_queue)


@requirement(
    "QAPI-ENDURE-02",
    level="MUST",
    source=OPS,
    falsified_by="rx.buffer.leaked",
)
@pytest.mark.budget(180)
def test_no_leak_in_the_device(memory, cycle, commands, traffic, check_traffic, check_account, step):
    """After 100 cycles under traffic, the device has returned, or still holds, every buffer and tag that the driver posted."""
    with commands.during() as log, step(f"Bind and unbind memory {CYCLES} times under traffic"), traffic.stream():
        cycle(memory, CYCLES)
    traffic.discard()
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()
    with step("The driver broke no rule of the device"):
        log.check_rules()
    with step("No completion tag of a transmit queue is outstanding; each receive queue holds a ring full of buffers"):
        check_account()


@requirement(
    "QAPI-ENDURE-03",
    level="SHOULD",
    source=OPS,
    falsified_by=("wire:frame.lost", "rx.frame.dropped"),
)
@pytest.mark.budget(180)
def test_other_queues_over_100_cycles(memory, cycle, continuous_traffic, step, evidence):
    """Over 100 cycles, no frame for another queue is lost."""
    with (
        step(f"Bind and unbind memory {CYCLES} times while frames arrive on all other queues"),
        continuous_traffic.to_dut() as count,
    ):
        cycle(memory, CYCLES)
    evidence("frames", {"sent": len(count.sent), "lost": count.lost})
    with step("The stack received every frame, once and unchanged"):
        count.check()
