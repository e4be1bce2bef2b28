# SPDX-License-Identifier: MIT
"""A DQO transmit queue: a ring of descriptors, and a ring of completions that return the packets' tags.

Source: Linux, drivers/net/ethernet/google/gve/gve_desc_dqo.h (gve_tx_pkt_desc_dqo, the context descriptors,
gve_tx_compl_desc), gve_tx_dqo.c (requirements of the hardware).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.ethernet import ETH_ZLEN
from nicmodels.models.gve.accounting import IDS
from nicmodels.models.gve.completions import CompletionRing
from nicmodels.models.gve.queue import Queue
from nicmodels.models.gve.tx_offload import FIELDS, Checksum
from nicmodels.offload.chain import behead
from nicmodels.offload.headers import UDP, parse
from nicmodels.rings import DescriptorRing
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nicmodels.models.gve.page_lists import PageList
    from nicmodels.models.gve.queue import QueueContext
    from nicmodels.models.gve.tx_offload import TxOffload

DESCRIPTOR_SIZE = 16
COMPLETION = struct.Struct("<HH4x")
GENERAL_CONTEXT, TSO_CONTEXT, PACKET = 0x4, 0x5, 0xC
TYPE = 0x1F
# The second quadword of a packet descriptor.
EOP, CHECKSUM, REPORT = 1 << 5, 1 << 6, 1 << 7
TAG_SHIFT, SIZE_SHIFT, SIZE_MASK = 32, 48, 0x3FFF
PLAIN_MASK, PLAIN = TYPE | EOP | CHECKSUM | REPORT, PACKET | EOP
"""A packet of one descriptor without a checksum to compute or a report to write."""
TSO = 1 << 5
COMPLETED_PACKET, COMPLETED_DESCRIPTORS = 2, 4
KIND_SHIFT, GENERATION_SHIFT, QUEUE_MASK = 11, 15, 0x7FF
MOST_BUFFERS = 10
"""Maximum number of data descriptors of a packet, or of a segment, whose header counts as one."""
LONGEST = 9728
SIZES = range(17, LONGEST + 1)
SEGMENT_SIZES = range(88, 9728 + 1)
MOST_HEADER, MOST_TSO = 255, 0x3FFFF
REPORT_INTERVAL = 32
BATCH = 256
_HEAD = 256


class TxQueueDqo(Queue):
    """A DQO transmit queue.

    Args:
        context: the parts of the device that it uses.
        fields: of the command create_tx_queue.
        tx_offload: transmits packets.
        pages: the queue's page list; None with raw addressing.

    Attributes:
        pages: as given.
    """

    def __init__(
        self,
        context: QueueContext,
        fields: Mapping[str, int],
        tx_offload: TxOffload,
        pages: PageList | None = None,
    ) -> None:
        super().__init__(context, fields)
        self.pages = pages
        self._account = context.accounting.tx[self.index]
        self._tx_offload = tx_offload
        self._ring = DescriptorRing(self._memory)
        self._ring.setup(fields["ring_address"], fields["ring_size"] * DESCRIPTOR_SIZE)
        self._completions = CompletionRing(
            self._memory, self._record, fields["completion_address"], fields["completion_ring_size"], COMPLETION.size
        )
        self._outstanding = bytearray(IDS)
        self._tso: tuple[int, int, int] | None = None
        self._pieces: list[tuple[int, int]] = []
        self._open: tuple[int, int, int] | None = (
            None  # a packet whose descriptors are taken, and which is not sent yet
        )
        self._begun = False
        self._sent = 0
        self._since_report = REPORT_INTERVAL
        # A descriptor has at most two completions, and so has the open packet.
        self._batch = min(BATCH, self._completions.count // 2 - 1)

    def doorbell(self, value: int) -> bool:
        """The driver wrote descriptors; `value` is the new tail. Returns whether there is work."""
        ring = self._ring
        if self.halted:
            return False
        if value >= ring.count:
            self._accounting.violation("tx.tail", queue=self.index, value=value, size=ring.count)
            return False
        ring.tail = value
        return bool(ring.available)

    def describe(self) -> dict[str, float | bool]:
        """The entry in `model.queues`."""
        ring = self._ring
        return self._state(ring.count, ring.head, ring.tail)

    def stop(self) -> None:
        """The queue is destroyed: outstanding packets are abandoned."""
        self._account.abandoned += self._account.tags

    def work(self) -> tuple[bool, bool]:
        """Send posted packets, at most one batch.

        Returns:
            Whether completions were written, and whether there is more work.
        """
        ring = self._ring
        if self._open is not None and self._packet(*self._open):
            self._open = None
        try:
            descriptors = [] if self._open is not None else ring.fetch(self._batch)
        except DmaError:
            self._statistics.dma_error("tx", self.index)
            ring.head = ring.tail
            return False, False
        if self._record.on:
            for step in range(len(descriptors)):
                at = ring.address((ring.head + step) % ring.count)
                self._record.add(self.index, "tx", "descriptor", at, DESCRIPTOR_SIZE)
        self._execute(descriptors)
        more = not self.halted and (self._open is not None or bool(ring.available))
        try:
            return self._completions.write(self.index, "tx"), more
        except DmaError:
            self._statistics.dma_error("tx", self.index)
            return False, more

    def _execute(self, descriptors: list[tuple[int, ...]]) -> None:
        """Send the packets of descriptors, and add their completions; those without offloads are sent in bursts."""
        ring = self._ring
        mask = 0 if self._faults.active or self._record.on else PLAIN_MASK  # 0 selects no descriptor
        base, size, view = self._memory.window()
        pages = self.pages
        frames: list[tuple[memoryview]] = []
        tags: list[int] = []
        reported = -self._since_report
        taken = len(descriptors)
        for position, (low, high) in enumerate(descriptors, 1):
            kind = high & TYPE
            if not self._pieces:
                if kind == GENERAL_CONTEXT:
                    continue
                if high & mask == PLAIN and self._tso is None:
                    length = high >> 48 & 0x3FFF
                    start = low - base
                    fits = ETH_ZLEN <= length <= LONGEST and 0 <= start <= size - length
                    if fits and (pages is None or pages.holds(low, length)):
                        frames.append((view[start : start + length],))
                        tags.append(high >> 32 & 0xFFFF)
                        continue
            if frames:
                self._send_plain(frames, tags)
                frames, tags = [], []
            if kind == PACKET:
                self._pieces.append((low, high >> SIZE_SHIFT & SIZE_MASK))
                if high & EOP:
                    packet = (high, (ring.head + position) % ring.count, position - reported)
                    if high & REPORT:
                        reported = position
                    if not self._packet(*packet):
                        self._open = packet
                        taken = position
                        break
                elif len(self._pieces) >= ring.count - 1:
                    self._accounting.violation("tx.descriptors", queue=self.index, most=ring.count - 1)
                    self._pieces = []
                    self.halt("tx")
                    break
                elif high & REPORT:
                    self._accounting.violation("tx.report.early", queue=self.index)
            else:
                # Context descriptors have their type in the same place as packet descriptors: byte 8 (DTYPE).
                self._context(kind, low, high)
        if frames:
            self._send_plain(frames, tags)
        self._since_report = taken - reported
        ring.advance(taken)

    def _send_plain(self, frames: list[tuple[memoryview]], tags: list[int]) -> None:
        """Send packets of one buffer each without offloads, and add their completions."""
        account, number = self._account, len(frames)
        account.packets += number
        self.packets += number
        outstanding = self._outstanding
        if any(map(outstanding.__getitem__, tags)):
            for tag in tags:
                if outstanding[tag]:
                    self._accounting.violation("tx.tag.reused", queue=self.index, tag=tag)
                outstanding[tag] = 0
        self._tx_offload.send_plain(self.index, frames)
        completions, pack = self._completions, COMPLETION.pack
        at = 0
        while at < number:
            first = self._first(COMPLETED_PACKET)
            part = tags[at : at + completions.room]
            completions.note(b"".join([pack(first, tag) for tag in part]))
            at += len(part)
        account.completions += number

    def _context(self, kind: int, low: int, high: int) -> None:
        if self._pieces:
            self._accounting.violation("tx.descriptor.order", queue=self.index, type=kind)
            self._pieces = []
        if kind == TSO_CONTEXT:
            if high & TSO:
                self._tso = (low & 0xFF_FFFF, low >> 32 & SIZE_MASK, low >> 48 & 0xFF)
        elif kind != GENERAL_CONTEXT:
            self._accounting.violation("tx.descriptor.type", queue=self.index, type=kind)

    def _packet(self, high: int, head: int, interval: int) -> bool:
        """Send a complete packet, and add its completion; False if some or all is left for the next turn.

        Args:
            high: the second quadword of its last descriptor.
            head: the descriptor after it.
            interval: descriptors since the last one that asked for a report.
        """
        if self._tx_offload.room <= 0:
            return False
        tag = high >> TAG_SHIFT & 0xFFFF
        pieces = self._pieces
        account = self._account
        if not self._begun:
            self._begun = True
            account.packets += 1
            self.packets += 1
            if self._outstanding[tag]:
                self._accounting.violation("tx.tag.reused", queue=self.index, tag=tag)
            self._outstanding[tag] = 1
            if self._record.on:
                for address, length in pieces:
                    self._record.add(self.index, "tx", "payload", address, length)
        try:
            done = self._send(pieces, self._tso, checksum=bool(high & CHECKSUM))
        except DmaError:
            self._statistics.dma_error("tx", self.index)
        except ValueError as error:
            self._accounting.violation("tx.packet", queue=self.index, reason=str(error))
        else:
            if not done:
                return False
        self._pieces, self._tso, self._begun, self._sent = [], None, False, 0
        if high & REPORT:
            if interval < REPORT_INTERVAL:
                self._accounting.violation("tx.report.interval", queue=self.index, interval=interval)
            self._complete(COMPLETED_DESCRIPTORS, head)
        if self._faults.active and self._fault_completion(tag):
            return True
        self._complete(COMPLETED_PACKET, tag)
        self._outstanding[tag] = 0
        account.completions += 1
        return True

    def _complete(self, kind: int, value: int) -> None:
        self._completions.note(COMPLETION.pack(self._first(kind), value))

    def _first(self, kind: int) -> int:
        """The first half of the next completion."""
        return self.index & QUEUE_MASK | kind << KIND_SHIFT | self._completions.generation << GENERATION_SHIFT

    def _fault_completion(self, tag: int) -> bool:
        """Apply the faults of completions; returns whether to suppress the right completion."""
        if self._faults.fires("tx.completion.lost", queue=self.index):
            return True
        if self._faults.fires("tx.completion.other-tag", queue=self.index):
            self._complete(COMPLETED_PACKET, (tag + 2) & 0x7FFF)
            return True
        return False

    def _send(self, pieces: list[tuple[int, int]], tso: tuple[int, int, int] | None, *, checksum: bool) -> bool:
        """Check the hardware's requirements, and send; False if segments are left for the next turn.

        Raises:
            ValueError: a requirement is not met; nothing is sent.
            DmaError: a buffer is not in guest memory.
        """
        if self.pages is not None:
            for address, length in pieces:
                if not self.pages.holds(address, length):
                    raise ValueError(f"expected addresses in the queue's page list; found {address:#x}+{length:#x}")
        total = sum(length for _, length in pieces)
        if tso is not None:
            return self._send_segments(pieces, total, tso)
        if total not in SIZES or len(pieces) > MOST_BUFFERS:
            raise ValueError(
                f"expected {SIZES.start} to {SIZES.stop - 1} bytes in at most {MOST_BUFFERS} buffers; "
                f"found {total} in {len(pieces)}"
            )
        buffers = self._memory.gather(pieces)
        where = None
        if checksum:
            head, _ = behead(buffers, min(total, _HEAD))
            headers = parse(head, total)
            if headers.l4 in FIELDS and not headers.fragment:
                l4 = headers.l4_offset
                where = Checksum(l4, l4 + FIELDS[headers.l4], headers.l3_end, headers.l4 == UDP)
        self._tx_offload.send(self.index, buffers, where)
        return True

    def _send_segments(self, pieces: list[tuple[int, int]], total: int, tso: tuple[int, int, int]) -> bool:
        payload, mss, header = tso
        if mss not in SEGMENT_SIZES or header > MOST_HEADER or total > MOST_TSO or payload != total - header:
            raise ValueError(
                f"expected a segment size from {SEGMENT_SIZES.start} to {SEGMENT_SIZES.stop - 1}, at most {MOST_HEADER} "
                f"bytes of header and {MOST_TSO} in all; found {mss}, {header}, and {payload} of {total} to segment"
            )
        if len(pieces) >= MOST_BUFFERS and not _segments_fit([length for _, length in pieces], header, mss):
            raise ValueError(f"expected at most {MOST_BUFFERS} buffers a segment; found more")
        buffers = self._memory.gather(pieces)
        head, _ = behead(buffers, min(header, total))
        headers = parse(head, total)
        if headers.l4 not in FIELDS or headers.payload_offset != header:
            raise ValueError(f"expected a TCP or UDP header that ends at {header}; found {headers!r}")
        sent = self._tx_offload.send_segments(
            self.index,
            buffers,
            header,
            headers.l3_offset,
            headers.l4_offset,
            headers.l4,
            mss,
            seeded=True,
            first=self._sent,
        )
        self._sent = sent or 0
        return sent is None


def _segments_fit(lengths: list[int], header: int, mss: int) -> bool:
    """Whether no segment takes more buffers than the hardware supports, its header counting as one."""
    position = 0
    edges = [position := position + length for length in lengths]
    total, start, at = position, header, 0
    while start < total:
        end = min(start + mss, total)
        while edges[at] <= start:
            at += 1
        last = at
        while edges[last] < end:
            last += 1
        if last - at + 2 > MOST_BUFFERS:
            return False
        start, at = end, last
    return True
