# SPDX-License-Identifier: GPL-2.0-or-later
"""Binding memory to a receive queue restarts that queue, and nothing else changes."""

from __future__ import annotations

from plugfest.queues.dma_record import stray
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst, NIC Setup"
SPEC = "Documentation/netlink/specs/netdev.yaml, queue, napi, page-pool"
OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"
SOON = 0.3
"""Seconds, on a guest of speed 1, for the kernel to give back what nobody holds any more."""

ROUNDS = 3


def places(states):
    """The interrupt of each queue by its index."""
    return {index: state.irq for index, state in states.items()}


def napis(states):
    """The NAPI instance of each queue by its index."""
    return {index: state.napi for index, state in states.items()}


@requirement(
    "QAPI-BIND-01",
    level="MUST",
    source=f"{DEVMEM}; {SPEC}",
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue"),
)
def test_bound_queue_is_shown(spare, kind, allocate, view, step):
    """Memory that is bound to a queue is shown on that queue, on no other, and in one page pool of the queue's NAPI."""
    memory = allocate(kind)
    with step("Bind memory to the last receive queue"):
        memory.bind(spare)
    with step("The kernel shows it on this queue and on no other, and a page pool that allocates from it"):
        assert view.bound() == {spare: kind}
        assert [pool["napi-id"] for pool in view.bound_pools()] == [view.states()[spare].napi]


@requirement(
    "QAPI-BIND-02",
    level="MUST",
    source=SPEC,
    falsified_by="program:qapi.interrupt-changed",
)
def test_queue_keeps_its_place(spare, kind, allocate, view, dut, step, until):
    """Over binding and unbinding, every queue keeps its index and its interrupt, and the rings keep their size."""
    memory = allocate(kind)
    with step("Read the queues and the ring size"):
        before, rings = view.states(), dut.get("rings")
        assert all(irq is not None for irq in places(before).values()), "a queue's NAPI has no interrupt"
    with step("Bind memory to the last receive queue"):
        memory.bind(spare)
        assert places(view.states()) == places(before)
        assert dut.get("rings") == rings
    with step("Unbind it"):
        memory.unbind()
        until(lambda: not view.bound(), what="no queue has memory bound to it", timeout=SOON)
        assert places(view.states()) == places(before)
        assert dut.get("rings") == rings


@requirement(
    "QAPI-BIND-03",
    level="SHOULD",
    source="Documentation/networking/napi.rst, Persistent NAPI config",
    falsified_by="program:qapi.napi-changed",
)
def test_queue_keeps_its_napi(spare, memory, view, step):
    """Over binding and unbinding, every queue keeps the id of its NAPI instance, by which applications know it."""
    with step("Read the queues"):
        before = view.states()
    with step("Bind memory to the last receive queue"):
        memory.bind(spare)
        assert napis(view.states()) == napis(before)
    with step("Unbind it"):
        memory.unbind()
        assert napis(view.states()) == napis(before)


@requirement(
    "QAPI-BIND-04",
    level="MUST",
    source=f"{OPS}, ndo_queue_stop, ndo_queue_start",
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue", "program:qapi.stays-bound"),
)
def test_device_restarts_one_queue(spare, kind, allocate, view, commands, dut, settings, step, until):
    """Binding and unbinding each destroy and create one queue in the device, the same, and no other, and as it was when it came up."""
    memory = allocate(kind)
    restart = [f"destroy_rx_queue {spare}", f"create_rx_queue {spare}"]
    with step("Take the interface down and up, which creates every queue"), commands.during() as first_up:
        settings.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
    with step("Bind memory to the last receive queue"), commands.during() as binding:
        memory.bind(spare)
    with step("Unbind it"), commands.during() as unbinding:
        memory.unbind()
        until(lambda: not view.bound(), what="no queue has memory bound to it", timeout=SOON)
    with step("Both times the device was told to destroy and create this queue, and none of its rules was broken"):
        for log in (binding, unbinding):
            assert log.about_receive_queues() == restart
            log.check_rules()
    with step("Each time with the ring size, buffer sizes and interrupt that the queue had from the start"):
        made = {"up": first_up, "bound": binding, "unbound": unbinding}
        details = {when: log.last("create_rx_queue", spare).details for when, log in made.items()}
        for name in ("ring_size", "buffer_size", "header_buffer_size", "ntfy_id"):
            values = {when: each[name] for when, each in details.items()}
            assert len(set(values.values())) == 1, f"{name}: {values}"


