# SPDX-License-Identifier: GPL-2.0-or-later
"""gVNIC and the unmodified driver over many resets, ring resizes and channel changes under traffic.

After each, driver and device must have counted the same packets on each queue since it was created, in both directions: a
lost interrupt would leave packets unprocessed. If the driver itself leaves some (see `QueueState.left_by_driver`), the next
event must process them. And the device's accounting must balance: neither side loses a buffer or a completion tag.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plugfest.deadline import scaled, until
from plugfest.dut.dut import Dut
from plugfest.machine import virtual
from plugfest.machine.acceleration import choose
from plugfest.machine.virtual import VirtualMachine
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.root import ensure_root
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_toolchain
from plugfest.run import sandbox
from plugfest.run.plan import RunPlan
from plugfest.statistics.accounts import Accounting
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("PLUGFEST_SOAK_ROUNDS", "200"))
SEED = 20261125
FALSIFYING_ROUNDS = 8
FLOWS = 64
MOST_QUEUES = 8
PACE = 0.005
STANDSTILL = 0.25
"""Seconds without a change after which the driver counts as stopped, on a guest of speed 1."""
GQI_MASK = 0x40
"""GVE_IRQ_MASK, bit 30, in the doorbell's big-endian format."""
NAPI_POLL_WEIGHT = 64
"""include/linux/netdevice.h: the budget of a poll."""
CONSUME_TIMEOUT = 5.0
"""Seconds for the frames on the wire to be consumed, on a guest of speed 1."""


def plan(settings: ProvisionSettings, profile: str, folder: Path) -> RunPlan:
    """gve on the default kernel."""
    toolchain, kernel = ensure_toolchain(settings), ensure_kernel(settings)
    acceleration = choose("auto", toolchain, kernel, cache=settings.cache)
    return RunPlan(
        driver="gve",
        profile=profile,
        toolchain=toolchain,
        root=ensure_root(settings),
        kernel=kernel,
        acceleration=acceleration.name,
        acceleration_reason=acceleration.reason,
        output=folder / "output",
        scratch=folder / "run",
    )


@dataclass(frozen=True)
class QueueState:
    """Both sides of a queue.

    Attributes:
        direction, queue: its direction and number.
        consumed: packets that the driver has counted since it created the ring; -1 if it does not have the queue.
        given: packets that the device has completed since the queue was created.
        written: when it wrote the last of these completions, by its clock.
        block: the notification block, from `model.blocks`.
    """

    direction: str
    queue: int
    consumed: int
    given: int
    written: float
    block: Mapping[str, Any]

    @property
    def left_by_driver(self) -> bool:
        """Whether the driver itself left the unprocessed packets, rather than an interrupt being lost.

        gve_napi_poll_dqo, when there is more to do than one poll may and it runs on another CPU than the interrupt's, arms
        the interrupt instead of polling on; the rest stays in the ring until the next event. So a whole poll was done; the
        interrupt was raised after the last completion was written; and the driver has armed it since, with all of them in
        the ring. If an interrupt was lost, the vector would not be armed; if an event was lost, the interrupt would
        not have been raised that late.
        """
        block = self.block
        return (
            NAPI_POLL_WEIGHT <= self.consumed < self.given
            and bool(block["armed"])
            and not (block["pending"] or block["waiting"] or block["masked"])
            and bool(block["raised_at"] >= self.written)
        )

    def __str__(self) -> str:
        """A short form for messages."""
        block = " ".join(name if value is True else f"{name}={value}" for name, value in self.block.items() if value)
        counts = f"driver {self.consumed}, device {self.given}"
        return f"{self.direction} {self.queue}: {counts}, written at {self.written}, block {block}"


