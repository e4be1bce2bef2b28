# SPDX-License-Identifier: GPL-2.0-or-later
"""When the device does not do what stopping and starting a queue needs: the driver says so and recovers."""

from __future__ import annotations

import pytest
from plugfest.requirement import requirement

SOURCE = "net/core/netdev_rx_queue.c, netdev_rx_queue_reconfig: on failure the old queue is started again"
RECOVERY = 1
"""Seconds, on a guest of speed 1, for a driver to have reset its device."""


@pytest.fixture
def fail_once(model, defer):
    """``fail_once("rx.queue.create-fails", 3)``: the device refuses this once, of queue 3."""

    def arm(fault, queue):
        defer(model.call, "faults.disarm", name=fault)
        model.call("faults.arm", name=fault, times=1, match={"queue": queue})

    return arm


@pytest.fixture
def check_recovered(dut, change, until, view, splitting, steering, traffic):
    """``check_recovered(3)``: the link comes up, and the queue receives frames of every size."""

    def check(queue):
        def running():
            return len(view.queues()) == splitting.queues() and dut.carrier

        until(running, what="the driver has its queues and carrier again", timeout=RECOVERY)
        change.ready()
        assert not view.bound()
        steering.only(queue)
        traffic.check_delivery()

    return check


@pytest.fixture
def check_survived(spare, memory, allocate, view, guest, commands, check_recovered, evidence):
    """``check_survived(ask)``: what `ask` asks for is refused and told, the queue serves on, and can be bound after that."""

    def check(ask):
        said = max((entry["sequence"] for entry in guest.agent.call("system.log")), default=-1)
        with commands.during() as log:
            refused = ask()
            evidence("refusal", str(refused))
            assert refused is not None, "it was accepted"
            check_recovered(spare)
        lines = [entry["text"] for entry in guest.agent.call("system.log", after=said)]
        evidence("kernel log", "\n".join(lines))
        assert lines, "the kernel's log has no line about it"
        assert len(log.named("reset")) <= 1, log.named("reset")
        second = allocate()
        second.bind(spare)
        assert view.bound() == {spare: memory.kind}

    return check


@requirement(
    "QAPI-FAIL-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.refusal-lost", "program:qapi.not-bound", "wire:frame.lost"),
)
def test_start_fails(spare, memory, fail_once, check_survived, step):
    """When the device refuses to start the queue, the driver says so, and the queue serves on, after one reset at most."""
    with step("Have the device refuse once to create the last receive queue, and ask to bind memory to it"):
        fail_once("rx.queue.create-fails", spare)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.ask(spare))


@requirement(
    "QAPI-FAIL-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.refusal-lost", "program:qapi.not-bound"),
)
def test_stop_fails(spare, memory, fail_once, check_survived, step):
    """When the device refuses to stop the queue, the driver says so, and the queue serves on, after one reset at most."""
    with step("Have the device refuse once to destroy the last receive queue, and ask to bind memory to it"):
        fail_once("rx.queue.destroy-fails", spare)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.ask(spare))
