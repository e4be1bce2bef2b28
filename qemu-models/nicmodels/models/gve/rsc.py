# SPDX-License-Identifier: MIT
"""Receive coalescing of a DQO device: hardware GRO.

A merged packet must be segmentable into the original packets (Linux, Documentation/networking/netdev-features.rst,
rx-gro-hw). So, beyond the rules of `nicmodels.offload.coalescing`, all segments but the last have the same size, and all
headers are equal except for sequence number, length, identification, checksums and PSH.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicmodels.offload.coalescing import Coalescer, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.faults.points import Fault
    from nicmodels.models.gve.rx_dqo import RxQueueDqo
    from nicmodels.models.gve.rx_packet import RxPacket
    from nicmodels.offload.coalescing import Flow
    from nicmodels.offload.headers import Headers

    Buffer = bytes | bytearray | memoryview

LIMITS = Limits(ipv6=True)
_DONT_FRAGMENT = 0x40


class _Open:
    """An open packet."""

    __slots__ = ("first", "frame_bytes", "identification", "payloads", "queue", "segment", "short")

    def __init__(self, queue: RxQueueDqo, first: RxPacket, segment: int) -> None:
        self.queue = queue
        self.first = first
        self.segment = segment
        self.short = False
        self.frame_bytes = 0
        self.identification = 0
        self.payloads: list[bytes] = []


class HardwareGro:
    """The open packets of all queues.

    Args:
        deliver: called with each complete packet.
        corrupted: the fault of appended segments.
    """

    def __init__(self, deliver: Callable[[RxQueueDqo, RxPacket], object], corrupted: Fault) -> None:
        self._deliver = deliver
        self._corrupted = corrupted
        self._coalescer = Coalescer(LIMITS)

    def reset(self) -> None:
        """Drop the open packets."""
        self._coalescer = Coalescer(LIMITS)

    def receive(self, queue: RxQueueDqo, packet: RxPacket) -> bool:
        """Try to merge a packet with right checksums; False if it is to be delivered alone, now."""
        frame = packet.pieces[0]
        headers = packet.headers
        decision = self._coalescer.receive(
            frame, headers, scope=queue.index, fits=lambda flow, size: self._continues(flow, size, frame, headers)
        )
        for each in decision.before:
            self._complete(each)
        flow = decision.flow
        if flow is None:
            return False
        size = headers.l3_end - headers.payload_offset
        opened: _Open | None = flow.buffers
        if opened is None:
            # Copied, since the wire reuses its buffer.
            header = packet._replace(pieces=[bytes(frame[: headers.payload_offset])])
            opened = flow.buffers = _Open(queue, header, size)
        payload = bytes(frame[headers.payload_offset : headers.l3_end])
        if flow.segments > 1 and self._corrupted.armed and self._corrupted.fires(queue=queue.index):
            payload = payload[:-1] + b"\0"
        opened.payloads.append(payload)
        opened.frame_bytes += len(frame)
        opened.short = size < opened.segment
        opened.identification = _identification(frame, headers)
        if decision.complete or opened.short:
            self._coalescer.close(flow)
            self._complete(flow)
        return True

    def finish(self, queue: int | None = None) -> None:
        """Complete all packets, or those of one queue."""
        if len(self._coalescer):
            for flow in self._coalescer.close_all(lambda each: queue is None or each.buffers.queue.index == queue):
                self._complete(flow)

    def _continues(self, flow: Flow, size: int, frame: Buffer, headers: Headers) -> bool:
        """Whether the next segment in sequence may be merged so that GSO can restore it."""
        opened: _Open = flow.buffers
        if opened.short or size > opened.segment or flow.ip_length + size > opened.queue.limit:
            return False
        own, mine = opened.first.pieces[0], opened.first.headers
        start, l4, end = mine.l3_offset, mine.l4_offset, mine.payload_offset
        if mine.version == 4:
            number = _identification(frame, headers)
            steps = (number - opened.identification) & 0xFFFF
            if frame[start + 8] != own[start + 8] or frame[start + 6] != own[start + 6]:
                return False
            if steps != 1 and not (steps == 0 and own[start + 6] & _DONT_FRAGMENT):
                return False
        elif frame[start : start + 4] != own[start : start + 4] or frame[start + 7] != own[start + 7]:
            return False
        # Acknowledgement; flags except PSH; window; options.
        return (
            frame[l4 + 8 : l4 + 13] == own[l4 + 8 : l4 + 13]
            and (frame[l4 + 13] ^ own[l4 + 13]) & ~8 == 0
            and frame[l4 + 14 : l4 + 16] == own[l4 + 14 : l4 + 16]
            and frame[l4 + 20 : end] == own[l4 + 20 : end]
        )

    def _complete(self, flow: Flow) -> None:
        opened: _Open = flow.buffers
        header = flow.header()
        merged = opened.first._replace(
            pieces=[header, *opened.payloads],
            length=len(header) + flow.payload,
            segment=opened.segment if flow.segments > 1 else 0,
            frames=flow.segments,
            frame_bytes=opened.frame_bytes,
        )
        self._deliver(opened.queue, merged)


def _identification(frame: Buffer, headers: Headers) -> int:
    at = headers.l3_offset + 4
    return frame[at] << 8 | frame[at + 1] if headers.version == 4 else 0