class Soak:
    """A machine, the changes to it, and the checks after each.

    Attributes:
        left: packets that the driver left until the next interrupt, by round.
    """

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.dut = Dut(machine)
        self.model: Any = machine.model
        self.frames = self._frames()
        self.left: list[str] = []
        self._last_event = 0
        self._late_masks = 0
        self._pause = threading.Event()
        self._paused = threading.Event()
        self._random = random.Random(SEED)

    def _frames(self) -> list[bytes]:
        """A frame a flow, both IP versions; and echo requests, which the DUT answers."""
        found = []
        for number in range(FLOWS):
            ip: Any = IP(src="192.0.2.1", dst="192.0.2.2") if number % 2 else IPv6(src="2001:db8::1", dst="2001:db8::2")
            udp = UDP(sport=20000 + number, dport=9) / Raw(bytes(10 + 20 * number))
            found.append(bytes(Ether(dst=self.dut.mac, src=self.machine.remote.mac) / ip / udp))
        for number in range(FLOWS // 2):
            echo = IP(src="192.0.2.1", dst="192.0.2.2") / ICMP(seq=number) / Raw(bytes(10 + 40 * number))
            found.append(bytes(Ether(dst=self.dut.mac, src=self.machine.remote.mac) / echo))
        return found

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Frames in all flows to the DUT, which answers some, except while a check goes on."""
        over = threading.Event()

        def send() -> None:
            while not over.wait(PACE):
                if self._pause.is_set():
                    self._paused.set()
                    continue
                self._paused.clear()
                self.machine.remote.send(self.frames[:: self._random.randrange(1, 4)])

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = CONSUME_TIMEOUT) -> None:
        until(condition, what=what, timeout=timeout, speed=self.machine.speed)

    def act(self, number: int) -> str:
        """One reset, resize or change of channels."""
        ifname = self.dut.ifname
        kind = ("driver reset", "device reset", "rings", "channels")[number % 4]
        resets = self.model.call("model.counters")["resets"].get("driver", 0)
        if kind == "driver reset":
            self.machine.ssh.run(f"ethtool --reset {ifname} all")
        elif kind == "device reset":
            self.model.call("device.reset")
        elif kind == "rings":
            self.dut.set("rings", **{way: self._random.choice((256, 512, 1024, 2048)) for way in ("rx", "tx")})
        else:
            count = self._random.randrange(1, MOST_QUEUES + 1)
            self.dut.set("channels", rx_count=count, tx_count=self._random.randrange(1, MOST_QUEUES + 1))
        if "reset" in kind:
            self.wait(
                lambda: self.model.call("model.counters")["resets"].get("driver", 0) > resets,
                f"the device was reset by {kind}",
            )
        self.wait(lambda: self.dut.carrier, f"the carrier is there after {kind}")
        return kind

    def check(self, after: str) -> None:
        """Without further traffic: all is consumed, all queues work, and the accounting balances."""
        self._pause.set()
        self.wait(self._paused.is_set, "the traffic pauses")
        left = self._settle(after)
        before = self._delivered()
        self.machine.remote.send(self.frames)
        self.wait(
            lambda: self._delivered() - before >= len(self.frames),
            f"{len(self.frames)} frames are delivered after {after}",
        )
        self._settle(after, left)
        accounting = self.model.call("model.accounting")
        for number, each in enumerate(accounting["rx"]):
            assert each["posted"] == each["completed"] + each["held"] + each["returned"], (after, number, each)
        for number, each in enumerate(accounting["tx"]):
            assert each["packets"] == each["completions"] + each["abandoned"], (after, number, each)
        self._check_violations(after, accounting["violations"])
        self._buffers_are_back(after)
        self._paused.clear()
        self._pause.clear()

    def _check_violations(self, after: str, counts: Mapping[str, int]) -> None:
        """The driver committed no violation except one that is excused.

        gve_intr masks its block by the doorbell: an interrupt in flight while the device is reset writes to a doorbell
        that is no longer connected.
        """
        events: list[dict[str, Any]] = self.model.call("events.read", after=self._last_event)
        self._last_event = max((each["sequence"] for each in events), default=self._last_event)
        at = [number for number, each in enumerate(events) if each["event"] == "violation"]
        late = [events[each] for each in at if events[each]["rule"] == "doorbell.unknown"]
        self._late_masks += sum(each["value"] == GQI_MASK for each in late)
        if sum(counts.values()) != self._late_masks:
            around = events[max(0, at[0] - 8) : at[-1] + 4] if at else []
            raise AssertionError(f"{after}: {dict(counts)}, of which {self._late_masks} are excused; {around}")

    def _buffers_are_back(self, after: str) -> None:
        """The device has all buffers of an idle queue, except for less than two doorbells' worth (32 each)."""

        def back() -> bool:
            queues = self.model.call("model.queues")["rx"]
            accounting = self.model.call("model.accounting")["rx"]
            return all(
                not queue["enabled"] or queue["size"] - each["held"] <= 64
                for queue, each in zip(queues, accounting, strict=True)
            )

        self.wait(back, f"the buffers are posted again after {after}")

    def _delivered(self) -> int:
        """Frames that the device delivered to the driver since it started."""
        return sum(int(queue["frames"]) for queue in self.model.call("model.counters")["rx"])

    def _queue_states(self) -> list[QueueState]:
        """Both sides of each existing queue; the driver is read first, so that it cannot be ahead."""
        driver = Accounting(self.machine, self.dut.ifname, "ethtool").queues()
        device = self.model.call("model.queues")
        blocks = self.model.call("model.blocks")
        found = []
        for direction, accounts in (("rx", driver.rx), ("tx", driver.tx)):
            for number, queue in enumerate(device[direction]):
                account = accounts.get(number)
                if not queue["enabled"]:
                    assert account is None, (
                        f"the driver counts {direction} queue {number}, which the device does not have"
                    )
                    continue
                consumed = -1 if account is None else account.frames
                block = blocks[queue["block"]]
                found.append(QueueState(direction, number, consumed, queue["packets"], queue["written"], block))
        return found

    def _settle(self, after: str, excused: Sequence[QueueState] | None = None) -> list[QueueState]:
        """Wait until the driver has consumed everything that the device completed since the queues were created.

        Args:
            after: the change before.
            excused: what was unprocessed before a frame was sent to every queue; it may still be, if its block had no
                event since. None before that, when the driver may leave some (see `QueueState.left_by_driver`).

        Returns:
            The queues with packets that the driver left.
        """
        last: list[QueueState] = []
        since = time.monotonic()

        def uneven(states: Sequence[QueueState]) -> list[QueueState]:
            return [each for each in states if each.consumed != each.given]

        def settled() -> bool:
            nonlocal last, since
            now = self._queue_states()
            if now != last:
                last, since = now, time.monotonic()
            if excused is not None:
                return all(each in excused for each in uneven(now))
            stands = time.monotonic() - since >= scaled(STANDSTILL, self.machine.speed)
            return not uneven(now) or (stands and all(each.left_by_driver for each in uneven(now)))

        try:
            self.wait(settled, f"the driver has consumed what arrived after {after}")
        except AssertionError as error:
            lines = "\n".join(f"  {each}" for each in last)
            when = "before" if excused is None else "after"
            raise AssertionError(f"{error}; {when} a frame for every queue:\n{lines}") from None
        found = uneven(last)
        if found and excused is None:
            self.left.append(f"{after}: {', '.join(map(str, found))}")
        return found


def soaked(settings: ProvisionSettings, profile: str, folder: Path, work: Callable[[Soak], None]) -> int:
    """Run a soak in a machine of its own; returns the exit status, with errors in stderr."""
    made = plan(settings, profile, folder)

    def payload() -> int:
        machine = virtual.boot(made)
        try:
            soak = Soak(machine)
            soak.wait(lambda: Dut(machine).carrier, "the carrier is there")
            with soak.traffic():
                work(soak)
            machine.guest.synchronize()
            assert machine.console.problems_since(0) == []
        finally:
            machine.close()
        return 0

    return sandbox.enter(payload, folder=folder / "run", grace=5).status


@pytest.mark.parametrize("profile", ["std", "hds", "gqi"])
def test_resets_and_changes_under_traffic(
    provisioning: ProvisionSettings, profile: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Over many resets, ring resizes and channel changes no buffer, no tag, no frame and no interrupt is lost."""

    def work(soak: Soak) -> None:
        begin = time.monotonic()
        for number in range(ROUNDS):
            soak.check(f"round {number}, {soak.act(number)}")
        left = "".join(f"\n  {each}" for each in soak.left)
        seconds = time.monotonic() - begin
        sys.stderr.write(
            f"{profile}: {ROUNDS} rounds in {seconds:.0f} s; left by the driver {len(soak.left)} times{left}\n"
        )

    status = soaked(provisioning, profile, tmp_path, work)
    errors = capfd.readouterr().err
    with capfd.disabled():
        sys.stderr.write(errors)
    assert status == 0, errors


@pytest.mark.parametrize("fault", ["interrupt.lost", "interrupt.vector.lost", "rx.buffer.leaked", "tx.completion.lost"])
def test_losses_are_detected(
    provisioning: ProvisionSettings, fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A device that keeps losing interrupts, events, buffers or tags fails the checks."""

    def work(soak: Soak) -> None:
        soak.check("the start")
        soak.model.call("faults.arm", name=fault)
        for number in range(FALSIFYING_ROUNDS):
            soak.check(f"round {number}, {soak.act(number)}")

    assert soaked(provisioning, "std", tmp_path, work) != 0
    assert "AssertionError" in capfd.readouterr().err
