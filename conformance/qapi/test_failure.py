# SPDX-License-Identifier: GPL-2.0-or-later
"""When the device does not do what stopping and starting a queue needs: the driver says so and recovers."""

from __future__ import annotations

import errno
import re

import pytest
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement

SOURCE = "net/core/netdev_rx_queue.c, netdev_rx_queue_reconfig: on failure the old queue is started again"
RECOVERY = 1
"""Seconds, on a guest of speed 1, for a driver to have reset its device."""
PATIENCE = 5
"""The same where a command never completes: for which a driver waits before it gives up, perhaps more than once."""
CORE_WARNS = r"WARNING: net/core/netdev_rx_queue\.c:\d+ at netdev_rx_queue_reconfig"
"""What the core says when the old queue does not start again either: "RX queue N may be unhealthy"."""
CLOSE_WARNS = r"WARNING: net/core/netdev_rx_queue\.c:\d+ at __netif_mp_close_rxq"
"""What the core says when a queue could not be restarted to take memory from it."""
TROUBLE = re.compile(
    r"fail|err(or|no)?\b|time[ds]?[- ]?out|unhealthy|unable|could ?n.t|cannot|invalid|unexpected|reset", re.IGNORECASE
)
"""In a line that says of trouble, as one that the link is up does not."""


@pytest.fixture
def fail(model, dut, until, defer):
    """``fail("rx.queue.create-fails", 3, times=2)``: the device refuses this twice, of queue 3.

    A driver that has not recovered by the test's end is told to by its device, so that what was changed can be undone.
    """

    def restore():
        if not dut.carrier:
            model.call("device.reset")
            until(lambda: dut.carrier, what="the driver has reset its device, asked to", timeout=PATIENCE)

    def arm(fault, queue, times=1):
        defer(restore)
        defer(model.call, "faults.disarm", name=fault)
        model.call("faults.arm", name=fault, times=times, match={"queue": queue})

    return arm


@pytest.fixture
def check_recovered(dut, settings, until, view, splitting, steering, traffic):
    """``check_recovered(3)``: the link comes up, and the queue receives frames of every size."""

    def check(queue, within=RECOVERY):
        def running():
            return len(view.queues()) == splitting.queues() and dut.carrier

        until(running, what="the driver has its queues and carrier again", timeout=within)
        settings.ready()
        assert not view.bound()
        steering.only(queue)
        try:
            traffic.check_delivery()
        except AgentError as error:
            if error.errno != errno.EFAULT:
                raise
            raise AssertionError(
                f"queue {queue} still receives into memory that no application reads: {error}"
            ) from error

    return check


@pytest.fixture
def check_survived(spare, memory, allocate, view, guest, commands, check_recovered, evidence):
    """``check_survived(ask)``: what `ask` asks for is refused and told, the queue serves on, and can be bound after that.

    With ``refusable=False`` it is something that nobody can be refused, as closing.
    """

    def check(ask, within=RECOVERY, *, refusable=True):
        said = max((entry["sequence"] for entry in guest.agent.call("system.log")), default=-1)
        with commands.during() as log:
            refused = ask()
            evidence("refusal", str(refused))
            assert refused is not None or not refusable, "it was accepted"
            check_recovered(spare, within)
        lines = [entry["text"] for entry in guest.agent.call("system.log", after=said)]
        evidence("kernel log", "\n".join(lines))
        assert any(map(TROUBLE.search, lines)), f"the kernel's log has no line about it: {lines}"
        assert len(log.named("reset")) <= 1, log.named("reset")
        second = allocate()
        second.bind(spare)
        assert view.bound() == {spare: memory.kind}

    return check


@requirement(
    "QAPI-FAIL-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound", "wire:frame.lost"),
)
def test_start_fails(spare, memory, fail, check_survived, step):
    """When the device refuses to start the queue, the driver says so, and the queue serves on, after one reset at most."""
    with step("Have the device refuse once to create the last receive queue, and ask to bind memory to it"):
        fail("rx.queue.create-fails", spare)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.try_bind(spare))


@requirement(
    "QAPI-FAIL-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
def test_stop_fails(spare, memory, fail, check_survived, step):
    """When the device refuses to stop the queue, the driver says so, and the queue serves on, after one reset at most."""
    with step("Have the device refuse once to destroy the last receive queue, and ask to bind memory to it"):
        fail("rx.queue.destroy-fails", spare)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.try_bind(spare))


@requirement(
    "QAPI-FAIL-03",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest  # a queue that is neither old nor new may not survive the test's undoing
@pytest.mark.provokes(CORE_WARNS)
def test_start_fails_twice(spare, memory, fail, check_survived, step):
    """When the device refuses to start the new queue and then the old one, the driver says so and recovers, by one reset at most."""
    with step("Have the device refuse twice to create the last receive queue, and ask to bind memory to it"):
        fail("rx.queue.create-fails", spare, times=2)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.try_bind(spare))


@requirement(
    "QAPI-FAIL-04",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest
def test_stop_fails_twice(spare, memory, fail, check_survived, step):
    """When the device refuses to stop the queue, and again when asked again, the driver says so and recovers, by one reset at most."""
    with step("Have the device refuse twice to destroy the last receive queue, and ask to bind memory to it"):
        fail("rx.queue.destroy-fails", spare, times=2)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.try_bind(spare))


@requirement(
    "QAPI-FAIL-05",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest
@pytest.mark.provokes(CORE_WARNS)
def test_start_never_completes(spare, memory, fail, check_survived, step):
    """When the device never completes the command that starts the queue, the driver gives up, says so and recovers by one reset."""
    with step("Have the device hang at the command to create the last receive queue, and ask to bind memory to it"):
        fail("rx.queue.create-hangs", spare)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.try_bind(spare), PATIENCE)


@requirement(
    "QAPI-FAIL-06",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest
def test_stop_never_completes(spare, memory, fail, check_survived, step):
    """When the device never completes the command that stops the queue, the driver gives up, says so and recovers by one reset."""
    with step("Have the device hang at the command to destroy the last receive queue, and ask to bind memory to it"):
        fail("rx.queue.destroy-hangs", spare)
    with step("It is refused and told; the queue receives frames of every size; then memory can be bound to it"):
        check_survived(lambda: memory.try_bind(spare), PATIENCE)


CLOSING = f"{SOURCE}; __netif_mp_close_rxq: the queue is restarted without the memory"
CLOSING_WRONG = ("program:qapi.stays-bound", "wire:frame.lost")
POINTS = {"create": "rx.queue.create-fails", "destroy": "rx.queue.destroy-fails"}


@requirement("QAPI-FAIL-07", level="MUST", source=CLOSING, falsified_by=CLOSING_WRONG, variant="create")
@requirement("QAPI-FAIL-08", level="MUST", source=CLOSING, falsified_by=CLOSING_WRONG, variant="destroy")
@pytest.mark.parametrize("what", POINTS)
@pytest.mark.fresh_guest  # a queue that is neither old nor new may not survive the test's undoing
@pytest.mark.provokes(CLOSE_WARNS)
def test_fails_at_unbind(spare, memory, fail, check_survived, what, step):
    """When the device refuses to start or stop a queue as memory is unbound, the driver says so, and it serves the kernel's memory."""
    with step(f"Bind memory to the last receive queue, and have the device refuse once to {what} that"):
        memory.bind(spare)
        fail(POINTS[what], spare)
    with step("Unbind it: it is told, the queue receives frames of every size, and memory can be bound to it"):
        check_survived(memory.unbind, refusable=False)
