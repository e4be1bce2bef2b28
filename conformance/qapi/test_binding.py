# SPDX-License-Identifier: GPL-2.0-or-later
"""Binding memory to a receive queue restarts that queue and changes nothing else."""

from __future__ import annotations

from plugfest.queues.dma_record import stray
from plugfest.queues.memory_provider import RELEASE_TIMEOUT
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst, NIC Setup (since Linux 6.12)"
SPEC = "Documentation/netlink/specs/netdev.yaml, queue, napi, page-pool"
OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"

ROUNDS = 3


def irqs(states):
    """Return the interrupt of each queue, by queue index."""
    return {index: state.irq for index, state in states.items()}


def napi_ids(states):
    """Return the NAPI id of each queue, by queue index."""
    return {index: state.napi for index, state in states.items()}


@requirement(
    "QAPI-BIND-01",
    level="MUST",
    source=f"{DEVMEM}; {SPEC}",
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue"),
)
def test_bound_queue_is_reported(last_queue, kind, allocate, view, step):
    """The kernel reports bound memory on the bound queue, on no other queue, and in one page pool of that queue's NAPI."""
    memory = allocate(kind)
    with step("Bind memory to the last receive queue"):
        memory.bind(last_queue)
    with step("queue-get reports the memory on this queue only, and page-pool-get one pool that allocates from it"):
        assert view.bound() == {last_queue: kind}
        assert [pool["napi-id"] for pool in view.bound_pools()] == [view.states()[last_queue].napi]


@requirement(
    "QAPI-BIND-02",
    level="MUST",
    source=SPEC,
    falsified_by="program:qapi.interrupt-changed",
)
def test_queue_keeps_index_and_irq(last_queue, kind, allocate, view, dut, step, until):
    """Every queue keeps its index and its interrupt, and the rings keep their size, when memory is bound and unbound."""
    memory = allocate(kind)
    with step("Read the queues and the ring size"):
        before, rings = view.states(), dut.get("rings")
        assert all(irq is not None for irq in irqs(before).values()), "napi-get reports no interrupt for a queue's NAPI"
    with step("Bind memory to the last receive queue"):
        memory.bind(last_queue)
        assert irqs(view.states()) == irqs(before)
        assert dut.get("rings") == rings
    with step("Unbind it"):
        memory.unbind()
        until(lambda: not view.bound(), what="no queue has memory bound to it", timeout=RELEASE_TIMEOUT)
        assert irqs(view.states()) == irqs(before)
        assert dut.get("rings") == rings


@requirement(
    "QAPI-BIND-03",
    level="SHOULD",
    source="Documentation/networking/napi.rst, Persistent NAPI config",
    falsified_by="program:qapi.napi-changed",
)
def test_queue_keeps_napi_id(last_queue, memory, view, step):
    """Every queue keeps its NAPI id, by which applications identify it, when memory is bound and unbound."""
    with step("Read the queues"):
        before = napi_ids(view.states())
    with step("Bind memory to the last receive queue"):
        memory.bind(last_queue)
        bound = napi_ids(view.states())
    with step("Unbind it"):
        memory.unbind()
        unbound = napi_ids(view.states())
    with step("The queues have had the same NAPI ids all the time"):
        assert before == bound == unbound, f"the NAPI ids {before} became {bound} when bound, {unbound} when unbound"


@requirement(
    "QAPI-BIND-04",
    level="MUST",
    source=f"{OPS}, ndo_queue_stop, ndo_queue_start",
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue", "program:qapi.stays-bound"),
)
def test_device_restarts_one_queue(last_queue, kind, allocate, view, commands, dut, settings, step, until):
    """Binding and unbinding each destroy and create exactly the bound queue in the device, with the parameters it had at ifup."""
    memory = allocate(kind)
    restart = [f"destroy_rx_queue {last_queue}", f"create_rx_queue {last_queue}"]
    with step("Take the interface down and up, which creates every queue"), commands.during() as first_up:
        settings.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
    with step("Bind memory to the last receive queue"), commands.during() as binding:
        memory.bind(last_queue)
    with step("Unbind it"), commands.during() as unbinding:
        memory.unbind()
        until(lambda: not view.bound(), what="no queue has memory bound to it", timeout=RELEASE_TIMEOUT)
    with step("Each time the driver destroyed and created this queue only, and broke no rule of the device"):
        for log in (binding, unbinding):
            assert log.about_receive_queues() == restart
            log.check_rules()
    with step("Each time the queue had the ring size, buffer sizes and interrupt that it had at ifup"):
        made = {"up": first_up, "bound": binding, "unbound": unbinding}
        details = {when: log.last("create_rx_queue", last_queue).details for when, log in made.items()}
        for name in ("ring_size", "buffer_size", "header_buffer_size", "ntfy_id"):
            values = {when: each[name] for when, each in details.items()}
            assert len(set(values.values())) == 1, f"{name}: {values}"


