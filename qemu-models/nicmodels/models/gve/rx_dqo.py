# SPDX-License-Identifier: MIT
"""A DQO receive queue: a ring of buffers that the driver posts, and a ring of completions.

Source: Linux, drivers/net/ethernet/google/gve/gve_desc_dqo.h (gve_rx_desc_dqo, gve_rx_compl_desc_dqo).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.gve.completions import CompletionRing
from nicmodels.models.gve.packet_types import packet_type
from nicmodels.models.gve.queue import Queue
from nicmodels.nic.account import tally
from nicmodels.offload.chain import part
from nicmodels.offload.flow_table import leading
from nicmodels.rings import DescriptorRing, Posted
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nicmodels.models.gve.page_lists import PageList
    from nicmodels.models.gve.queue import QueueContext
    from nicmodels.models.gve.rx_packet import RxPacket

BUFFER = "<QQQQ"
"""A descriptor: the buffer's id in the low 16 bits of the first quadword, then the addresses of packet and header buffer."""
BUFFER_SIZE, BUFFER_WORDS = 32, 4
COMPLETION = struct.Struct("<BBHHHBBBBHHIIII")
RXDID = 1
# Byte 1.
IPV6_EXTENSION, RX_ERROR = 1 << 1, 1 << 2
# With the packet type.
IP_HEADER_ERROR, UDP_LENGTH_ERROR, RAW_CHECKSUM_INVALID = 1 << 10, 1 << 11, 1 << 12
GENERATION = 14
_QUADWORDS = struct.Struct("<QQQQ")
"""A completion: length at bit 32 of the first, the buffer's id at bit 32 of the second, the timestamp at bit 32 of the last."""
_GENERATION_BIT = 32 + GENERATION
BUFFER_AT = 12
"""Where a completion has the buffer's id."""
# With the header length.
RSC, SPLIT_HEADER = 1 << 10, 1 << 11
# Byte 8.
DONE, EOP, HEADER_OVERFLOW, PROCESSED, IP_ERROR, L4_ERROR = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
STAMP_VALID = 1
MOST_BUFFERS = 19
"""Maximum number of buffers of a coalesced packet (gve_rx_dqo.c, on GVE_RX_BUF_THRESH_DQO)."""
_ROUTING, _DESTINATION = 43, 60


