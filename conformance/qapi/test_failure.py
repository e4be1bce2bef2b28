# SPDX-License-Identifier: GPL-2.0-or-later
"""If the device fails to stop or start a queue, the driver reports the failure and recovers."""

from __future__ import annotations

import errno
import re

import pytest
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement

SOURCE = "net/core/netdev_rx_queue.c, netdev_rx_queue_reconfig: on failure the old queue is started again"
RESET_TIMEOUT = 1
"""Seconds, on a guest of speed 1, for a driver to reset its device."""
COMMAND_TIMEOUT = 5
"""The same if a command never completes: the driver may wait for its own timeout, and more than once."""
RECONFIG_WARNING = r"WARNING: net/core/netdev_rx_queue\.c:\d+ at netdev_rx_queue_reconfig"
"""The core's warning when the old queue does not start again either: "RX queue N may be unhealthy"."""
CLOSE_WARNING = r"WARNING: net/core/netdev_rx_queue\.c:\d+ at __netif_mp_close_rxq"
"""The core's warning when a queue cannot be restarted while memory is unbound from it."""
ERROR_WORDS = re.compile(
    r"fail|err(or|no)?\b|time[ds]?[- ]?out|unhealthy|unable|could ?n.t|cannot|invalid|unexpected|reset", re.IGNORECASE
)
"""Matches a log line that reports a failure, and not one such as "link is up"."""


@pytest.fixture
def inject_fault(model, dut, until, defer):
    """``inject_fault("rx.queue.create-fails", 3, times=2)``: the device fails this command twice, for queue 3.

    If the driver has not recovered at the end of the test, the device requests a reset, so that settings can be restored.
    """

    def restore():
        if not dut.carrier:
            model.call("device.reset")
            until(
                lambda: dut.carrier,
                what="the driver resets its device on the device's request",
                timeout=COMMAND_TIMEOUT,
            )

    def arm(fault, queue, times=1):
        defer(restore)
        defer(model.call, "faults.disarm", name=fault)
        model.call("faults.arm", name=fault, times=times, match={"queue": queue})

    return arm


@pytest.fixture
def check_recovered(dut, settings, until, view, header_split, steering, traffic):
    """``check_recovered(3)``: the link is up, all queues exist, and queue 3 receives frames of every size."""

    def check(queue, within=RESET_TIMEOUT):
        def running():
            return len(view.queues()) == header_split.queues() and dut.carrier

        until(running, what="the driver has all its queues and carrier again", timeout=within)
        settings.ready()
        assert not view.bound()
        steering.only(queue)
        try:
            traffic.check_delivery()
        except AgentError as error:
            if error.errno != errno.EFAULT:
                raise
            raise AssertionError(
                f"queue {queue} still receives into bound memory that no application reads: {error}"
            ) from error

    return check


@pytest.fixture
def check_error_handling(last_queue, memory, allocate, view, guest, commands, check_recovered, evidence):
    """``check_error_handling(ask)``: `ask` fails and the driver logs it, the queue receives again, and memory can be bound to it.

    ``expect_error=False`` is for an operation that returns no error, such as closing the binding.
    """

    def check(ask, within=RESET_TIMEOUT, *, expect_error=True):
        last_entry = max((entry["sequence"] for entry in guest.agent.call("system.log")), default=-1)
        with commands.during() as log:
            error = ask()
            evidence("error", str(error))
            assert error is not None or not expect_error, "expected an error, got none"
            check_recovered(last_queue, within)
        lines = [entry["text"] for entry in guest.agent.call("system.log", after=last_entry)]
        evidence("kernel log", "\n".join(lines))
        assert any(map(ERROR_WORDS.search, lines)), f"the kernel log does not report the failure: {lines}"
        assert len(log.named("reset")) <= 1, log.named("reset")
        second = allocate()
        second.bind(last_queue)
        assert view.bound() == {last_queue: memory.kind}

    return check


@requirement(
    "QAPI-FAIL-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound", "wire:frame.lost"),
)
def test_start_fails(last_queue, memory, inject_fault, check_error_handling, step):
    """If the device fails to start the queue, the driver reports it, and the queue receives again after at most one reset."""
    with step("Have the device fail once to create the last receive queue, and ask to bind memory to it"):
        inject_fault("rx.queue.create-fails", last_queue)
    with step(
        "The kernel returns an error and logs it; the queue receives frames of every size; memory can be bound to it"
    ):
        check_error_handling(lambda: memory.try_bind(last_queue))


