# SPDX-License-Identifier: MIT
"""A flow cache for the bulk of traffic: frames of known flows, one descriptor each, delivered in bursts.

The first frame of a flow takes the slow path, `nicmodels.models.ixgbe.receive`. The results of filters and steering are
cached, and apply to the frames that follow until the driver writes a register that is not in `NEUTRAL`. Checksums are
verified for every frame. Unusual frames take the slow path, and so do all frames while a receive fault is armed.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST, ETH_FCS_LEN
from nicmodels.models.ixgbe.registers import REGISTERS, filters, interrupt, receive, transmit
from nicmodels.models.ixgbe.rx_queues import DD, EOP, WRITE_BACK
from nicmodels.nic.account import tally
from nicmodels.offload.flow_table import FlowTable, Reports, leading
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        reports: the write-backs of its frames.
    """

    __slots__ = ("broadcast", "counter", "group", "hash", "info", "queue", "reports", "status")

    def __init__(self, destination: bytes, queue: RxQueue, report: RxStatus, counter: int | None) -> None:
        self.group = destination[0] & 1
        self.broadcast = destination == BROADCAST
        self.queue = queue
        self.info = report.info
        self.hash = report.hash
        self.status = report.status | DD | EOP
        self.counter = counter
        self.reports = Reports(self._report)

    def _report(self, size: int) -> bytes:
        return WRITE_BACK.pack(self.info, self.hash, self.status, size, 0)


class FlowCache(FlowTable[CachedFlow]):
    """The cached flows.

    Args:
        file, statistics: of the device.
        rx: its queues.
    """

    def __init__(self, file: RegisterFile, statistics: Statistics, rx: RxQueues) -> None:
        super().__init__()
        self._values = file.values
        self._statistics = statistics
        self._rx = rx

    def learn(
        self, frame: memoryview, headers: Headers, queue: RxQueue, report: RxStatus, longest: int, counter: int | None
    ) -> None:
        """Cache the flow of a delivered frame; `longest` is the length of the longest frame without CRC."""
        self.remember(frame, headers, CachedFlow(bytes(frame[:6]), queue, report, counter), longest)

    def deliver(self, frame: bytes, *, counted: bool = False) -> bool:
        """Deliver a frame of a cached flow; False if it must take the slow path."""
        return self.deliver_many((frame,), 0, counted=counted) == 1

    def deliver_many(self, frames: Sequence[bytes], at: int, *, counted: bool = False) -> int:
        """Deliver frames of cached flows, from number `at` on.

        Args:
            frames: without CRC.
            at: the number of the first.
            counted: their arrival has been counted, since they come from the packet buffer.

        Returns:
            The number of the first that must take the slow path.
        """
        for flow, run, sizes in self.runs(frames, at) if len(self) else ():
            number = self._deliver_run(flow, run, sizes, counted=counted)
            at += number
            if number < len(run):
                break
        return at

    def _deliver_run(self, flow: CachedFlow, run: list[bytes], sizes: list[int], *, counted: bool) -> int:
        """Deliver frames of one flow; returns how many. Those after the first that does not fit are not delivered."""
        rx, queue = self._rx, flow.queue
        sizes = leading(sizes, queue.size)
        delivered = self._fetch(queue, len(sizes))
        if not delivered:
            return 0
        del sizes[delivered:]
        numbers_of = tally(sizes)
        if not counted:
            arrived = self._statistics.arrived
            for size, frames in numbers_of.items():
                arrived(size + ETH_FCS_LEN, flow.group, broadcast=flow.broadcast, passed=True, frames=frames)
        first = queue.head
        addresses = queue.posted.take_many(delivered)[::2]
        base, room, memory = rx.memory.window()
        end = room - max(numbers_of)
        lost = []
        for number, address, frame, size in zip(count(), addresses, run, sizes, strict=False):
            start = address - base
            if 0 <= start <= end:
                memory[start : start + size] = frame
            else:
                try:
                    rx.memory.write(address, frame)
                except DmaError:
                    rx.dma_error(queue)
                    lost.append(number)
        at = 0
        for number in (*lost, delivered):
            if at < number:
                reports = flow.reports.of(sizes[at:number])
                rx.written.add_many(queue.index, first + at, number - at, reports, queue.ring.count)
            at = number + 1
        for number in reversed(lost):
            del sizes[number]
        self._delivered(flow, len(sizes), sum(sizes))
        return delivered

    def _fetch(self, queue: RxQueue, number: int) -> int:
        """Fetch descriptors; returns how many of `number` there are. A ring that is not mapped is the slow path's to report."""
        posted = len(queue.posted)
        if posted >= number:
            return number
        there = min(number, posted + queue.ring.available)
        try:
            self._rx.fetch(queue, there)
        except DmaError:
            return posted
        return there

    def _delivered(self, flow: CachedFlow, frames: int, length: int) -> None:
        if frames:
            self._statistics.delivered(flow.queue.index, length, frames)
            if flow.counter is not None:
                self._values[flow.counter] += frames
