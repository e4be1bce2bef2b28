# SPDX-License-Identifier: GPL-2.0-or-later
"""A receive queue leased to a virtual device (netkit), as a container gets one."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/netlink/specs/netdev.yaml, queue-create, lease"
NETKIT_ADD = ["ip", "link", "add", "numrxqueues", "2", "type", "netkit", "mode", "l2"]


@pytest.fixture
def netkit_lease(last_queue, dut, guest, defer, skip_kernel_lacks):
    """The name of a netkit device, and the index of its queue that leases the last receive queue."""
    before = set(guest.agent.call("link.list_all"))
    result = guest.agent.call("process.run", command=NETKIT_ADD)
    if result["exit_status"] != 0:
        skip_kernel_lacks("devices of type netkit", evidence=result["stderr"])
    made = sorted(set(guest.agent.call("link.list_all")) - before, key=lambda name: _index(guest, name))
    defer(_delete, guest, made[0])
    # Only the peer, which the kernel creates first, accepts leases; the primary manages it.
    return made[0], guest.agent.call("netdev.queue_create", ifname=made[0], lender=dut.ifname, queue=last_queue)


def _index(guest, name):
    return guest.agent.call("link.get", ifname=name)["ifindex"]


def _delete(guest, name):
    if name in guest.agent.call("link.list_all"):
        guest.agent.call("link.delete", ifname=name)


@requirement(
    "QAPI-LEASE-01",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue"),
)
def test_binding_through_a_lease(netkit_lease, last_queue, allocate, view, commands, step):
    """Binding memory to the virtual device's queue restarts the leased queue, and the kernel reports the memory there."""
    name, queue = netkit_lease
    with step("queue-get reports the lease on the queue"):
        assert view.states()[last_queue].lease["queue"] == {"id": queue, "type": "rx"}
    memory = allocate(ifname=name)
    with step("Bind memory to the virtual device's queue"), commands.during() as log:
        memory.bind(queue)
    with step("The driver destroyed and created the leased queue only; queue-get reports the memory on it"):
        assert log.about_receive_queues() == [f"destroy_rx_queue {last_queue}", f"create_rx_queue {last_queue}"]
        assert view.bound() == {last_queue: memory.kind}


@requirement(
    "QAPI-LEASE-02",
    level="MUST",
    source=f"{SOURCE}; net/core/netdev_rx_queue.c, netif_rxq_cleanup_unlease",
    falsified_by=("program:qapi.pool-left", "program:qapi.not-bound"),
)
def test_lease_ends_while_bound(netkit_lease, last_queue, allocate, view, guest, check_unbound, step):
    """Removing the virtual device unbinds the leased queue, which then receives into kernel memory again."""
    name, queue = netkit_lease
    memory = allocate(ifname=name)
    with step("Bind memory to the virtual device's queue, and delete the device"):
        memory.bind(queue)
        assert view.bound() == {last_queue: memory.kind}
        guest.agent.call("link.delete", ifname=name)
    with step("The queue has neither lease nor bound memory, and receives frames of every size"):
        assert view.states()[last_queue].lease is None
        check_unbound(last_queue)


@requirement(
    "QAPI-LEASE-03",
    level="MUST",
    source="net/core/netdev_rx_queue.c, netif_mp_open_rxq; net/core/netdev_queues.c, netdev_queue_get_dma_dev",
    falsified_by=("program:qapi.error-lost", "program:qapi.other-errno"),
)
@pytest.mark.usefixtures("netkit_lease")
def test_binding_the_leased_queue_itself(last_queue, kind, allocate, config_unchanged, step, evidence):
    """A leased queue cannot be bound through the physical device: EBUSY, or EOPNOTSUPP because the lease has no DMA device."""
    memory = allocate(kind)
    with step("Ask to bind memory to the leased queue itself"):
        with config_unchanged():
            error = memory.try_bind(last_queue)
        evidence("error", str(error))
        assert error is not None, "expected an error, but the kernel bound the memory"
        assert error.errno in {errno.EBUSY, errno.EOPNOTSUPP}, str(error)
