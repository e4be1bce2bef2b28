# SPDX-License-Identifier: MIT
"""Receive side coalescing: merged packets in the receive queues.

Source: 82599 datasheet, section 7.11 (RSC), 7.1.6.2 (RSCCNT, NEXTP), 8.2.3.8 (RSCCTL, RSCDBU).

`nicmodels.offload.coalescing` decides which segments are merged. Their payload is written into guest buffers at once; the
header and the descriptors follow when the packet is complete, by the rules or at the end of a burst, which stands for the
interrupt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nicmodels.models.ixgbe.registers import REGISTERS
from nicmodels.models.ixgbe.registers import filters as f
from nicmodels.models.ixgbe.registers import receive as r
from nicmodels.models.ixgbe.rx_queues import EOP, ONE_BUFFER
from nicmodels.offload.coalescing import Coalescer, Limits
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from nicmodels.models.ixgbe.rx_queues import RxQueue, RxQueues, RxStatus
    from nicmodels.nic.device import Host
    from nicmodels.offload.coalescing import Flow
    from nicmodels.offload.headers import Headers
    from nicmodels.registers import RegisterFile

_RSCCTL = tuple(REGISTERS.offset(r.RSCCTL, index) >> 2 for index in range(r.RSCCTL.total))
RSCEN = 1
RSC_DIS = 1 << 5
RSCACKDIS = 1 << 7
MAX_DESCRIPTORS = (1, 4, 8, 16)
COUNT_SHIFT = 17
SEGMENTS_A_BUFFER = 14
"""The most segments that can start in one descriptor: RSCCNT has four bits, and is one more than their number."""
NEXT_SHIFT = 4


@dataclass
class _Buffer:
    """A descriptor of a merged packet."""

    index: int
    address: int
    used: int = 0
    segments: int = 0


@dataclass
class _Chain:
    """The buffers of a merged packet."""

    queue: RxQueue
    report: RxStatus
    strip: int
    buffers: list[_Buffer]


class RscEngine:
    """The open merged packets."""

    def __init__(self, file: RegisterFile, host: Host, rx: RxQueues) -> None:
        self._file = file
        self._host = host
        self._rx = rx
        self._corrupted = host.faults["rx.coalescing.corrupted"]
        self._coalescer = Coalescer()

    def reset(self) -> None:
        """Drop the open packets."""
        self._coalescer = Coalescer()

    def takes(self, queue: int) -> bool:
        """Whether RSC is on for a queue."""
        if not self._file.values[_RSCCTL[queue]] & RSCEN or self._file[f.RFCTL] & RSC_DIS:
            return False
        return self._rx.queues[queue].descriptor_type == ONE_BUFFER

    def receive(
        self, queue: RxQueue, frame: memoryview, headers: Headers, report: RxStatus, *, strip: int, good: bool
    ) -> bool | None:
        """Try to merge a frame with right checksums.

        Returns:
            True if it was merged, False if it has to wait for descriptors, None if it is to be delivered alone, now.
        """
        coalescer = self._coalescer
        limits = Limits(header=queue.header_size, acknowledgements=not self._file[r.RSCDBU] & RSCACKDIS)
        if limits != coalescer.limits:
            self.finish()
            self._coalescer = coalescer = Coalescer(limits)
        if not good or not self._rx.fetch(queue, 1 + -(-len(frame) // queue.size)):
            self.finish(queue.index)
            return None
        decision = coalescer.receive(frame, headers, scope=(queue.index, report.vlan), fits=self._fits)
        for each in decision.before:
            self._deliver(each)
        flow = decision.flow
        if flow is None:
            return None
        try:
            started = self._append(queue, flow, frame, headers, report, strip)
        except DmaError:
            coalescer.close(flow)
            self._rx.dma_error(queue)
            return True
        if decision.complete or started.segments == SEGMENTS_A_BUFFER:
            coalescer.close(flow)
            self._deliver(flow)
        return True

    def finish(self, queue: int | None = None) -> None:
        """Complete all merged packets, or those of one queue."""
        if not len(self._coalescer):
            return
        for flow in self._coalescer.close_all(lambda each: queue is None or each.buffers.queue.index == queue):
            self._deliver(flow)

    def _fits(self, flow: Flow, size: int) -> bool:
        """Whether the payload fits into the descriptors that a merged packet may have."""
        chain: _Chain = flow.buffers
        queue = chain.queue
        more = -(-max(size - (queue.size - chain.buffers[-1].used), 0) // queue.size)
        limit = MAX_DESCRIPTORS[self._file[r.RSCCTL, queue.index] >> 2 & 3]
        return len(chain.buffers) + more <= limit and self._rx.fetch(queue, more)

    def _append(
        self, queue: RxQueue, flow: Flow, frame: memoryview, headers: Headers, report: RxStatus, strip: int
    ) -> _Buffer:
        """Append the payload; returns the buffer that it starts in."""
        chain: _Chain | None = flow.buffers
        if chain is None:
            index, address, _ = queue.take()
            chain = flow.buffers = _Chain(queue, report, strip, [_Buffer(index, address, flow.header_length - strip)])
        payload = frame[headers.payload_offset : headers.l3_end]
        if flow.segments > 1 and self._corrupted.armed and self._corrupted.fires(queue=queue.index):
            payload = memoryview(bytes(payload[:-1]) + b"\0")
        buffer = chain.buffers[-1]
        started = None
        while payload:
            room = queue.size - buffer.used
            if not room:
                index, address, _ = queue.take()
                buffer = _Buffer(index, address)
                chain.buffers.append(buffer)
                continue
            started = started or buffer
            part = payload[:room]
            self._host.memory.write(buffer.address + buffer.used, part)
            buffer.used += len(part)
            payload = payload[room:]
        started = started or buffer
        started.segments += 1
        return started

    def _deliver(self, flow: Flow) -> None:
        """Write the header, and return the descriptors.

        Each descriptor's RSCCNT is one more than the number of segments that start in it, so that the sum of RSCCNT - 1
        over the chain is how many were merged; NEXTP links them. A packet of one segment has no RSC fields.
        """
        chain: _Chain = flow.buffers
        header = flow.header()
        if chain.strip:
            header = header[:12] + header[16:]
        try:
            self._host.memory.write(chain.buffers[0].address, header)
        except DmaError:
            self._rx.dma_error(chain.queue)
        last = len(chain.buffers) - 1
        for position, buffer in enumerate(chain.buffers):
            report = chain.report if position == last else chain.report._replace(status=0, vlan=0)
            if flow.segments > 1:
                report = report._replace(info=report.info | (buffer.segments + 1) << COUNT_SHIFT)
            if position != last:
                report = report._replace(status=chain.buffers[position + 1].index << NEXT_SHIFT)
            self._rx.write_back(chain.queue, buffer.index, report, buffer.used, EOP if position == last else 0)
