# SPDX-License-Identifier: GPL-2.0-or-later
"""The test's end of a cable, and the addresses of all test benches."""

from __future__ import annotations

import select
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.wire import PairWire
    from scapy.packet import Packet

MAC = bytes.fromhex("027066000001")
PEER = bytes.fromhex("0270660000fe")
RAM = 0x1_0000_0000
"""Above 4 GiB, so that the high halves of addresses matter."""


class TimedOutError(AssertionError):
    """The device did not respond in time."""


class WirePeer:
    """The test's end of the cable.

    Args:
        wire: the cable.
        flush: called before a frame is sent, so that the driver's earlier writes take effect before it arrives.
    """

    def __init__(self, wire: PairWire, flush: Callable[[], object]) -> None:
        self.wire = wire
        self._flush = flush

    def send(self, frame: Packet | bytes) -> None:
        """Send a frame."""
        self._flush()
        self.put(frame)

    def put(self, frame: Packet | bytes) -> None:
        """Send a frame; the driver's writes may arrive after it."""
        before = self.wire.counters.transmitted
        self.wire.transmit([bytes(frame)])
        assert self.wire.counters.transmitted == before + 1, "the cable is full: send fewer frames at once"

    def take(self, count: int = 1, timeout: float = 10.0) -> list[bytes]:
        """Receive exactly `count` frames from the device.

        Raises:
            TimedOutError: fewer arrived.
        """
        frames: list[bytes] = []
        deadline = time.monotonic() + timeout
        while len(frames) < count:
            frame = self.wire.receive()
            if frame is not None:
                frames.append(frame)
                continue
            left = deadline - time.monotonic()
            if left < 0:
                raise TimedOutError(f"expected {count} frames on the wire within {timeout} s; found {len(frames)}")
            select.select([self.wire.fileno()], [], [], left)
        return frames

    def rest(self) -> list[bytes]:
        """Receive all frames that are on the cable now."""
        frames = []
        while (frame := self.wire.receive()) is not None:
            frames.append(frame)
        return frames


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The folded, not complemented sum that a driver writes into a checksum field."""
    data = source + destination + struct.pack(">II", length, protocol)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
