# SPDX-License-Identifier: GPL-2.0-or-later
"""A receive queue that is leased to a virtual device (netkit), as a container is given one."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirements.requirement import requirement

SOURCE = "Documentation/netlink/specs/netdev.yaml, queue-create, lease"
ADD = ["ip", "link", "add", "numrxqueues", "2", "type", "netkit", "mode", "l2"]


@pytest.fixture
def leased(spare, dut, guest, defer, skip_unsupported):
    """A netkit device with one queue, which is leased from the last receive queue; name and queue."""
    before = set(guest.agent.call("link.list_all"))
    told = guest.agent.call("process.run", command=ADD)
    if told["exit_status"] != 0:
        skip_unsupported("netkit in this kernel", evidence=told["stderr"])
    made = sorted(set(guest.agent.call("link.list_all")) - before, key=lambda name: _index(guest, name))
    defer(_delete, guest, made[0])
    # Only the peer, which is made first, takes leases; the other is there to manage it.
    return made[0], guest.agent.call("netdev.queue_create", ifname=made[0], lender=dut.ifname, queue=spare)


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
def test_binding_through_a_lease(leased, spare, allocate, view, commands, step):
    """Memory that is bound to the virtual device's queue restarts the queue that is leased, and is shown there."""
    name, queue = leased
    with step("The kernel shows the lease on the queue"):
        assert view.states()[spare].lease["queue"] == {"id": queue, "type": "rx"}
    memory = allocate(ifname=name)
    with step("Bind memory to the virtual device's queue"), commands.during() as log:
        memory.bind(queue)
    with step("The device was told to destroy and create the leased queue, and no other; the memory is shown there"):
        assert log.about_receive_queues() == [f"destroy_rx_queue {spare}", f"create_rx_queue {spare}"]
        assert view.bound() == {spare: memory.kind}


@requirement(
    "QAPI-LEASE-02",
    level="MUST",
    source=f"{SOURCE}; net/core/netdev_rx_queue.c, netif_rxq_cleanup_unlease",
    falsified_by=("program:qapi.pool-left", "program:qapi.not-bound"),
)
def test_lease_ends_while_bound(leased, spare, allocate, view, guest, check_in_service, step):
    """When the virtual device is removed, the leased queue is unbound and in service again."""
    name, queue = leased
    memory = allocate(ifname=name)
    with step("Bind memory to the virtual device's queue, and remove the device"):
        memory.bind(queue)
        assert view.bound() == {spare: memory.kind}
        guest.agent.call("link.delete", ifname=name)
    with step("The queue has neither lease nor memory, and receives frames of every size"):
        assert view.states()[spare].lease is None
        check_in_service(spare)


@requirement(
    "QAPI-LEASE-03",
    level="MUST",
    source="net/core/netdev_rx_queue.c, netif_mp_open_rxq; net/core/netdev_queues.c, netdev_queue_get_dma_dev",
    falsified_by=("program:qapi.error-lost", "program:qapi.other-errno"),
)
@pytest.mark.usefixtures("leased")
def test_leased_queue_is_refused(spare, kind, allocate, unchanged, step, evidence):
    """Memory is not bound to a leased queue by way of the physical device: EBUSY, or EOPNOTSUPP as it has no DMA of its own."""
    memory = allocate(kind)
    with step("Ask to bind memory to the leased queue itself"):
        with unchanged():
            refused = memory.try_bind(spare)
        evidence("refusal", str(refused))
        assert refused is not None, "it was accepted"
        assert refused.errno in {errno.EBUSY, errno.EOPNOTSUPP}, str(refused)