@requirement(
    "QAPI-FAIL-02",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
def test_stop_fails(last_queue, memory, inject_fault, check_error_handling, step):
    """If the device fails to stop the queue, the driver reports it, and the queue receives again after at most one reset."""
    with step("Have the device fail once to destroy the last receive queue, and ask to bind memory to it"):
        inject_fault("rx.queue.destroy-fails", last_queue)
    with step(
        "The kernel returns an error and logs it; the queue receives frames of every size; memory can be bound to it"
    ):
        check_error_handling(lambda: memory.try_bind(last_queue))


@requirement(
    "QAPI-FAIL-03",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest  # the queue may be neither the old nor the new one, and not survive the teardown
@pytest.mark.provokes(RECONFIG_WARNING)
def test_start_fails_twice(last_queue, memory, inject_fault, check_error_handling, step):
    """If the device fails to start the new queue and then the old one, the driver reports it and recovers with at most one reset."""
    with step("Have the device fail twice to create the last receive queue, and ask to bind memory to it"):
        inject_fault("rx.queue.create-fails", last_queue, times=2)
    with step(
        "The kernel returns an error and logs it; the queue receives frames of every size; memory can be bound to it"
    ):
        check_error_handling(lambda: memory.try_bind(last_queue))


@requirement(
    "QAPI-FAIL-04",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest
def test_stop_fails_twice(last_queue, memory, inject_fault, check_error_handling, step):
    """If the device fails to stop the queue, and fails the retry, the driver reports it and recovers with at most one reset."""
    with step("Have the device fail twice to destroy the last receive queue, and ask to bind memory to it"):
        inject_fault("rx.queue.destroy-fails", last_queue, times=2)
    with step(
        "The kernel returns an error and logs it; the queue receives frames of every size; memory can be bound to it"
    ):
        check_error_handling(lambda: memory.try_bind(last_queue))


@requirement(
    "QAPI-FAIL-05",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest
@pytest.mark.provokes(RECONFIG_WARNING)
def test_start_never_completes(last_queue, memory, inject_fault, check_error_handling, step):
    """If the device never completes the command that starts the queue, the driver times out, reports it and recovers with one reset."""
    with step("Have the device hang on the command to create the last receive queue, and ask to bind memory to it"):
        inject_fault("rx.queue.create-hangs", last_queue)
    with step(
        "The kernel returns an error and logs it; the queue receives frames of every size; memory can be bound to it"
    ):
        check_error_handling(lambda: memory.try_bind(last_queue), COMMAND_TIMEOUT)


@requirement(
    "QAPI-FAIL-06",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.error-lost", "program:qapi.not-bound"),
)
@pytest.mark.fresh_guest
def test_stop_never_completes(last_queue, memory, inject_fault, check_error_handling, step):
    """If the device never completes the command that stops the queue, the driver times out, reports it and recovers with one reset."""
    with step("Have the device hang on the command to destroy the last receive queue, and ask to bind memory to it"):
        inject_fault("rx.queue.destroy-hangs", last_queue)
    with step(
        "The kernel returns an error and logs it; the queue receives frames of every size; memory can be bound to it"
    ):
        check_error_handling(lambda: memory.try_bind(last_queue), COMMAND_TIMEOUT)


UNBIND_SOURCE = f"{SOURCE}; __netif_mp_close_rxq: the queue is restarted without the memory"
UNBIND_FAULTS = ("program:qapi.stays-bound", "wire:frame.lost")
FAULT_POINTS = {"create": "rx.queue.create-fails", "destroy": "rx.queue.destroy-fails"}


@requirement("QAPI-FAIL-07", level="MUST", source=UNBIND_SOURCE, falsified_by=UNBIND_FAULTS, variant="create")
@requirement("QAPI-FAIL-08", level="MUST", source=UNBIND_SOURCE, falsified_by=UNBIND_FAULTS, variant="destroy")
@pytest.mark.parametrize("command", FAULT_POINTS)
@pytest.mark.fresh_guest  # the queue may be neither the old nor the new one, and not survive the teardown
@pytest.mark.provokes(CLOSE_WARNING)
def test_failure_at_unbind(last_queue, memory, inject_fault, check_error_handling, command, step):
    """If the device fails to start or stop a queue while memory is unbound, the driver reports it, and the queue uses kernel memory."""
    with step(f"Bind memory to the last receive queue, and have the device fail once to {command} that queue"):
        memory.bind(last_queue)
        inject_fault(FAULT_POINTS[command], last_queue)
    with step(
        "Unbind it: the kernel logs the failure, the queue receives frames of every size, and memory can be bound to it"
    ):
        check_error_handling(memory.unbind, expect_error=False)
