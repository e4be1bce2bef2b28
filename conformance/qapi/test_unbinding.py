# SPDX-License-Identifier: GPL-2.0-or-later
"""However a binding ends, its queue receives into kernel memory again, or is gone, and no page pool is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.frames.payload import generate
from plugfest.queues.memory_provider import RELEASE_TIMEOUT
from plugfest.requirements.requirement import requirement

DEVMEM = (
    "Documentation/networking/devmem.rst, NIC Setup (since Linux 6.12): unbound even if the userspace process crashes"
)
OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"
TRANSFER_TIMEOUT = 10
RACES = 3
"""Repetitions of the race between two operations."""


@requirement(
    "QAPI-UNBIND-01",
    level="MUST",
    source="Documentation/networking/devmem.rst, NIC Setup: by closing the netlink socket",
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_binding_closed(last_queue, kind, allocate, check_unbound, step):
    """Closing the netlink socket or the io_uring unbinds the memory, and the queue receives into kernel memory again."""
    memory = allocate(kind)
    with step("Bind memory, and close the netlink socket or the ring"):
        memory.bind(last_queue)
        memory.unbind()
    with step("The queue receives frames of every size into kernel memory; no page pool is left"):
        check_unbound(last_queue)


@requirement(
    "QAPI-UNBIND-02",
    level="MUST",
    source=DEVMEM,
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_process_killed(bind_and_steer, last_queue, kind, allocate, peer, check_unbound, step):
    """Killing the process while a stream arrives unbinds its memory, and the queue receives into kernel memory again."""
    memory = allocate(kind)
    port = bind_and_steer(memory)
    with (
        step("Bind memory, send a stream to the queue, and kill the process while it arrives"),
        peer.sending(4, port, generate(8, 2_000_000), to_end=False),
    ):
        memory.begin(timeout=TRANSFER_TIMEOUT)
        memory.end(kill=True)
    with step("The queue receives frames of every size into kernel memory; no page pool is left"):
        check_unbound(last_queue)


@requirement(
    "QAPI-UNBIND-03",
    level="MUST",
    source=f"{DEVMEM}; network_namespaces(7): a physical device is moved back when its namespace ends",
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_network_namespace_ends(header_split, wait_for_interface, worker, kind, allocate, guest, check_unbound, step):
    """When the network namespace of interface and process ends, the interface moves back, and its queue has no memory bound."""
    queue = header_split.queues() - 1
    process = worker()
    with step("Move the interface to the network namespace of a process, set it up, and bind memory there"):
        process.call("confinement.unshare_network")
        guest.agent.call("link.set", ifname=header_split.ifname, netns_pid=process.pid)
        process.call("link.set", ifname=header_split.ifname, up=True)
        memory = allocate(kind, process)
        memory.bind(queue)
    with step("Kill the process: the interface is back in the first namespace"):
        memory.end(kill=True)
        wait_for_interface()
    with step("The queue receives frames of every size into kernel memory; no page pool is left"):
        check_unbound(queue)


@requirement(
    "QAPI-UNBIND-04",
    level="MUST",
    source=f"{OPS}: ndo_queue_mem_alloc and ndo_queue_mem_free may be called while the interface is closed",
    falsified_by="program:qapi.stays-bound",
)
def test_interface_down(last_queue, memory, dut, settings, view, check_unbound, step):
    """Memory can be unbound while the interface is down; the queue receives into kernel memory once the interface is up."""
    with step("Bind memory and take the interface down"):
        memory.bind(last_queue)
        settings.set_link(up=False)
    with step("Unbind it: no page pool is left"):
        memory.unbind()
        assert not view.leaked_pools()
    with step("Take the interface up: the queue receives frames of every size into kernel memory"):
        dut.set_link(up=True)
        settings.ready()
        check_unbound(last_queue)


@requirement(
    "QAPI-UNBIND-05",
    level="MUST",
    source="include/net/page_pool/memory_provider.h, uninstall; Documentation/driver-api/driver-model/binding.rst",
    falsified_by=("program:driver.unbind-lost", "program:qapi.pool-left"),
)
def test_driver_unbound(last_queue, kind, allocate, binding, settings, check_unbound, view, step, until):
    """The driver can be unbound from its device while memory is bound to a queue; nothing is left behind, and it can be bound again."""
    memory = allocate(kind)
    with step("Bind memory, and unbind the driver from the device"):
        memory.bind(last_queue)
        binding.unbind()
        assert not binding.interfaces()
    with step("Close the netlink socket or the ring: no page pool is left"):
        memory.unbind()
        until(lambda: not view.leaked_pools(), what="no page pool of bound memory is left", timeout=RELEASE_TIMEOUT)
    with step("Bind the driver again: no queue has memory bound to it, and this one receives frames of every size"):
        binding.bind()
        assert not view.bound()
        settings.ready()
        check_unbound(last_queue)


@requirement(
    "QAPI-UNBIND-08",
    level="MUST",
    source="include/net/page_pool/memory_provider.h, uninstall; net/core/dev.c, dev_memory_provider_uninstall",
    falsified_by=("program:driver.unbind-lost", "program:qapi.pool-left"),
)
@pytest.mark.budget(60)
def test_driver_unbound_while_process_is_killed(
    last_queue, kind, allocate, binding, settings, guest, check_unbound, view, step, until, defer
):
    """The driver can be unbound while the process that bound memory is killed; nothing is left behind, and it can be bound again."""
    other = guest.agent.another()
    defer(other.close)
    for number in range(RACES):
        memory = allocate(kind)
        with step(
            f"Bind memory; kill the process while the driver is unbound from the device, round {number + 1} of {RACES}"
        ):
            memory.bind(last_queue)
            with ThreadPoolExecutor() as pool:
                killed = pool.submit(other.call, "process.run", command=["kill", "-9", str(memory.worker.pid)])
                binding.unbind()
                assert killed.result()["exit_status"] == 0
            memory.end(kill=True)
            assert not binding.interfaces()
        with step("No page pool is left"):
            until(lambda: not view.leaked_pools(), what="no page pool of bound memory is left", timeout=RELEASE_TIMEOUT)
        with step("Bind the driver again: no queue has memory bound to it, and this one receives frames of every size"):
            binding.bind()
            settings.ready()
            settings.set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED)
            check_unbound(last_queue)


@requirement(
    "QAPI-UNBIND-06",
    level="MUST",
    source=OPS,
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_link_down(last_queue, kind, allocate, dut, link_partner, until, check_unbound, step):
    """Memory can be bound and unbound while the link is down; the queue receives into kernel memory once the link is up."""
    memory = allocate(kind)
    with step("Bind memory, and take the link partner down"):
        memory.bind(last_queue)
        link_partner.set(up=False)
        until(lambda: not dut.carrier, what="the driver reports no carrier", timeout=5)
    with step("Unbind the memory: this does not make the driver report carrier"):
        memory.unbind()
        assert not dut.carrier
    with step("Bring the link partner up: the queue receives frames of every size into kernel memory"):
        link_partner.set(up=True)
        until(lambda: dut.carrier, what="the driver reports carrier", timeout=5)
        check_unbound(last_queue)


@requirement(
    "QAPI-UNBIND-07",
    level="MUST",
    source="Documentation/networking/devmem.rst, NIC Setup: bound until the netlink socket is closed",
    falsified_by=("program:qapi.byte-corrupted", "program:qapi.not-bound"),
)
def test_binding_survives_down_and_up(bind_and_steer, kind, allocate, last_queue, dut, settings, view, peer, step):
    """Memory stays bound when the interface goes down and up, and the queue receives into it afterwards."""
    memory = allocate(kind)
    port = bind_and_steer(memory)
    data = generate(9, 100_000)
    with step("Bind memory and take the interface down and up"):
        settings.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
    with step("The memory is bound to the queue, and a TCP stream to the queue arrives in it"):
        assert view.bound() == {last_queue: memory.kind}
        with peer.sending(4, port, data):
            got = memory.receive(timeout=TRANSFER_TIMEOUT)
        got.check(data)
