# SPDX-License-Identifier: GPL-2.0-or-later
"""However a binding ends, its queue is in service again or cleanly gone, and no page pool is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.frames.payload import generate
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst, NIC Setup: unbound even if the userspace process crashes"
OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"
SOON = 0.3
"""Seconds, on a guest of speed 1, for the kernel to give back what nobody holds any more."""
PATIENCE = 10
RACES = 3
"""Times that two things are done at once."""


@requirement(
    "QAPI-UNBIND-01",
    level="MUST",
    source="Documentation/networking/devmem.rst, NIC Setup: by closing the netlink socket",
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_closed(spare, kind, allocate, check_in_service, step):
    """Closing the netlink socket, or the ring, unbinds the memory, and the queue is in service."""
    memory = allocate(kind)
    with step("Bind memory, and close what it was bound by"):
        memory.bind(spare)
        memory.unbind()
    with step("The queue receives frames of every size into the kernel's memory; no page pool is left"):
        check_in_service(spare)


@requirement(
    "QAPI-UNBIND-02",
    level="MUST",
    source=DEVMEM,
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_process_killed(bring, spare, kind, allocate, peer, check_in_service, step):
    """Killing the process in the middle of a stream unbinds its memory, and the queue is in service."""
    memory = allocate(kind)
    port = bring(memory)
    with (
        step("Bind memory, send a stream by the queue, and kill the process while it comes"),
        peer.sending(4, port, generate(8, 2_000_000), to_end=False),
    ):
        memory.begin(timeout=PATIENCE)
        memory.end(kill=True)
    with step("The queue receives frames of every size into the kernel's memory; no page pool is left"):
        check_in_service(spare)


@requirement(
    "QAPI-UNBIND-03",
    level="MUST",
    source=f"{DEVMEM}; network_namespaces(7): a physical device is moved back when its namespace ends",
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_network_namespace_ends(splitting, come_back, worker, kind, allocate, guest, check_in_service, step):
    """When the namespace of interface and process ends, the interface comes back, its queue without the memory."""
    queue = splitting.queues() - 1
    process = worker()
    with step("Move the interface to the network namespace of a process, set it up, and bind memory there"):
        process.call("confinement.unshare_network")
        guest.agent.call("link.set", ifname=splitting.ifname, netns_pid=process.pid)
        process.call("link.set", ifname=splitting.ifname, up=True)
        memory = allocate(kind, process)
        memory.bind(queue)
    with step("Kill the process: the interface is back in the first namespace"):
        memory.end(kill=True)
        come_back()
    with step("The queue receives frames of every size into the kernel's memory; no page pool is left"):
        check_in_service(queue)


@requirement(
    "QAPI-UNBIND-04",
    level="MUST",
    source=f"{OPS}: ndo_queue_mem_alloc and ndo_queue_mem_free may be called while the interface is closed",
    falsified_by="program:qapi.stays-bound",
)
def test_interface_down(spare, memory, dut, settings, view, check_in_service, step):
    """Memory can be unbound while the interface is down; the queue is in service when it is up again."""
    with step("Bind memory and take the interface down"):
        memory.bind(spare)
        settings.set_link(up=False)
    with step("Unbind it: no page pool is left"):
        memory.unbind()
        assert not view.leaked_pools()
    with step("Take the interface up: the queue receives frames of every size into the kernel's memory"):
        dut.set_link(up=True)
        settings.ready()
        check_in_service(spare)


@requirement(
    "QAPI-UNBIND-05",
    level="MUST",
    source="include/net/page_pool/memory_provider.h, uninstall; Documentation/driver-api/driver-model/binding.rst",
    falsified_by=("program:driver.unbind-lost", "program:qapi.pool-left"),
)
def test_driver_unbound(spare, kind, allocate, binding, settings, check_in_service, view, step, until):
    """The driver can be unbound from its device while memory is bound to a queue; both end without a trace, and it serves again."""
    memory = allocate(kind)
    with step("Bind memory, and unbind the driver from the device"):
        memory.bind(spare)
        binding.unbind()
        assert not binding.interfaces()
    with step("Close what the memory was bound by: no page pool is left"):
        memory.unbind()
        until(lambda: not view.leaked_pools(), what="no page pool of bound memory is left", timeout=SOON)
    with step("Bind the driver again: no queue has memory bound to it, and this one receives frames of every size"):
        binding.bind()
        assert not view.bound()
        settings.ready()
        check_in_service(spare)


@requirement(
    "QAPI-UNBIND-08",
    level="MUST",
    source="include/net/page_pool/memory_provider.h, uninstall; net/core/dev.c, dev_memory_provider_uninstall",
    falsified_by=("program:driver.unbind-lost", "program:qapi.pool-left"),
)
@pytest.mark.budget(60)
def test_driver_unbound_as_the_process_dies(
    spare, kind, allocate, binding, settings, guest, check_in_service, view, step, until, defer
):
    """The driver can be unbound in the moment that who bound memory is killed; both end without a trace, and it serves again."""
    other = guest.agent.another()
    defer(other.close)
    for number in range(RACES):
        memory = allocate(kind)
        with step(f"Bind memory; kill the process while the driver is unbound from the device, time {number + 1}"):
            memory.bind(spare)
            with ThreadPoolExecutor() as pool:
                killed = pool.submit(other.call, "process.run", command=["kill", "-9", str(memory.worker.pid)])
                binding.unbind()
                assert killed.result()["exit_status"] == 0
            memory.end(kill=True)
            assert not binding.interfaces()
        with step("No page pool is left"):
            until(lambda: not view.leaked_pools(), what="no page pool of bound memory is left", timeout=SOON)
        with step(
            "Bind the driver again: no queue has memory bound to it, and frames of every size reach the stack by this one"
        ):
            binding.bind()
            settings.ready()
            settings.set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED)
            check_in_service(spare)


@requirement(
    "QAPI-UNBIND-06",
    level="MUST",
    source=OPS,
    falsified_by=("program:qapi.stays-bound", "program:qapi.pool-left"),
)
def test_link_down(spare, kind, allocate, dut, link_partner, until, check_in_service, step):
    """Memory can be bound and unbound while the link is down; the queue is in service when the link is up again."""
    memory = allocate(kind)
    with step("Bind memory, and take the partner down"):
        memory.bind(spare)
        link_partner.set(up=False)
        until(lambda: not dut.carrier, what="the driver reports no carrier", timeout=5)
    with step("Unbind the memory: the link is not reported up for it"):
        memory.unbind()
        assert not dut.carrier
    with step("Bring the partner up: the queue receives frames of every size into the kernel's memory"):
        link_partner.set(up=True)
        until(lambda: dut.carrier, what="the driver reports carrier", timeout=5)
        check_in_service(spare)


@requirement(
    "QAPI-UNBIND-07",
    level="MUST",
    source="Documentation/networking/devmem.rst, NIC Setup: bound until the netlink socket is closed",
    falsified_by=("program:qapi.byte-corrupted", "program:qapi.not-bound"),
)
def test_down_and_up(bring, kind, allocate, spare, dut, settings, view, peer, step):
    """A binding outlives the interface's going down and up: the queue receives into the same memory after it."""
    memory = allocate(kind)
    port = bring(memory)
    data = generate(9, 100_000)
    with step("Bind memory and take the interface down and up"):
        settings.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
    with step("The memory is bound to the queue, and a TCP stream by the queue comes into it"):
        assert view.bound() == {spare: memory.kind}
        with peer.sending(4, port, data):
            got = memory.receive(timeout=PATIENCE)
        got.check(data)
