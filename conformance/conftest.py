# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures that several areas share: what must hold before a test starts, and what the device must show after it."""

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
    from plugfest.deadline import Until
    from plugfest.dut.dut import Dut
    from plugfest.machine.machine import Machine
    from plugfest.machine.model import ModelClient


SINGLE_BUFFER = 2048
"""Bytes of a receive buffer with which a driver accepts an XDP program, where the size can be chosen."""
STANDARD_MTU = 1500
HANG_FAULTS = ("tx.queue.stuck", "tx.writeback.lost", "tx.completion.lost")
"""Fault points of the models that hang a transmit queue."""
RESET_TIMEOUT = 20
"""Seconds of wall time for the kernel's transmit watchdog (5 s, or the driver's own timeout) and the driver's reset."""
FILL_LENGTH = 1000
"""Bytes of the frames that fill a queue."""
UDP_HEADERS = 14 + 20 + 8
"""Bytes of the headers of Ethernet, IPv4 and UDP."""
MAX_UNPOSTED = 64
"""Buffers that a receive ring may be short of: a driver may post them in batches of this size, and leaves one descriptor empty."""
METHOD_NOT_FOUND = -32601
"""JSON-RPC 2.0, 5.1."""
DEFAULT_RING, EXCESS_FRAMES = 1024, 64
"""Ring size to assume where the driver reports none; frames to send beyond the ring size."""


@pytest.fixture
def unobstructed(evidence: Callable[[str, object], None]) -> Callable[[Xdp, Dut, Settings], None]:
    """``unobstructed(xdp, dut, settings)`` makes the interface accept a native XDP program.

    An XDP program without frag support needs each packet in a single buffer. A driver may reject it while a setting can spread a
    packet over several: hardware GRO, header split, a larger buffer size, a large MTU. These are turned off one by one until the
    driver accepts the program; each rejection must come with an extack.
    """

    def remove_obstacles(xdp: Xdp, dut: Dut, settings: Settings) -> None:
        obstacles: tuple[Callable[[], object], ...] = (
            lambda: settings.set_features({"rx-gro-hw": False}),
            lambda: settings.set("rings", tcp_data_split=TCP_DATA_SPLIT_DISABLED),
            lambda: settings.set("rings", rx_buf_len=SINGLE_BUFFER),
            lambda: settings.set_link(mtu=STANDARD_MTU),
        )
        rings, features = dut.get("rings") or {}, dut.features()
        present = (
            "rx-gro-hw" in features.active & features.free,
            rings.get("tcp-data-split") == TCP_DATA_SPLIT_ENABLED,
            rings.get("rx-buf-len", 0) > SINGLE_BUFFER,
            dut.mtu > STANDARD_MTU,
        )
        for remove, is_present in zip(obstacles, present, strict=True):
            if not is_present:
                continue
            error = xdp.try_attach_and_detach()
            if error is None:
                break
            assert error.extack, f"the driver rejects an XDP program without an extack: {error}"
            evidence("XDP program rejected", str(error))
            remove()

    return remove_obstacles


@pytest.fixture
def native(
    xdp: Xdp,
    dut: Dut,
    settings: Settings,
    require: Callable[..., None],
    unobstructed: Callable[[Xdp, Dut, Settings], None],
) -> Xdp:
    """XDP in native mode; skips if the driver does not advertise it, and turns off the settings that the driver rejects it for."""
    require("xdp-act:basic")
    unobstructed(xdp, dut, settings)
    return xdp


@pytest.fixture
def check_account(guest: Machine, dut: Dut, evidence: Callable[[str, object], None]) -> Callable[[], None]:
    """``check_account()``: the device has no completion tag outstanding, and each receive queue holds a full ring of buffers.

    Does nothing on a device that keeps no such account.
    """

    def check() -> None:
        model = guest.model
        try:
            account = model.call("model.accounting") if model else None
        except ModelError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            account = None
        evidence("the device's account", account)
        if account is None:
            return
        tags = [queue["tags"] for queue in account["tx"]]
        assert not any(tags), f"completion tags outstanding, by queue: {tags}"
        ring = (dut.get("rings") or {})["rx"]
        held = [queue["held"] for queue in account["rx"][: dut.queues()]]
        assert all(ring - MAX_UNPOSTED <= each <= ring for each in held), (
            f"ring size {ring}; buffers held, by queue: {held}"
        )

    return check


@pytest.fixture
def reset_by_watchdog(
    guest: Machine,
    model: ModelClient,
    dut: Dut,
    packet_sender: PacketSender,
    traffic: Traffic,
    until: Until,
    evidence: Callable[[str, object], None],
    defer: Callable[..., None],
    skip_unsupported: Callable[..., NoReturn],
) -> Callable[[], None]:
    """``reset_by_watchdog()`` hangs a transmit queue until the kernel's watchdog makes the driver reset its device.

    Skips if the device cannot hang or the driver does not reset it. The test needs a `provokes` mark for the kernel's warning.
    """

    def resets() -> int:
        return sum(model.call("model.counters")["resets"].values())

    def hang() -> None:
        points = [each["name"] for each in model.call("faults.list")]
        stuck = next((name for name in points if name in HANG_FAULTS), None)
        if stuck is None:
            skip_unsupported("a device with a fault that hangs a transmit queue", evidence=points)
        before = resets()
        defer(model.call, "faults.disarm", name=stuck)
        # Until the reset and no longer: what the driver sends after it, on any queue, would hang again.
        model.call("faults.arm", name=stuck, until_reset=True)
        # One flow uses one queue. The kernel's watchdog checks only queues that are stopped, so fill it.
        (frame,) = burst(traffic.ends_back, flows=1, sizes=(FILL_LENGTH,), versions=(4,))
        last = frame.frame[:UDP_HEADERS] + bytes(FILL_LENGTH - UDP_HEADERS)  # of the same flow, and no probe
        packet_sender.send(
            [frame.frame], cpu=0, repeat=(dut.get("rings") or {}).get("tx", DEFAULT_RING) + EXCESS_FRAMES
        )
        # The kernel's watchdog runs on wall time, however slow the guest is.
        done = poll(lambda: resets() > before, Deadline.after(RESET_TIMEOUT, lost=guest.lost))
        model.call("faults.disarm", name=stuck)
        traffic.ready()
        if not done:
            skip_unsupported(
                "a device reset on a transmit timeout", evidence={"resets": model.call("model.counters")["resets"]}
            )
        # What waits in the interface's queue leaves now, before what the test sends next: that shows what does not.
        with traffic.capture_sent(lambda each: each == last) as seen:

            def flushed() -> bool:
                packet_sender.send([last], cpu=0)
                return seen.reached(1)

            try:
                until(flushed, what="what waited behind the hung queue has left", timeout=2)
            except AssertionError as error:
                evidence("after the reset", str(error))

    return hang
