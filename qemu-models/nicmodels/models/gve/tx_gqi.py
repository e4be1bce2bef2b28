# SPDX-License-Identifier: MIT
"""A GQI transmit queue: a ring of descriptors, completed in order by an event counter; all big-endian.

Sources: Linux, drivers/net/ethernet/google/gve/gve_desc.h (gve_tx_pkt_desc, gve_tx_seg_desc, gve_tx_mtd_desc);
Documentation/networking/device_drivers/ethernet/google/gve.rst (GQI traffic queues).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.gve.queue import Queue
from nicmodels.models.gve.tx_offload import Checksum
from nicmodels.offload.headers import TCP, UDP
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nicmodels.models.gve.page_lists import PageList
    from nicmodels.models.gve.queue import QueueContext
    from nicmodels.models.gve.tx_offload import TxOffload

    Buffer = bytes | bytearray | memoryview

DESCRIPTOR_SIZE = 16
_PACKET = struct.Struct(">BBBBHHQ")
_SEGMENT = struct.Struct(">BB2xHHQ")
STANDARD, SEGMENTED, SEGMENT, METADATA = range(4)
CHECKSUM = 1 << 0
BATCH = 256
_MASK = 0xFFFF_FFFF
_FIELDS = {16: TCP, 6: UDP}


class TxQueueGqi(Queue):
    """A GQI transmit queue.

    Args:
        context: the parts of the device that it uses.
        fields: of the command create_tx_queue.
        tx_offload: transmits packets.
        pages: the queue's page list.
        counter: DMA address of its event counter.

    Attributes: as of `nicmodels.models.gve.tx_dqo.TxQueueDqo`.
    """

    def __init__(
        self,
        context: QueueContext,
        fields: Mapping[str, int],
        tx_offload: TxOffload,
        pages: PageList,
        counter: int,
    ) -> None:
        super().__init__(context, fields)
        self.pages = pages
        self._account = context.accounting.tx[self.index]
        self._tx_offload = tx_offload
        self._base = fields["ring_address"]
        self._count = fields["ring_size"]
        self._counter = counter
        self._posted = 0
        self._done = 0
        self._begun = False
        self._sent = 0
        self._incomplete = False

    def doorbell(self, value: int) -> bool:
        """The driver wrote descriptors; `value` counts all posted so far. Returns whether there is work."""
        if self.halted:
            return False
        if (value - self._done) & _MASK > self._count:
            self._accounting.violation("tx.request", queue=self.index, value=value, size=self._count)
            return False
        self._posted = value
        return value != self._done

    def describe(self) -> dict[str, float | bool]:
        """The entry in `model.queues`."""
        count = self._count
        return self._state(count, self._done % count, self._posted % count)

    def stop(self) -> None:
        """The queue is destroyed: outstanding packets are abandoned."""
        self._account.abandoned += self._account.tags

    def work(self) -> tuple[bool, bool]:
        """Send posted packets, at most one batch; returns as `TxQueueDqo.work` does."""
        before = self._done
        self._incomplete = False
        try:
            while (self._done - before) & _MASK < BATCH and self._packet():
                pass
            if self._done != before:
                self._memory.write(self._counter, self._done.to_bytes(4, "big"))
        except DmaError:
            self._statistics.dma_error("tx", self.index)
            self._done = self._posted
            self._begun, self._sent = False, 0
            return False, False
        return self._done != before, self._done != self._posted and not self._incomplete

    def _packet(self) -> bool:
        """Send the next packet; False if there is none, it is incomplete, or some of it is left for the next turn."""
        waiting = (self._posted - self._done) & _MASK
        if not waiting or self._tx_offload.room <= 0:
            return False
        first = self._descriptor(0)
        flags, check, l4, count, total, size, offset = _PACKET.unpack(first)
        kind = flags >> 4
        account = self._account
        if kind not in (STANDARD, SEGMENTED) or not 1 <= count <= self._count:
            self._accounting.violation("tx.descriptor.type", queue=self.index, type=kind, count=count)
            self._done = (self._done + 1) & _MASK
            return True
        if count > waiting:
            self._incomplete = True
            return False
        extents = [(offset, size)]
        l3 = mss = 0
        for number in range(1, count):
            flags_next, l3_next, mss_next, size, offset = _SEGMENT.unpack(self._descriptor(number))
            if flags_next >> 4 == SEGMENT:
                extents.append((offset, size))
                l3, mss = 2 * l3_next, mss_next
            elif flags_next >> 4 != METADATA:
                self._accounting.violation("tx.descriptor.order", queue=self.index, type=flags_next >> 4)
        if not self._begun:
            self._begun = True
            account.packets += 1
            self.packets += 1
        try:
            found = sum([size for _, size in extents])
            if found != total:
                raise ValueError(f"expected {total} bytes in the segments; found {found}")
            buffers = self._copy_payload(extents)
            field = 2 * l4 + 2 * check
            protocol = _FIELDS.get(2 * check, TCP)
            if kind == SEGMENTED:
                sent = self._tx_offload.send_segments(
                    self.index, buffers, extents[0][1], l3, 2 * l4, protocol, mss, seeded=False, first=self._sent
                )
                if sent is not None:
                    self._sent = sent
                    return False
            else:
                where = Checksum(2 * l4, field, total, protocol == UDP) if flags & CHECKSUM else None
                self._tx_offload.send(self.index, buffers, where)
        except ValueError as error:
            self._accounting.violation("tx.packet", queue=self.index, reason=str(error))
        self._begun, self._sent = False, 0
        if self._faults.active and self._faults.fires("tx.completion.lost", queue=self.index):
            return False
        self._done = (self._done + count) & _MASK
        account.completions += 1
        return True

    def _descriptor(self, number: int) -> bytes:
        at = self._base + (self._done + number) % self._count * DESCRIPTOR_SIZE
        if self._record.on:
            self._record.add(self.index, "tx", "descriptor", at, DESCRIPTOR_SIZE)
        return self._memory.read(at, DESCRIPTOR_SIZE)

    def _copy_payload(self, extents: list[tuple[int, int]]) -> list[Buffer]:
        buffers: list[Buffer] = []
        for offset, size in extents:
            for address, length in self.pages.extents(offset, size):
                if self._record.on:
                    self._record.add(self.index, "tx", "payload", address, length)
                buffers.append(self._memory.read(address, length))
        return buffers
