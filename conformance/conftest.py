# SPDX-License-Identifier: GPL-2.0-or-later
"""What several areas share."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from plugfest.deadline import Deadline, poll
from plugfest.dut.binding import Binding
from plugfest.dut.dut import TCP_DATA_SPLIT_DISABLED, TCP_DATA_SPLIT_ENABLED
from plugfest.dut.leaks import LeakCheck
from plugfest.dut.operations import Operations
from plugfest.dut.settings import Settings
from plugfest.dut.skb_trace import SkbTrace
from plugfest.dut.skb_trace import trace_skbs as record_skbs
from plugfest.dut.steering import Steering
from plugfest.frames.probe import burst
from plugfest.link.partner import LinkPartner
from plugfest.machine.agent import AgentError
from plugfest.machine.model import ModelError
from plugfest.statistics.accounts import Accounting
from plugfest.traffic.check import TrafficCheck
from plugfest.traffic.continuous import ContinuousTraffic
from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.peer import TrafficPeer
from plugfest.traffic.traffic import Traffic
from plugfest.traffic.tx_offload import TxOffload
from plugfest.xdp.programs import Xdp

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.faults import LocalFaults
    from plugfest.machine.model import ModelClient
    from plugfest.machine.remote import Remote
    from plugfest.plugin.fixtures import GuestHandle, Until
    from plugfest.requirements.drivers import Driver


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
def traffic(guest: GuestHandle, dut: Dut, remote: Remote, until: Until, defer: Callable[..., None]) -> Traffic:
    """Probes to the DUT, with UDP sockets that take them there, and back."""
    return Traffic(guest, dut, remote, until, defer)


@pytest.fixture
def continuous_traffic(
    traffic: Traffic, remote: Remote, guest: GuestHandle, dut: Dut, defer: Callable[..., None]
) -> ContinuousTraffic:
    """``with census.to_dut() as count:`` keeps frames coming and counts those that arrive; ``census.from_dut()`` those that leave."""
    other = guest.agent.another()
    defer(other.close)
    return ContinuousTraffic(traffic, remote, other, PacketSender(other, dut.ifname, defer))


@pytest.fixture
def peer(guest: GuestHandle) -> TrafficPeer:
    """The wire end's own stack: TCP and echo."""
    return TrafficPeer(guest.agent, guest.speed)


@pytest.fixture
def settings(guest: GuestHandle, dut: Dut, until: Until, defer: Callable[..., None]) -> Settings:
    """``change.set_features({"tx-tcp-segmentation": False})``: changes that are undone when the test ends."""
    return Settings(dut, until, defer, lambda: LinkPartner(guest.machine).linked)


@pytest.fixture
def operations(dut: Dut, settings: Settings, xdp: Xdp) -> Operations:
    """``for done in operations.one_by_one():`` what is routinely done to an interface."""
    return Operations(dut, settings, xdp)


@pytest.fixture
def steering(dut: Dut, settings: Settings, defer: Callable[..., None]) -> Steering:
    """Which queue gets which frames."""
    return Steering(dut, settings, defer)


@pytest.fixture
def packet_sender(guest: GuestHandle, dut: Dut, defer: Callable[..., None]) -> PacketSender:
    """Frames from the interface under test, exactly as the test makes them."""
    return PacketSender(guest.agent, dut.ifname, defer)


@pytest.fixture
def check_traffic(traffic: Traffic, packet_sender: PacketSender, until: Until) -> TrafficCheck:
    """``crossing()``: frames in both directions, each to arrive once and unchanged."""
    return TrafficCheck(traffic, packet_sender, until)


@pytest.fixture
def trace_skbs(guest: GuestHandle, dut: Dut) -> Callable[[], AbstractContextManager[SkbTrace]]:
    """``with handover() as seen:`` watches what passes between the guest's stack and the driver."""
    return lambda: record_skbs(guest.agent, dut.ifname)


@pytest.fixture
def link_partner(guest: GuestHandle, until: Until, dut: Dut, defer: Callable[..., None]) -> LinkPartner:
    """The link partner; it is on again, and the link up, when the test ends."""
    partner = LinkPartner(guest.machine)
    defer(until, lambda: dut.carrier, what="the link is up again", timeout=10)
    defer(partner.restore)
    return partner


