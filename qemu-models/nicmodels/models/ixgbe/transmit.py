# SPDX-License-Identifier: MIT
"""The transmit path: descriptors to frames.

Source: 82599 datasheet, section 7.2 (transmit): 7.2.1.1 (descriptors of a packet), 7.2.3 (descriptors), 7.2.4 (segmentation),
7.2.5 (checksums).

A tail write schedules its queue; the work is done from the event loop, so that tail writes that arrive together are one
batch, with one fetch and one interrupt. Packets of one buffer without offloads are sent together, straight from guest memory
(`_send_plain`); `_send` does everything else, faults included.

A packet that contradicts its descriptors is a violation and is dropped; one without end also disables its queue, as malicious driver
detection does in later chips of the family. Segments are made as they are sent, and a turn of the event loop has a budget
of them, which all queues share.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.ethernet import ETH_HLEN, ETH_ZLEN
from nicmodels.faults.frames import change_segments, change_tag, change_transmitted
from nicmodels.models.ixgbe.fault_points import TRANSMIT
from nicmodels.models.ixgbe.registers import mac
from nicmodels.models.ixgbe.registers import transmit as r
from nicmodels.nic.engine import SEGMENTS_A_TURN, WorkList
from nicmodels.offload import vlan
from nicmodels.offload.chain import behead
from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.checksum import fold, insert_checksum, insert_crc32c, word_sum
from nicmodels.offload.headers import SCTP, TCP, UDP
from nicmodels.offload.segmentation import FlagMasks, number_of_segments, segment
from nicmodels.rings import DescriptorRing
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nicmodels.models.ixgbe.interrupts import InterruptBlock
    from nicmodels.models.ixgbe.link import Link
    from nicmodels.models.ixgbe.ptp import SystemTime
    from nicmodels.models.ixgbe.statistics import Statistics
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

    Buffer = bytes | bytearray | memoryview

QUEUES = 128
BATCH = 256
MOST_DESCRIPTORS = 40
"""Data descriptors of a packet, as DPDK uses them. By the datasheet (7.2.1.1) WTHRESH and 2 less, which is a driver's to observe."""
LONGEST = 15872
"""Bytes of the longest frame, 15.5 KB (1.3, jumbo frames)."""
MOST_HEADER = 512
"""Bytes of MACLEN + IPLEN + L4LEN (7.2.3.2.3)."""
PAYLEN_SHIFT = 46
"""Bytes of the packet, or of the payload to be segmented, in the first descriptor's 18 upper bits (7.2.3.2.4)."""
PLAIN_COST, CRC_COST, READ_COST = 8, 16, 1 << 14
"""Plain frames, bytes under a CRC32c, and bytes read that cost as much time as a segment."""
ENABLE = 1 << 25
TRANSMIT_ENABLE = 1
HEAD_WRITE_BACK = 1
PAD_ENABLE, LOOPBACK = 1 << 10, 1 << 15
# The second quadword of a descriptor.
STAMP = 1 << 19
EOP, IFCS, IC, RS, DEXT, VLE, TSE = 1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 29, 1 << 30, 1 << 31
CONTEXT, DATA = 2, 3
"""DTYP: the type of an advanced descriptor."""
PLAIN_MASK, PLAIN = EOP | DEXT | STAMP | VLE | TSE | 0xF << 20 | 0x3F << 40, EOP | DEXT | DATA << 20
"""An advanced data descriptor that is a whole packet and asks for no offload: EOP, no POPTS."""
IXSM, TXSM = 1, 2
IPV4 = 1 << 10
DONE = struct.pack("<I", 1)
_PROTOCOLS = {0: UDP, 1: TCP, 2: SCTP, 3: 0}
_FIELDS = {TCP: 16, UDP: 6, SCTP: 8}


class Context(NamedTuple):
    """A context descriptor, decoded (datasheet 7.2.3.2.3)."""

    mac_length: int = 0
    ip_length: int = 0
    vlan: int = 0
    ipv4: bool = False
    protocol: int = 0
    l4_length: int = 0
    mss: int = 0

    @classmethod
    def decode(cls, low: int, high: int) -> Context:
        """From the two quadwords."""
        return cls(
            mac_length=low >> 9 & 0x7F,
            ip_length=low & 0x1FF,
            vlan=low >> 16 & 0xFFFF,
            ipv4=bool(high & IPV4),
            protocol=_PROTOCOLS[high >> 11 & 3],
            l4_length=high >> 40 & 0xFF,
            mss=high >> 48,
        )


