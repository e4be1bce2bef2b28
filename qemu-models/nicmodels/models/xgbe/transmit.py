# SPDX-License-Identifier: MIT
"""The transmit DMA: descriptors to packets.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.2 (transmit DMA), 5.1.6.3 (descriptors).

A tail write schedules its channel; the work is done from the event loop, so that tail writes that arrive together are one
batch, with one fetch and one interrupt. A channel's packets go to the queue of its number; when that is full, the DMA
waits.

A packet that contradicts its descriptors is a violation and is dropped; one without end also stops its channel. Segments are
made as they are sent, and a turn of the event loop has a budget of them, which all channels share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.ethernet import ETH_FCS_LEN, ETH_HLEN, ETH_ZLEN
from nicmodels.models.xgbe import descriptors as d
from nicmodels.models.xgbe.fault_points import TRANSMIT
from nicmodels.models.xgbe.interrupts import FBE, TBU, TI, TPS
from nicmodels.models.xgbe.registers import dma, mtl
from nicmodels.models.xgbe.ring import OwnedRing, doublewords
from nicmodels.models.xgbe.tx_offload import TxOffload
from nicmodels.models.xgbe.tx_queues import TxPacket, TxQueues
from nicmodels.nic.engine import SEGMENTS_A_TURN, WorkList
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.models.xgbe.mmc import Counters
    from nicmodels.models.xgbe.ptp import SystemTime
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

    Buffer = bytes | bytearray | memoryview
    Descriptor = tuple[int, ...]

BATCH = 256
"""Also the most descriptors of a packet. The TRM has no limit; amd-xgbe uses some 30."""
LONGEST = 0x7FFF
"""Bytes of a packet that is not segmented: TDES3 has 15 bits for its length."""
PLAIN_COST, READ_COST = 8, 1 << 14
"""Plain frames, and bytes read, that cost as much time as a segment."""
PLAIN_MASK = (d.CONTEXT | d.FIRST | d.LAST | 3 << d.CPC_SHIFT | d.TSE | 3 << d.CIC_SHIFT) << 32 | 0xFFFF_FFFF & ~(
    d.LENGTH_MASK | d.TX_INTERRUPT
)
PLAIN = (d.FIRST | d.LAST | d.CRC_AND_PAD << d.CPC_SHIFT) << 32
"""The second quadword of a packet of one descriptor without offloads: besides its length, it may ask for an interrupt."""
START, SEGMENTS = 1, 1 << 12
QUEUE_MODE, QUEUE_ENABLED = 3 << 2, 2 << 2
STOPPED, SUSPENDED = 0, 6
UNOWNED_AGAIN = 0.1
"""Seconds after which a descriptor at which the DMA still waits is recorded again, so that each test has the record in its own time."""


class TxChannel:
    """A transmit channel: its ring, and the values of the last context descriptors.

    Attributes:
        sent: segments that were made of the packet at the ring's head, which takes several turns.
        unowned: the unowned descriptor before the tail that was recorded last, and when.
    """

    __slots__ = ("index", "mss", "ring", "running", "sent", "unowned", "vlan")

    def __init__(self, index: int, ring: OwnedRing) -> None:
        self.index = index
        self.ring = ring
        self.running = False
        self.mss = 0
        self.vlan = 0
        self.sent = 0
        self.unowned: tuple[int, float] = -1, 0.0


class Transmitter:
    """All transmit channels.

    Args:
        link_up: whether the link is up.
        loop_back: receives frames in MAC loopback.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        counters: Counters,
        time: SystemTime,
        *,
        channels: int,
        link_up: Callable[[], bool],
        loop_back: Callable[[bytes], None],
    ) -> None:
        self._file = file
        self._host = host
        self._interrupts = interrupts
        self._counters = counters
        self._faults = host.faults.subset(TRANSMIT)
        self._work = WorkList(host, self._send_batch, self._halt, self._begin)
        self._room = 0
        self._tx_offload = TxOffload(file, self._faults)
        self._tx_queues = TxQueues(
            file,
            host,
            counters,
            time,
            self._faults,
            queues=channels,
            link_up=link_up,
            loop_back=loop_back,
            emptied=self._resume,
        )
        self.channels = [TxChannel(index, OwnedRing(host.memory)) for index in range(channels)]
        file.on_write(dma.TDLR_LO, self._write_base)
        file.on_write(dma.TDLR_HI, self._write_base_high)
        file.on_write(dma.TDRLR, self._write_length)
        file.on_write(dma.TDTR_LO, self._write_tail)
        file.on_write(dma.TCR, self._write_control)
        file.on_read(dma.CATDR, self._current, peek=self._current)

    def reset(self) -> None:
        """Stop and empty all channels."""
        for channel in self.channels:
            channel.running = False
            channel.ring.setup(0, 0)
            channel.mss = channel.vlan = channel.sent = 0
            channel.unowned = -1, 0.0
        self._work.clear()
        self._tx_queues.reset()

    def kick(self) -> None:
        """The link came up: send the queued packets."""
        self._tx_queues.release()

    def pause(self, seconds: float) -> None:
        """A PAUSE frame was received: send nothing for this time; 0 ends a pause."""
        self._tx_queues.pause(seconds)

    def _resume(self) -> None:
        """A queue has room, or was enabled."""
        for channel in self.channels:
            if channel.running and channel.ring.available:
                self._work.add(channel.index)

    def state(self, index: int) -> int:
        """The engine's state in DMA_DSR."""
        return SUSPENDED if self.channels[index].running else STOPPED

    # Registers

    def _write_base(self, index: int, value: int) -> None:
        self._file[dma.TDLR_LO, index] = value & dma.TDLR_LO.writable
        self._place(index)

    def _write_base_high(self, index: int, value: int) -> None:
        self._file[dma.TDLR_HI, index] = value & dma.TDLR_HI.writable
        self._place(index)

    def _place(self, index: int) -> None:
        """A new list address: the current descriptor is the first."""
        if index < len(self.channels):
            ring = self.channels[index].ring
            self.channels[index].sent = 0
            ring.base = self._file[dma.TDLR_HI, index] << 32 | self._file[dma.TDLR_LO, index]
            ring.head = ring.tail = 0
            self.channels[index].unowned = -1, 0.0

    def _write_length(self, index: int, value: int) -> None:
        self._file[dma.TDRLR, index] = value & dma.TDRLR.writable
        if index < len(self.channels):
            self.channels[index].ring.count = (value & dma.TDRLR.writable) + 1

    def _write_tail(self, index: int, value: int) -> None:
        self._file[dma.TDTR_LO, index] = value & dma.TDTR_LO.writable
        if index < len(self.channels):
            channel = self.channels[index]
            channel.ring.place_tail(value)
            if channel.running:
                self._work.add(channel.index)

    def _write_control(self, index: int, value: int) -> None:
        self._file[dma.TCR, index] = value
        if index >= len(self.channels):
            return
        channel = self.channels[index]
        running = bool(value & START)
        if running == channel.running:
            return
        channel.running = running
        self._host.events.add("queue.enable" if running else "queue.disable", direction="tx", queue=index)
        if running:
            self._work.add(channel.index)
        else:
            self._interrupts.event(index, TPS)

    def _current(self, index: int) -> int:
        if index >= len(self.channels):
            return 0
        ring = self.channels[index].ring
        return ring.address(ring.head) & 0xFFFF_FFFF

    # Work

    def _begin(self) -> bool:
        self._faults.poll()
        self._room = SEGMENTS_A_TURN
        return True

    def _halt(self, index: int, error: Exception) -> None:
        """The ring or a buffer is not mapped: a fatal bus error stops the channel. Or the model failed."""
        cause = TPS
        if isinstance(error, DmaError):
            self._counters.dma_errors += 1
            self._host.events.add("dma.error", direction="tx", queue=index)
            cause = FBE
        self._stop(self.channels[index], cause)

    def _stop(self, channel: TxChannel, cause: int) -> None:
        channel.running = False
        channel.sent = 0
        self._file[dma.TCR, channel.index] &= ~START
        self._host.events.add("queue.halt", direction="tx", queue=channel.index)
        self._interrupts.event(channel.index, cause)

    def _send_batch(self, index: int) -> None:
        """Move complete packets between head and tail, at most one batch, into the queue; then return the descriptors."""
        channel = self.channels[index]
        if not channel.running or self._file[mtl.TQOMR, index] & QUEUE_MODE != QUEUE_ENABLED:
            return
        if self._room <= 0:
            self._work.defer(index)
            return
        if self._faults.active and self._faults.fires("tx.queue.stuck", queue=index):
            return
        ring = channel.ring
        found = ring.owned(BATCH)
        if len(found) < BATCH and len(found) < ring.available and ring.tail < ring.count:
            self._note_unowned(channel, len(found))
        packet: list[Descriptor] = []
        taken = self._send_plain(channel, found)
        interrupt = any([high & d.TX_INTERRUPT for _, high in found[:taken]])  # noqa: C419 - faster than a generator
        waits = False  # for room in the queue, or for the next turn
        for position, quadwords in enumerate(found[taken:], taken + 1):
            each = doublewords(*quadwords)
            if each[3] & d.CONTEXT:
                self._context(channel, each)
                if not packet:
                    taken = position
                continue
            if not packet and not self._tx_queues.has_room(channel.index):
                waits = True
                break
            packet.append(each)
            if each[3] & d.LAST:
                if not self._send(channel, packet):
                    waits = True
                    self._work.add(index)
                    break
                interrupt = interrupt or bool(each[2] & d.TX_INTERRUPT)
                packet = []
                taken = position
        if taken:
            if not (self._faults.active and self._faults.fires("tx.writeback.lost", queue=channel.index)):
                ring.release(taken)
            ring.advance(taken)
        causes = TI if interrupt else 0
        if not waits and len(found) == BATCH and taken:
            self._work.add(channel.index)
        elif not waits and not taken and len(found) >= min(BATCH, ring.count - 1) > 0:
            self._host.violations.add("tx.descriptors", queue=index, most=BATCH)
            self._stop(channel, TPS)
        elif not waits:
            causes |= TBU
        if causes:
            self._interrupts.event(channel.index, causes)

    def _note_unowned(self, channel: TxChannel, after: int) -> None:
        """Record that the driver has moved the tail beyond a descriptor that it did not hand over, or has taken back: the DMA waits there.

        A tail at the ring's end hands over nothing by itself: then the owner bits tell.
        """
        descriptor, now = (channel.ring.head + after) % channel.ring.count, self._host.clock.now()
        before, when = channel.unowned
        if descriptor != before or now - when >= UNOWNED_AGAIN:
            channel.unowned = descriptor, now
            self._host.violations.add("tx.unowned", queue=channel.index, descriptor=descriptor)

    def _context(self, channel: TxChannel, descriptor: Descriptor) -> None:
        if descriptor[3] & d.MSS_VALID:
            channel.mss = descriptor[2] & d.MSS_MASK
        if descriptor[3] & d.VLAN_VALID:
            channel.vlan = descriptor[3] & 0xFFFF

    def _send_plain(self, channel: TxChannel, found: list[Descriptor]) -> int:
        """Send the first packets, as long as they are of one descriptor without offloads; returns how many."""
        if self._faults.active:
            return 0
        mask = d.WIDE if self._file[dma.SBMR] & dma.EAME else d.NARROW
        base, size, view = self._host.memory.window()
        frames: list[tuple[memoryview]] = []
        for low, high in found:
            length = high & d.LENGTH_MASK
            start = (low & mask) - base
            if high & PLAIN_MASK != PLAIN or length < ETH_ZLEN or not 0 <= start <= size - length:
                break
            frames.append((view[start : start + length],))
        if not frames or not self._tx_queues.put_plain(channel.index, frames):
            return 0
        self._room -= len(frames) // PLAIN_COST + 1
        self._counters.posted(channel.index, sum([len(frame) for (frame,) in frames]), len(frames))
        return len(frames)

    def _pieces(self, packet: list[Descriptor]) -> list[tuple[int, int]]:
        """The addresses and lengths of a packet's buffers."""
        pieces: list[tuple[int, int]] = []
        wide = self._file[dma.SBMR] & dma.EAME
        for low, high, lengths, _ in packet:
            pieces.append((low | (high & d.ADDRESS_HIGH) << 32 if wide else low, lengths & d.LENGTH_MASK))
            if not wide:
                pieces.append((high, lengths >> d.BUFFER_2_SHIFT & d.LENGTH_MASK))
        return pieces

    def _send(self, channel: TxChannel, packet: list[Descriptor]) -> bool:
        """Send a packet, or as many of its segments as the turn has room for; returns whether it is done.

        Raises:
            DmaError: a buffer is not in guest memory.
        """
        if self._room <= 0:
            return False
        first = packet[0]
        pieces = self._pieces(packet)
        total = sum([length for _, length in pieces])
        self._room -= 1 + total // READ_COST
        number, tx_offload = channel.index, self._tx_offload
        done = True
        segments = bool(first[3] & d.TSE and self._file[dma.TCR, number] & SEGMENTS)
        crc = d.CRC_AND_PAD if segments else first[3] >> d.CPC_SHIFT & 3
        try:
            self._check(first, total, segments=segments)
            buffers = self._host.memory.gather(pieces)
            if segments:
                most = max(self._room, 1)
                mss = channel.mss or self._file[dma.CR, number] & d.MSS_MASK
                frames, done = tx_offload.segments(number, buffers, first, mss, sent=channel.sent, most=most)
                channel.sent = 0 if done else channel.sent + most
                self._room -= len(frames)
            else:
                if crc in (d.NEITHER, d.CRC_REPLACED):
                    buffers = [b"".join(buffers)[:-ETH_FCS_LEN]]
                frames = [tx_offload.single(number, buffers, first)]
            frames = [tx_offload.tag(number, frame, first[2] >> d.VTIR_SHIFT & 3, channel.vlan) for frame in frames]
        except ValueError as error:
            # Hardware sends garbage.
            channel.sent = 0
            self._host.violations.add("tx.packet", queue=number, reason=str(error))
            return True
        if done:
            self._counters.posted(number, total)
        self._tx_queues.put(number, TxPacket(frames, crc == d.CRC_AND_PAD, done and bool(first[2] & d.TX_TIMESTAMP)))
        return done

    def _check(self, first: Descriptor, total: int, *, segments: bool) -> None:
        """Hold a packet of `total` bytes against its first descriptor.

        Raises:
            ValueError: it contradicts it, or it is beyond a limit of the hardware.
        """
        if not first[3] & d.FIRST or total < ETH_HLEN:
            raise ValueError("expected a first descriptor, and an Ethernet header")
        if segments:
            payload, named = total - (first[2] & d.LENGTH_MASK), first[3] & d.TCP_PAYLOAD_MASK
            if named != payload:
                raise ValueError(f"expected a TCP payload of {payload} bytes, as the buffers have; found {named}")
        elif total > LONGEST:
            raise ValueError(f"expected a packet of at most {LONGEST} bytes; found {total}")
