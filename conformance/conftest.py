# SPDX-License-Identifier: GPL-2.0-or-later
"""What several areas share."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from plugfest.agent import AgentError
from plugfest.binding import Binding
from plugfest.census import Census
from plugfest.changes import Changes
from plugfest.crossing import Crossing
from plugfest.deadline import Deadline, poll
from plugfest.dut import TCP_DATA_SPLIT_DISABLED, TCP_DATA_SPLIT_ENABLED
from plugfest.handover import Handover, watch
from plugfest.ledger import Ledger
from plugfest.model import ModelError
from plugfest.operations import Operations
from plugfest.order_desk import OrderDesk
from plugfest.outlet import Outlet
from plugfest.partner import Partner
from plugfest.peer import Peer
from plugfest.probe import burst
from plugfest.residue import Residue
from plugfest.steering import Steering
from plugfest.traffic import Traffic
from plugfest.xdp import Xdp

if TYPE_CHECKING:
    from plugfest.driver import Driver
    from plugfest.dut import Dut
    from plugfest.faults import LocalFaults
    from plugfest.model import ModelClient
    from plugfest.plugin.fixtures import Guest, Until
    from plugfest.wire import WireEnd


SINGLE_BUFFER = 2048
"""Octets of the receive buffers that drivers take XDP programs with, where they have a choice."""
STANDARD_MTU = 1500
STUCK = ("tx.queue.stuck", "tx.writeback.lost", "tx.completion.lost")
"""Faults by which a transmit queue hangs."""
WATCHDOG = 20
"""Seconds, on any guest, for the kernel's watchdog (5 s, or as the driver asks for) and the driver's reset."""
FILLER = 1000
"""Octets of the frames that fill a queue."""
UNPOSTED = 64
"""Buffers that a receive ring may lack: a driver may tell its device of so many at a time, and leaves one descriptor empty."""
METHOD_NOT_FOUND = -32601
"""JSON-RPC 2.0, 5.1."""
FEW_DESCRIPTORS, BEYOND = 1024, 64
"""Descriptors of a driver that does not say how many it has; frames more than that."""


@pytest.fixture
def traffic(guest: Guest, dut: Dut, wire: WireEnd, until: Until, defer: Callable[..., None]) -> Traffic:
    """Probes to the DUT, with UDP sockets that take them there, and back."""
    return Traffic(guest, dut, wire, until, defer)


@pytest.fixture
def census(traffic: Traffic, wire: WireEnd, guest: Guest, dut: Dut, defer: Callable[..., None]) -> Census:
    """``with census.during() as count:`` keeps frames coming and counts those that arrive; ``census.of_sent()`` those that leave."""
    other = guest.agent.another()
    defer(other.close)
    return Census(traffic, wire, other, Outlet(other, dut.ifname, defer))


@pytest.fixture
def peer(guest: Guest) -> Peer:
    """The wire end's own stack: TCP and echo."""
    return Peer(guest.agent, guest.speed)


@pytest.fixture
def change(guest: Guest, dut: Dut, until: Until, defer: Callable[..., None]) -> Changes:
    """``change.features({"tx-tcp-segmentation": False})``: changes that are undone when the test ends."""
    return Changes(dut, until, defer, lambda: Partner(guest.machine).linked)


@pytest.fixture
def operations(dut: Dut, change: Changes, xdp: Xdp) -> Operations:
    """``for done in operations.one_by_one():`` what is routinely done to an interface."""
    return Operations(dut, change, xdp)


@pytest.fixture
def steering(dut: Dut, change: Changes, defer: Callable[..., None]) -> Steering:
    """Which queue gets which frames."""
    return Steering(dut, change, defer)


@pytest.fixture
def outlet(guest: Guest, dut: Dut, defer: Callable[..., None]) -> Outlet:
    """Frames from the interface under test, exactly as the test makes them."""
    return Outlet(guest.agent, dut.ifname, defer)


@pytest.fixture
def crossing(traffic: Traffic, outlet: Outlet, until: Until) -> Crossing:
    """``crossing.both_ways()``: frames in both directions, each to arrive once and unchanged."""
    return Crossing(traffic, outlet, until)


@pytest.fixture
def handover(guest: Guest, dut: Dut) -> Callable[[], AbstractContextManager[Handover]]:
    """``with handover() as seen:`` watches what passes between the guest's stack and the driver."""
    return lambda: watch(guest.agent, dut.ifname)


@pytest.fixture
def partner(guest: Guest, until: Until, dut: Dut, defer: Callable[..., None]) -> Partner:
    """The link partner; it is on again, and the link up, when the test ends."""
    partner = Partner(guest.machine)
    defer(until, lambda: dut.carrier, what="the link is up again", timeout=10)
    defer(partner.restore)
    return partner


