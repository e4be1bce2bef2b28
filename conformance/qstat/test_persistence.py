# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics persist across routine operations: the interface's always, and netlink's device-wide queue statistics."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.operations import NotOfferedError
from plugfest.machine.console import TRANSMIT_WATCHDOG
from plugfest.requirements.requirement import requirement
from plugfest.statistics.monotonic import counter_snapshot as read_counters
from plugfest.statistics.monotonic import lost

PERSIST = "Documentation/networking/statistics.rst, statistics must persist across routine operations"
SINCE_RESET = (
    "Documentation/netlink/specs/netdev.yaml, qstats: events since the last explicit reset, not a reconfiguration"
)
RESTARTS = "Documentation/netlink/specs/netdev.yaml, qstats: per queue, likely since the last reconfiguration"
RESET = f"{PERSIST}; Documentation/networking/netdevices.rst, ndo_tx_timeout"
QUEUE_API = f"{PERSIST}; Documentation/networking/netmem.rst; include/net/netdev_queues.h, struct netdev_queue_mgmt_ops"
GONE_BACK = ("program:qstat.gone-back",)


def check_no_decrease(*pairs):
    """Check that no counter decreased between the first and the second of each pair.

    Raises:
        AssertionError: one did; the message has its name and both values.
    """
    decreased = [
        f"{name} was {value}, is {after.get(name)}"
        for before, after in pairs
        for name, value in before.items()
        if (after.get(name) or 0) < value
    ]
    assert not decreased, f"counters decreased: {'; '.join(decreased)}"


@pytest.fixture
def send_both_ways(traffic):
    """``send_both_ways()``: test frames to the DUT and from it."""

    def send():
        traffic.check_delivery()
        traffic.send_back()

    return send


@pytest.fixture
def counter_snapshot(accounting, send_both_ways, step):
    """The interface's statistics, read after test frames went both ways."""
    with step("Send test frames both ways, and read the interface's statistics"):
        send_both_ways()
    return accounting.read().link


