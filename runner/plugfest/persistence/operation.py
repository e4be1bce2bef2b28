# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to an interface that must leave its settings as they are.

Source: Documentation/networking/statistics.rst, "routine operations like bringing the interface down and up";
Documentation/networking/netdevices.rst; Documentation/networking/ethtool-netlink.rst.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.dut.operations import NotOfferedError, counts_of, other_channels, other_rings
from plugfest.machine.agent import AgentError, KernelLacksError
from plugfest.machine.console import TRANSMIT_WATCHDOG
from plugfest.machine.worker import Worker
from plugfest.queues.memory_provider import DmabufProvider

if TYPE_CHECKING:
    from plugfest.persistence.instruments import Instruments
    from plugfest.persistence.setting import Setting

Perform = Callable[["Instruments", "Setting"], None]

TOGGLED = ("rx-lro", "rx-gro-hw", "rx-checksum", "tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-sctp")
"""Features for which many drivers set their device up anew, and which no setting here depends on."""
CARRIER_TIMEOUT = 10
"""Seconds, on a guest of speed 1, for the driver to report that the link is gone."""
REQUEST_TIMEOUT = 10
"""Seconds, on a guest of speed 1, for the driver to reset its device once the device asks for that."""


def _nothing(_instruments: Instruments) -> Any:
    return None


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: as the reports have it, and the parameter of the tests.
        text: what the driver must offer for it.
        perform: does it, and undoes it where it changes something; raises NotOfferedError where the driver refuses.
        lacking: returns the evidence that the driver does not offer it at all, None if it may.
        prepare: what is done before the setting is set.
        by_default: the settings for which it is performed in a run without ``--slow``; None for all.
        provokes: the complaint of the kernel that belongs to it.
        budget: seconds that a test of it may take; None for the usual.
    """

    name: str
    text: str
    perform: Perform
    lacking: Callable[[Instruments], Any] = _nothing
    prepare: Callable[[Instruments], object] = _nothing
    by_default: frozenset[str] | None = None
    provokes: str | None = None
    budget: int | None = None


def _made(instruments: Instruments, what: object, error: AgentError | None) -> None:
    """Raise AssertionError if the way back was rejected; what the operation changed first is undone when the test ends."""
    assert error is None, f"setting {what} of {instruments.ifname} was rejected: {error}"


def _down_up(instruments: Instruments, _setting: Setting) -> None:
    instruments.settings.set_link(up=False)
    _made(instruments, {"up": True}, instruments.dut.try_set_link(up=True))


def _ring_sizes(instruments: Instruments, _setting: Setting) -> None:
    now, settings = instruments.dut.get("rings") or {}, instruments.settings
    other = other_rings(now)
    assert other is not None, now
    error = settings.try_set("rings", **other)
    if error is not None:
        raise NotOfferedError(f"rings {other}: {error}")
    before = {side: now[side] for side in other}
    _made(instruments, f"rings {before}", settings.try_set_without_undo("rings", **before))


def _no_ring_sizes(instruments: Instruments) -> Any:
    now = instruments.dut.get("rings") or {}
    return {"ethtool -g": now} if other_rings(now) is None else None


def more_or_fewer_channels(instruments: Instruments) -> tuple[dict[str, int], dict[str, int]] | None:
    """Return a number of channels with one more, or one fewer where there can be no more, and the present one; None for neither.

    More rather than fewer: the kernel refuses to remove a channel that an RSS table or a rule uses, and going back removes one.
    """
    now = instruments.dut.get("channels") or {}
    other = other_channels(now, more=True)
    return None if other is None else (other, counts_of(now, other))


def _channels(instruments: Instruments, _setting: Setting) -> None:
    found = more_or_fewer_channels(instruments)
    assert found is not None
    (other, before), settings = found, instruments.settings
    error = settings.try_set_without_undo("channels", **other)
    if error is not None:
        raise NotOfferedError(f"channels {other}: {error}")
    instruments.defer(_put_channels_back, instruments, before)
    settings.ready()
    error = settings.try_set_without_undo("channels", **before)
    assert error is None, f"after channels {other}: going back to {before} was rejected: {error}"


def _put_channels_back(instruments: Instruments, before: dict[str, int]) -> None:
    """Set the number of channels; a driver that has spread the user's table over more of them must first have its own again."""
    if instruments.settings.try_set_without_undo("channels", **before) is not None:
        instruments.agent.call("ethtool.set_rss", ifname=instruments.ifname, indir=[])
        instruments.settings.set_without_undo("channels", **before)
    instruments.settings.ready()