@pytest.fixture
def binding(guest: Guest, faults: LocalFaults, defer: Callable[..., None]) -> Binding:
    """The driver and its device; bound again when the test ends."""
    binding = Binding(guest.machine, faults)
    defer(binding.restore)
    return binding


@pytest.fixture
def xdp(
    guest: Guest,
    dut: Dut,
    faults: LocalFaults,
    until: Until,
    defer: Callable[..., None],
    advertises: Callable[[Iterable[str]], None],
) -> Xdp:
    """XDP on the interface under test, in whatever mode."""
    return Xdp(guest.agent, dut.ifname, faults=faults, defer=defer, until=until, advertises=advertises)


@pytest.fixture
def claimed(xdp: Xdp, unclaimed: Callable[..., NoReturn]) -> Callable[..., None]:
    """``claimed("xdp-act:redirect")`` skips where the driver does not advertise all of these flags of netdev.yaml."""

    def check(*flags: str) -> None:
        found = xdp.advertised()
        missing = [flag for flag in flags if flag not in found]
        if missing:
            unclaimed(" and ".join(missing), evidence={"netdev dev-get": sorted(found)})

    return check


@pytest.fixture
def lacking(xdp: Xdp, unclaimed: Callable[..., NoReturn]) -> Callable[[str], None]:
    """``lacking("xdp-act:redirect")`` skips where the driver does advertise this flag of netdev.yaml."""

    def check(flag: str) -> None:
        found = xdp.advertised()
        if flag in found:
            unclaimed(f"the lack of {flag}", evidence={"netdev dev-get": sorted(found)})

    return check


@pytest.fixture
def unobstructed(evidence: Callable[[str, object], None]) -> Callable[[Xdp, Dut, Changes], None]:
    """``unobstructed(xdp, dut, change)`` lets an interface take a native program.

    A program without fragments sees a packet in one buffer. What gives the driver packets in several (hardware GRO, header
    split, buffers of another size, a large MTU) is a reason to refuse it: where the driver does so, and says why, that is turned off.
    """

    def clear(xdp: Xdp, dut: Dut, change: Changes) -> None:
        obstacles: tuple[Callable[[], object], ...] = (
            lambda: change.features({"rx-gro-hw": False}),
            lambda: change.settings("rings", tcp_data_split=TCP_DATA_SPLIT_DISABLED),
            lambda: change.settings("rings", rx_buf_len=SINGLE_BUFFER),
            lambda: change.link(mtu=STANDARD_MTU),
        )
        rings = dut.get("rings") or {}
        present = (
            "rx-gro-hw" in dut.features().active and "rx-gro-hw" in dut.features().free,
            rings.get("tcp-data-split") == TCP_DATA_SPLIT_ENABLED,
            rings.get("rx-buf-len", 0) > SINGLE_BUFFER,
            dut.mtu > STANDARD_MTU,
        )
        for remove, is_there in zip(obstacles, present, strict=True):
            if not is_there:
                continue
            refusal = xdp.trial()
            if refusal is None:
                break
            assert xdp.words(refusal), f"a program is refused without a reason: {refusal}"
            evidence("XDP was refused", str(refusal))
            remove()

    return clear


@pytest.fixture
def native(
    xdp: Xdp,
    dut: Dut,
    change: Changes,
    claimed: Callable[..., None],
    unobstructed: Callable[[Xdp, Dut, Changes], None],
) -> Xdp:
    """XDP in native mode; skips where the driver does not advertise it, and turns off what it says is in its way."""
    claimed("xdp-act:basic")
    unobstructed(xdp, dut, change)
    return xdp


@pytest.fixture
def residue(guest: Guest, driver: Driver, faults: LocalFaults) -> Residue:
    """What the guest's kernel has allocated."""
    return Residue(guest.agent, driver.module, faults)


@pytest.fixture
def ledger(guest: Guest, faults: LocalFaults) -> Ledger:
    """The accounts of driver, device and wire."""
    return Ledger(guest.machine, faults)


@pytest.fixture
def check_account(guest: Guest, dut: Dut, evidence: Callable[[str, object], None]) -> Callable[[], None]:
    """``check_account()``: by the device's own account no completion tag is outstanding, and each receive queue holds a ring full.

    Nothing is checked of a subject that keeps no such account.
    """

    def check() -> None:
        model = guest.machine.model
        try:
            ledger = model.call("model.accounting") if model else None
        except ModelError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            ledger = None
        evidence("the device's account", ledger)
        if ledger is None:
            return
        tags = [queue["tags"] for queue in ledger["tx"]]
        assert not any(tags), f"completion tags outstanding by queue: {tags}"
        ring = (dut.get("rings") or {})["rx"]
        held = [queue["held"] for queue in ledger["rx"][: dut.queues()]]
        assert all(ring - UNPOSTED <= each <= ring for each in held), f"of rings of {ring} the queues hold {held}"

    return check


