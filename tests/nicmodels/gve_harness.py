# SPDX-License-Identifier: GPL-2.0-or-later
"""A test harness for gVNIC: the minimal driver without a server, a manual clock, a wire of two lists."""

from __future__ import annotations

from collections.abc import Sequence

from direct_client import DirectClient
from gve_driver import DqoReceive, DqoTransmit, GveDriver
from gve_gqi_driver import GqiReceive, GqiTransmit, register_pages
from nicmodels.clock import ManualClock
from nicmodels.events import EventLog
from nicmodels.models.gve import Gve
from nicmodels.nic.device import Options, Slot
from nicmodels.pci import ResetCause
from nicmodels.wire import NullWire

RAM, SIZE = 1 << 24, 8 << 20


class ListWire(NullWire):
    """A wire that records sent frames, burst by burst, and receives those in `incoming`."""

    def __init__(self) -> None:
        super().__init__()
        self.bursts: list[list[bytes]] = []
        self.incoming: list[bytes] = []

    @property
    def sent(self) -> list[bytes]:
        return [frame for burst in self.bursts for frame in burst]

    def transmit(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        self.bursts.append([b"".join(buffers)])

    def transmit_many(self, frames: Sequence[Sequence[bytes | bytearray | memoryview]]) -> None:
        self.bursts.append([b"".join(buffers) for buffers in frames])

    def receive(self) -> bytes | None:
        return self.incoming.pop(0) if self.incoming else None


class GveHarness:
    """A gVNIC with the minimal driver.

    Args:
        profile: the variant.
        clock: the device's; a manual clock by default.
    """

    def __init__(self, profile: str = "std", clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.wire = ListWire()
        self.slot = Slot(clock=self.clock, wire=self.wire, events=EventLog(self.clock.now))
        self.device = Gve(self.slot, Options(profile=profile))
        self.device.restart(ResetCause.POWER_ON)
        self.memory = self.slot.memory
        self.gqi = profile == "gqi"
        client = DirectClient(self.device, lambda: self.clock.advance(0))
        self.driver = GveDriver(client, client.add_ram(RAM, SIZE))  # type: ignore[arg-type]
        self.tx: DqoTransmit | GqiTransmit
        self.rx: DqoReceive | GqiReceive

    def start(self, index: int = 0) -> GveHarness:
        """Bring it up with one queue pair that has all its buffers, and the link."""
        self.driver.ram._next = RAM
        self.driver.start()
        self.driver.set_rss(bytes(40), [index] * 128)
        profile = self.device.profile
        if self.gqi:
            self.tx, self.rx = GqiTransmit(self.driver, index), GqiReceive(self.driver, index)
            self.tx.create()
            self.rx.create()
        else:
            self.tx, self.rx = (
                DqoTransmit(self.driver, index),
                DqoReceive(self.driver, index, header=profile.header_buffer),
            )
            tx_pages = rx_pages = {}
            if profile.registered_pages:
                register_pages(self.driver, 1, 16)
                register_pages(self.driver, 2, 16)
                tx_pages, rx_pages = {"pages": 1}, {"pages": 2}
            self.tx.create(**tx_pages)
            self.rx.create(**rx_pages)
        self.rx.post()
        self.clock.advance(0.01)
        return self

    def violations(self) -> dict[str, int]:
        """The rules that the driver broke, and how often."""
        return dict(self.slot.violations.counts)