@pytest.fixture
def binding(guest: GuestHandle, faults: LocalFaults, defer: Callable[..., None]) -> Binding:
    """The driver and its device; bound again when the test ends."""
    binding = Binding(guest.machine, faults)
    defer(binding.restore)
    return binding


@pytest.fixture
def xdp(
    guest: GuestHandle,
    dut: Dut,
    faults: LocalFaults,
    until: Until,
    defer: Callable[..., None],
    advertises: Callable[[Iterable[str]], None],
) -> Xdp:
    """XDP on the interface under test, in whatever mode."""
    return Xdp(guest.agent, dut.ifname, faults=faults, defer=defer, until=until, advertises=advertises)


@pytest.fixture
def require(xdp: Xdp, skip_unsupported: Callable[..., NoReturn]) -> Callable[..., None]:
    """``require("xdp-act:redirect")`` skips where the driver does not advertise all of these flags of netdev.yaml."""

    def check(*flags: str) -> None:
        found = xdp.advertised()
        missing = [flag for flag in flags if flag not in found]
        if missing:
            skip_unsupported(" and ".join(missing), evidence={"netdev dev-get": sorted(found)})

    return check


@pytest.fixture
def require_absent(xdp: Xdp, skip_unsupported: Callable[..., NoReturn]) -> Callable[[str], None]:
    """``require_absent("xdp-act:redirect")`` skips where the driver does advertise this flag of netdev.yaml."""

    def check(flag: str) -> None:
        found = xdp.advertised()
        if flag in found:
            skip_unsupported(f"the lack of {flag}", evidence={"netdev dev-get": sorted(found)})

    return check


