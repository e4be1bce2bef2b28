# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_XDP sockets that busy-poll the device in their system calls, with its interrupts off."""

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
"""Settings that keep interrupts off with SO_PREFER_BUSY_POLL: each poll defers them up to 2 times, by this many ns."""
BUSY_POLL_US, BUDGET = 20, 23
"""SO_BUSY_POLL, microseconds, and SO_BUSY_POLL_BUDGET. No driver's own polls use this budget."""


class BusyPollSockets(NamedTuple):
    """One busy-polling socket per receive queue, and a way to record who polls these queues."""

    sockets: list[Socket]
    watch: Callable[[], AbstractContextManager[NapiPolls]]


@pytest.fixture
def busy_poll_sockets(bind_sockets, check_receive, guest, dut, defer, skip_unsupported, evidence):
    """``busy_poll_sockets()`` binds busy-polling sockets with interrupts deferred; skips where the kernel reports no NAPI of a queue."""
    sysfs = {f"/sys/class/net/{dut.ifname}/{name}": value for name, value in IRQ_DEFERRAL.items()}

    def start():
        bound = bind_sockets()
        # Older kernels learn the NAPI id of a socket from its first frame.
        reached = {each.queue for each in check_receive(bound)}
        sockets = [socket for socket in bound if socket.queue in reached]
        queues = QueueView(guest.agent, dut.ifname).states()
        napis = {socket.queue: socket.napi for socket in sockets}
        napi_ids = {"netdev queue-get": {queue: queues[queue].napi for queue in napis}, "SO_INCOMING_NAPI_ID": napis}
        evidence("NAPI by queue", napi_ids)
        if not any(napi for each in napi_ids.values() for napi in each.values()):
            skip_unsupported("the NAPI instance of a receive queue", evidence=napi_ids)
        for queue, napi in napis.items():
            assert napi, f"the socket of queue {queue} has no NAPI id to poll"
            assert queues[queue].napi in (None, napi), (
                f"netlink reports NAPI {queues[queue].napi} for queue {queue}, the socket has {napi}"
            )

        def restore_interrupts():
            # A poll without deferral makes the driver re-enable interrupts; the deferral timers may be seconds away.
            for socket in sockets:
                socket.poll_busily(BUSY_POLL_US, BUDGET)
                socket.take()

        defer(restore_interrupts)
        for path, value in sysfs.items():
            defer(guest.agent.call, "files.write", path=path, text=guest.agent.call("files.read", path=path))
            guest.agent.call("files.write", path=path, text=str(value))
        for socket in sockets:
            socket.poll_busily(BUSY_POLL_US, BUDGET)
        check_receive(sockets)  # interrupts stay on until these frames have arrived
        irqs = {queues[queue].irq for queue in napis} - {None}
        return BusyPollSockets(sockets, lambda: watch(guest.agent, dut.ifname, irqs))

    return start


@pytest.fixture
def report_polls(evidence):
    """``report_polls(seen)`` puts polls and interrupts into the report."""

    def put(seen):
        others = [str(each) for each in seen.others(BUDGET)]
        evidence("polls", {"of the sockets": len(seen.of(BUDGET)), "others": others})
        evidence("interrupts", seen.interrupts)

    return put


INCOMING = "socket(7), SO_INCOMING_NAPI_ID; include/linux/netdevice.h, netif_queue_set_napi; include/net/xdp.h, xdp_rxq_info_reg"


@requirement("XDP-XSK-44", level="SHOULD", source=INCOMING, falsified_by="program:af_xdp.napi-lost", variant="copy")
@requirement(
    "XDP-XSK-45", level="SHOULD", source=INCOMING, falsified_by="program:af_xdp.napi-lost", variant="zero-copy"
)
def test_napi(bind_sockets, check_receive, guest, dut, evidence, skip_unsupported, step):
    """A socket that receives from a queue has the id of one of the interface's NAPI instances: without one it cannot busy-poll."""
    with step("List the NAPI instances of the interface"):
        instances = {each["id"] for each in guest.agent.call("netdev.napi_get", ifname=dut.ifname)}
        evidence("netdev napi-get", sorted(instances))
        if not instances:
            skip_unsupported("NAPI instances with ids", evidence="netdev napi-get lists none")
    with step("Bind a socket to each queue, and receive test frames"):
        sockets = bind_sockets()
        received = {each.queue for each in check_receive(sockets)}
    with step("Each socket that received some has the id of one of the instances"):
        napis = {socket.queue: socket.napi for socket in sockets if socket.queue in received}
        evidence("SO_INCOMING_NAPI_ID by queue", napis)
        without = sorted(queue for queue, napi in napis.items() if napi not in instances)
        assert not without, f"the sockets of queues {without} have no NAPI instance of the interface: {napis}"


RECEIVE_FAULTS = ("program:af_xdp.not-polled", "program:af_xdp.not-entered", "rx.frame.dropped")


@requirement("XDP-XSK-11", level="MUST", source=POLLING, falsified_by=RECEIVE_FAULTS, variant="copy")
@requirement("XDP-XSK-14", level="MUST", source=POLLING, falsified_by=RECEIVE_FAULTS, variant="zero-copy")
def test_receive(busy_poll_sockets, check_receive, report_polls, step):
    """While sockets busy-poll their queues, they receive frames in their own polls only, and the queues raise no interrupt."""
    with step("Bind a busy-polling socket to each queue, defer interrupts, and receive a first burst of test frames"):
        polled = busy_poll_sockets()
    with (
        step("Send test frames of every size: the sockets receive each exactly once, unchanged"),
        polled.watch() as seen,
    ):
        check_receive(polled.sockets)
    with step("Only polls with the sockets' budget received frames, and the queues raised no interrupt"):
        report_polls(seen)
        wrong = []
        if not any(each.work for each in seen.of(BUDGET)):
            wrong.append("no poll of a socket received a frame")
        if any(each.work for each in seen.others(BUDGET)):
            wrong.append(f"other polls received frames: {seen.others(BUDGET)}")
        if any(seen.interrupts.values()):
            wrong.append(f"the queues raised interrupts: {seen.interrupts}")
        assert not wrong, "; ".join(wrong)


TRANSMIT_FAULTS = ("program:af_xdp.not-polled", "program:af_xdp.completion-lost", "tx.frame.dropped")


@requirement("XDP-XSK-15", level="MUST", source=POLLING, falsified_by=TRANSMIT_FAULTS, variant="copy")
@requirement("XDP-XSK-16", level="MUST", source=POLLING, falsified_by=TRANSMIT_FAULTS, variant="zero-copy")
def test_send(busy_poll_sockets, check_transmit, mode, report_polls, step):
    """While sockets busy-poll their queues, frames that they send leave exactly once, unchanged; in zero-copy mode only their polls run."""
    with step("Bind a busy-polling socket to each queue, defer interrupts, and receive a first burst of test frames"):
        polled = busy_poll_sockets()
    with (
        step("Send frames of every size from each socket: each is on the wire and completed exactly once"),
        polled.watch() as seen,
    ):
        check_transmit(polled.sockets)
    with step(
        "There were polls with the sockets' budget, in zero-copy mode no others, and the queues raised no interrupt"
    ):
        report_polls(seen)
        assert seen.of(BUDGET), "no socket polled"
        if mode == "zero-copy":
            assert not seen.others(BUDGET), f"others polled: {seen.others(BUDGET)}"
        assert not any(seen.interrupts.values()), f"the queues raised interrupts: {seen.interrupts}"