@pytest.fixture
def run(guest: Guest) -> Callable[..., str]:
    """``run("ip", "maddress", "show")``: runs a program in the guest that must succeed; returns its output."""

    def call(*command: str, text: str | None = None) -> str:
        told = guest.agent.call("process.run", command=list(command), input=text)
        assert told["exit_status"] == 0, f"{' '.join(command)}: {told['stderr'].strip() or told['stdout'].strip()}"
        return str(told["stdout"])

    return call


@pytest.fixture
def desk(guest: Guest, dut: Dut, outlet: Outlet, wire: WireEnd, traffic: Traffic, until: Until) -> OrderDesk:
    """Takes orders for the device to finish, and shows what was handed over and what came of it."""
    return OrderDesk(guest, dut, outlet, wire, traffic.ends_back, until)


@pytest.fixture
def active(dut: Dut, change: Changes, unclaimed: Callable[..., NoReturn]) -> Callable[..., list[str]]:
    """``active("rx-hashing")`` turns features on and returns which are; skips where the driver offers none of them."""

    def turn_on(*names: str) -> list[str]:
        features = dut.features()
        offered = [name for name in names if name in features.active or name in features.free]
        if not offered:
            unclaimed(" or ".join(names), evidence={"ethtool -k": str(features)})
        missing = {name: True for name in offered if name not in features.active}
        if missing:
            change.features(missing)
        return offered

    return turn_on


@pytest.fixture
def inactive(dut: Dut, change: Changes, unclaimed: Callable[..., NoReturn]) -> Callable[..., None]:
    """``inactive("rx-hashing")`` turns features off that are on; skips where the driver does not let them be turned off."""

    def turn_off(*names: str) -> None:
        features = dut.features()
        known = [name for name in names if name in features.active or name in features.free]
        fixed = [name for name in known if name not in features.free]
        if not known or fixed:
            unclaimed(f"turning off {' or '.join(fixed or names)}", evidence={"ethtool -k": str(features)})
        on = {name: False for name in known if name in features.active}
        if on:
            change.features(on)

    return turn_off


@pytest.fixture
def reset_by_watchdog(
    model: ModelClient,
    dut: Dut,
    outlet: Outlet,
    traffic: Traffic,
    defer: Callable[..., None],
    unclaimed: Callable[..., NoReturn],
) -> Callable[[], None]:
    """``reset_by_watchdog()``: a transmit queue hangs until the driver, told by the kernel's watchdog, has reset its device.

    Skips where the device cannot hang, or the driver does not reset it. The test must provoke what the kernel says of that.
    """

    def resets() -> int:
        return sum(model.call("model.counters")["resets"].values())

    def hang() -> None:
        points = [each["name"] for each in model.call("faults.list")]
        stuck = next((name for name in points if name in STUCK), None)
        if stuck is None:
            unclaimed("a device that can be made to hang", evidence=points)
        before = resets()
        defer(model.call, "faults.disarm", name=stuck)
        model.call("faults.arm", name=stuck)
        # One flow: one queue. The kernel's watchdog looks only at a queue that takes no more frames.
        (frame,) = burst(traffic.ends_back, flows=1, sizes=(FILLER,), versions=(4,))
        outlet.send([frame.frame], cpu=0, repeat=(dut.get("rings") or {}).get("tx", FEW_DESCRIPTORS) + BEYOND)
        # The kernel's watchdog goes by the clock, however slow the guest.
        done = poll(lambda: resets() > before, Deadline.after(WATCHDOG))
        model.call("faults.disarm", name=stuck)
        traffic.ready()
        if not done:
            unclaimed("a reset of a device that hangs", evidence={"resets": model.call("model.counters")["resets"]})

    return hang


@pytest.fixture
def self_test(
    guest: Guest, dut: Dut, unclaimed: Callable[..., NoReturn], evidence: Callable[[str, object], None]
) -> Callable[[], Mapping[str, Any]]:
    """``self_test()``: runs the driver's offline test, and returns passed and results; skips where there is none."""

    def test() -> Mapping[str, Any]:
        try:
            told: Mapping[str, Any] = guest.agent.call("ethtool.self_test", ifname=dut.ifname, offline=True)
        except AgentError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            unclaimed("a self-test", evidence=str(error))
        if not told["results"]:
            unclaimed("a self-test", evidence=told)
        evidence("ethtool -t offline", told)
        return told

    return test
