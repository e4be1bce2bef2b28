# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets whose own system calls poll the device, in the place of its interrupts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import pytest
from plugfest.queues.napi import NapiPolls, watch
from plugfest.queues.netdev_queues import QueueView
from plugfest.requirements.requirement import requirement
from plugfest.xdp.af_xdp import Socket

POLLING = "Documentation/networking/napi.rst, Busy polling and IRQ mitigation; Documentation/networking/af_xdp.rst"
IRQ_DEFERRAL = {"napi_defer_hard_irqs": 2, "gro_flush_timeout": 5_000_000_000}
"""What must stand beside SO_PREFER_BUSY_POLL for interrupts to stay off: so often, so many ns after a poll they are put off again."""
BUSY_POLL_US, BUDGET = 20, 23
"""SO_BUSY_POLL and SO_BUSY_POLL_BUDGET. No driver's own polls have such a budget."""


class BusyPollSockets(NamedTuple):
    """Sockets, one a receive queue, that poll their queues, and what watches who polls these."""

    sockets: list[Socket]
    watch: Callable[[], AbstractContextManager[NapiPolls]]


@pytest.fixture
def busy_poll_sockets(bind_sockets, check_receive, guest, dut, faults, defer, skip_unsupported, evidence):
    """``polled()``: sockets that poll their queues, whose interrupts are put off; skips where the kernel knows no NAPI of a queue."""
    sysfs = {f"/sys/class/net/{dut.ifname}/{name}": value for name, value in IRQ_DEFERRAL.items()}

    def start():
        sockets = bind_sockets()
        check_receive(sockets)  # older kernels know what to poll when a first frame has come
        queues = QueueView(guest.agent, dut.ifname, faults).states()
        napis = {socket.queue: socket.napi for socket in sockets}
        napi_ids = {"netdev queue-get": {queue: queues[queue].napi for queue in napis}, "SO_INCOMING_NAPI_ID": napis}
        evidence("NAPI by queue", napi_ids)
        if not any(napi for each in napi_ids.values() for napi in each.values()):
            skip_unsupported("which NAPI serves a receive queue", evidence=napi_ids)
        for queue, napi in napis.items():
            assert napi, f"the socket of queue {queue} knows nothing to poll"
            assert queues[queue].napi in (None, napi), f"netlink says that NAPI {queues[queue].napi} serves queue {queue}"

        def restore_interrupts():
            # A poll with nothing to put interrupts off by has the driver turn them on again; the timers may be seconds away.
            for socket in sockets:
                socket.poll_busily(BUSY_POLL_US, BUDGET)
                socket.take()

        defer(restore_interrupts)
        for path, value in sysfs.items():
            defer(guest.agent.call, "files.write", path=path, text=guest.agent.call("files.read", path=path))
            guest.agent.call("files.write", path=path, text=str(value))
        for socket in sockets:
            socket.poll_busily(BUSY_POLL_US, BUDGET)
        check_receive(sockets)  # until then interrupts are on
        irqs = {queues[queue].irq for queue in napis} - {None}
        return BusyPollSockets(sockets, lambda: watch(guest.agent, dut.ifname, irqs))

    return start


@pytest.fixture
def report_polls(evidence):
    """``show(seen)`` puts polls and interrupts into the report."""

    def put(seen):
        others = [str(each) for each in seen.others(BUDGET)]
        evidence("polls", {"of the sockets": len(seen.of(BUDGET)), "others": others})
        evidence("interrupts", seen.interrupts)

    return put


RECEIVE_FAULTS = ("program:af_xdp.not-polled", "program:af_xdp.not-entered", "rx.frame.dropped")


@requirement("XDP-XSK-11", level="MUST", source=POLLING, falsified_by=RECEIVE_FAULTS, variant="copy")
@requirement("XDP-XSK-14", level="MUST", source=POLLING, falsified_by=RECEIVE_FAULTS, variant="zero-copy")
def test_receive(busy_poll_sockets, check_receive, report_polls, step):
    """While sockets poll their queues, frames come to them by their own polls alone, and the queues raise no interrupts."""
    with step(
        "Bind a socket to each queue that prefers to poll busily, put interrupts off, and have first frames come"
    ):
        polled = busy_poll_sockets()
    with step("Send test frames of every size: each comes to a socket once and unchanged"), polled.watch() as seen:
        check_receive(polled.sockets)
    with step(
        "All that was received was received in polls of the sockets' budget, and the queues' interrupts were off"
    ):
        report_polls(seen)
        assert any(each.work for each in seen.of(BUDGET)), "no poll of a socket's received anything"
        assert not any(each.work for each in seen.others(BUDGET)), f"others received: {seen.others(BUDGET)}"
        assert not any(seen.interrupts.values()), f"interrupts were raised: {seen.interrupts}"


TRANSMIT_FAULTS = ("program:af_xdp.not-polled", "program:af_xdp.completion-lost", "tx.frame.dropped")


@requirement("XDP-XSK-15", level="MUST", source=POLLING, falsified_by=TRANSMIT_FAULTS, variant="copy")
@requirement("XDP-XSK-16", level="MUST", source=POLLING, falsified_by=TRANSMIT_FAULTS, variant="zero-copy")
def test_send(busy_poll_sockets, check_transmit, mode, report_polls, step):
    """While sockets poll their queues, what they send leaves once and unchanged, with zero copy by their own polls alone."""
    with step(
        "Bind a socket to each queue that prefers to poll busily, put interrupts off, and have first frames come"
    ):
        polled = busy_poll_sockets()
    with step("Frames of every size from each are on the wire once, and completed once"), polled.watch() as seen:
        check_transmit(polled.sockets)
    with step(
        "There were polls of the sockets' budget, with zero copy no others of these queues, and their interrupts were off"
    ):
        report_polls(seen)
        assert seen.of(BUDGET), "no socket polled"
        if mode == "zero-copy":
            assert not seen.others(BUDGET), f"others polled: {seen.others(BUDGET)}"
        assert not any(seen.interrupts.values()), f"interrupts were raised: {seen.interrupts}"
