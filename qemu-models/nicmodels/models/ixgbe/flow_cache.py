# SPDX-License-Identifier: MIT
"""A flow cache for the bulk of traffic: TCP segments of known flows, one descriptor each.

The first segment of a flow takes the slow path, `nicmodels.models.ixgbe.receive`. The results of filters and steering are
cached, and apply to the segments that follow until the driver writes a register that is not in `NEUTRAL`. Checksums are
verified for every frame. Unusual frames take the slow path, and so do all frames while a receive fault is armed. TCP
that the host left to be segmented (wire segmentation "host") is segmented here, straight into the buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nicmodels.ethernet import ETH_FCS_LEN, ETH_HLEN, ETH_P_IP, ETH_ZLEN
from nicmodels.models.ixgbe.registers import REGISTERS, filters, interrupt, receive, transmit
from nicmodels.models.ixgbe.rx_queues import DD, EOP, IPCS, L4CS, WRITE_BACK
from nicmodels.offload.checksum import word_sum
from nicmodels.offload.completion import cut
from nicmodels.offload.headers import TCP, parse
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
SYN = 2
LIMIT = 4096


class CachedFlow(NamedTuple):
    """A cached flow.

    Attributes:
        key: its addresses and ports, as in its frames.
        ethernet: its Ethernet header.
        queue: its receive queue.
        info, hash: as in the descriptor.
        status: DD, EOP, the checksum bits of a good segment, and whether a flow director filter matched.
        addresses: sum of the pseudo-header without the length.
        counter: slot of the flow director counter to increment, or None.
    """

    key: bytes
    ethernet: bytes
    queue: RxQueue
    info: int
    hash: int
    status: int
    addresses: int
    counter: int | None


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
        self._flows: dict[bytes, CachedFlow] = {}
        self._limit = 0

    def flush(self) -> None:
        """The configuration changed: drop all flows."""
        self._flows.clear()

    def learn(
        self, frame: memoryview, headers: Headers, queue: RxQueue, report: RxStatus, limit: int, counter: int | None
    ) -> None:
        """Cache the flow of a delivered segment; `limit` is the longest frame without CRC."""
        if headers.l4 != TCP or headers.fragment or headers.options or headers.l3_offset != ETH_HLEN or frame[0] & 1:
            return
        if frame[headers.l4_offset + 13] & SYN:  # the SYN filter may have steered it
            return
        if len(self._flows) >= LIMIT:
            self._flows.clear()
        first = 26 if headers.version == 4 else 22
        addresses = headers.l4_offset
        status = report.status & ~(IPCS | L4CS) | DD | EOP | L4CS | (IPCS if headers.version == 4 else 0)
        self._limit = limit
        key = bytes(frame[first : addresses + 4])
        self._flows[key] = CachedFlow(
            key,
            bytes(frame[:ETH_HLEN]),
            queue,
            report.info,
            report.hash,
            status,
            TCP + word_sum(frame[first:addresses]),
            counter,
        )

    def holds(self, flow: CachedFlow) -> bool:
        """Whether the flow is still in the cache."""
        return self._flows.get(flow.key) is flow

    def begin_gso(self, frame: memoryview, size: int) -> GsoPacket | None:
        """Start the delivery of a packet in segments of `size` bytes; None if it must take the slow path."""
        if not self._flows:
            return None
        headers = parse(frame)
        start, end = headers.payload_offset, headers.l3_end
        if headers.l4 != TCP or headers.options or headers.l3_offset != ETH_HLEN or end <= start:
            return None
        flow = self._flows.get(bytes(frame[26 if headers.version == 4 else 22 : headers.l4_offset + 4]))
        if flow is None or flow.ethernet != frame[:ETH_HLEN] or frame[headers.l4_offset + 13] & SYN:
            return None
        if flow.queue.drops:  # segments without a descriptor are dropped one by one
            return None
        longest = start + min(size, end - start)
        if longest > min(self._limit, flow.queue.size) or longest < ETH_ZLEN:
            return None
        count = -(-(end - start) // size)
        last = max(start + (end - start) - (count - 1) * size, ETH_ZLEN)
        arrived = self._statistics.arrived
        if count > 1:
            arrived(longest + ETH_FCS_LEN, 0, broadcast=False, passed=True, frames=count - 1)
        arrived(last + ETH_FCS_LEN, 0, broadcast=False, passed=True)
        # Copied, because segments may wait for descriptors while the wire reuses its buffer.
        return GsoPacket(flow, cut(bytes(frame), headers, size), (count - 1) * longest + last)

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
            index, address, _ = posted.popleft()
            size = len(frame)
            try:
                write(address, frame)
            except DmaError:
                rx.dma_error(queue)
                continue
            rx.note(queue.index, index, WRITE_BACK.pack(flow.info, flow.hash, flow.status, size, 0))
            frames += 1
            length += size
        if frames:
            self._delivered(flow, length, frames)
        return done

    def _delivered(self, flow: CachedFlow, length: int, frames: int = 1) -> None:
        self._statistics.delivered(flow.queue.index, length, frames)
        if flow.counter is not None:
            self._values[flow.counter] += frames

    def deliver(self, frame: memoryview, *, known_good: bool, counted: bool = False) -> bool:
        """Deliver a segment of a cached flow; False if it must take the slow path.

        Args:
            frame: without CRC.
            known_good: its TCP checksum was just computed.
            counted: its arrival has been counted, since it comes from the packet buffer.
        """
        flows = self._flows
        size = len(frame)
        if not flows or not ETH_ZLEN <= size <= self._limit:
            return False
        if frame[12] << 8 | frame[13] == ETH_P_IP:
            if frame[14] != 0x45 or frame[23] != TCP or frame[20] & 0x3F or frame[21]:
                return False
            flow = flows.get(bytes(frame[26:38]))
            l4 = 34
            end = 14 + (frame[16] << 8 | frame[17])
            if word_sum(frame[14:34]) != 65535:
                return False
        else:
            if frame[20] != TCP or frame[14] >> 4 != 6 or size < 74:
                return False
            flow = flows.get(bytes(frame[22:58]))
            l4 = 54
            end = 54 + (frame[18] << 8 | frame[19])
        if flow is None or flow.ethernet != frame[:ETH_HLEN] or not l4 + 20 <= end <= size:
            return False
        if frame[l4 + 13] & SYN or not 20 <= frame[l4 + 12] >> 4 << 2 <= end - l4:
            return False
        if not known_good and (flow.addresses + end - l4 + word_sum(frame[l4:end])) % 65535:
            return False
        queue = flow.queue
        rx = self._rx
        if size > queue.size or not (queue.posted or rx.fetch(queue, 1)):
            return False
        index, address, _ = queue.posted.popleft()
        if not counted:
            self._statistics.arrived(size + ETH_FCS_LEN, 0, broadcast=False, passed=True)
        try:
            rx.memory.write(address, frame)
        except DmaError:
            rx.dma_error(queue)
            return True
        rx.note(queue.index, index, WRITE_BACK.pack(flow.info, flow.hash, flow.status, size, 0))
        self._delivered(flow, size)
        return True
