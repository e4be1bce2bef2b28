# SPDX-License-Identifier: MIT
"""The receive queues: descriptors are fetched ahead, and written back once per burst.

Source: 82599 datasheet, 7.1.5 and 7.1.6 (receive descriptors), 7.1.8 (descriptor fetch and write-back).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.rings import DescriptorRing, Posted, WriteBacks
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from nicmodels.models.ixgbe.interrupts import InterruptBlock
    from nicmodels.models.ixgbe.statistics import Statistics
    from nicmodels.nic.device import Host

QUEUES = 128
FETCH = 64
LEGACY, ONE_BUFFER, SPLIT, SPLIT_ALWAYS = 0, 1, 2, 5
# Status bits of the write-back format.
DD, EOP, FLM, VP, UDPCS, L4CS, IPCS, PIF = 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80
WRITE_BACK = struct.Struct("<IIIHH")
_LEGACY = struct.Struct("<QHHBBH")


class RxStatus(NamedTuple):
    """What the write-back reports of a frame, apart from its length.

    Attributes:
        info: packet type and RSS type.
        hash: RSS hash, flow director identifier, or fragment checksum and IP identification.
        status: status and errors, without DD and EOP.
        vlan: the tag that was stripped.
        header_length: bytes of header for a split; 0 for none.
    """

    info: int
    hash: int
    status: int
    vlan: int
    header_length: int = 0


class RxQueue:
    """A receive queue. `posted` holds the descriptors fetched, the last just before the ring's head: packet and header buffer."""

    __slots__ = ("descriptor_type", "drops", "enabled", "header_size", "index", "posted", "ring", "size", "strips")

    def __init__(self, index: int, ring: DescriptorRing) -> None:
        self.index = index
        self.ring = ring
        self.enabled = False
        self.posted = Posted(2)
        self.size = 2048
        self.header_size = 256
        self.descriptor_type = LEGACY
        self.drops = False
        self.strips = False

    @property
    def head(self) -> int:
        """The next descriptor to be used."""
        return self.ring.back(len(self.posted)) if self.posted else self.ring.head

    def take(self) -> tuple[int, int, int]:
        """Use the next fetched descriptor: its index, packet buffer and header buffer."""
        index = self.head
        packet, header = self.posted.take()
        return index, packet, header


class RxQueues:
    """All receive queues, and the write-backs of the burst under way.

    Attributes:
        memory: guest memory.
        queues: by number.
        written: the write-backs.
    """

    def __init__(self, host: Host, interrupts: InterruptBlock, statistics: Statistics) -> None:
        self.memory = host.memory
        self.queues = [RxQueue(index, DescriptorRing(host.memory)) for index in range(QUEUES)]
        self._events = host.events
        self._interrupts = interrupts
        self._statistics = statistics
        self.written = WriteBacks()

    def reset(self) -> None:
        """Drop the write-backs of the burst."""
        self.written.clear()

    def fetch(self, queue: RxQueue, number: int) -> bool:
        """Fetch until `posted` has at least `number` descriptors; False if the driver has not posted so many."""
        posted, ring = queue.posted, queue.ring
        if len(posted) >= number:
            return True
        if len(posted) + ring.available < number:
            return False
        before = len(posted)
        posted.extend(ring.fetch_words(max(FETCH, number)))
        ring.advance(len(posted) - before)
        return len(posted) >= number

    def dma_error(self, queue: RxQueue) -> None:
        """An address of the queue is not mapped: the data is lost."""
        self._statistics.dma_errors += 1
        self._events.add("dma.error", direction="rx", queue=queue.index)

    def write_back(self, queue: RxQueue, index: int, report: RxStatus, length: int, status: int) -> None:
        """Add a descriptor to the write-back at the end of the burst."""
        bits = report.status | status | DD
        if queue.descriptor_type == LEGACY:
            errors = (bits >> 24 & 0xC0) if status & EOP else 0
            address = self.memory.read(queue.ring.address(index), 8)
            data = address + _LEGACY.pack(0, length, 0, bits & 0xFF, errors, report.vlan)[8:]
        else:
            data = WRITE_BACK.pack(report.info, report.hash, bits & 0xFFFF_FFFF, length, report.vlan)
        self.written.add(queue.index, index, data)

    def flush(self) -> None:
        """Write the descriptors of the burst back, in contiguous runs, and interrupt."""
        for number, runs in self.written.take().items():
            queue = self.queues[number]
            try:
                queue.ring.write_runs(runs)
            except DmaError:
                self.dma_error(queue)
            self._interrupts.receive(number)
