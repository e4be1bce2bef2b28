# SPDX-License-Identifier: MIT
"""The transmit path: descriptors to frames.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.2 (transmit DMA), 5.1.6.3 (descriptors), 5.1.6 (segmentation, checksum,
VLAN insertion).

A tail write only notes that the channel has work; the work is done when the loop is free, so tail writes that arrive
together are one batch: one fetch, one interrupt. Without a link the MAC takes nothing, and the DMA stands where it is.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

from nicmodels.frame_faults import spoil_departure, spoil_segments
from nicmodels.offload import vlan
from nicmodels.offload.chain import behead
from nicmodels.offload.chain import length as chain_length
from nicmodels.offload.checksum import fold, insert_checksum, pseudo_header_sum, word_sum
from nicmodels.offload.headers import ETHERTYPE_QINQ, ETHERTYPE_VLAN, TCP, UDP, parse
from nicmodels.offload.segmentation import FlagMasks, segment
from nicmodels.vfio_user.memory import DmaError
from nicmodels.xgbe import descriptors as d
from nicmodels.xgbe.fault_points import TRANSMIT
from nicmodels.xgbe.interrupts import FBE, TBU, TI, TPS
from nicmodels.xgbe.registers import dma, mac, mtl
from nicmodels.xgbe.ring import OwnedRing

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.device import Host
    from nicmodels.registers import RegisterFile
    from nicmodels.xgbe.interrupts import InterruptBlock
    from nicmodels.xgbe.mmc import Counters
    from nicmodels.xgbe.ptp import SystemTime

    Buffer = bytes | bytearray | memoryview
    Descriptor = tuple[int, ...]

BATCH = 256
START, SEGMENTS = 1, 1 << 12
FLUSH, QUEUE_MODE, QUEUE_ENABLED = 1, 3 << 2, 2 << 2
TRANSMITTER, JABBER_OFF = 1, 1 << 16
LOOPBACK, JUMBO = 1 << 10, 1 << 8
EAME = 1 << 11
FROM_DESCRIPTOR, S_TAG = 1 << 20, 1 << 19
JABBER, JABBER_JUMBO = 2048, 10240
MINIMUM, FCS, ETHERNET = 60, 4, 14
STOPPED, SUSPENDED = 0, 6
UDP_FIELD, TCP_FIELD, ICMP_FIELD, ICMP = 6, 16, 2, 1


class TxChannel:
    """A transmit channel: its ring, and what context descriptors said last."""

    __slots__ = ("index", "mss", "ring", "running", "vlan")

    def __init__(self, index: int, ring: OwnedRing) -> None:
        self.index = index
        self.ring = ring
        self.running = False
        self.mss = 0
        self.vlan = 0


class Transmitter:
    """All transmit channels.

    Args:
        carries: whether the link takes frames.
        loop_back: takes the frames that MAC loopback turns around.
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
        carries: Callable[[], bool],
        loop_back: Callable[[bytes], None],
    ) -> None:
        self._file = file
        self._host = host
        self._interrupts = interrupts
        self._counters = counters
        self._time = time
        self._carries = carries
        self._loop_back = loop_back
        self._faults = {point.name: host.faults[point.name] for point in TRANSMIT}
        self._faulty = False
        self._pending: dict[int, TxChannel] = {}
        self._scheduled = False
        self._paused_until = 0.0
        self.channels = [TxChannel(index, OwnedRing(host.memory)) for index in range(channels)]
        file.on_write(dma.TDLR_LO, self._write_base)
        file.on_write(dma.TDLR_HI, self._write_base_high)
        file.on_write(dma.TDRLR, self._write_length)
        file.on_write(dma.TDTR_LO, self._write_tail)
        file.on_write(dma.TCR, self._write_control)
        file.on_write(mtl.TQOMR, self._write_queue)
        file.on_write(mac.TCR, self._write_mac)
        file.on_read(dma.CATDR, self._current, peek=self._current)

    def reset(self) -> None:
        """All channels stopped and empty."""
        for channel in self.channels:
            channel.running = False
            channel.ring.setup(0, 0)
            channel.mss = channel.vlan = 0
        self._pending.clear()
        self._paused_until = 0.0

    def kick(self) -> None:
        """The link came up, or something was enabled: what waits goes on."""
        for channel in self.channels:
            if channel.running and channel.ring.available:
                self._note(channel)

    def pause(self, seconds: float) -> None:
        """A PAUSE frame came: send nothing for so long; 0 ends a pause."""
        self._paused_until = self._host.clock.now() + seconds
        self._host.clock.call_later(seconds, self.kick)

    def state(self, index: int) -> int:
        """The engine's state as DMA_DSR shows it."""
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
            ring.base = self._file[dma.TDLR_HI, index] << 32 | self._file[dma.TDLR_LO, index]
            ring.head = ring.tail = 0

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
                self._note(channel)

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
            self._note(channel)
        else:
            self._interrupts.event(index, TPS)

    def _write_queue(self, index: int, value: int) -> None:
        """FTQ clears itself: what the model has taken from a channel is on the wire already."""
        self._file[mtl.TQOMR, index] = value & ~FLUSH
        self.kick()

    def _write_mac(self, _index: int, value: int) -> None:
        self._file[mac.TCR] = value
        self.kick()

    def _current(self, index: int) -> int:
        if index >= len(self.channels):
            return 0
        ring = self.channels[index].ring
        return ring.address(ring.head) & 0xFFFF_FFFF

    # Work

    def _note(self, channel: TxChannel) -> None:
        self._pending[channel.index] = channel
        if not self._scheduled:
            self._scheduled = True
            self._host.clock.call_later(0.0, self._run)

    def _run(self) -> None:
        self._scheduled = False
        loopback = self._file[mac.RCR] & LOOPBACK
        if not self._file[mac.TCR] & TRANSMITTER or not (loopback or self._carries()):
            return
        if self._paused_until and self._host.clock.now() < self._paused_until:
            return
        self._faulty = any(fault.armed for fault in self._faults.values())
        pending = self._pending
        for index in list(pending):
            channel = pending.pop(index)
            if channel.running and self._file[mtl.TQOMR, index] & QUEUE_MODE == QUEUE_ENABLED:
                try:
                    self._work(channel)
                except DmaError:
                    self._halt(channel)

    def _halt(self, channel: TxChannel) -> None:
        """The ring or a buffer is not where the guest said: a fatal bus error stops the channel."""
        channel.running = False
        self._file[dma.TCR, channel.index] &= ~START
        self._counters.dma_errors += 1
        self._host.events.add("dma.error", direction="tx", queue=channel.index)
        self._interrupts.event(channel.index, FBE)

    def _fires(self, name: str, channel: TxChannel) -> bool:
        fault = self._faults[name]
        return fault.armed and fault.fires(queue=channel.index)

    def _work(self, channel: TxChannel) -> None:
        """Send what is complete between head and tail, at most one batch; then give the descriptors back."""
        if self._faulty and self._fires("tx.queue.stuck", channel):
            return
        ring = channel.ring
        found = ring.owned(BATCH)
        packet: list[Descriptor] = []
        taken = 0
        interrupt = False
        for position, each in enumerate(found, 1):
            if each[3] & d.CONTEXT:
                self._context(channel, each)
                if not packet:
                    taken = position
                continue
            packet.append(each)
            if each[3] & d.LAST:
                self._send(channel, packet)
                interrupt = interrupt or bool(each[2] & d.TX_INTERRUPT)
                packet = []
                taken = position
        if taken:
            if not (self._faulty and self._fires("tx.writeback.lost", channel)):
                self._give_back(ring, found[:taken])
            ring.advance(taken)
        more = len(found) == BATCH
        causes = TI if interrupt else 0
        if more and taken:
            self._note(channel)
        else:
            causes |= TBU
        if causes:
            self._interrupts.event(channel.index, causes)

    def _context(self, channel: TxChannel, descriptor: Descriptor) -> None:
        if descriptor[3] & d.MSS_VALID:
            channel.mss = descriptor[2] & d.MSS_MASK
        if descriptor[3] & d.VLAN_VALID:
            channel.vlan = descriptor[3] & 0xFFFF

    def _give_back(self, ring: OwnedRing, found: list[Descriptor]) -> None:
        """Clear the owner bit of each, and all status: there is none to tell."""
        index = ring.head
        for each in found:
            kept = each[3] & (d.CONTEXT | d.FIRST | d.LAST)
            ring.write(index, struct.pack("<IIII", each[0], each[1], each[2], kept))
            index = index + 1 if index + 1 < ring.count else 0

    def _gather(self, packet: list[Descriptor]) -> list[Buffer]:
        pieces: list[tuple[int, int]] = []
        wide = self._file[dma.SBMR] & EAME
        for low, high, lengths, _ in packet:
            pieces.append((low | (high & d.ADDRESS_HIGH) << 32 if wide else low, lengths & d.LENGTH_MASK))
            if not wide:
                pieces.append((high, lengths >> d.BUFFER_2_SHIFT & d.LENGTH_MASK))
        memory = self._host.memory
        try:
            return [memory.view(address, length) for address, length in pieces if length]
        except DmaError:
            # Across two mappings, or not mapped into this process: a copy does.
            return [memory.read(address, length) for address, length in pieces if length]

    def _send(self, channel: TxChannel, packet: list[Descriptor]) -> None:
        first = packet[0]
        buffers = self._gather(packet)
        total = chain_length(buffers)
        if not first[3] & d.FIRST or total < ETHERNET:
            self._host.events.add(
                "tx.malformed", queue=channel.index, reason="no first descriptor, or no Ethernet header"
            )
            return
        cuts = bool(first[3] & d.TSE and self._file[dma.TCR, channel.index] & SEGMENTS)
        crc = d.CRC_AND_PAD if cuts else first[3] >> d.CPC_SHIFT & 3
        try:
            if cuts:
                frames = self._segments(channel, buffers, first)
            else:
                if crc in (d.NEITHER, d.CRC_REPLACED):
                    buffers = [b"".join(buffers)[:-FCS]]
                frames = [self._single(channel, buffers, first)]
            frames = [self._tag(channel, frame, first[2] >> d.VTIR_SHIFT & 3) for frame in frames]
        except ValueError as error:
            # Lengths that contradict the frame: hardware sends garbage; the model drops it and says why.
            self._host.events.add("tx.malformed", queue=channel.index, reason=str(error))
            return
        lengths = [self._emit(channel, frame, pads=crc == d.CRC_AND_PAD) for frame in frames]
        self._counters.sent(channel.index, total, lengths)
        if first[2] & d.TX_TIMESTAMP:
            self._time.transmitted()

    def _single(self, channel: TxChannel, buffers: list[Buffer], first: Descriptor) -> list[Buffer]:
        """A frame that is sent as it is, with the checksums it asked for."""
        mode = first[3] >> d.CIC_SHIFT & 3
        if mode == d.CIC_NONE:
            return buffers
        data = bytearray().join(buffers)
        headers = parse(data)
        start, l4 = headers.l3_offset, headers.l4_offset
        if headers.version == 4:
            end = start + ((data[start] & 15) << 2)
            data[start + 10 : start + 12] = b"\0\0"
            struct.pack_into(">H", data, start + 10, fold(word_sum(data[start:end])))
            if self._faulty and self._fires("tx.ip-checksum.wrong", channel):
                data[start + 11] ^= 1
        if mode == d.CIC_IP or headers.fragment or not headers.version:
            return [data]
        if headers.l4 in (TCP, UDP):
            field = l4 + (TCP_FIELD if headers.l4 == TCP else UDP_FIELD)
            if mode == d.CIC_ALL:
                size = 4 if headers.version == 4 else 16
                at = start + (12 if headers.version == 4 else 8)
                seed = pseudo_header_sum(
                    data[at : at + size], data[at + size : at + 2 * size], headers.l4, headers.l3_end - l4
                )
                struct.pack_into(">H", data, field, 0xFFFF - fold(seed))
        elif headers.version == 4 and headers.protocol == ICMP and headers.l3_end >= l4 + 8:
            field = l4 + ICMP_FIELD
            if mode == d.CIC_ALL:
                data[field : field + 2] = b"\0\0"
        else:
            return [data]
        rest = data[headers.l3_end :]
        head = data[: headers.l3_end]
        insert_checksum(head, (), l4, field, never_zero=headers.l4 == UDP)
        if self._faulty and self._fires("tx.checksum.wrong", channel):
            head[field + 1] ^= 1
        return [head, rest] if rest else [head]

    def _segments(self, channel: TxChannel, buffers: list[Buffer], first: Descriptor) -> list[list[Buffer]]:
        """The frames of a packet that is segmented: the first descriptor's buffer holds the headers."""
        size = first[2] & d.LENGTH_MASK
        head, payload = behead(buffers, size)
        l4 = size - (first[3] >> d.TCP_HEADER_SHIFT & 15) * 4
        l3 = ETHERNET
        while l3 + 4 <= len(head) and head[l3 - 2] << 8 | head[l3 - 1] in (ETHERTYPE_VLAN, ETHERTYPE_QINQ):
            l3 += 4
        faulty = self._faulty
        masks = FlagMasks()
        if faulty and self._fires("tx.segment.flags", channel):
            masks = FlagMasks(0xFFF, 0xFFF, 0xFFF)
        same = faulty and self._fires("tx.segment.identification", channel)
        frames = list(
            segment(
                head,
                payload,
                channel.mss or self._file[dma.CR, channel.index] & d.MSS_MASK,
                l3_offset=l3,
                l4_offset=l4,
                masks=masks,
                identification_mask=0 if same else 0xFFFF,
            )
        )
        if faulty:
            ipv4 = head[l3] >> 4 == 4
            spoil_segments(frames, l3, l4, ipv4=ipv4, protocol=TCP, fires=partial(self._fires, channel=channel))
        return frames

    def _tag(self, channel: TxChannel, frame: list[Buffer], action: int) -> list[Buffer]:
        """What the descriptor wants done with a tag; the tag is the context's, or the register's."""
        if action == d.KEEP:
            return frame
        control = self._file[mac.VLANIR]
        if action in (d.REMOVE, d.REPLACE):
            for tpid in (ETHERTYPE_VLAN, ETHERTYPE_QINQ):
                found, stripped = vlan.strip(b"".join(frame), tpid)
                if found is not None:
                    frame = stripped
                    break
        if action == d.REMOVE:
            return frame
        tci = channel.vlan if control & FROM_DESCRIPTOR else control & 0xFFFF
        if self._faulty:
            if self._fires("tx.vlan.missing", channel):
                return frame
            if self._fires("tx.vlan.wrong", channel):
                tci = tci & 0xF000 | (tci + 1) & 0xFFF
        return vlan.insert(frame, tci, ETHERTYPE_QINQ if control & S_TAG else ETHERTYPE_VLAN)

    def _emit(self, channel: TxChannel, frame: list[Buffer], *, pads: bool) -> int:
        """Put a frame on the wire; gives its length without FCS."""
        size = chain_length(frame)
        if pads and size < MINIMUM and not (self._faulty and self._fires("tx.padding.missing", channel)):
            frame = [*frame, bytes(MINIMUM - size)]
            size = MINIMUM
        control = self._file[mac.RCR]
        if not self._file[mac.TCR] & JABBER_OFF and size + FCS > (JABBER_JUMBO if control & JUMBO else JABBER):
            self._host.events.add("tx.jabber", queue=channel.index, length=size)
            return size
        head = frame[0] if len(frame[0]) >= ETHERNET else b"".join(frame)[:ETHERNET]
        for each in spoil_departure(frame, partial(self._fires, channel=channel)) if self._faulty else (frame,):
            if control & LOOPBACK:
                self._loop_back(b"".join(each))
            else:
                self._host.wire.transmit(each)
        tagged = head[12] << 8 | head[13] in (ETHERTYPE_VLAN, ETHERTYPE_QINQ)
        self._counters.left(max(size, MINIMUM) + FCS, bytes(head[:6]), tagged=tagged)
        return size