@requirement(
    "QAPI-BIND-05",
    level="MUST",
    source=f"{OPS}, ndo_queue_stop: the stopped queue's memory is handed back",
    falsified_by="rx.stopped.dma",
)
def test_no_dma_while_stopped(header_split, memory, steering, commands, dma, traffic, step):
    """While a queue is stopped, the device neither reads nor writes memory for it, even if frames for it arrive."""
    queue = header_split.queues() - 1
    with step("Have RSS send everything to the last receive queue"):
        steering.only(queue)
    with (
        step(f"Bind and unbind memory {ROUNDS} times while frames arrive"),
        traffic.stream(),
        dma.during() as record,
        commands.during() as log,
    ):
        for _ in range(ROUNDS):
            memory.bind(queue)
            memory.unbind()
    stops = [each.time for each in log.commands if str(each) == f"destroy_rx_queue {queue}"]
    starts = [each.time for each in log.commands if str(each) == f"create_rx_queue {queue}"]
    with step("The queue was stopped and started each time, and received frames in between"):
        assert len(stops) == len(starts) == 2 * ROUNDS, log.about_receive_queues()
        accesses = record.of(queue)
        assert [each for each in accesses if starts[0] < each.time < stops[-1]], "the queue received nothing in between"
    with step("The device accessed no memory for the queue while it was stopped"):
        for stop, start in zip(stops, starts, strict=True):
            found = stray(each for each in accesses if stop < each.time < start)
            assert not found, found


@requirement(
    "QAPI-BIND-06",
    level="MUST",
    source=f"{DEVMEM}: any number of RX queues",
    falsified_by=("program:qapi.not-bound", "program:qapi.next-queue"),
)
def test_several_queues(header_split, memory, view, traffic, step, skip_unsupported):
    """One dma-buf can be bound to several queues at once, and all of them receive again after it is unbound."""
    queues = header_split.queues()
    if queues < 3:
        skip_unsupported("three receive queues", evidence=header_split.get("channels"))
    wanted = (queues - 2, queues - 1)
    with step("Bind memory to the last two receive queues"):
        memory.bind(*wanted)
        assert view.bound() == dict.fromkeys(wanted, memory.kind)
        assert len(set(view.bindings().values())) == 1
    with step("Unbind it: frames of every size reach the stack through every queue"):
        memory.unbind()
        assert not view.bound()
        traffic.check_delivery()


@requirement(
    "QAPI-BIND-07",
    level="SHOULD",
    source=f"{DEVMEM}: any number of RX queues",
    falsified_by="program:qapi.not-bound",
)
def test_every_queue(header_split, allocate, view, traffic, step):
    """Memory can be bound to every receive queue of the interface."""
    errors = []
    for queue in range(header_split.queues()):
        memory = allocate()
        with step(f"Bind memory to receive queue {queue} and unbind it"):
            error = memory.try_bind(queue)
            if error is None:
                assert view.bound() == {queue: memory.kind}
            else:
                errors.append(f"queue {queue}: {error.message}")
            memory.unbind()
            assert not view.bound()
    with step("Frames of every size reach the stack through every queue"):
        traffic.check_delivery()
    with step("The kernel bound each"):
        assert not errors, "; ".join(errors)


@requirement(
    "QAPI-BIND-08",
    level="MUST",
    source=f"{SPEC}, napi-get",
    falsified_by="program:qapi.not-bound",
)
def test_napi_after_restart_of_inner_queue(header_split, memory, view, step, skip_unsupported):
    """After a queue other than the last was restarted, napi-get still reports every queue's NAPI and interrupt."""
    queues = header_split.queues()
    if queues < 3:
        skip_unsupported("three receive queues", evidence=header_split.get("channels"))
    with step("Read the queues"):
        before = view.states()
    with step("Bind memory to the second-to-last receive queue"):
        memory.bind(queues - 2)
        assert view.bound() == {queues - 2: memory.kind}
    with step("napi-get reports the interrupt of each queue's NAPI, the same as before"):
        assert irqs(view.states()) == irqs(before)


@requirement(
    "QAPI-BIND-09",
    level="MUST",
    source=f"{OPS}; Documentation/netlink/specs/netdev.yaml, bind-rx, queues",
    falsified_by=("program:qapi.next-queue", "program:qapi.stays-bound"),
)
def test_queue_named_twice(last_queue, memory, view, commands, check_unbound, step, evidence):
    """If a bind request names a queue twice, the kernel binds it once with one restart, or fails and changes nothing."""
    with step("Ask to bind memory to the last receive queue, named twice"), commands.during() as log:
        error = memory.try_bind(last_queue, last_queue)
        evidence("error", str(error))
    with step(
        "It is bound with one restart in the device; or the kernel returns an error with an extack message, and the driver sent no command"
    ):
        if error is None:
            assert view.bound() == {last_queue: memory.kind}
            assert log.about_receive_queues() == [f"destroy_rx_queue {last_queue}", f"create_rx_queue {last_queue}"]
        else:
            assert error.extack, f"the error has no extack message: {error}"
            assert not view.bound()
            assert not log.about_receive_queues()
    with step("Unbind it: the queue receives frames of every size into kernel memory; no page pool is left"):
        memory.unbind()
        check_unbound(last_queue)
