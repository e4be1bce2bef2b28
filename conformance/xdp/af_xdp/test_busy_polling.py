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
DEFERRED = {"napi_defer_hard_irqs": 2, "gro_flush_timeout": 5_000_000_000}
"""What must stand beside SO_PREFER_BUSY_POLL for interrupts to stay off: so often, so many ns after a poll they are put off again."""
MICROSECONDS, BUDGET = 20, 23
"""SO_BUSY_POLL and SO_BUSY_POLL_BUDGET. No driver's own polls have such a budget."""


class Polled(NamedTuple):
    """Sockets, one a receive queue, that poll their queues, and what watches who polls these."""

    sockets: list[Socket]
    watch: Callable[[], AbstractContextManager[NapiPolls]]


@pytest.fixture
def polled(bound, receives, guest, dut, defer, skip_unsupported, evidence):
    """``polled()``: sockets that poll their queues, whose interrupts are put off; skips where the kernel knows no NAPI of a queue."""
    paths = {f"/sys/class/net/{dut.ifname}/{name}": value for name, value in DEFERRED.items()}

    def start():
        sockets = bound()
        receives(sockets)  # older kernels know what to poll when a first frame has come
        told = QueueView(guest.agent, dut.ifname).states()
        napis = {socket.queue: socket.napi for socket in sockets}
        found = {"netdev queue-get": {queue: told[queue].napi for queue in napis}, "SO_INCOMING_NAPI_ID": napis}
        evidence("NAPI by queue", found)
        if not any(napi for each in found.values() for napi in each.values()):
            skip_unsupported("which NAPI serves a receive queue", evidence=found)
        for queue, napi in napis.items():
            assert napi, f"the socket of queue {queue} knows nothing to poll"
            assert told[queue].napi in (None, napi), f"netlink says that NAPI {told[queue].napi} serves queue {queue}"

        def interrupts_back():
            # A poll with nothing to put interrupts off by has the driver turn them on again; the timers may be seconds away.
            for socket in sockets:
                socket.poll_busily(MICROSECONDS, BUDGET)
                socket.take()

        defer(interrupts_back)
        for path, value in paths.items():
            defer(guest.agent.call, "files.write", path=path, text=guest.agent.call("files.read", path=path))
            guest.agent.call("files.write", path=path, text=str(value))
        for socket in sockets:
            socket.poll_busily(MICROSECONDS, BUDGET)
        receives(sockets)  # until then interrupts are on
        irqs = {told[queue].irq for queue in napis} - {None}
        return Polled(sockets, lambda: watch(guest.agent, dut.ifname, irqs))

    return start


@pytest.fixture
def show(evidence):
    """``show(seen)`` puts polls and interrupts into the report."""

    def put(seen):
        others = [str(each) for each in seen.others(BUDGET)]
        evidence("polls", {"of the sockets": len(seen.of(BUDGET)), "others": others})
        evidence("interrupts", seen.interrupts)

    return put


POLLED_WRONG = ("program:af_xdp.not-polled", "program:af_xdp.not-entered", "rx.frame.dropped")


@requirement("XDP-XSK-11", level="MUST", source=POLLING, falsified_by=POLLED_WRONG, variant="copy")
@requirement("XDP-XSK-14", level="MUST", source=POLLING, falsified_by=POLLED_WRONG, variant="zero-copy")
def test_receive(polled, receives, show, step):
    """While sockets poll their queues, frames come to them by their own polls alone, and the queues raise no interrupts."""
    with step(
        "Bind a socket to each queue that prefers to poll busily, put interrupts off, and have first frames come"
    ):
        receivers = polled()
    with step("Send test frames of every size: each comes to a socket once and unchanged"), receivers.watch() as seen:
        receives(receivers.sockets)
    with step(
        "All that was received was received in polls of the sockets' budget, and the queues' interrupts were off"
    ):
        show(seen)
        assert any(each.work for each in seen.of(BUDGET)), "no poll of a socket's received anything"
        assert not any(each.work for each in seen.others(BUDGET)), f"others received: {seen.others(BUDGET)}"
        assert not any(seen.interrupts.values()), f"interrupts were raised: {seen.interrupts}"


SENT_WRONG = ("program:af_xdp.not-polled", "program:af_xdp.completion-lost", "tx.frame.dropped")


@requirement("XDP-XSK-15", level="MUST", source=POLLING, falsified_by=SENT_WRONG, variant="copy")
@requirement("XDP-XSK-16", level="MUST", source=POLLING, falsified_by=SENT_WRONG, variant="zero-copy")
def test_send(polled, sends, mode, show, step):
    """While sockets poll their queues, what they send leaves once and unchanged, with zero copy by their own polls alone."""
    with step(
        "Bind a socket to each queue that prefers to poll busily, put interrupts off, and have first frames come"
    ):
        senders = polled()
    with step("Frames of every size from each are on the wire once, and completed once"), senders.watch() as seen:
        sends(senders.sockets)
    with step(
        "There were polls of the sockets' budget, with zero copy no others of these queues, and their interrupts were off"
    ):
        show(seen)
        assert seen.of(BUDGET), "no socket polled"
        if mode == "zero-copy":
            assert not seen.others(BUDGET), f"others polled: {seen.others(BUDGET)}"
        assert not any(seen.interrupts.values()), f"interrupts were raised: {seen.interrupts}"
