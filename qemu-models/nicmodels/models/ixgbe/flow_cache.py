# SPDX-License-Identifier: MIT
"""A flow cache for the bulk of traffic: frames of known flows, one descriptor each, delivered in bursts.

The first frame of a flow takes the slow path, `nicmodels.models.ixgbe.receive`. The results of filters and steering are
cached, and apply to the frames that follow until the driver writes a register that is not in `NEUTRAL`. Checksums are
verified for every frame. Unusual frames take the slow path, and so do all frames while a receive fault is armed. TCP
that the host left to be segmented (wire segmentation "host") is segmented here, straight into the buffers.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST, ETH_FCS_LEN, ETH_HLEN, ETH_ZLEN
from nicmodels.models.ixgbe.registers import REGISTERS, filters, interrupt, receive, transmit
from nicmodels.models.ixgbe.rx_queues import DD, EOP, WRITE_BACK
from nicmodels.offload.completion import cut
from nicmodels.offload.flow_table import SYN, FlowTable
from nicmodels.offload.headers import TCP, parse
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nicmodels.models.ixgbe.rx_queues import RxQueue, RxQueues, RxStatus
    from nicmodels.models.ixgbe.statistics import Statistics
    from nicmodels.offload.headers import Headers
    from nicmodels.registers import RegisterFile

NEUTRAL = frozenset(
    REGISTERS.offset(register, index)
    for register in (
        receive.RDT,
        transmit.TDT,
        interrupt.EICR,
        interrupt.EICS,
        interrupt.EIMS,
        interrupt.EIMC,
        interrupt.EIMS_EX,
        interrupt.EIMC_EX,
        interrupt.EICS_EX,
        interrupt.EITR,
    )
    for index in range(register.total)
)
"""The registers that drivers write under traffic, and that do not influence which queue a frame is delivered to."""

MATCHED = REGISTERS.offset(filters.FDIRMATCH) >> 2
MISSED = REGISTERS.offset(filters.FDIRMISS) >> 2


class CachedFlow:
    """A cached flow.

    Attributes:
        queue: its receive queue.
        info, hash: as in the descriptor.
        status: DD, EOP, the checksum bits of a good frame, and whether a filter matched.
        group, broadcast: whether its destination is a group address, and which.
        counter: slot of the flow director counter to increment, or None.
        epoch: of the cache, when it was cached.
    """

    __slots__ = ("_reports", "broadcast", "counter", "epoch", "group", "hash", "info", "queue", "status")

    def __init__(
        self, destination: bytes, queue: RxQueue, report: RxStatus, counter: int | None, *, epoch: int
    ) -> None:
        self.group = destination[0] & 1
        self.broadcast = destination == BROADCAST
        self.queue = queue
        self.info = report.info
        self.hash = report.hash
        self.status = report.status | DD | EOP
        self.counter = counter
        self.epoch = epoch
        self._reports: dict[int, bytes] = {}

    def report(self, size: int) -> bytes:
        """The write-back of a frame of `size` bytes."""
        found = self._reports.get(size)
        if found is None:
            found = self._reports[size] = WRITE_BACK.pack(self.info, self.hash, self.status, size, 0)
        return found


class GsoPacket:
    """A GSO packet of a cached flow, delivered segment by segment.

    Attributes:
        flow: its flow.
        left: bytes that have not been delivered yet.
    """

    def __init__(self, flow: CachedFlow, segments: Iterator[list[bytes | bytearray | memoryview]], length: int) -> None:
        self.flow = flow
        self.left = length
        self._segments = segments
        self._waiting: bytes | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        frame = self._waiting
        if frame is None:
            frame = b"".join(next(self._segments)).ljust(ETH_ZLEN, b"\0")
        self._waiting = None
        self.left -= len(frame)
        return frame

    def put_back(self, frame: bytes) -> None:
        """Put a segment back that found no room; it is the next one again."""
        self._waiting = frame
        self.left += len(frame)


class FlowCache:
    """The cached flows."""

    def __init__(self, file: RegisterFile, statistics: Statistics, rx: RxQueues) -> None:
        self._values = file.values
        self._statistics = statistics
        self._rx = rx
        self._flows: FlowTable[CachedFlow] = FlowTable()
        self._limit = 0
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._flows)

    def flush(self) -> None:
        """The configuration changed: drop all flows."""
        self._epoch += 1
        if self._flows:
            self._flows.clear()

    def learn(
        self, frame: memoryview, headers: Headers, queue: RxQueue, report: RxStatus, limit: int, counter: int | None
    ) -> None:
        """Cache the flow of a delivered frame; `limit` is the longest frame without CRC."""
        flow = CachedFlow(bytes(frame[:6]), queue, report, counter, epoch=self._epoch)
        if self._flows.learn(frame, headers, flow):
            self._limit = limit

    def holds(self, flow: CachedFlow) -> bool:
        """Whether the configuration is still that of the time when a flow was cached."""
        return flow.epoch == self._epoch

    def begin_gso(self, frame: bytes, size: int) -> GsoPacket | None:
        """Start the delivery of a packet in segments of `size` bytes; None if it must take the slow path."""
        if not self._flows:
            return None
        headers = parse(frame)
        start, end = headers.payload_offset, headers.l3_end
        if headers.l4 != TCP or headers.options or headers.l3_offset != ETH_HLEN or end <= start:
            return None
        flow = self._flows.of(frame, headers)
        if flow is None or frame[headers.l4_offset + 13] & SYN:
            return None
        if flow.queue.drops:  # segments without a descriptor are dropped one by one
            return None
        longest = start + min(size, end - start)
        if longest > min(self._limit, flow.queue.size) or longest < ETH_ZLEN:
            return None
        segments = -(-(end - start) // size)
        last = max(start + (end - start) - (segments - 1) * size, ETH_ZLEN)
        arrived = self._statistics.arrived
        if segments > 1:
            arrived(longest + ETH_FCS_LEN, 0, broadcast=False, passed=True, frames=segments - 1)
        arrived(last + ETH_FCS_LEN, 0, broadcast=False, passed=True)
        return GsoPacket(flow, cut(frame, headers, size), (segments - 1) * longest + last)

    def deliver_gso(self, packet: GsoPacket) -> bool:
        """Deliver segments to their queue; False if descriptors ran out."""
        flow, rx = packet.flow, self._rx
        queue, posted, write = flow.queue, flow.queue.posted, rx.memory.write
        frames = length = 0
        done = True
        for frame in packet:
            if not posted and not rx.fetch(queue, 1):
                packet.put_back(frame)
                done = False
                break
            index, address, _ = queue.take()
            size = len(frame)
            try:
                write(address, frame)
            except DmaError:
                rx.dma_error(queue)
                continue
            rx.note(queue.index, index, flow.report(size))
            frames += 1
            length += size
        self._delivered(flow, frames, length)
        return done

    def deliver(self, frame: bytes, *, known_good: bool, counted: bool = False) -> bool:
        """Deliver a frame of a cached flow; False if it must take the slow path."""
        return self.deliver_many((frame,), 0, 1, known_good=known_good, counted=counted) == 1

    def deliver_many(
        self, frames: Sequence[bytes], at: int, end: int, *, known_good: bool = False, counted: bool = False
    ) -> int:
        """Deliver frames of cached flows, from number `at` on, up to `end`.

        Args:
            frames: without CRC.
            at, end: which of them.
            known_good: their TCP or UDP checksums were just computed.
            counted: their arrival has been counted, since they come from the packet buffer.

        Returns:
            The number of the first that must take the slow path.
        """
        if not self._flows:
            return at
        for flow, run in self._flows.runs(frames, at, end, known_good=known_good):
            number = self._deliver_run(flow, run, counted=counted)
            at += number
            if number < len(run):
                break
        return at

    def _deliver_run(self, flow: CachedFlow, run: list[bytes], *, counted: bool) -> int:
        """Deliver frames of one flow; returns how many. Those after the first that does not fit are not delivered."""
        rx, queue = self._rx, flow.queue
        posted, sizes = queue.posted, [*map(len, run)]
        longest = min(self._limit, queue.size)
        if max(sizes) > longest:
            del sizes[next(number for number, size in enumerate(sizes) if size > longest) :]
        if len(posted) < len(sizes):
            del sizes[self._fetch(queue, len(sizes)) :]
        if not sizes:
            return 0
        first, take = queue.head, posted.popleft
        descriptors = [take() for _ in sizes]
        base, room, memory = rx.memory.window()
        end = room - max(sizes)
        lost: list[int] = []
        for number, (address, _), frame, size in zip(count(first), descriptors, run, sizes, strict=False):
            start = address - base
            if 0 <= start <= end:
                memory[start : start + size] = frame
            else:
                try:
                    rx.memory.write(address, frame)
                except DmaError:
                    rx.dma_error(queue)
                    lost.append(number)
        delivered = len(sizes)
        if not counted:
            arrived = self._statistics.arrived
            for size, frames in Counter(sizes).items():
                arrived(size + ETH_FCS_LEN, flow.group, broadcast=flow.broadcast, passed=True, frames=frames)
        numbers = [*range(first, first + delivered)]
        for number in reversed(lost):
            del numbers[number - first], sizes[number - first]
        reports = {size: flow.report(size) for size in set(sizes)}
        rx.note_many(queue, numbers, [reports[size] for size in sizes])
        self._delivered(flow, len(sizes), sum(sizes))
        return delivered

    def _fetch(self, queue: RxQueue, number: int) -> int:
        """Fetch descriptors; returns how many of `number` there are. A ring that is not mapped is the slow path's to report."""
        there = min(number, len(queue.posted) + queue.ring.available)
        try:
            self._rx.fetch(queue, there)
        except DmaError:
            return len(queue.posted)
        return there

    def _delivered(self, flow: CachedFlow, frames: int, length: int) -> None:
        if frames:
            self._statistics.delivered(flow.queue.index, length, frames)
            if flow.counter is not None:
                self._values[flow.counter] += frames