def _no_channels(instruments: Instruments) -> Any:
    return {"ethtool -l": instruments.dut.get("channels")} if more_or_fewer_channels(instruments) is None else None


def _mtu(instruments: Instruments, _setting: Setting) -> None:
    before = instruments.dut.mtu
    error = instruments.settings.try_set_link(mtu=before - 100)
    if error is not None:
        raise NotOfferedError(f"mtu {before - 100}: {error}")
    instruments.settings.ready()
    _made(instruments, {"mtu": before}, instruments.dut.try_set_link(mtu=before))


def _features(instruments: Instruments, setting: Setting) -> None:
    """Turn all over, and back, in one request each; what did not turn was refused, and stays.

    Raises:
        AssertionError: one that turned does not turn back.
    """
    before = instruments.dut.features()
    names = [name for name in TOGGLED if name in before.free and name not in setting.features]
    if not names:
        raise NotOfferedError(f"none of {', '.join(TOGGLED)} can be changed")
    instruments.settings.restore_features()
    instruments.dut.try_set_features({name: name not in before.active for name in names})
    if instruments.dut.features().active == before.active:
        raise NotOfferedError(f"none of {', '.join(names)} turns")
    instruments.settings.ready()
    instruments.dut.try_set_features({name: name in before.wanted for name in names})
    after = instruments.dut.features().active
    assert after == before.active, f"the features {', '.join(sorted(after ^ before.active))} did not turn back"


def _attach(instruments: Instruments, _setting: Setting) -> None:
    # Without the removal of what the driver rejects it for, which may be the setting.
    instruments.operations.attach_program()


def _lacks(flag: str) -> Callable[[Instruments], Any]:
    def lacking(instruments: Instruments) -> Any:
        try:
            found = instruments.xdp.advertised()
        except KernelLacksError:
            return None  # no driver can advertise anything there: trying shows it
        return None if flag in found else {"netdev dev-get": sorted(found)}

    return lacking


def _carrier(instruments: Instruments, _setting: Setting) -> None:
    instruments.partner.set(up=False)
    instruments.until(
        lambda: not instruments.dut.link_when(carrier=False)["carrier"],
        what="the driver reports that the carrier is gone",
        timeout=CARRIER_TIMEOUT,
    )
    instruments.partner.set(up=True)


def _negotiation(instruments: Instruments, _setting: Setting) -> None:
    model = instruments.guest.model
    negotiates = model is not None and model.offers("link.get") and instruments.partner.negotiations > 0
    before = instruments.partner.negotiations if negotiates else 0
    instruments.operations.restart_negotiation()
    if negotiates:
        # The driver may begin later, and the carrier of before says nothing until then.
        instruments.until(
            lambda: instruments.partner.negotiations > before, what="a negotiation begins", timeout=CARRIER_TIMEOUT
        )


def _watchdog(instruments: Instruments, _setting: Setting) -> None:
    instruments.reset_by_watchdog()


def _reset_request(instruments: Instruments, _setting: Setting) -> None:
    model = instruments.guest.model
    assert model is not None

    def resets() -> int:
        return int(sum(model.call("model.counters")["resets"].values()))

    before = resets()
    model.call("device.reset")
    instruments.until(lambda: resets() > before, what="the driver resets its device", timeout=REQUEST_TIMEOUT)


def _no_reset_request(instruments: Instruments) -> Any:
    model = instruments.guest.model
    if model is None:
        return f"{instruments.guest.driver.subject} has no model"
    return None if model.offers("device.reset") else "the model has no device.reset"


def _self_test(instruments: Instruments, _setting: Setting) -> None:
    instruments.self_test()


def _eeprom(instruments: Instruments, _setting: Setting) -> None:
    found = instruments.agent.call("process.run", command=["ethtool", "-e", instruments.ifname, "length", "64"])
    if found["exit_status"]:
        raise NotOfferedError(f"ethtool -e: {found['stderr']}")


def _no_eeprom(instruments: Instruments) -> Any:
    found = instruments.agent.call("process.run", command=["ethtool", "-e", instruments.ifname, "length", "4"])
    return {"ethtool -e": found["stderr"]} if found["exit_status"] else None


