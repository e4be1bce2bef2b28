# SPDX-License-Identifier: GPL-2.0-or-later
"""While one queue is restarted, the interface and its other queues go on."""

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
def test_other_queues_lose_nothing(spare, memory, continuous_traffic, accounting, dut, step, evidence):
    """No frame for another queue is lost while a queue is stopped and started."""
    before = accounting.read()
    with step("Bind and unbind memory while frames come for all other queues"), continuous_traffic.to_dut() as count:
        memory.bind(spare)
        memory.unbind()
    evidence("frames", {"sent": len(count.sent), "lost": count.lost})
    with step("Frames came by every other queue"):
        came = accounting.read().queues.since(before.queues).rx
        silent = set(range(dut.queues())) - {spare} - came.keys()
        assert not silent, f"no frame came by queues {sorted(silent)}: {len(count.sent)} were sent"
    with step("The stack received every frame, once and unchanged"):
        count.check()


@requirement(
    "QAPI-TRAFFIC-02",
    level="MUST",
    source=f"{OPS}; {OPERSTATES}",
    falsified_by="link.flap.on-queue-command",
)
def test_link_stays_up(spare, memory, guest, dut, step, defer, evidence):
    """The link is not reported down while a queue is stopped and started: no notification, no change of the count."""
    monitor = guest.agent.call("link.monitor_open")
    defer(guest.agent.call, "handle.close", handle=monitor)
    with step("Read the counts of carrier changes"):
        before = dut.link()
    with step("Bind and unbind memory"):
        memory.bind(spare)
        memory.unbind()
    after = dut.link()
    told = guest.agent.call("link.monitor_read", monitor=monitor, ifname=dut.ifname)
    downs = [event for event in told if event.get("carrier") == 0]
    counts = {name: (before[name], after[name]) for name in ("carrier-up-count", "carrier-down-count")}
    evidence("carrier counts before and after", counts)
    with step("Nobody was told that the carrier went, and the counts are as before"):
        assert not downs, f"{len(downs)} notifications say that there is no carrier"
        assert all(now == then for then, now in counts.values()), counts


@requirement(
    "QAPI-TRAFFIC-03",
    level="MUST",
    source=OPS,
    falsified_by="rx.queue.destroy-fails",
)
def test_no_reset(spare, memory, commands, step):
    """The driver neither resets the device nor touches its other queues to stop and start one."""
    with step("Bind and unbind memory"), commands.during() as log:
        refused = memory.try_bind(spare)
        memory.unbind()
    with step("The device was not reset, and no other queue, receive or transmit, was destroyed or created"):
        assert not log.named("reset"), log.named("reset")
        others = [
            str(each)
            for each in log.commands
            if each.opcode.endswith("_queue") and (each.queue != spare or "tx" in each.opcode)
        ]
        assert not others, others
        assert refused is None, str(refused)


@requirement(
    "QAPI-TRAFFIC-04",
    level="MUST",
    source=OPS,
    falsified_by=("wire:frame.lost", "rx.queue.wrong"),
)
def test_every_queue_delivers_after(splitting, memory, check_traffic, commands, step):
    """After a queue was stopped and started, frames cross the link by every queue, both ways, once and unchanged."""
    queue = splitting.queues() - 2
    with step("Bind and unbind memory to the last receive queue but one"), commands.during() as log:
        memory.bind(queue)
        memory.unbind()
    with step("The device stopped and started this queue and no other, and none of its rules was broken"):
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
def test_sending_goes_on(spare, memory, continuous_traffic, step, evidence):
    """No frame that the driver was given to send is lost while a receive queue is stopped and started."""
    with (
        step(f"Bind and unbind memory {ROUNDS} times while the guest sends frames from every CPU"),
        continuous_traffic.from_dut() as count,
    ):
        for _ in range(ROUNDS):
            memory.bind(spare)
            memory.unbind()
    evidence("frames", {"sent": len(count.sent), "lost": count.lost})
    with step("The wire carried every frame, once and unchanged, and there was at least one for each time"):
        assert len(count.sent) >= ROUNDS, f"{len(count.sent)} frames were sent"
        count.check()
