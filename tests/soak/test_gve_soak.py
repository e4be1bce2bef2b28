# SPDX-License-Identifier: GPL-2.0-or-later
"""gVNIC and the unmodified driver over many resets, ring resizes and channel changes under traffic.

After each, every frame that the device delivered must have been consumed by the driver: an interrupt that was lost would
leave some lying. And the device's ledger must be even: no buffer and no completion tag is forgotten by either side.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from plugfest import machine as machines
from plugfest import sandbox
from plugfest.acceleration import choose
from plugfest.deadline import until
from plugfest.machine import Machine
from plugfest.plan import RunPlan
from plugfest.provision.kernel import ensure_kernel
from plugfest.provision.root import ensure_root
from plugfest.provision.settings import Settings
from plugfest.provision.toolchain import ensure_toolchain
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROUNDS = int(os.environ.get("PLUGFEST_SOAK_ROUNDS", "200"))
SEED = 20261125
FLOWS = 64
MOST_QUEUES = 8
PACE = 0.005
STILL = 4
"""Readings of the counters, one after the other, that show no change."""
SOON = 5.0
"""Seconds for what is on the wire to be consumed, on a guest of speed 1."""


def plan(profile: str, folder: Path) -> RunPlan:
    """gve on the default kernel."""
    settings = Settings()
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


class Soak:
    """A machine, what is done to it, and what is checked after each."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.dut = machine.dut
        self.model: Any = machine.model
        self.frames = self._frames()
        self._pause = threading.Event()
        self._paused = threading.Event()
        self._random = random.Random(SEED)

    def _frames(self) -> list[bytes]:
        """A frame a flow, both IP versions; and echo requests, which the DUT answers."""
        found = []
        for number in range(FLOWS):
            ip: Any = IP(src="192.0.2.1", dst="192.0.2.2") if number % 2 else IPv6(src="2001:db8::1", dst="2001:db8::2")
            udp = UDP(sport=20000 + number, dport=9) / Raw(bytes(10 + 20 * number))
            found.append(bytes(Ether(dst=self.dut.mac, src=self.machine.wire.mac) / ip / udp))
        for number in range(FLOWS // 2):
            echo = IP(src="192.0.2.1", dst="192.0.2.2") / ICMP(seq=number) / Raw(bytes(10 + 40 * number))
            found.append(bytes(Ether(dst=self.dut.mac, src=self.machine.wire.mac) / echo))
        return found

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Frames in all flows to the DUT, which answers some, except while a check goes on."""
        over = threading.Event()

        def pour() -> None:
            while not over.wait(PACE):
                if self._pause.is_set():
                    self._paused.set()
                    continue
                self._paused.clear()
                self.machine.wire.send(self.frames[:: self._random.randrange(1, 4)])

        thread = threading.Thread(target=pour, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = SOON) -> None:
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
            self.wait(lambda: self.model.call("model.counters")["resets"].get("driver", 0) > resets, f"the {kind}")
        self.wait(lambda: self.dut.carrier, f"the carrier after {kind}")
        return kind

    def check(self, after: str) -> None:
        """With no more coming in: all is consumed, all queues work, and the ledger is even."""
        self._pause.set()
        self.wait(self._paused.is_set, "the pouring to pause")
        before = self._settled(after)
        self.machine.wire.send(self.frames)
        self.wait(
            lambda: self._gained(before)[1] >= len(self.frames),
            f"{len(self.frames)} frames to be delivered after {after}",
        )
        self._settled(after, since=before)
        ledger = self.model.call("model.ledger")
        for number, each in enumerate(ledger["rx"]):
            assert each["posted"] == each["completed"] + each["held"] + each["returned"], (after, number, each)
        for number, each in enumerate(ledger["tx"]):
            assert each["packets"] == each["completions"] + each["tags"] + each["abandoned"], (after, number, each)
        assert ledger["violations"] == {}, (after, ledger["violations"])
        self._buffers_are_back(after)
        self._pause.clear()

    def _buffers_are_back(self, after: str) -> None:
        """Of an idle queue the device has all buffers, but for less than what one doorbell stands for (32), twice."""

        def back() -> bool:
            queues = self.model.call("model.queues")["rx"]
            ledger = self.model.call("model.ledger")["rx"]
            return all(
                not queue["enabled"] or queue["size"] - each["held"] <= 64
                for queue, each in zip(queues, ledger, strict=True)
            )

        self.wait(back, f"the buffers to be posted again after {after}")

    def _counts(self) -> tuple[dict[int, int], dict[int, int]]:
        """Frames by receive queue: what the driver has consumed, what the device has delivered."""
        driver = {queue: each.frames for queue, each in self.dut.queue_stats().rx.items()}
        device = {queue: each["frames"] for queue, each in enumerate(self.model.call("model.counters")["rx"])}
        return driver, device

    def _gained(self, before: tuple[dict[int, int], dict[int, int]]) -> tuple[int, int]:
        now = self._counts()
        return tuple(  # type: ignore[return-value]
            sum(late.get(queue, 0) - count for queue, count in early.items())
            for early, late in zip(before, now, strict=True)
        )

    def _settled(
        self, after: str, since: tuple[dict[int, int], dict[int, int]] | None = None
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Wait until nothing moves any more, and the driver has consumed at least what the device delivered since.

        A guest on a busy host may stand still with something left to consume, so that it consumes more than came since.
        """
        last: list[object] = [None]
        same = [0]

        def still() -> bool:
            now = self._counts()
            same[0] = same[0] + 1 if now == last[0] else 0
            last[0] = now
            if same[0] < STILL:
                return False
            if since is None:
                return True
            (driver_before, device_before), (driver, device) = since, now
            return all(
                driver[queue] - driver_before[queue] >= device[queue] - device_before[queue] for queue in driver_before
            )

        try:
            self.wait(still, f"the driver to have consumed what came after {after}")
        except AssertionError as error:
            blocks = self.model.call("model.counters")["interrupts"]
            raise AssertionError(f"{error}; before {since}, now {self._counts()}, interrupts {blocks}") from None
        return self._counts()


@pytest.mark.parametrize("profile", ["std", "hds", "gqi"])
def test_resets_and_changes_under_traffic(profile: str, tmp_path: Path) -> None:
    """Over many resets, ring resizes and channel changes no buffer, no tag, no frame and no interrupt is lost."""
    made = plan(profile, tmp_path)

    def payload() -> int:
        machine = machines.boot(made)
        try:
            soak = Soak(machine)
            soak.wait(lambda: machine.dut.carrier, "the carrier")
            with soak.traffic():
                for number in range(ROUNDS):
                    soak.check(f"round {number}, {soak.act(number)}")
            machine.guest.synchronize()
            assert machine.console.problems_since(0) == []
        finally:
            machine.close()
        return 0

    assert sandbox.enter(payload, folder=tmp_path / "run", grace=5).status == 0, "see the captured standard error"
