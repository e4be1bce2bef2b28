# SPDX-License-Identifier: GPL-2.0-or-later
"""A test bench for the 82599: the model in a thread, a minimal driver, and a peer at the other end of the cable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ixgbe_driver import STATUS, IxgbeDriver
from nicmodels.models.registry import find
from nicmodels.nic.device import Options
from nicmodels.wire import PairWire
from wire_peer import MAC, PEER, RAM, WirePeer, pseudo_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nicmodels.nic.device import Device
    from scapy.packet import Packet
    from served import ServedDevice

__all__ = ["MAC", "PEER", "RAM", "Bench", "WirePeer", "pseudo_header"]


class Bench:
    """Model, driver and wire peer. The driver has not touched the device yet."""

    def __init__(self, serve: Callable[..., ServedDevice], *, ram: int = 16 << 20, profile: str | None = None) -> None:
        near, far = PairWire.pair()
        model = find("ixgbe")
        self.served = serve(lambda host: model.create(host, Options(profile=profile, mac=MAC)), wire=near)
        self.client = self.served.client()
        self.driver = IxgbeDriver(self.client, self.client.add_ram(RAM, ram))
        self.driver.explain = self.state
        self.peer = WirePeer(far, lambda: self.driver.read(STATUS))

    @property
    def device(self) -> Device:
        """The model; access it only by `call` and `control`."""
        return self.served.device

    def start(self, **options: object) -> Bench:
        """Bring the device up and wait for the link."""
        self.driver.start(**options)
        self.driver.wait_link()
        return self

    def control(self, method: str, **params: object) -> object:
        """Call a control method of the model, after all writes of the driver."""
        self.driver.read(STATUS)
        return self.served.call(lambda: self.device.control_methods()[method](**params))

    def state(self) -> str:
        """The model's state, for the message of a timeout."""
        counters = self.control("model.counters")
        queues = [queue for queue in self.control("model.queues")["rx"] if queue["enabled"]]
        events = self.served.slot.events.after()[-8:]
        wire = self.served.slot.wire.counters
        return f"(link {self.driver.link}, wire {wire}, counters {counters['rx'][0]}, rings {queues[:4]}, {events})"

    def receive(self, frames: Iterable[Packet | bytes], queue: int = 0) -> list[object]:
        """Send frames from the peer; returns the packets that the driver receives on a queue."""
        count = 0
        for frame in frames:
            self.peer.send(frame)
            count += 1
        return self.driver.receive[queue].wait(count)

    def burst(self, frames: Iterable[Packet | bytes]) -> None:
        """Send frames that are all on the wire when the device receives."""
        self.driver.read(STATUS)
        self.served.call(lambda: [self.peer.put(frame) for frame in frames])

    def settle(self) -> None:
        """Wait until the device has received all frames of the peer, since the wire is not ordered with register accesses."""
        sent, taken = self.peer.wire.counters, self.served.slot.wire.counters
        self.driver.until(lambda: taken.received == sent.transmitted, "frames taken from the wire")
        self.driver.read(STATUS)

    def silent(self, marker: Packet | bytes, queue: int = 0) -> bool:
        """Whether nothing is received on a queue before `marker`, which is sent now and must pass."""
        self.peer.send(marker)
        (first,) = self.driver.receive[queue].wait(1)
        return first.frame == bytes(marker)

    def close(self) -> None:
        """Disconnect the peer; `serve` closes the rest."""
        self.peer.wire.close()