class RxQueueDqo(Queue):
    """A DQO receive queue.

    Args:
        context: the parts of the device that it uses.
        fields: of the command create_rx_queue.
        stamps: whether packets are timestamped.
        pages: the queue's page list; None with raw addressing.

    Attributes:
        pages: as given.
        size: bytes of a packet buffer.
        header_size: bytes of a header buffer; 0 without header split.
        coalesces: whether segments are merged.
        limit: maximum bytes of a coalesced packet.
    """

    def __init__(
        self,
        context: QueueContext,
        fields: Mapping[str, int],
        *,
        stamps: bool,
        pages: PageList | None = None,
    ) -> None:
        super().__init__(context, fields)
        self.pages = pages
        self.size = fields["buffer_size"]
        self.header_size = fields["header_buffer_size"]
        self.coalesces = bool(fields["rsc"])
        self.limit = min(MOST_BUFFERS * self.size, 65535)
        self._account = context.accounting.rx[self.index]
        self._stamp_valid = STAMP_VALID if stamps else 0
        self._buffers = DescriptorRing(self._memory, BUFFER)
        self._buffers.setup(fields["data_address"], fields["buffer_ring_size"] * BUFFER_SIZE)
        self._completions = CompletionRing(
            self._memory, self._record, fields["descriptor_address"], fields["ring_size"], COMPLETION.size
        )
        self._held: set[int] = set()
        self.posted = Posted(BUFFER_WORDS)

    def doorbell(self, value: int) -> None:
        """The driver posted buffers; `value` is the new tail."""
        ring = self._buffers
        if self.halted:
            return
        if value >= ring.count:
            self._accounting.violation("rx.tail", queue=self.index, value=value, size=ring.count)
            return
        ring.tail = value
        account = self._account
        # Each buffer has a completion, and beyond the completion ring there is memory of others: further buffers wait in their ring.
        number = min(ring.available, self._completions.count - account.held)
        if number < ring.available:
            self._accounting.violation("rx.completions.overrun", queue=self.index, held=account.held + ring.available)
        if self._record.on:
            self._note_descriptors(number)
        try:
            words = ring.fetch_words(number)
        except DmaError:
            ring.head = value
            self._statistics.dma_error("rx", self.index)
            return
        ring.advance(number)
        held, identities = self._held, [word & 0xFFFF for word in words[::BUFFER_WORDS]]
        words[::BUFFER_WORDS] = identities
        fresh = {*identities}
        if len(fresh) < number or not held.isdisjoint(fresh):
            seen = held.copy()
            for identity in identities:
                if identity not in seen:
                    seen.add(identity)
                else:
                    self._accounting.violation("rx.buffer-id.reused", queue=self.index, buffer=identity)
        held |= fresh
        self.posted.extend(words)
        account.posted += number

    def describe(self) -> dict[str, float | bool]:
        """The entry in `model.queues`."""
        ring = self._buffers
        head = (ring.head - len(self.posted)) % ring.count
        return self._state(ring.count, head, ring.tail)

    def stop(self) -> None:
        """The queue is destroyed: its buffers return to the driver."""
        self._account.returned += self._account.held

    def deliver(self, packet: RxPacket) -> bool:
        """Write a packet into buffers; False if too few are posted."""
        posted = self.posted
        size = self.size
        split = packet.header_length if self.header_size else 0
        overflow = split > self.header_size
        if overflow:
            header, payload = 0, packet.length
        else:
            header, payload = split, packet.length - split
        count = -(-payload // size) or 1
        if len(posted) < count:
            return False
        if self._faults.active:
            return self._deliver_faulty(packet, header, payload, count, overflow=overflow)
        if count == 1 and not split and len(packet.pieces) == 1:
            identity, address, _, _ = posted.take()
            self._complete(packet, identity, self._put(address, packet.pieces[0]), last=True, split=0)
            return True
        self._scatter(packet, header, count, SPLIT_HEADER if overflow or header else 0, overflow=overflow)
        return True

    def quadwords(self, packet: RxPacket) -> tuple[int, int, int]:
        """The completion of a packet in one buffer, as its first three quadwords without length, generation and buffer."""
        entry = self._entry(packet, 0, 0, last=True, split=0, overflow=False)
        first, second, third, _ = _QUADWORDS.unpack(entry)
        return first & ~(1 << _GENERATION_BIT), second, third

    def deliver_plain(
        self, frames: Sequence[bytes], sizes: list[int], quadwords: tuple[int, int, int], stamp: int
    ) -> int:
        """Deliver frames of one flow, one buffer each.

        Args:
            frames: at least as many as `sizes`.
            sizes: their lengths, up to the first that is too long.
            quadwords: of their completions.
            stamp: their timestamp.

        Returns:
            How many were delivered: those up to the first that is longer than a buffer; fewer if too few buffers are posted,
            none while accesses are recorded or faults armed.
        """
        if self._record.on or self._faults.active:
            return 0
        sizes = leading(sizes, self.size)
        completions, pages = self._completions, self.pages
        number = min(len(self.posted), len(sizes), completions.room)
        if not number:
            return 0
        words = self.posted.take_many(number)
        identities, addresses = words[::BUFFER_WORDS], words[1::BUFFER_WORDS]
        first, second, third = quadwords
        first |= completions.generation << _GENERATION_BIT
        by_size = {
            size: _QUADWORDS.pack(first | size << 32, second, third, stamp << 32) for size in tally(sizes[:number])
        }
        if len(by_size) == 1:
            entries = bytearray(by_size[sizes[0]] * number)
        else:
            entries = bytearray(b"".join([by_size[size] for size in sizes[:number]]))
        low_high = struct.pack(f"<{number}H", *identities)
        entries[BUFFER_AT :: COMPLETION.size], entries[BUFFER_AT + 1 :: COMPLETION.size] = low_high[::2], low_high[1::2]
        base, room, memory = self._memory.window()
        end = room - max(by_size) if pages is None else -1
        for position, address, frame, size in zip(range(number), addresses, frames, sizes, strict=False):
            start = address - base
            if 0 <= start <= end:
                memory[start : start + size] = frame
            elif self._put(address, frame) < 0:
                at = position * COMPLETION.size
                entries[at : at + 8] = struct.pack("<Q", first | RX_ERROR << 8)
        self._held.difference_update(identities)
        completions.note(entries)
        self._account.completed += number
        return number

    def flush(self) -> bool:
        """Write the completions of a burst; returns whether there were any."""
        try:
            return self._completions.write(self.index, "rx")
        except DmaError:
            self._statistics.dma_error("rx", self.index)
            return False

    def write_after_stop(self, packet: RxPacket) -> bool:
        """For a fault: write a packet into a buffer that was returned to the driver; False if there is none."""
        if not self.posted:
            return False
        _, address, header, _ = self.posted.take()
        data = b"".join(packet.pieces)
        if self.header_size and packet.header_length:
            self._put(header, data[: min(packet.header_length, self.header_size)], "header")
            data = data[packet.header_length :]
        self._put(address, data[: self.size])
        return True

    def _put(self, address: int, data: bytes | bytearray | memoryview, kind: str = "payload") -> int:
        """Write into a buffer; returns the length, or -1 if the address is not mapped or not the queue's."""
        if self.pages is not None and not self.pages.holds(address, len(data)):
            self._accounting.violation("rx.buffer.unregistered", queue=self.index, address=address)
            return -1
        if self._record.on:
            self._record.add(self.index, "rx", kind, address, len(data))  # type: ignore[arg-type]
        try:
            self._memory.write(address, data)
        except DmaError:
            self._statistics.dma_error("rx", self.index)
            return -1
        return len(data)

    def _scatter(self, packet: RxPacket, header: int, count: int, split: int, *, overflow: bool) -> None:
        """Deliver into several buffers, with a header buffer, or from several pieces."""
        data = packet.pieces[0] if len(packet.pieces) == 1 else b"".join(packet.pieces)
        size, posted = self.size, self.posted
        at = header
        for number in range(count):
            identity, address, header_address, _ = posted.take()
            first, last = number == 0, number == count - 1
            if first and header:
                self._put(header_address, part((data,), 0, header)[0], "header")
            pieces = part((data,), at, at + size)
            written = self._put(address, pieces[0]) if pieces else 0
            at += size
            self._complete(
                packet,
                identity,
                written,
                last=last,
                split=split | packet.header_length if first and split else 0,
                overflow=overflow,
            )

    def _complete(
        self,
        packet: RxPacket,
        identity: int,
        length: int,
        *,
        last: bool,
        split: int,
        overflow: bool = False,
    ) -> None:
        """Add the completion of one buffer."""
        self._completions.note(self._entry(packet, identity, length, last=last, split=split, overflow=overflow))
        self._held.discard(identity)
        self._account.completed += 1

    def _entry(self, packet: RxPacket, identity: int, length: int, *, last: bool, split: int, overflow: bool) -> bytes:
        """The completion of one buffer; a negative length is an error."""
        headers = packet.headers
        completions = self._completions
        flags = 0
        if headers.options and headers.version == 6 and _has_routing_or_destination(packet):
            flags = IPV6_EXTENSION
        if length < 0:
            flags |= RX_ERROR
            length = 0
        status = DONE
        if last:
            status |= EOP
        if overflow:
            status |= HEADER_OVERFLOW
        good = packet.l4_good
        if good is not None:
            status |= PROCESSED if good else PROCESSED | L4_ERROR
        if packet.ip_good is False:
            status |= IP_ERROR
        if packet.segment:
            split |= RSC
        return COMPLETION.pack(
            RXDID,
            flags,
            packet_type(headers) | RAW_CHECKSUM_INVALID,
            length | completions.generation << GENERATION,
            split,
            status,
            0,
            0,
            self._stamp_valid,
            identity,
            packet.segment,
            packet.hash,
            0,
            0,
            packet.stamp,
        )

    def _deliver_faulty(self, packet: RxPacket, header: int, payload: int, count: int, *, overflow: bool) -> bool:
        """Deliver a packet with the faults of buffers."""
        faults, queue = self._faults, self.index
        if len(self.posted) > count and faults.fires("rx.buffer.leaked", queue=queue):
            self.posted.take()
        if header and faults.fires("rx.header.unsplit", queue=queue):
            header, payload = 0, packet.length
            count = -(-payload // self.size)
            if len(self.posted) < count:
                return False
        if packet.length > 1024 and faults.fires("rx.frame.truncated", queue=queue):
            packet = packet._replace(pieces=part(packet.pieces, 0, 1024), length=1024)
            header, count = min(header, 1024), 1
        if len(self.posted) > count and faults.fires("rx.payload.misplaced", queue=queue):
            words = self.posted.words
            words[1] = words[1 + BUFFER_WORDS]
        self._scatter(packet, header, count, SPLIT_HEADER if overflow or header else 0, overflow=overflow)
        return True

    def _note_descriptors(self, number: int) -> None:
        ring = self._buffers
        for step in range(number):
            at = ring.address((ring.head + step) % ring.count)
            self._record.add(self.index, "rx", "descriptor", at, BUFFER_SIZE)


def _has_routing_or_destination(packet: RxPacket) -> bool:
    """Whether a destination options or routing header is among the IPv6 extension headers."""
    frame = packet.pieces[0]
    start = packet.headers.l3_offset
    following, at = frame[start + 6], start + 40
    while at + 8 <= min(packet.headers.l4_offset, len(frame)):
        if following in (_ROUTING, _DESTINATION):
            return True
        size = 8 if following == 44 else (frame[at + 1] + 2) << 2 if following == 51 else (frame[at + 1] + 1) << 3
        following = frame[at]
        at += size
    return False
