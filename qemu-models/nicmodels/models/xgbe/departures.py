# SPDX-License-Identifier: MIT
"""The transmit queues between DMA and MAC, and the MAC that empties them onto the wire.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.2 (the transmit DMA moves a packet into the queue, and closes its descriptors
then), MTL_TxQ_Operation_Mode (TQS, FTQ), MTL_TxQ_Debug, MAC_Tx_Configuration, 802.3x flow control.

What the MAC cannot send (the link is down, the partner has paused it, TE is off) stays in its queue, in order, and leaves
when it can: amd-xgbe counts on descriptors that keep their owner then, and on a queue that says it is not empty (Linux,
xgbe-drv.c, xgbe_tx_poll; xgbe-dev.c, xgbe_txq_prepare_tx_stop).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.faults.frames import spoil_departure
from nicmodels.models.xgbe.registers import mac, mtl
from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.headers import ETHERTYPE_QINQ, ETHERTYPE_VLAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nicmodels.faults.points import Fault
    from nicmodels.models.xgbe.mmc import Counters
    from nicmodels.models.xgbe.ptp import SystemTime
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

    Buffer = bytes | bytearray | memoryview

FLUSH = 1
SIZE_UNIT = 256
PAUSED, NOT_EMPTY = 1 << 0, 1 << 4
TRANSMITTER, JABBER_OFF = 1, 1 << 16
LOOPBACK, JUMBO = 1 << 10, 1 << 8
JABBER, JABBER_JUMBO = 2048, 10240
MINIMUM, FCS, ETHERNET = 60, 4, 14


class Departure(NamedTuple):
    """A packet on its way out.

    Attributes:
        frames: what it became: one frame, or its segments.
        pads: whether the MAC pads short frames.
        stamped: whether its time is to be kept.
    """

    frames: list[list[Buffer]]
    pads: bool
    stamped: bool


class Departures:
    """All transmit queues.

    Args:
        faults: by name.
        carries: whether the link takes frames.
        loop_back: takes the frames that MAC loopback turns around.
        emptied: told when there is room again.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        counters: Counters,
        time: SystemTime,
        faults: Mapping[str, Fault],
        *,
        queues: int,
        carries: Callable[[], bool],
        loop_back: Callable[[bytes], None],
        emptied: Callable[[], None],
    ) -> None:
        self._file = file
        self._host = host
        self._counters = counters
        self._time = time
        self._faults = faults
        self._faulty = False
        self._carries = carries
        self._loop_back = loop_back
        self._emptied = emptied
        self._waiting: list[deque[Departure]] = [deque() for _ in range(queues)]
        self._levels = [0] * queues
        self._paused_until = 0.0
        file.on_write(mtl.TQOMR, self._write_queue)
        file.on_write(mac.TCR, self._write_mac)
        file.on_read(mtl.TQDR, self._state, peek=self._state)

    def reset(self) -> None:
        """All queues empty, no pause."""
        for queue in range(len(self._waiting)):
            self._flush(queue)
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """A PAUSE frame came: send nothing for so long; 0 ends a pause."""
        self._paused_until = self._host.clock.now() + seconds
        self._host.clock.call_later(seconds, self.release)

    def has_room(self, queue: int) -> bool:
        """Whether a queue takes a packet: what is begun is taken whole, as the last part of it never waits for the next."""
        return self._levels[queue] < ((self._file[mtl.TQOMR, queue] >> 16 & 0x3FF) + 1) * SIZE_UNIT

    def put(self, queue: int, departure: Departure) -> None:
        """Send a packet, or keep a copy of it until it can be sent."""
        if not self._waiting[queue] and self._sends():
            self._faulty = any(fault.armed for fault in self._faults.values())
            self._send(queue, departure)
            return
        frames: list[list[Buffer]] = [[b"".join(frame)] for frame in departure.frames]
        self._waiting[queue].append(departure._replace(frames=frames))
        self._levels[queue] += sum(len(frame[0]) for frame in frames)

    def release(self) -> None:
        """Something has changed: send what waits, if that can be now; then there is room."""
        if not self._sends():
            return
        self._faulty = any(fault.armed for fault in self._faults.values())
        for queue, waiting in enumerate(self._waiting):
            while waiting:
                departure = waiting.popleft()
                self._levels[queue] -= sum(chain_length(frame) for frame in departure.frames)
                self._send(queue, departure)
        self._emptied()

    # Registers

    def _write_queue(self, index: int, value: int) -> None:
        """FTQ loses what waits, and clears itself."""
        self._file[mtl.TQOMR, index] = value & ~FLUSH
        if index < len(self._waiting):
            if value & FLUSH:
                self._flush(index)
            self._emptied()

    def _write_mac(self, _index: int, value: int) -> None:
        self._file[mac.TCR] = value
        self.release()

    def _state(self, index: int) -> int:
        if index >= len(self._waiting) or not self._waiting[index]:
            return 0
        return NOT_EMPTY | (PAUSED if self._host.clock.now() < self._paused_until else 0)

    def _flush(self, queue: int) -> None:
        self._waiting[queue].clear()
        self._levels[queue] = 0

    # The wire

    def _sends(self) -> bool:
        """Whether the MAC takes frames now."""
        if not self._file[mac.TCR] & TRANSMITTER or self._host.clock.now() < self._paused_until:
            return False
        return bool(self._file[mac.RCR] & LOOPBACK) or self._carries()

    def _fires(self, name: str, queue: int) -> bool:
        fault = self._faults[name]
        return fault.armed and fault.fires(queue=queue)

    def _send(self, queue: int, departure: Departure) -> None:
        for frame in departure.frames:
            self._emit(queue, frame, pads=departure.pads)
        if departure.stamped:
            self._time.transmitted()

    def _emit(self, queue: int, frame: list[Buffer], *, pads: bool) -> None:
        """Put a frame on the wire, and count it."""
        size = chain_length(frame)
        if pads and size < MINIMUM and not (self._faulty and self._fires("tx.padding.missing", queue)):
            frame = [*frame, bytes(MINIMUM - size)]
            size = MINIMUM
        control = self._file[mac.RCR]
        if not self._file[mac.TCR] & JABBER_OFF and size + FCS > (JABBER_JUMBO if control & JUMBO else JABBER):
            self._host.events.add("tx.jabber", queue=queue, length=size)
            return
        head = frame[0] if len(frame[0]) >= ETHERNET else b"".join(frame)[:ETHERNET]
        for each in spoil_departure(frame, partial(self._fires, queue=queue)) if self._faulty else (frame,):
            if control & LOOPBACK:
                self._loop_back(b"".join(each))
            else:
                self._host.wire.transmit(each)
        tagged = size >= ETHERNET and head[12] << 8 | head[13] in (ETHERTYPE_VLAN, ETHERTYPE_QINQ)
        self._counters.left(queue, size, max(size, MINIMUM) + FCS, bytes(head[:6]), tagged=tagged)
