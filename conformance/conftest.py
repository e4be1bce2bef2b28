# SPDX-License-Identifier: GPL-2.0-or-later
"""What several areas share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest
from plugfest.deadline import Deadline, poll
from plugfest.dut.dut import TCP_DATA_SPLIT_DISABLED, TCP_DATA_SPLIT_ENABLED
from plugfest.dut.settings import Settings
from plugfest.frames.probe import burst
from plugfest.machine.model import ModelError
from plugfest.traffic.packet_socket import PacketSender
from plugfest.traffic.traffic import Traffic
from plugfest.xdp.programs import Xdp

if TYPE_CHECKING:
    from plugfest.dut.dut import Dut
    from plugfest.machine.machine import Machine
    from plugfest.machine.model import ModelClient


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
            assert refusal.extack, f"a program is refused without a reason: {refusal}"
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
def check_account(guest: Machine, dut: Dut, evidence: Callable[[str, object], None]) -> Callable[[], None]:
    """``check_account()``: by the device's own account no completion tag is outstanding, and each receive queue holds a ring full.

    Nothing is checked of a subject that keeps no such account.
    """

    def check() -> None:
        model = guest.model
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
