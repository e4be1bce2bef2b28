# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading statistics is safe in every state: four processes read through every interface while the device under test changes.

Each test also requires that the kernel reports nothing meanwhile: a warning on its console gives the verdict crash.
"""

from __future__ import annotations

import errno

import pytest
from plugfest.deadline import Deadline
from plugfest.dut.operations import NotOfferedError
from plugfest.frames.probe import only
from plugfest.machine.agent import AgentError
from plugfest.machine.console import TRANSMIT_WATCHDOG
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import Account, of_frames
from plugfest.statistics.readers import ALL, GONE
from plugfest.traffic.traffic import check_same, payloads

STATISTICS = "Documentation/networking/statistics.rst, uAPIs"
QSTATS = "Documentation/netlink/specs/netdev.yaml, qstats-get"
SOURCE = f"{STATISTICS}; {QSTATS}"
READER_FAULTS = ("program:qstat.reader-back", "program:qstat.reader-torn")
CYCLES, MIN_CYCLES = 20, 4
ENOUGH = 5.0
"""Seconds, on any guest, after which `MIN_CYCLES` are enough: an emulated guest may take five for each."""
ONE_WAY = ("netlink", "ethtool", "rtnetlink")
"""Interfaces that all processes read at once; procfs asks the driver for the same as rtnetlink."""
PACE = 0.05
"""Seconds between two batches of frames, so that an emulated guest has time for other work."""
OTHER_NAME = "renamed0"
NETNS = "plugfest-other"


@requirement(
    "QSTAT-READ-03",
    level="MUST",
    source=SOURCE,
    falsified_by=("program:qstat.reader-short", *READER_FAULTS, "rx.frame.duplicated"),
)
def test_under_traffic(accounting, traffic, readers, step, evidence):
    """While frames go both ways, no reader sees a counter decrease or jump, and each ends with exactly what the wire carried."""
    probes = traffic.probes()
    with (
        step("Read through netlink, ethtool, procfs and rtnetlink at once while test frames go both ways"),
        accounting.measure() as measured,
        readers() as readings,
    ):
        traffic.send(probes)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
        sent = traffic.send_back()
        accounting.settle()
        readings.goes_on()
    evidence("readers", readings.summary())
    with step("The wire carried every frame"):
        check_same(list(only(measured.from_dut)), sent, "frames on the wire")
        assert {"the interface by procfs", "the interface by rtnetlink"} <= readings.risen().keys()
    with step(
        "No reader saw a counter decrease or jump, or got an error, and each reader's counters rose by the frames and bytes "
        "that the wire carried"
    ):
        of_test = (of_frames(probe.frame for probe in probes), of_frames(sent))
        assert readings.problems() + readings.differences(of_test, (measured.wire_rx, measured.wire_tx)) == []


@requirement("QSTAT-READ-04", level="MUST", source=SOURCE, falsified_by=READER_FAULTS)
def test_while_down(accounting, dut, readers, step, defer, settings, evidence, traffic):
    """Statistics can be read while the interface is down, and do not change then."""
    with step("Send test frames both ways, and take the interface down"):
        traffic.check_delivery()
        traffic.send_back()
        accounting.settle()
        before = accounting.read().link
        defer(settings.ready)
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
    with step("Read through every interface at once: no reader sees a counter decrease or jump, or gets an error"):
        with readers() as readings:
            readings.goes_on()
        evidence("readers", readings.summary())
        assert readings.problems(queues_restart=True) == []
    with step("The interface's counters are those from before it went down, and each reader's stayed the same"):
        now = accounting.read().link
        names = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
        # The stack may send a frame of its own while the interface goes down.
        assert [name for name in names if now[name] < before[name]] == [], f"{before} became {now}"
        assert {who for who, accounts in readings.risen().items() if accounts != (Account(), Account())} == set()


@requirement("QSTAT-READ-05", level="MUST", source=SOURCE, falsified_by=READER_FAULTS)
@pytest.mark.parametrize("kinds", [ALL, *([kind] * len(ALL) for kind in ONE_WAY)], ids=["each", *ONE_WAY])
@pytest.mark.budget(90)
def test_while_flapping(dut, traffic, readers, step, defer, settings, evidence, kinds):
    """While the interface repeatedly goes down and up under traffic, no reader sees a counter decrease or jump.

    Four processes read: each through another interface, or all through the same.
    """
    with step(
        f"Take the interface down and up {CYCLES} times, fewer if that takes long, under traffic, while four processes read"
    ):
        defer(settings.ready)
        defer(dut.set_link, up=True)
        with readers(kinds) as readings, traffic.stream(PACE):
            enough, cycles = Deadline.after(ENOUGH), 0
            while cycles < MIN_CYCLES or (cycles < CYCLES and not enough.passed):
                dut.set_link(up=False)
                dut.set_link(up=True)
                readings.goes_on(1)
                cycles += 1
            evidence("cycles", cycles)
            settings.ready()
            readings.goes_on()
    evidence("readers", readings.summary())
    with step("No reader saw a counter decrease or jump, or got an error; counters of single queues may restart"):
        assert readings.problems(queues_restart=True) == []


@requirement("QSTAT-READ-06", level="MUST", source=SOURCE, falsified_by=READER_FAULTS)
def test_while_reset(operations, traffic, readers, step, settings, defer, evidence):
    """While a change of settings resets the device under traffic, no reader sees a counter decrease or jump."""
    with step("Change the MTU and restart autonegotiation under traffic, while four processes read"):
        defer(settings.ready)
        with readers() as readings, traffic.stream(PACE):
            operations.change_mtu()
            try:
                operations.restart_negotiation()
            except NotOfferedError as error:
                evidence("ethtool -r", str(error))
            readings.goes_on()
    evidence("readers", readings.summary())
    with step("No reader saw a counter decrease or jump, or got an error; counters of single queues may restart"):
        assert readings.problems(queues_restart=True) == []


@requirement("QSTAT-READ-07", level="MUST", source=SOURCE, falsified_by="program:qstat.reader-torn")
def test_while_reconfigured(operations, traffic, readers, step, settings, defer, evidence, skip_unsupported):
    """While rings and channels change under traffic, statistics can be read, and no value is torn.

    QSTAT-PERSIST-02 and -03 check that counters do not decrease then.
    """
    done = []
    with step("Resize the rings and change the number of channels, while four processes read"):
        defer(settings.ready)
        with readers() as readings, traffic.stream(PACE):
            for operation in (operations.resize_rings, operations.change_channels):
                try:
                    operation()
                    done.append(operation.__name__)
                except NotOfferedError as error:
                    evidence(operation.__name__, str(error))
            readings.goes_on()
    evidence("readers", readings.summary())
    if not done:
        skip_unsupported("a change of rings or channels", evidence="the driver rejected both, see above")
    with step("No reader saw a counter jump, or got an error"):
        assert [problem for problem in readings.problems(queues_restart=True) if " went back " not in problem] == []


@requirement("QSTAT-READ-08", level="MUST", source=SOURCE, falsified_by=READER_FAULTS)
def test_while_renamed_and_moved(guest, dut, readers, run, step, defer, evidence, traffic):
    """While the interface is renamed, or moved to another network namespace and back, no reader sees a counter decrease or jump.

    While the interface is not there, under its old name or in its old namespace, readers get an error.
    """
    name = dut.ifname
    traffic.check_delivery()
    defer(guest.configure)
    defer(run, "sh", "-c", f"ip link show {OTHER_NAME} 2>/dev/null && ip link set {OTHER_NAME} name {name}; :")
    run("ip", "netns", "add", NETNS)
    defer(run, "sh", "-c", f"ip -n {NETNS} link set {name} netns 1 2>/dev/null; ip netns delete {NETNS}")

    def rename():
        """Rename the interface and rename it back, if the kernel renames an interface in its state; return what the readers saw."""
        with readers() as readings:
            try:
                guest.agent.call("link.set", ifname=name, name=OTHER_NAME)
            except AgentError as error:
                if error.errno != errno.EBUSY:
                    raise
                evidence("renaming an interface that is up", str(error))
                return readings
            readings.goes_on()
            guest.agent.call("link.set", ifname=OTHER_NAME, name=name)
            readings.goes_on()
        return readings

    def move():
        """Move the interface and move it back, which takes it down; return what the readers saw."""
        with readers() as readings:
            run("ip", "link", "set", name, "netns", NETNS)
            readings.goes_on()
            run("ip", "-n", NETNS, "link", "set", name, "netns", "1")
            readings.goes_on()
        return readings

    with step("Rename the interface and rename it back, up and down, while four processes read"):
        renamed = [rename()]
        dut.set_link(up=False)
        renamed.append(rename())
    with step("Move it to another network namespace and back, up and down, while four processes read"):
        dut.set_link(up=True)
        moved = [move()]
        dut.set_link(up=False)
        moved.append(move())
    evidence("readers while it was renamed", [readings.summary() for readings in renamed])
    evidence("readers while it was moved", [readings.summary() for readings in moved])
    with step("No reader saw a counter decrease or jump, or got another error than that the interface is missing"):
        for readings in (*renamed, *moved):
            assert readings.problems(allowed=GONE, queues_restart=True) == []
    with step(
        "After each move, readers got that error while the interface was away, and read its counters when it was back"
    ):
        for readings in moved:
            assert all(sum(each.errors.get(name, 0) for name in GONE) for each in readings.reports), readings.summary()
            assert readings.risen().keys() >= {"the interface by procfs", "the interface by rtnetlink"}


@requirement("QSTAT-READ-09", level="MUST", source=SOURCE, falsified_by=(*READER_FAULTS, "program:driver.unbind-lost"))
@pytest.mark.budget(60)
def test_while_unbound(binding, traffic, readers, step, evidence):
    """While the driver is unbound and bound again, statistics can be read; readers get an error while the interface is missing."""
    traffic.check_delivery()
    with step("Unbind the driver and bind it again, under traffic, while four processes read"), readers() as readings:
        with traffic.stream(PACE):
            binding.unbind()
            readings.goes_on()
        binding.bind()
        readings.goes_on()
    evidence("readers", readings.summary())
    with step("No reader saw a counter decrease or jump, or got another error than that the interface is missing"):
        assert readings.problems(allowed=GONE) == []
    with step("All got that error while the interface was missing, and read on when it was back"):
        assert all(sum(each.errors.get(name, 0) for name in GONE) for each in readings.reports), readings.summary()
        for each in readings.reports:
            assert each.last or not each.first, f"{each.kind} read no counter of the new interface"


@requirement(
    "QSTAT-READ-10",
    level="MUST",
    source=f"{SOURCE}; Documentation/networking/netdevices.rst, ndo_tx_timeout",
    falsified_by=READER_FAULTS,
)
@pytest.mark.budget(90)
@pytest.mark.provokes(TRANSMIT_WATCHDOG)
@pytest.mark.fresh_guest  # a driver that does not reset the device may leave a queue hanging
def test_while_it_resets_itself(traffic, readers, reset_by_watchdog, step, evidence):
    """While the driver resets its device because a transmit queue hangs, no reader sees a counter decrease or jump."""
    traffic.check_delivery()
    with (
        step("Have a transmit queue hang until the driver resets the device, while four processes read"),
        readers() as readings,
    ):
        reset_by_watchdog()
        readings.goes_on()
    evidence("readers", readings.summary())
    with step("No reader saw a counter decrease or jump, or got an error; counters of single queues may restart"):
        assert readings.problems(queues_restart=True) == []