@pytest.fixture
def unobstructed(evidence: Callable[[str, object], None]) -> Callable[[Xdp, Dut, Settings], None]:
    """``unobstructed(xdp, dut, change)`` lets an interface take a native program.

    A program without fragments sees a packet in one buffer. What gives the driver packets in several (hardware GRO, header
    split, buffers of another size, a large MTU) is a reason to refuse it: where the driver does so, and says why, that is turned off.
    """

    def clear(xdp: Xdp, dut: Dut, settings: Settings) -> None:
        obstacles: tuple[Callable[[], object], ...] = (
            lambda: settings.set_features({"rx-gro-hw": False}),
            lambda: settings.set("rings", tcp_data_split=TCP_DATA_SPLIT_DISABLED),
            lambda: settings.set("rings", rx_buf_len=SINGLE_BUFFER),
            lambda: settings.set_link(mtu=STANDARD_MTU),
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
            refusal = xdp.try_attach_and_detach()
            if refusal is None:
                break
            assert xdp.extack(refusal), f"a program is refused without a reason: {refusal}"
            evidence("XDP was refused", str(refusal))
            remove()

    return clear


@pytest.fixture
def native(
    xdp: Xdp,
    dut: Dut,
    settings: Settings,
    require: Callable[..., None],
    unobstructed: Callable[[Xdp, Dut, Settings], None],
) -> Xdp:
    """XDP in native mode; skips where the driver does not advertise it, and turns off what it says is in its way."""
    require("xdp-act:basic")
    unobstructed(xdp, dut, settings)
    return xdp


@pytest.fixture
def leak_check(guest: GuestHandle, driver: Driver, faults: LocalFaults) -> LeakCheck:
    """What the guest's kernel has allocated."""
    return LeakCheck(guest.agent, driver.module, faults)


@pytest.fixture
def accounting(guest: GuestHandle, faults: LocalFaults) -> Accounting:
    """The accounts of driver, device and wire."""
    return Accounting(guest.machine, faults)


@pytest.fixture
def check_account(guest: GuestHandle, dut: Dut, evidence: Callable[[str, object], None]) -> Callable[[], None]:
    """``check_account()``: by the device's own account no completion tag is outstanding, and each receive queue holds a ring full.

    Nothing is checked of a subject that keeps no such account.
    """

    def check() -> None:
        model = guest.machine.model
        try:
            ledger = model.call("model.ledger") if model else None
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
def run(guest: GuestHandle) -> Callable[..., str]:
    """``run("ip", "maddress", "show")``: runs a program in the guest that must succeed; returns its output."""

    def call(*command: str, text: str | None = None) -> str:
        told = guest.agent.call("process.run", command=list(command), input=text)
        assert told["exit_status"] == 0, f"{' '.join(command)}: {told['stderr'].strip() or told['stdout'].strip()}"
        return str(told["stdout"])

    return call


@pytest.fixture
def tx_offload(
    guest: GuestHandle, dut: Dut, packet_sender: PacketSender, remote: Remote, traffic: Traffic, until: Until
) -> TxOffload:
    """Takes orders for the device to finish, and shows what was handed over and what came of it."""
    return TxOffload(guest, dut, packet_sender, remote, traffic.ends_back, until)


@pytest.fixture
def active(dut: Dut, settings: Settings, skip_unsupported: Callable[..., NoReturn]) -> Callable[..., list[str]]:
    """``active("rx-hashing")`` turns features on and returns which are; skips where the driver offers none of them."""

    def turn_on(*names: str) -> list[str]:
        features = dut.features()
        offered = [name for name in names if name in features.active or name in features.free]
        if not offered:
            skip_unsupported(" or ".join(names), evidence={"ethtool -k": str(features)})
        missing = {name: True for name in offered if name not in features.active}
        if missing:
            settings.set_features(missing)
        return offered

    return turn_on


@pytest.fixture
def inactive(dut: Dut, settings: Settings, skip_unsupported: Callable[..., NoReturn]) -> Callable[..., None]:
    """``inactive("rx-hashing")`` turns features off that are on; skips where the driver does not let them be turned off."""

    def turn_off(*names: str) -> None:
        features = dut.features()
        known = [name for name in names if name in features.active or name in features.free]
        fixed = [name for name in known if name not in features.free]
        if not known or fixed:
            skip_unsupported(f"turning off {' or '.join(fixed or names)}", evidence={"ethtool -k": str(features)})
        on = {name: False for name in known if name in features.active}
        if on:
            settings.set_features(on)

    return turn_off


@pytest.fixture
def reset_by_watchdog(
    model: ModelClient,
    dut: Dut,
    packet_sender: PacketSender,
    traffic: Traffic,
    defer: Callable[..., None],
    skip_unsupported: Callable[..., NoReturn],
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
            skip_unsupported("a device that can be made to hang", evidence=points)
        before = resets()
        defer(model.call, "faults.disarm", name=stuck)
        model.call("faults.arm", name=stuck)
        # One flow: one queue. The kernel's watchdog looks only at a queue that takes no more frames.
        (frame,) = burst(traffic.ends_back, flows=1, sizes=(FILLER,), versions=(4,))
        packet_sender.send([frame.frame], cpu=0, repeat=(dut.get("rings") or {}).get("tx", FEW_DESCRIPTORS) + BEYOND)
        # The kernel's watchdog goes by the clock, however slow the guest.
        done = poll(lambda: resets() > before, Deadline.after(WATCHDOG))
        model.call("faults.disarm", name=stuck)
        traffic.ready()
        if not done:
            skip_unsupported(
                "a reset of a device that hangs", evidence={"resets": model.call("model.counters")["resets"]}
            )

    return hang


@pytest.fixture
def self_test(
    guest: GuestHandle, dut: Dut, skip_unsupported: Callable[..., NoReturn], evidence: Callable[[str, object], None]
) -> Callable[[], Mapping[str, Any]]:
    """``self_test()``: runs the driver's offline test, and returns passed and results; skips where there is none."""

    def test() -> Mapping[str, Any]:
        try:
            told: Mapping[str, Any] = guest.agent.call("ethtool.self_test", ifname=dut.ifname, offline=True)
        except AgentError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            skip_unsupported("a self-test", evidence=str(error))
        if not told["results"]:
            skip_unsupported("a self-test", evidence=told)
        evidence("ethtool -t offline", told)
        return told

    return test
