# SPDX-License-Identifier: GPL-2.0-or-later
"""A test bench for gVNIC: the model in a thread, a minimal driver, and a peer at the other end of the cable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gve_driver import DEVICE_STATUS, DqoReceive, DqoTransmit, GveDriver
from nicmodels.models.registry import find
from nicmodels.nic.device import Options
from nicmodels.wire import PairWire
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from wire_peer import MAC, PEER, RAM, WirePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nicmodels.nic.device import Device
    from scapy.packet import Packet
    from served import ServedDevice


class Bench:
    """Model, driver and wire peer. The driver has not touched the device yet."""

    def __init__(
        self,
        serve: Callable[..., ServedDevice],
        *,
        ram: int = 32 << 20,
        profile: str | None = None,
        create: Callable[..., Device] | None = None,
    ) -> None:
        near, far = PairWire.pair()
        make = create or find("gve").create
        self.served = serve(lambda host: make(host, Options(profile=profile, mac=MAC)), wire=near)
        self.client = self.served.client()
        self.driver = GveDriver(self.client, self.client.add_ram(RAM, ram))
        self.driver.explain = self.state
        self.peer = WirePeer(far, lambda: self.driver.read(DEVICE_STATUS))
        self.rx: list[DqoReceive] = []
        self.tx: list[DqoTransmit] = []

    @property
    def device(self) -> Device:
        """The model; access it only by `call` and `control`."""
        return self.served.device

    def start(self, queues: int = 1, *, msix: bool = False, **options: Any) -> Bench:
        """Bring the device up with DQO queues that have buffers, and wait for the link."""
        self.driver.start(msix=msix)
        for index in range(queues):
            self.tx.append(DqoTransmit(self.driver, index).create())
        for index in range(queues):
            self.rx.append(DqoReceive(self.driver, index, **options).create())
            self.rx[-1].post()
        self.driver.until(lambda: self.driver.link, "the link")
        return self

    def control(self, method: str, **params: object) -> Any:
        """Call a control method of the model, after all writes of the driver."""
        self.driver.read(DEVICE_STATUS)
        return self.served.call(lambda: self.device.control_methods()[method](**params))

    def arm(self, name: str, times: int | None = None, **match: object) -> None:
        """Arm a fault, after all writes of the driver."""
        self.driver.read(DEVICE_STATUS)
        self.served.call(lambda: self.served.slot.faults[name].arm(times, match))

    def disarm(self, name: str) -> int:
        """Disarm a fault; returns how often it fired."""
        self.driver.read(DEVICE_STATUS)
        fault = self.served.slot.faults[name]
        self.served.call(fault.disarm)
        return fault.fired

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind."""
        self.driver.read(DEVICE_STATUS)
        found = self.served.call(self.served.slot.events.after)
        return [event for event in found if event["event"] == kind]

    def violations(self) -> dict[str, int]:
        """The rules that the driver broke, and how often."""
        return dict(self.control("model.accounting")["violations"])

    def state(self) -> str:
        """The model's state, for the message of a timeout."""
        counters = self.control("model.counters")
        wire = self.served.slot.wire.counters
        events = self.served.call(self.served.slot.events.after)[-6:]
        return f"(wire {wire}, rx {counters['rx'][0]}, tx {counters['tx'][0]}, {self.violations()}, {events})"

    def burst(self, frames: Iterable[Packet | bytes]) -> None:
        """Send frames that are all on the wire when the device receives."""
        self.driver.read(DEVICE_STATUS)
        self.served.call(lambda: [self.peer.put(frame) for frame in frames])

    def balanced(self) -> bool:
        """Whether the accounting of each queue balances."""
        accounting = self.control("model.accounting")
        return all(
            each["posted"] == each["completed"] + each["held"] + each["returned"] and each["held"] >= 0
            for each in accounting["rx"]
        ) and all(
            each["packets"] == each["completions"] + each["tags"] + each["abandoned"] and each["tags"] >= 0
            for each in accounting["tx"]
        )

    def close(self) -> None:
        """Disconnect the peer; `serve` closes the rest."""
        self.peer.wire.close()


def segments(
    count: int, size: int = 1000, *, version: int = 4, sequence: int = 1000, flags: str = "A", port: int = 4000
) -> list[bytes]:
    """TCP segments of one flow, to the DUT, in order."""
    frames = []
    for number in range(count):
        ip = (
            IP(src="192.0.2.1", dst="192.0.2.2", id=number, flags="DF")
            if version == 4
            else IPv6(src="2001:db8::1", dst="2001:db8::2")
        )
        tcp = TCP(sport=port, dport=5000, seq=sequence + number * size, ack=7, flags=flags)
        payload = bytes((number + index) & 0xFF for index in range(size))
        frames.append(bytes(Ether(dst=MAC, src=PEER) / ip / tcp / Raw(payload)))
    return frames


def datagram(size: int = 100, *, version: int = 4, port: int = 4000, **fields: Any) -> bytes:
    """A UDP datagram to the DUT."""
    ip = IP(src="192.0.2.1", dst="192.0.2.2") if version == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    return bytes(
        Ether(dst=MAC, src=PEER)
        / ip
        / UDP(sport=port, dport=5000, **fields)
        / Raw(bytes(index & 0xFF for index in range(size)))
    )


def plain(size: int = 100, destination: bytes = MAC, kind: int = 0x88B5) -> bytes:
    """A frame without IP, of `size` bytes."""
    return bytes(Ether(dst=destination, src=PEER, type=kind)) + bytes(index & 0xFF for index in range(size - 14))
