# SPDX-License-Identifier: MIT
"""The MTL transmit queues between DMA and MAC, and the MAC's transmitter.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.2 (the transmit DMA moves a packet into the queue, then closes its
descriptors), MTL_TxQ_Operation_Mode (TQS, FTQ), MTL_TxQ_Debug, MAC_Tx_Configuration, 802.3x flow control.

Packets that the MAC cannot send (the link is down, the partner has paused it, TE is off) stay in their queue, in order.
amd-xgbe relies on descriptors that keep their owner then, and on a queue that reports not empty (Linux, xgbe-drv.c,
xgbe_tx_poll; xgbe-dev.c, xgbe_txq_prepare_tx_stop).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.ethernet import ETH_FCS_LEN, ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, ETH_ZLEN
from nicmodels.faults.frames import change_transmitted
from nicmodels.models.xgbe.registers import mac, mtl
from nicmodels.offload.chain import length as chain_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.faults.points import FaultSet
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


class TxPacket(NamedTuple):
    """A packet in a transmit queue.

    Attributes:
        frames: one frame, or its segments.
        pads: whether the MAC pads short frames.
        stamped: whether it is timestamped.
    """

    frames: list[list[Buffer]]
    pads: bool
    stamped: bool


class TxQueues:
    """All transmit queues.

    Args:
        faults: of transmission.
        link_up: whether the link takes frames.
        loop_back: receives frames in MAC loopback.
        emptied: called when there is room again.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        counters: Counters,
        time: SystemTime,
        faults: FaultSet,
        *,
        queues: int,
        link_up: Callable[[], bool],
        loop_back: Callable[[bytes], None],
        emptied: Callable[[], None],
    ) -> None:
        self._file = file
        self._host = host
        self._counters = counters
        self._time = time
        self._faults = faults
        self._link_up = link_up
        self._loop_back = loop_back
        self._emptied = emptied
        self._waiting: list[deque[TxPacket]] = [deque() for _ in range(queues)]
        self._levels = [0] * queues
        self._paused_until = 0.0
        file.on_write(mtl.TQOMR, self._write_queue)
        file.on_write(mac.TCR, self._write_mac)
        file.on_read(mtl.TQDR, self._state, peek=self._state)

    def reset(self) -> None:
        """Empty all queues, and end a pause."""
        for queue in range(len(self._waiting)):
            self._flush(queue)
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """A PAUSE frame was received: send nothing for this time; 0 ends a pause."""
        self._paused_until = self._host.clock.now() + seconds
        self._host.clock.call_later(seconds, self.release)

    def has_room(self, queue: int) -> bool:
        """Whether a queue accepts a packet, which it then accepts as a whole."""
        return self._levels[queue] < ((self._file[mtl.TQOMR, queue] >> 16 & 0x3FF) + 1) * SIZE_UNIT

    def put(self, queue: int, packet: TxPacket) -> None:
        """Send a packet, or queue a copy until it can be sent."""
        if not self._waiting[queue] and self._sends():
            self._faults.poll()
            self._send(queue, packet)
            return
        frames: list[list[Buffer]] = [[b"".join(frame)] for frame in packet.frames]
        self._waiting[queue].append(packet._replace(frames=frames))
        self._levels[queue] += sum(len(frame[0]) for frame in frames)

    def put_plain(self, queue: int, frames: list[tuple[memoryview]]) -> bool:
        """Send frames of one buffer each, of at least 60 bytes, if the MAC can send them now as they are; all or none."""
        if (
            self._waiting[queue]
            or self._file[mac.RCR] & LOOPBACK
            or not self._sends()
            or self._counters.transmit_faults
        ):
            return False
        sizes = [len(frame) for (frame,) in frames]
        if max(sizes) + ETH_FCS_LEN > self._longest():
            return False
        self._host.wire.transmit_many(frames)
        self._counters.left_many(queue, sizes, [frame[:ETH_HLEN].tobytes() for (frame,) in frames])
        return True

    def _longest(self) -> int:
        """The longest frame that is not jabber, with FCS."""
        if self._file[mac.TCR] & JABBER_OFF:
            return 1 << 16
        return JABBER_JUMBO if self._file[mac.RCR] & JUMBO else JABBER

    def release(self) -> None:
        """Send the queued packets, if the MAC can send now."""
        if not self._sends():
            return
        self._faults.poll()
        for queue, waiting in enumerate(self._waiting):
            while waiting:
                packet = waiting.popleft()
                self._levels[queue] -= sum(chain_length(frame) for frame in packet.frames)
                self._send(queue, packet)
        self._emptied()

    # Registers

    def _write_queue(self, index: int, value: int) -> None:
        """FTQ drops the queued packets, and is self-clearing."""
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
        """Whether the MAC can send now."""
        if not self._file[mac.TCR] & TRANSMITTER or self._host.clock.now() < self._paused_until:
            return False
        return bool(self._file[mac.RCR] & LOOPBACK) or self._link_up()

    def _send(self, queue: int, packet: TxPacket) -> None:
        if not self._emit_segments(queue, packet.frames):
            for frame in packet.frames:
                self._emit(queue, frame, pads=packet.pads)
        if packet.stamped:
            self._time.transmitted()

    def _emit_segments(self, queue: int, frames: list[list[Buffer]]) -> bool:
        """Transmit and count segments at once, if all can be sent as they are; all or none."""
        if len(frames) < 2 or self._faults.active or self._counters.transmit_faults or self._file[mac.RCR] & LOOPBACK:
            return False
        sizes = [*map(chain_length, frames)]
        if min(sizes) < ETH_ZLEN or max(sizes) + ETH_FCS_LEN > self._longest() or len(frames[0][0]) < ETH_HLEN:
            return False
        self._host.wire.transmit_many(frames)
        self._counters.left_many(queue, sizes, [bytes(frame[0][:ETH_HLEN]) for frame in frames])
        return True

    def _emit(self, queue: int, frame: list[Buffer], *, pads: bool) -> None:
        """Transmit a frame, and count it."""
        size = chain_length(frame)
        if (
            pads
            and size < ETH_ZLEN
            and not (self._faults.active and self._faults.fires("tx.padding.missing", queue=queue))
        ):
            frame = [*frame, bytes(ETH_ZLEN - size)]
            size = ETH_ZLEN
        control = self._file[mac.RCR]
        if size + ETH_FCS_LEN > self._longest():
            self._host.events.add("tx.jabber", queue=queue, length=size)
            return
        head = frame[0] if len(frame[0]) >= ETH_HLEN else b"".join(frame)[:ETH_HLEN]
        for each in (
            change_transmitted(frame, partial(self._faults.fires, queue=queue)) if self._faults.active else (frame,)
        ):
            if control & LOOPBACK:
                self._loop_back(b"".join(each))
            else:
                self._host.wire.transmit(each)
        tagged = size >= ETH_HLEN and head[12] << 8 | head[13] in (ETH_P_8021Q, ETH_P_8021AD)
        self._counters.left(queue, size, max(size, ETH_ZLEN) + ETH_FCS_LEN, bytes(head[:6]), tagged=tagged)
