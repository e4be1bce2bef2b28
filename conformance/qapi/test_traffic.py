# SPDX-License-Identifier: GPL-2.0-or-later
"""While one queue is restarted, the link stays up and the other queues keep working."""

from __future__ import annotations

from plugfest.requirements.requirement import requirement

OPS = "include/net/netdev_queues.h, struct netdev_queue_mgmt_ops: one queue is stopped and started"
ROUNDS = 10
OPERSTATES = "Documentation/networking/operstates.rst, IF_OPER_DOWN; IFLA_CARRIER_DOWN_COUNT"


@requirement(
    "QAPI-TRAFFIC-01",
    level="SHOULD",
    source=OPS,
    falsified_by=("wire:frame.lost", "rx.frame.dropped"),
)
def test_other_queues_lose_nothing(last_queue, memory, continuous_traffic, accounting, dut, step, evidence):
    """While a queue is stopped and started, no frame for another queue is lost."""
    before = accounting.read()
    with step("Bind and unbind memory while frames arrive on all other queues"), continuous_traffic.to_dut() as count:
        memory.bind(last_queue)
        memory.unbind()
    evidence("frames", {"sent": len(count.sent), "lost": count.lost})
    with step("Frames arrived on every other queue"):
        received = accounting.read().queues.since(before.queues).rx
        idle = set(range(dut.queues())) - {last_queue} - received.keys()
        assert not idle, f"of {len(count.sent)} frames sent, none arrived on queues {sorted(idle)}"
    with step("The stack received every frame, once and unchanged"):
        count.check()


@requirement(
    "QAPI-TRAFFIC-02",
    level="MUST",
    source=f"{OPS}; {OPERSTATES}",
    falsified_by="link.flap.on-queue-command",
)
def test_link_stays_up(last_queue, memory, guest, dut, step, defer, evidence):
    """While a queue is stopped and started, the driver does not report the link down: no notification, and unchanged carrier counts."""
    monitor = guest.agent.call("link.monitor_open")
    defer(guest.agent.call, "handle.close", handle=monitor)
    with step("Read the carrier change counts"):
        before = dut.link()
    with step("Bind and unbind memory"):
        memory.bind(last_queue)
        memory.unbind()
    after = dut.link()
    events = guest.agent.call("link.monitor_read", monitor=monitor, ifname=dut.ifname)
    downs = [event for event in events if event.get("carrier") == 0]
    counts = {name: (before[name], after[name]) for name in ("carrier-up-count", "carrier-down-count")}
    evidence("carrier counts before and after", counts)
    with step("No notification reports a lost carrier, and the counts are as before"):
        found = (len(downs), *(now - then for then, now in counts.values()))
        assert not any(found), "{} notifications of no carrier; {} more times up and {} times down".format(*found)


@requirement(
    "QAPI-TRAFFIC-03",
    level="MUST",
    source=OPS,
    falsified_by="rx.queue.destroy-fails",
)
def test_no_reset(last_queue, memory, commands, step):
    """To stop and start a queue, the driver neither resets the device nor touches another queue."""
    with step("Bind and unbind memory"), commands.during() as log:
        error = memory.try_bind(last_queue)
        memory.unbind()
    with step("The device was not reset, and no other queue, receive or transmit, was destroyed or created"):
        assert not log.named("reset"), log.named("reset")
        others = [
            str(each)
            for each in log.commands
            if each.opcode.endswith("_queue") and (each.queue != last_queue or "tx" in each.opcode)
        ]
        assert not others, others
        assert error is None, str(error)


@requirement(
    "QAPI-TRAFFIC-04",
    level="MUST",
    source=OPS,
    falsified_by=("wire:frame.lost", "rx.queue.wrong"),
)
def test_every_queue_after_restart(header_split, memory, check_traffic, commands, step):
    """After a queue was stopped and started, frames cross the link through every queue, both ways, once and unchanged."""
    queue = header_split.queues() - 2
    with step("Bind memory to the second-to-last receive queue and unbind it"), commands.during() as log:
        memory.bind(queue)
        memory.unbind()
    with step("The driver stopped and started this queue only, and broke no rule of the device"):
        touched = {event["queue"] for event in log.named("queue.disable", "queue.enable") if event["direction"] == "rx"}
        assert touched == {queue}
        log.check_rules()
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()


@requirement(
    "QAPI-TRAFFIC-05",
    level="SHOULD",
    source=OPS,
    falsified_by="tx.frame.dropped",
)
def test_transmit_loses_nothing(last_queue, memory, continuous_traffic, step, evidence):
    """While a receive queue is stopped and started, no frame that the stack hands to the driver for transmission is lost."""
    with (
        step(f"Bind and unbind memory {ROUNDS} times while the guest sends frames from every CPU"),
        continuous_traffic.from_dut() as count,
    ):
        for _ in range(ROUNDS):
            memory.bind(last_queue)
            memory.unbind()
    evidence("frames", {"sent": len(count.sent), "lost": count.lost})
    with step("The wire carried every frame, once and unchanged, and at least one for each round"):
        assert len(count.sent) >= ROUNDS, f"expected at least {ROUNDS} frames, the guest sent {len(count.sent)}"
        count.check()