@requirement(
    "QAPI-BIND-05",
    level="MUST",
    source=f"{OPS}, ndo_queue_stop: the stopped queue's memory is handed back",
    falsified_by="rx.stopped.dma",
)
def test_no_dma_while_stopped(splitting, memory, steering, commands, dma, traffic, step):
    """Between stop and start of a queue the device neither reads nor writes memory for it, though frames come for it."""
    queue = splitting.queues() - 1
    with step("Have RSS send everything to the last receive queue"):
        steering.only(queue)
    with (
        step(f"Bind and unbind memory {ROUNDS} times while frames come"),
        traffic.stream(),
        dma.during() as record,
        commands.during() as log,
    ):
        for _ in range(ROUNDS):
            memory.bind(queue)
            memory.unbind()
    stops = [each.time for each in log.commands if str(each) == f"destroy_rx_queue {queue}"]
    starts = [each.time for each in log.commands if str(each) == f"create_rx_queue {queue}"]
    with step("The queue was stopped and started each time, and received between"):
        assert len(stops) == len(starts) == 2 * ROUNDS, log.about_receive_queues()
        accesses = record.of(queue)
        assert [each for each in accesses if starts[0] < each.time < stops[-1]], "nothing was received meanwhile"
    with step("The device made no access for it while it was stopped"):
        for stop, start in zip(stops, starts, strict=True):
            found = stray(each for each in accesses if stop < each.time < start)
            assert not found, found


@requirement(
    "QAPI-BIND-06",
    level="MUST",
    source=f"{DEVMEM}: any number of RX queues",
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue"),
)
def test_several_queues(splitting, memory, view, traffic, step, skip_unsupported):
    """One dma-buf can be bound to several queues at once, and all are in service again when it is unbound."""
    queues = splitting.queues()
    if queues < 3:
        skip_unsupported("three receive queues", evidence=splitting.get("channels"))
    wanted = (queues - 2, queues - 1)
    with step("Bind memory to the last two receive queues"):
        memory.bind(*wanted)
        assert view.bound() == dict.fromkeys(wanted, memory.kind)
        assert len(set(view.bindings().values())) == 1
    with step("Unbind it: frames of every size reach the stack by every queue"):
        memory.unbind()
        assert not view.bound()
        traffic.check_delivery()


@requirement(
    "QAPI-BIND-07",
    level="SHOULD",
    source=f"{DEVMEM}: any number of RX queues",
    falsified_by="program:qapi.not-bound",
)
def test_every_queue(splitting, allocate, view, traffic, step):
    """Memory can be bound to each receive queue that the interface has."""
    refused = []
    for queue in range(splitting.queues()):
        memory = allocate()
        with step(f"Bind memory to receive queue {queue} and unbind it"):
            refusal = memory.try_bind(queue)
            if refusal is None:
                assert view.bound() == {queue: memory.kind}
            else:
                refused.append(f"queue {queue}: {refusal.message}")
            memory.unbind()
            assert not view.bound()
    with step("Frames of every size reach the stack by every queue"):
        traffic.check_delivery()
    with step("None was refused"):
        assert not refused, "; ".join(refused)


@requirement(
    "QAPI-BIND-08",
    level="MUST",
    source=f"{SPEC}, napi-get",
    falsified_by="program:qapi.not-bound",
)
def test_queue_in_the_middle(splitting, memory, view, step, skip_unsupported):
    """After a queue that is not the last has been restarted, netlink still tells every queue's NAPI and interrupt."""
    queues = splitting.queues()
    if queues < 3:
        skip_unsupported("three receive queues", evidence=splitting.get("channels"))
    with step("Read the queues"):
        before = view.states()
    with step("Bind memory to the last but one receive queue"):
        memory.bind(queues - 2)
        assert view.bound() == {queues - 2: memory.kind}
    with step("The kernel tells the interrupt of each queue's NAPI"):
        assert places(view.states()) == places(before)


@requirement(
    "QAPI-BIND-09",
    level="MUST",
    source=f"{OPS}; Documentation/netlink/specs/netdev.yaml, bind-rx, queues",
    falsified_by=("program:qapi.next-queue", "program:qapi.stays-bound"),
)
def test_named_twice(spare, memory, view, commands, check_in_service, step, evidence):
    """A queue that is named twice in one request is restarted and bound once, or the request is refused and changes nothing."""
    with step("Ask to bind memory to the last receive queue, naming it twice"), commands.during() as log:
        refused = memory.try_bind(spare, spare)
        evidence("refusal", str(refused))
    with step(
        "It is bound, by one restart in the device; or it is refused with words, and the device was told nothing"
    ):
        if refused is None:
            assert view.bound() == {spare: memory.kind}
            assert log.about_receive_queues() == [f"destroy_rx_queue {spare}", f"create_rx_queue {spare}"]
        else:
            assert refused.extack, f"only the errno came: {refused}"
            assert not view.bound()
            assert not log.about_receive_queues()
    with step("Unbind it: the queue receives frames of every size into the kernel's memory; no page pool is left"):
        memory.unbind()
        check_in_service(spare)
