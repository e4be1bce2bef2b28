# SPDX-License-Identifier: MIT
"""A GQI receive queue: a ring of buffer slots, and a descriptor for each slot; all big-endian.

Sources: Linux, drivers/net/ethernet/google/gve/gve_desc.h (gve_rx_desc, gve_rx_data_slot);
Documentation/networking/device_drivers/ethernet/google/gve.rst (GQI traffic queues).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.ethernet import ETH_HLEN
from nicmodels.models.gve.queue import Queue
from nicmodels.offload.chain import part
from nicmodels.offload.checksum import chain_sum
from nicmodels.offload.headers import TCP, UDP
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nicmodels.models.gve.page_lists import PageList
    from nicmodels.models.gve.queue import QueueContext
    from nicmodels.models.gve.rx_packet import RxPacket

SLOT_SIZE = 8
DESCRIPTOR = struct.Struct(">48xI4xBB2sHH")
DESCRIPTOR_SIZE = DESCRIPTOR.size
PAD = 2
"""The Ethernet header starts two bytes into the first buffer, which aligns the IP header."""
FRAGMENT, IPV4, IPV6, IS_TCP, IS_UDP, ERROR, CONTINUED = (1 << (3 + bit) for bit in (3, 4, 5, 6, 7, 8, 10))
_MASK = 0xFFFF_FFFF


class RxQueueGqi(Queue):
    """A GQI receive queue.

    Args:
        context: the parts of the device that it uses.
        fields: of the command create_rx_queue.
        pages: the queue's page list, into which slots are offsets.

    Attributes: as of `nicmodels.models.gve.rx_dqo.RxQueueDqo`.
    """

    coalesces = False

    def __init__(
        self,
        context: QueueContext,
        fields: Mapping[str, int],
        pages: PageList,
    ) -> None:
        super().__init__(context, fields)
        self.size = fields["buffer_size"]
        self.pages = pages
        self._account = context.accounting.rx[self.index]
        self._count = fields["ring_size"]
        self._slots = fields["data_address"]
        self._descriptors = fields["descriptor_address"]
        self._filled = 0
        self._done = 0
        self._sequence = 1
        self._noted: list[tuple[int, bytes]] = []

    def doorbell(self, value: int) -> None:
        """The driver filled slots; `value` counts all filled so far."""
        if self.halted:
            return
        number = (value - self._filled) & _MASK
        if (value - self._done) & _MASK > self._count:
            self._accounting.violation("rx.fill", queue=self.index, value=value, size=self._count)
            return
        self._filled = value
        self._account.posted += number

    def describe(self) -> dict[str, float | bool]:
        """The entry in `model.queues`."""
        count = self._count
        return self._state(count, self._done % count, self._filled % count)

    def stop(self) -> None:
        """The queue is destroyed: its buffers return to the driver."""
        self._account.returned += self._account.held

    def deliver(self, packet: RxPacket) -> bool:
        """Write a packet into buffers; False if too few are posted."""
        count = -(-(packet.length + PAD) // self.size)
        if (self._filled - self._done) & _MASK < count:
            return False
        pieces = packet.pieces
        if self._faults.active and packet.length > 1024 and self._faults.fires("rx.frame.truncated", queue=self.index):
            pieces, count = list(part(pieces, 0, 1024)), 1
        data = bytes(PAD) + b"".join(pieces)
        flags = self._flags(packet)
        # The sum of everything after the Ethernet header, from which the driver completes the checksum.
        total = chain_sum(part((data,), PAD + ETH_HLEN, len(data)))
        partial = (total % 65535 or (total and 65535)).to_bytes(2, "big")
        if packet.l4_good is None and packet.ip_good is None and packet.headers.version:
            partial = b"\0\0"
        for number in range(count):
            last = number == count - 1
            self._place(data[number * self.size : (number + 1) * self.size], packet, flags, partial, last=last)
        return True

    def flush(self) -> bool:
        """Write the descriptors of a burst; returns whether there were any.

        The driver polls the sequence number at the end of each descriptor, so the first descriptor's is written last.
        """
        noted, self._noted = self._noted, []
        if not noted:
            return False
        try:
            for index, entry in noted[1:]:
                self._memory.write(self._descriptors + index * DESCRIPTOR_SIZE, entry)
            index, entry = noted[0]
            at = self._descriptors + index * DESCRIPTOR_SIZE
            self._memory.write(at, entry[:-2])
            self._memory.write(at + DESCRIPTOR_SIZE - 2, entry[-2:])
        except DmaError:
            self._statistics.dma_error("rx", self.index)
        if self._record.on:
            for index, _ in noted:
                at = self._descriptors + index * DESCRIPTOR_SIZE
                self._record.add(self.index, "rx", "completion", at, DESCRIPTOR_SIZE)
        return True

    def _place(self, data: bytes, packet: RxPacket, flags: int, partial: bytes, *, last: bool) -> None:
        """Write one buffer, and add its descriptor."""
        index = self._done % self._count
        slot = self._slots + index * SLOT_SIZE
        try:
            offset = int.from_bytes(self._memory.read(slot, SLOT_SIZE), "big")
            if self._record.on:
                self._record.add(self.index, "rx", "descriptor", slot, SLOT_SIZE)
            at = 0
            for address, length in self.pages.extents(offset, len(data)):
                if self._record.on:
                    self._record.add(self.index, "rx", "payload", address, length)
                self._memory.write(address, data[at : at + length])
                at += length
        except (DmaError, ValueError):
            self._statistics.dma_error("rx", self.index)
            flags |= ERROR
        if not last:
            flags |= CONTINUED
        header = min(PAD + packet.headers.payload_offset, 255)
        entry = DESCRIPTOR.pack(packet.hash, header, 0, partial, len(data), flags | self._sequence)
        self._noted.append((index, entry))
        self._sequence = self._sequence % 7 + 1
        self._done = (self._done + 1) & _MASK
        self._account.completed += 1

    def _flags(self, packet: RxPacket) -> int:
        headers = packet.headers
        flags = {4: IPV4, 6: IPV6}.get(headers.version, 0)
        if headers.fragment:
            flags |= FRAGMENT
        elif headers.l4 == TCP:
            flags |= IS_TCP
        elif headers.l4 == UDP:
            flags |= IS_UDP
        return flags
