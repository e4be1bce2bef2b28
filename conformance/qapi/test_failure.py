# SPDX-License-Identifier: GPL-2.0-or-later
"""When the device does not do what stopping and starting a queue needs: the driver says so and recovers."""

from __future__ import annotations

import pytest
from plugfest.requirement import requirement

SOURCE = "net/core/netdev_rx_queue.c, netdev_rx_queue_reconfig: on failure the old queue is started again"
COMMANDS = {"start": "rx.queue.create-fails", "stop": "rx.queue.destroy-fails"}
RECOVERY = 1
"""Seconds, on a guest of speed 1, for a driver to have reset its device."""


@pytest.fixture
def fail_once(model, defer):
    """``fail_once("start", 3)``: the device refuses to start or stop queue 3 the next time it is told to."""

    def arm(what, queue):
        defer(model.call, "faults.disarm", name=COMMANDS[what])
        model.call("faults.arm", name=COMMANDS[what], times=1, match={"queue": queue})

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


@requirement(
    "QAPI-FAIL-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.refusal-lost", "program:qapi.not-bound", "wire:frame.lost"),
)
@pytest.mark.parametrize("what", COMMANDS)
def test_device_refuses(spare, memory, fail_once, what, guest, commands, check_recovered, step, evidence):
    """When the device refuses to stop or to start the queue, the binding is refused, the driver says so, and recovers.

    At most one reset of the device may come of it.
    """
    said = max((entry["sequence"] for entry in guest.agent.call("system.log")), default=-1)
    with commands.during() as log:
        with step("Have the device refuse the command once, and ask to bind memory to the last receive queue"):
            fail_once(what, spare)
            refused = memory.ask(spare)
            evidence("refusal", str(refused))
        with step("The binding is refused"):
            assert refused is not None, "it was accepted"
        with step("The queue is in service, or again after a reset: it receives frames of every size"):
            check_recovered(spare)
    lines = [entry["text"] for entry in guest.agent.call("system.log", after=said)]
    evidence("kernel log", "\n".join(lines))
    with step("The driver has said so, and has reset its device once at most"):
        assert lines, "the kernel's log has no line about it"
        assert len(log.named("reset")) <= 1, log.named("reset")


@requirement(
    "QAPI-FAIL-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue"),
)
@pytest.mark.parametrize("what", COMMANDS)
def test_binding_works_after_failure(spare, memory, allocate, view, fail_once, what, check_recovered, step):
    """After such a failure memory can be bound to the queue."""
    with step("Have the device refuse the command once, ask to bind memory, and wait until the driver has recovered"):
        fail_once(what, spare)
        memory.ask(spare)
        check_recovered(spare)
    with step("Bind memory to the queue"):
        second = allocate()
        second.bind(spare)
        assert view.bound() == {spare: second.kind}