@requirement("QSTAT-PERSIST-01", level="MUST", source=PERSIST, falsified_by=GONE_BACK)
def test_down_and_up(counter_snapshot, accounting, dut, step, defer, traffic):
    """The interface's statistics do not decrease when it is taken down and up."""
    with step("Take the interface down and up"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        dut.set_link(up=True)
        traffic.ready()
    with step("No counter of the interface decreased"):
        check_no_decrease((counter_snapshot, accounting.read().link))


@requirement("QSTAT-PERSIST-02", level="MUST", source=PERSIST, falsified_by=GONE_BACK)
def test_ring_resize(counter_snapshot, accounting, dut, step, defer, skip_unsupported, traffic):
    """The interface's statistics do not decrease when the rings are resized."""
    rings = dut.get("rings")
    if not rings or rings["rx"] == rings["rx-max"]:
        skip_unsupported("larger rings", evidence=rings)
    with step("Double the number of receive and transmit descriptors, up to the driver's maximum"):
        defer(dut.set, "rings", rx=rings["rx"], tx=rings["tx"])
        larger = {side: min(2 * rings[side], rings[f"{side}-max"]) for side in ("rx", "tx")}
        dut.set("rings", **larger)
        traffic.ready()
    with step("The rings have the new size"):
        assert {side: dut.get("rings")[side] for side in larger} == larger
    with step("No counter of the interface decreased"):
        check_no_decrease((counter_snapshot, accounting.read().link))


@requirement("QSTAT-PERSIST-03", level="MUST", source=PERSIST, falsified_by=GONE_BACK)
def test_channel_change(counter_snapshot, accounting, operations, step, defer, skip_unsupported):
    """The interface's statistics do not decrease when the number of channels changes."""
    with step("Change the number of channels by one"):
        try:
            operations.other_channels(defer)
        except NotOfferedError as error:
            skip_unsupported("another number of channels", evidence=str(error))
    with step("No counter of the interface decreased"):
        check_no_decrease((counter_snapshot, accounting.read().link))


@requirement("QSTAT-PERSIST-04", level="MUST", source=PERSIST, falsified_by=GONE_BACK)
def test_xdp_attach(counter_snapshot, native, accounting, step, traffic):
    """The interface's statistics do not decrease when an XDP program is attached and detached."""
    with step("Attach a program that passes all frames"):
        native.attach("xdp_pass")
        traffic.ready()
        attached = accounting.read().link
    with step("Detach it"):
        native.detach()
        traffic.ready()
    with step("No counter of the interface decreased, neither on attach nor on detach"):
        check_no_decrease((counter_snapshot, attached), (attached, accounting.read().link))


@pytest.mark.usefixtures("counter_snapshot")
@requirement("QSTAT-PERSIST-05", level="MUST", source=SINCE_RESET, falsified_by=("program:qstat.device-gone-back",))
def test_device_scope(netlink_counters, operations, send_both_ways, step, evidence, skip_unsupported):
    """Netlink's device-wide queue statistics do not decrease over any routine operation.

    All operations are tried before the verdict, each after test frames both ways: a count that is 0 cannot decrease.
    """
    decreased = {}
    before = read_counters(netlink_counters).device
    if not before:
        skip_unsupported("netlink queue statistics of device scope", evidence=before)
    for done in operations.one_by_one():
        with step(f"{done}: read the counters, and send test frames both ways"):
            after = read_counters(netlink_counters).device
            gone = [f"{name} is gone" for name in before if name not in after]
            if found := gone + lost(before, after):
                decreased[done] = found
            send_both_ways()
            before = read_counters(netlink_counters).device
    evidence("not offered", operations.not_offered)
    with step("No device-wide counter decreased over any of these operations"):
        assert decreased == {}


@pytest.mark.usefixtures("counter_snapshot")
@requirement("QSTAT-PERSIST-06", level="SHOULD", source=RESTARTS, falsified_by=GONE_BACK, variant="netlink")
@requirement("QSTAT-PERSIST-07", level="SHOULD", source=PERSIST, falsified_by=GONE_BACK, variant="ethtool")
def test_queues(queue_counters, operations, send_both_ways, step, evidence):
    """The statistics of a queue that still exists do not decrease over any routine operation.

    Netlink's may: netdev.yaml allows them to restart with a reconfiguration. All operations are tried before the verdict, each after
    test frames both ways: a count that is 0 cannot decrease.
    """
    decreased = {}
    before = read_counters(queue_counters).by(queue_counters.source)
    for done in operations.one_by_one():
        with step(f"{done}: read the counters, and send test frames both ways"):
            if found := lost(before, read_counters(queue_counters).by(queue_counters.source)):
                decreased[done] = found
            send_both_ways()
            before = read_counters(queue_counters).by(queue_counters.source)
    evidence("not offered", operations.not_offered)
    with step("No counter decreased over any of these operations"):
        assert decreased == {}


@requirement("QSTAT-PERSIST-08", level="MUST", source=PERSIST, falsified_by=GONE_BACK)
def test_changes_that_reset(counter_snapshot, accounting, operations, step, skip_unsupported):
    """The interface's statistics do not decrease when its MTU changes or autonegotiation restarts, which reset the device."""
    errors = {}
    for operation in (operations.change_mtu, operations.restart_negotiation):
        with step("Change the MTU and change it back; restart autonegotiation: no counter of the interface decreased"):
            try:
                operation()
            except NotOfferedError as error:
                errors[operation.__name__] = str(error)
            else:
                check_no_decrease((counter_snapshot, accounting.read().link))
    if len(errors) > 1:
        skip_unsupported("a change of the MTU or a restart of autonegotiation", evidence=errors)


@requirement(
    "QSTAT-PERSIST-09",
    level="MUST",
    source=RESET,
    falsified_by=GONE_BACK,
)
@pytest.mark.budget(60)
@pytest.mark.provokes(TRANSMIT_WATCHDOG)
@pytest.mark.fresh_guest  # a driver that does not reset the device may leave a queue hanging
def test_reset_by_driver(counter_snapshot, accounting, model, reset_by_watchdog, step, evidence):
    """The interface's statistics, and netlink's device-wide ones, do not decrease when the driver resets its device."""
    whole = read_counters(accounting)
    with step("Have a transmit queue of the device hang, and fill it, until the driver resets the device"):
        reset_by_watchdog()
    evidence("resets", model.call("model.counters")["resets"])
    with step("No counter of the interface decreased, and no device-wide counter of netlink"):
        now = read_counters(accounting)
        assert lost(counter_snapshot, now.interface) + lost(whole.device, now.device) == []


@requirement(
    "QSTAT-PERSIST-11",
    level="SHOULD",
    source=f"{RESET}; {RESTARTS}",
    falsified_by=GONE_BACK,
)
@pytest.mark.budget(60)
@pytest.mark.provokes(TRANSMIT_WATCHDOG)
@pytest.mark.fresh_guest  # a driver that does not reset the device may leave a queue hanging
@pytest.mark.usefixtures("counter_snapshot")
def test_queues_over_reset_by_driver(per_queue_counters, reset_by_watchdog, step):
    """The statistics of a queue do not decrease when the driver resets its device.

    Netlink's may: netdev.yaml allows them to restart with a reconfiguration.
    """
    before = read_counters(per_queue_counters)
    with step("Have a transmit queue of the device hang, and fill it, until the driver resets the device"):
        reset_by_watchdog()
    with step("No counter of a queue decreased"):
        now = read_counters(per_queue_counters)
        assert lost(before.by_netlink, now.by_netlink) + lost(before.by_ethtool, now.by_ethtool) == []


@pytest.fixture
def counters_over_restart(restart_queue, accounting, guest, dut, send_both_ways, skip_unsupported):
    """``before, after = counters_over_restart(queue)``: the counters before and after one receive queue was restarted.

    Skips if the driver has no queue management operations.
    """

    def restart(queue):
        error = guest.agent.call("netdev.queue_api_error", ifname=dut.ifname, queue=queue)
        if error["errno"] == errno.EOPNOTSUPP:
            skip_unsupported(
                "restarting single queues (queue management operations)", evidence={"netdev bind-rx": error}
            )
        if restart_queue is None:
            skip_unsupported(
                "header split, which binding memory requires", evidence=dut.get("rings") or {"netdev bind-rx": error}
            )
        # After header split is on, because turning it on may have freed the rings.
        send_both_ways()
        before = read_counters(accounting)
        restart_queue(queue)
        return before, read_counters(accounting)

    return restart


@requirement("QSTAT-PERSIST-10", level="MUST", source=QUEUE_API, falsified_by=GONE_BACK)
def test_queue_restart(counters_over_restart, dut, step):
    """The interface's statistics, and netlink's device-wide ones, do not decrease when one receive queue is restarted."""
    with step("Send test frames both ways, in flows enough to reach every receive queue, and restart a receive queue"):
        before, after = counters_over_restart(dut.queues() - 1)
    with step("No counter decreased"):
        assert lost(before.interface, after.interface) + lost(before.device, after.device) == []


@requirement("QSTAT-PERSIST-12", level="MUST", source=QUEUE_API, falsified_by=GONE_BACK)
def test_other_queues_over_restart(counters_over_restart, dut, step):
    """When one receive queue is restarted, no other queue's counter disappears or decreases."""
    queue = dut.queues() - 1
    with step("Send test frames both ways, in flows enough to reach every receive queue, and restart a receive queue"):
        before, after = counters_over_restart(queue)
    with step("Every other queue has the same counters as before, and none decreased"):
        for then, now in ((before.by_netlink, after.by_netlink), (before.by_ethtool, after.by_ethtool)):
            others = {name: value for name, value in then.items() if not name.startswith(f"rx {queue} ")}
            assert others.keys() <= now.keys()
            assert lost(others, now) == []