class Packet(NamedTuple):
    """The control data of a packet's descriptors.

    Attributes:
        command: the second quadword of its first descriptor.
        context: the context it refers to.
        legacy: whether its descriptors are legacy ones, with checksum start and offset in the command.
    """

    command: int
    context: Context
    legacy: bool


class TxQueue:
    """A transmit queue.

    Attributes:
        sent: frames that have left of the packet at the ring's head, whose segments take several turns.
    """

    __slots__ = ("contexts", "enabled", "index", "ring", "sent")

    def __init__(self, index: int, ring: DescriptorRing) -> None:
        self.index = index
        self.ring = ring
        self.enabled = False
        self.contexts = [Context(), Context()]
        self.sent = 0


class Transmitter:
    """All transmit queues.

    Args:
        loop_back: receives frames in MAC loopback.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        statistics: Statistics,
        link: Link,
        time: SystemTime,
        loop_back: Callable[[bytes], None],
    ) -> None:
        self._file = file
        self._host = host
        self._interrupts = interrupts
        self._statistics = statistics
        self._link = link
        self._time = time
        self._loop_back = loop_back
        self._faults = host.faults.subset(TRANSMIT)
        self._work = WorkList(host, self._send_batch, self._halt, self._begin)
        self._room = 0
        self.queues = [TxQueue(index, DescriptorRing(host.memory)) for index in range(QUEUES)]
        file.on_write(r.TDBAL, self._write_base)
        file.on_write(r.TDBAH, self._write_base_high)
        file.on_write(r.TDLEN, self._write_length)
        file.on_write(r.TDH, self._write_head)
        file.on_read(r.TDH, self._read_head, peek=self._read_head)
        file.on_write(r.TDT, self._write_tail)
        file.on_write(r.TXDCTL, self._write_control)
        file.on_write(r.DMATXCTL, self._write_dma)

    def reset(self) -> None:
        """Disable and empty all queues."""
        for queue in self.queues:
            queue.enabled = False
            queue.ring.setup(0, 0)
            queue.contexts = [Context(), Context()]
            queue.sent = 0
        self._work.clear()

    def kick(self) -> None:
        """The link came up, or transmission was enabled: resume all queues."""
        for queue in self.queues:
            if queue.enabled and queue.ring.available:
                self._work.add(queue.index)

    def _write_base(self, index: int, value: int) -> None:
        self._file[r.TDBAL, index] = value & r.TDBAL.writable
        self._place(index)

    def _write_base_high(self, index: int, value: int) -> None:
        self._file[r.TDBAH, index] = value
        self._place(index)

    def _place(self, index: int) -> None:
        self.queues[index].ring.base = self._file[r.TDBAH, index] << 32 | self._file[r.TDBAL, index]

    def _write_length(self, index: int, value: int) -> None:
        self._file[r.TDLEN, index] = value & r.TDLEN.writable
        ring = self.queues[index].ring
        ring.count = (value & r.TDLEN.writable) // ring.size

    def _write_head(self, index: int, value: int) -> None:
        if not self.queues[index].enabled:
            self.queues[index].ring.head = value & 0xFFFF

    def _read_head(self, index: int) -> int:
        return self.queues[index].ring.head

    def _write_tail(self, index: int, value: int) -> None:
        value &= 0xFFFF
        self._file[r.TDT, index] = value
        queue = self.queues[index]
        queue.ring.tail = value
        if queue.enabled:
            self._work.add(queue.index)

    def _write_control(self, index: int, value: int) -> None:
        """ENABLE reads back at once; SWFLSH is self-clearing, since no write-back is pending."""
        self._file[r.TXDCTL, index] = value & r.TXDCTL.writable
        queue = self.queues[index]
        enabled = bool(value & ENABLE)
        if enabled == queue.enabled:
            return
        queue.enabled = enabled
        self._host.events.add("queue.enable" if enabled else "queue.disable", direction="tx", queue=index)
        if enabled:
            queue.ring.tail = self._file[r.TDT, index]
            queue.contexts = [Context(), Context()]
            queue.sent = 0
            self._work.add(queue.index)

    def _write_dma(self, _index: int, value: int) -> None:
        self._file[r.DMATXCTL] = value
        if value & TRANSMIT_ENABLE:
            self.kick()

    def _begin(self) -> bool:
        """Begin a turn. Without a link the hardware stops its DMA; queued packets wait."""
        loopback = self._file[mac.HLREG0] & LOOPBACK
        if not self._file[r.DMATXCTL] & TRANSMIT_ENABLE or not (self._link.up or loopback):
            return False
        self._faults.poll()
        self._room = SEGMENTS_A_TURN
        return True

    def _halt(self, index: int, error: Exception) -> None:
        """The ring or a buffer is not mapped: what was posted is lost, as after a PCIe master abort. Or the model failed."""
        queue = self.queues[index]
        if not isinstance(error, DmaError):
            self._disable(queue)
            return
        queue.ring.head = queue.ring.tail
        queue.sent = 0
        self._statistics.dma_errors += 1
        self._host.events.add("dma.error", direction="tx", queue=index)

    def _disable(self, queue: TxQueue) -> None:
        """Stop a queue until the driver enables it again."""
        queue.enabled = False
        self._file[r.TXDCTL, queue.index] &= ~ENABLE
        self._host.events.add("queue.halt", direction="tx", queue=queue.index)

    def _send_batch(self, index: int) -> None:
        """Send the complete packets between head and tail, at most one batch; then write back and interrupt."""
        queue = self.queues[index]
        if not queue.enabled:
            return
        if self._room <= 0:
            self._work.defer(index)
            return
        if self._faults.active and self._faults.fires("tx.queue.stuck", queue=index):
            return
        ring, memory = queue.ring, self._host.memory
        descriptors = ring.fetch(BATCH)
        ordinary = not self._faults.active and not self._file[mac.HLREG0] & LOOPBACK
        mask = PLAIN_MASK if ordinary else 0  # 0 selects no descriptor
        base, size, view = memory.window()
        done: list[int] = []
        plain: list[tuple[memoryview]] = []
        pieces: list[tuple[int, int]] = []
        first = 0
        taken = 0
        halts = waits = False
        for position, (low, high) in enumerate(descriptors):
            if high & mask == PLAIN and not pieces:
                length = high & 0xFFFF
                start = low - base
                if ETH_ZLEN <= length <= LONGEST and high >> PAYLEN_SHIFT == length and 0 <= start <= size - length:
                    plain.append((view[start : start + length],))
                    if high & RS:
                        done.append(position)
                    continue
            if plain:
                self._send_plain(queue, plain)
                plain = []
                taken = position
            if high & DEXT and high >> 20 & 0xF == CONTEXT:
                queue.contexts[high >> 36 & 1] = Context.decode(low, high)
                if not pieces:
                    taken = position + 1
            else:
                if not pieces:
                    first = high
                pieces.append((low, high & 0xFFFF))
                if high & RS:
                    done.append(position)
                if len(pieces) > MOST_DESCRIPTORS:
                    halts = True
                    break
                if high & EOP:
                    if not self._send(queue, pieces, self._packet(queue, first)):
                        self._work.add(index)
                        waits = True
                        break
                    pieces = []
                    taken = position + 1
        if plain:
            self._send_plain(queue, plain)
            taken = len(descriptors)
        if halts or (not taken and not waits and len(descriptors) >= min(BATCH, ring.count - 1) > 0):
            self._host.violations.add("tx.descriptors", queue=index, most=MOST_DESCRIPTORS)
            self._disable(queue)
        if not taken:
            return
        head = ring.head
        ring.advance(taken)
        if done and done[0] < taken:
            self._write_back(queue, [(head + position) % ring.count for position in done if position < taken])
        if ring.available and (taken == len(descriptors) or len(descriptors) == BATCH):
            self._work.add(queue.index)

    def _packet(self, queue: TxQueue, first: int) -> Packet:
        if first & DEXT:
            return Packet(first, queue.contexts[first >> 36 & 1], legacy=False)
        return Packet(first, Context(vlan=first >> 48), legacy=True)

    def _write_back(self, queue: TxQueue, done: list[int]) -> None:
        if self._faults.active and self._faults.fires("tx.writeback.lost", queue=queue.index):
            return
        memory, ring = self._host.memory, queue.ring
        low = self._file[r.TDWBAL, queue.index]
        if low & HEAD_WRITE_BACK:
            address = self._file[r.TDWBAH, queue.index] << 32 | low & ~3
            memory.write(address, struct.pack("<I", ring.head))
        else:
            base = ring.base + 12
            for index in done:
                memory.write(base + 16 * index, DONE)
        self._interrupts.transmit(queue.index)

    def _send_plain(self, queue: TxQueue, frames: list[tuple[memoryview]]) -> None:
        """Send frames of one buffer each that the driver has completed, padding included."""
        self._host.wire.transmit_many(frames)
        sizes = [len(frame) for (frame,) in frames]
        total = sum(sizes)
        self._room -= len(sizes) // PLAIN_COST + 1
        self._count(queue, total, len(sizes), total, packets=len(sizes))
        self._statistics.left_many(sizes, [bytes(frame[:6]) for (frame,) in frames if frame[0] & 1])

    def _count(self, queue: TxQueue, total: int, segments: int, segment_bytes: int, packets: int = 1) -> None:
        account = self._statistics.tx[queue.index]
        account.frames += packets
        account.bytes += total
        account.segments += segments
        account.segment_bytes += segment_bytes
        self._statistics.sent(queue.index, segments, segment_bytes)

    def _send(self, queue: TxQueue, pieces: list[tuple[int, int]], packet: Packet) -> bool:
        """Send a packet, or as many of its segments as the turn has room for; returns whether it is done.

        Raises:
            DmaError: a buffer is not in guest memory.
        """
        if self._room <= 0:
            return False
        total = sum([length for _, length in pieces])
        self._room -= 1 + total // READ_COST
        if total < ETH_HLEN:
            return True
        done = True
        try:
            header = self._check(packet, total)
            buffers = self._host.memory.gather(pieces)
            if header:
                frames, done = self._segments(queue, buffers, packet, header)
            else:
                frames = [self._single(queue, buffers, packet, total)]
            if packet.command & VLE:
                frames = [self._tag(queue, frame, packet.context.vlan) for frame in frames]
        except ValueError as error:
            # Hardware hangs or sends garbage.
            queue.sent = 0
            self._host.violations.add("tx.packet", queue=queue.index, reason=str(error))
            return True
        segment_bytes = self._emit(queue, frames)
        if not done:
            self._count(queue, 0, len(frames), segment_bytes, packets=0)
            return False
        if packet.command & STAMP and not packet.legacy:
            self._time.transmitted()
        self._count(queue, total, len(frames), segment_bytes)
        return True

    def _check(self, packet: Packet, total: int) -> int:
        """Hold a packet of `total` bytes against its descriptors; returns the bytes of its headers if it is to be segmented, or 0.

        Raises:
            ValueError: they contradict it, or it is beyond a limit of the hardware.
        """
        command, context = packet.command, packet.context
        header = 0
        payload, longest = total, total
        if command & TSE and not packet.legacy:
            header = context.mac_length + context.ip_length + context.l4_length
            if not 0 < header <= MOST_HEADER:
                raise ValueError(f"expected 1 to {MOST_HEADER} bytes of headers to segment; found {header}")
            payload, longest = total - header, header + context.mss
        if not packet.legacy and command >> PAYLEN_SHIFT != payload:
            raise ValueError(f"expected PAYLEN to be {payload}, as the buffers have; found {command >> PAYLEN_SHIFT}")
        if longest > LONGEST:
            raise ValueError(f"expected frames of at most {LONGEST} bytes; found {longest}")
        return header

    def _single(self, queue: TxQueue, buffers: list[Buffer], packet: Packet, total: int) -> list[Buffer]:
        """A packet of `total` bytes sent as one frame, with its checksums completed."""
        command, context = packet.command, packet.context
        if packet.legacy:
            if not command & IC:
                return buffers
            start, offset = command >> 40 & 0xFF, command >> 16 & 0xFF
            head, rest = behead(buffers, max(start, offset + 2))
            insert_checksum(head, rest, start, offset)
            return [head, *rest]
        options = command >> 40 & 0x3F
        if not options & (IXSM | TXSM):
            return buffers
        start, l4 = context.mac_length, context.mac_length + context.ip_length
        field = l4 + _FIELDS[context.protocol] if options & TXSM and context.protocol else 0
        head, rest = behead(buffers, max(l4, field + (4 if context.protocol == SCTP else 2)))
        if options & IXSM:
            if context.ip_length < 20:
                raise ValueError(f"expected an IPv4 header to write a checksum into; found {context.ip_length} bytes")
            struct.pack_into(">H", head, start + 10, fold(word_sum(head[start:l4])))
            if self._faults.active and self._faults.fires("tx.ip-checksum.wrong", queue=queue.index):
                head[start + 11] ^= 1
        if field:
            if context.protocol == SCTP:
                self._room -= total // CRC_COST
                insert_crc32c(head, rest, l4, field)
            else:
                insert_checksum(head, rest, l4, field, never_zero=context.protocol == UDP)
            if self._faults.active and self._faults.fires("tx.checksum.wrong", queue=queue.index):
                head[field + 1] ^= 1
        return [head, *rest]

    def _segments(
        self, queue: TxQueue, buffers: list[Buffer], packet: Packet, header: int
    ) -> tuple[list[list[Buffer]], bool]:
        """The next segments of a packet, as many as the turn has room for, and whether they are the last."""
        context = packet.context
        l4 = context.mac_length + context.ip_length
        head, payload = behead(buffers, header)
        first, room = queue.sent, max(self._room, 1)
        number = number_of_segments(chain_length(payload), context.mss)
        done = first + room >= number
        queue.sent = 0 if done else first + room
        low, high = self._file[r.DTXTCPFLGL], self._file[r.DTXTCPFLGH]
        masks = FlagMasks(low & 0xFFF, low >> 16 & 0xFFF, high & 0xFFF)
        faulty = self._faults.active
        if faulty and self._faults.fires("tx.segment.flags", queue=queue.index):
            masks = FlagMasks(0xFFF, 0xFFF, 0xFFF)
        frames = list(
            segment(
                head,
                payload,
                context.mss,
                l3_offset=context.mac_length,
                l4_offset=l4,
                protocol=context.protocol,
                masks=masks,
                identification_mask=0
                if faulty and self._faults.fires("tx.segment.identification", queue=queue.index)
                else 0xFFFF,
                seeded=True,
                first=first,
                most=room,
            )
        )
        self._room -= len(frames)
        if faulty and frames:
            change_segments(
                frames,
                context.mac_length,
                l4,
                ipv4=context.ipv4,
                protocol=context.protocol,
                fires=partial(self._faults.fires, queue=queue.index),
            )
        return frames, done

    def _tag(self, queue: TxQueue, frame: Sequence[Buffer], tci: int) -> list[Buffer]:
        changed = change_tag(tci, partial(self._faults.fires, queue=queue.index)) if self._faults.active else tci
        return list(frame) if changed is None else vlan.insert(frame, changed, self._file[r.DMATXCTL] >> 16)

    def _emit(self, queue: TxQueue, frames: Sequence[list[Buffer]]) -> int:
        """Transmit the frames of a packet; returns their bytes without CRC."""
        control = self._file[mac.HLREG0]
        faulty = self._faults.active
        sizes: list[int] = []
        groups: list[bytes] = []
        leaving: list[Sequence[Buffer]] = []
        for unpadded in frames:
            frame, size = unpadded, chain_length(unpadded)
            pads = size < ETH_ZLEN and control & PAD_ENABLE
            if pads and not (faulty and self._faults.fires("tx.padding.missing", queue=queue.index)):
                frame, size = [*frame, bytes(ETH_ZLEN - size)], ETH_ZLEN
            sizes.append(size)
            destination = bytes(frame[0][:6]) if len(frame[0]) >= 6 else b"".join(frame)[:6]
            if destination[0] & 1:
                groups.append(destination)
            if faulty:
                leaving += change_transmitted(frame, partial(self._faults.fires, queue=queue.index))
            else:
                leaving.append(frame)
        if control & LOOPBACK:
            for each in leaving:
                self._loop_back(b"".join(each))
        else:
            self._host.wire.transmit_many(leaving)
        self._statistics.left_many([max(size, ETH_ZLEN) for size in sizes], groups)
        return sum(sizes)