def _split_headers(instruments: Instruments) -> None:
    """Turn header split on, which binding memory requires where the device has it."""
    if "tcp-data-split" in (instruments.dut.get("rings") or {}):
        instruments.settings.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED)
        instruments.settings.ready()


def _queue_restart(instruments: Instruments, _setting: Setting) -> None:
    worker = Worker(instruments.agent)
    instruments.defer(worker.close)
    memory = DmabufProvider(worker, instruments.ifname)
    error = memory.try_bind(instruments.dut.queues() - 1)
    if error is not None:
        raise NotOfferedError(f"binding memory: {error}")
    memory.unbind()


def _no_queue_api(instruments: Instruments) -> Any:
    try:
        error = instruments.agent.call("netdev.queue_api_error", ifname=instruments.ifname, queue=0)
    except KernelLacksError as lack:
        return str(lack)
    return {"netdev bind-rx": error} if error["errno"] == errno.EOPNOTSUPP else None


def _socket(instruments: Instruments, _setting: Setting) -> None:
    umem = instruments.af_xdp.umem()
    try:
        socket = umem.bind(0, "zero-copy")
    except AgentError as error:
        raise NotOfferedError(str(error)) from error
    instruments.settings.ready()
    socket.close()
    umem.close()


FILTERS = frozenset({"VLAN filter", "unicast list", "multicast list"})
STEERING = frozenset({"RSS table", "RSS key", "ntuple rule"})
PROGRAMS = frozenset({"XDP program", "XDP program with fragments", "AF_XDP socket"})
TELLING = FILTERS | STEERING | PROGRAMS | {"MTU"}
"""Settings of which drivers keep a copy that they must write again."""
FEW = frozenset({"VLAN filter", "RSS table", "XDP program"})
"""One of each kind, tried with most operations in a run that is to take minutes; ``--slow`` tries all."""

OPERATIONS: dict[str, Operation] = {
    row.name: row
    for row in (
        Operation("down-and-up", "setting the interface down and up", _down_up),
        Operation(
            "ring-size",
            "a change of the ring sizes",
            _ring_sizes,
            _no_ring_sizes,
            by_default=TELLING | {"time stamp filter"},
        ),
        Operation(
            "channels",
            "a change of the number of channels",
            _channels,
            _no_channels,
            by_default=FEW,
        ),
        Operation(
            "MTU",
            "a change of the MTU",
            _mtu,
            by_default=FEW,
        ),
        Operation("features", "a change of features", _features, by_default=FEW),
        Operation(
            "XDP-program",
            "native XDP programs",
            _attach,
            _lacks("xdp-act:basic"),
            prepare=lambda instruments: instruments.native_xdp(),
            by_default=FEW | {"ntuple rule"},
        ),
        Operation(
            "AF_XDP-socket",
            "zero-copy AF_XDP sockets",
            _socket,
            _lacks("xdp-act:xsk-zerocopy"),
            by_default=FEW,
        ),
        Operation(
            "carrier-loss",
            "a loss of the carrier",
            _carrier,
            by_default=frozenset({"VLAN filter", "XDP program"}),
        ),
        Operation(
            "negotiation",
            "a restart of autonegotiation",
            _negotiation,
            by_default=frozenset({"VLAN filter"}),
        ),
        Operation(
            "watchdog-reset",
            "a device reset on a transmit timeout",
            _watchdog,
            by_default=frozenset({"VLAN filter", "XDP program"}),
            provokes=TRANSMIT_WATCHDOG,
            budget=60,
        ),
        Operation(
            "requested-reset",
            "a device that asks its driver for a reset",
            _reset_request,
            _no_reset_request,
            by_default=TELLING | {"channels", "ring sizes"},
        ),
        Operation(
            "self-test",
            "an offline self-test",
            _self_test,
            by_default=frozenset({"VLAN filter"}),
            budget=60,
        ),
        Operation("EEPROM-read", "reading the EEPROM", _eeprom, _no_eeprom, by_default=frozenset({"VLAN filter"})),
        Operation(
            "queue-restart",
            "restarting the last queue",
            _queue_restart,
            _no_queue_api,
            prepare=_split_headers,
            by_default=STEERING | {"MTU", "channels", "ring sizes"},
        ),
    )
}
"""By name."""
