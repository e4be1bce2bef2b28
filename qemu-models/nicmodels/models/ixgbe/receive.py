# SPDX-License-Identifier: MIT
"""The receive path: frames to descriptors.

Source: 82599 datasheet, section 7.1 (receive): 7.1.1 (filtering), 7.1.5 and 7.1.6 (descriptors), 7.1.11 (checksums).

Frames are received in bursts: the descriptors of a burst are fetched together and written back together, and each queue
interrupts once. Frames without a descriptor wait in the packet buffer, in order; when it is full, frames are missed or,
with flow control, the link partner is paused.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST, ETH_FCS_LEN, ETH_FRAME_LEN, ETH_HLEN, ETH_ZLEN, VLAN_HLEN
from nicmodels.faults.frames import RxFrameFaults
from nicmodels.models.ixgbe.fault_points import RECEIVE
from nicmodels.models.ixgbe.flow_cache import MATCHED, MISSED, FlowCache
from nicmodels.models.ixgbe.registers import REGISTERS, mac
from nicmodels.models.ixgbe.registers import filters as f
from nicmodels.models.ixgbe.registers import receive as r
from nicmodels.models.ixgbe.registers import statistics as s
from nicmodels.models.ixgbe.rsc import RscEngine
from nicmodels.models.ixgbe.rx_queues import (
    EOP,
    FLM,
    IPCS,
    L4CS,
    ONE_BUFFER,
    PIF,
    SPLIT,
    SPLIT_ALWAYS,
    UDPCS,
    VP,
    RxQueue,
    RxQueues,
    RxStatus,
)
from nicmodels.nic.engine import LONG_BURST, ReceiveLoop
from nicmodels.offload.checksum import word_sum
from nicmodels.offload.headers import SCTP, TCP, UDP, Headers, ip_checksum_ok, l4_checksum_ok, parse
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from nicmodels.models.ixgbe.filters import ReceiveFilters
    from nicmodels.models.ixgbe.interrupts import InterruptBlock
    from nicmodels.models.ixgbe.link import Link
    from nicmodels.models.ixgbe.ptp import SystemTime
    from nicmodels.models.ixgbe.statistics import Statistics
    from nicmodels.models.ixgbe.steering import Steering, Target
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

    Buffer = bytes | bytearray | memoryview

ENABLE, VME = 1 << 25, 1 << 30
DROP_EN = 1 << 28
_VLNCTRL = REGISTERS.offset(f.VLNCTRL) >> 2
_RXCSUM = REGISTERS.offset(f.RXCSUM) >> 2
_HLREG0 = REGISTERS.offset(mac.HLREG0) >> 2
_MAXFRS = REGISTERS.offset(mac.MAXFRS) >> 2
RXEN = 1
CRC_STRIP = 2
JUMBO, LOOPBACK = 1 << 2, 1 << 15
MAX_STANDARD = ETH_FRAME_LEN + ETH_FCS_LEN
PCSD = 1 << 13
TFCE = 1 << 3
# Status and error bits of the write-back format, at their positions in the second quadword.
STAMPED, LOOPED = 1 << 16, 1 << 18
L4E, IPE, FDIR_ERROR = 1 << 30, 1 << 31, 0
SPH = 1 << 31
TYPE_IPV4, TYPE_IPV4_EX, TYPE_IPV6, TYPE_IPV6_EX = 0x10, 0x20, 0x40, 0x80
TYPE_L4 = {TCP: 0x100, UDP: 0x200, SCTP: 0x400}
TYPE_ETQF = 0x8000


class Receiver:
    """All receive queues and the packet buffer in front of them."""

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        statistics: Statistics,
        link: Link,
        filters: ReceiveFilters,
        steering: Steering,
        time: SystemTime,
    ) -> None:
        self._file = file
        self._values = file.values
        self._host = host
        self._statistics = statistics
        self._link = link
        self._filters = filters
        self._steering = steering
        self._time = time
        self._faults = host.faults.subset(RECEIVE)
        self._stuck = host.faults["device.register.stuck"]
        self._broken_loopback = host.faults["device.loopback.broken"]
        self._faulty = False
        self._paused = False
        self._current: RxQueue | None = None
        self._buffered: deque[tuple[bytes, int]] = deque()
        self._buffered_bytes = 0
        self._frame_faults = RxFrameFaults(self._faults)
        self._rx = RxQueues(host, interrupts, statistics)
        self._loop = ReceiveLoop(host, self._run, self._end_burst, LONG_BURST, self._forget)
        self.queues = self._rx.queues
        self.rsc = RscEngine(file, host, self._rx)
        self.flow_cache = FlowCache(file, statistics, self._rx)
        file.on_write(r.RDBAL, self._write_base)
        file.on_write(r.RDBAH, self._write_base_high)
        file.on_write(r.RDLEN, self._write_length)
        file.on_read(r.RDH, self._read_head, peek=self._read_head)
        file.on_write(r.RDH, self._write_head)
        file.on_write(r.RDT, self._write_tail)
        file.on_write(r.RXDCTL, self._write_control)
        file.on_write(r.SRRCTL, self._write_split)
        file.on_write(r.RXCTRL, self._write_rxctrl)

    def reset(self) -> None:
        """Disable all queues and empty the packet buffer."""
        self.flow_cache.flush()
        self.rsc.reset()
        for queue in self.queues:
            queue.enabled = False
            queue.ring.setup(0, 0)
            queue.posted.clear()
            self._write_split(queue.index, r.SRRCTL.reset)
            queue.strips = False
        self._buffered.clear()
        self._buffered_bytes = 0
        self._frame_faults.reset()
        self._rx.reset()
        self._paused = False

    # Registers

    def _write_base(self, index: int, value: int) -> None:
        if self._stuck.armed and self._stuck.fires():
            return
        self._file[r.RDBAL, index] = value & r.RDBAL.writable
        self._place(index)

    def _write_base_high(self, index: int, value: int) -> None:
        self._file[r.RDBAH, index] = value
        self._place(index)

    def _place(self, index: int) -> None:
        self.queues[index].ring.base = self._file[r.RDBAH, index] << 32 | self._file[r.RDBAL, index]

    def _write_length(self, index: int, value: int) -> None:
        self._file[r.RDLEN, index] = value & r.RDLEN.writable
        ring = self.queues[index].ring
        ring.count = (value & r.RDLEN.writable) // ring.size

    def _read_head(self, index: int) -> int:
        return self.queues[index].head

    def _write_head(self, index: int, value: int) -> None:
        if not self.queues[index].enabled:
            self.queues[index].ring.head = value & 0xFFFF

    def _write_tail(self, index: int, value: int) -> None:
        value &= 0xFFFF
        self._file[r.RDT, index] = value
        queue = self.queues[index]
        queue.ring.tail = value
        if queue.enabled and (self._buffered or self._paused):
            self._loop.schedule()

    def _write_control(self, index: int, value: int) -> None:
        self._file[r.RXDCTL, index] = value & r.RXDCTL.writable
        queue = self.queues[index]
        queue.strips = bool(value & VME)
        enabled = bool(value & ENABLE)
        if enabled == queue.enabled:
            return
        self.rsc.finish(queue.index)
        self._rx.flush()
        queue.enabled = enabled
        queue.posted.clear()
        if enabled:
            queue.ring.head = 0
            queue.ring.tail = self._file[r.RDT, index]
        self._host.events.add("queue.enable" if enabled else "queue.disable", direction="rx", queue=index)
        if enabled and (self._buffered or self._paused):
            self._loop.schedule()

    def _write_split(self, index: int, value: int) -> None:
        self._file[r.SRRCTL, index] = value
        queue = self.queues[index]
        queue.size = (value & 0x1F or 2) * 1024
        queue.header_size = (value >> 8 & 0x3F) * 64
        queue.descriptor_type = value >> 25 & 7
        queue.drops = bool(value & DROP_EN)

    def _write_rxctrl(self, _index: int, value: int) -> None:
        before = self._file[r.RXCTRL]
        self._file[r.RXCTRL] = value
        if before & RXEN and not value & RXEN:
            self.rsc.finish()
            self._rx.flush()
            self._buffered.clear()
            self._buffered_bytes = 0
        elif value & RXEN:
            self._loop.schedule()

    # The wire

    def arrived(self) -> None:
        """Receive frames until the wire has none, or the partner is paused."""
        self._loop.turn()

    def _run(self) -> None:
        self._faulty = self._faults.poll() or self._frame_faults.holding
        self._drain()
        listening = self._file[r.RXCTRL] & RXEN and self._link.up and not self._values[_HLREG0] & LOOPBACK
        was_paused, self._paused = self._paused, self._pauses()
        for frames in () if self._paused else self._loop.bursts(singly=lambda: self._buffered):
            if listening:
                taken = self._take_burst(frames)
                if self._paused:
                    self._loop.put_back(frames[taken:])
                    break
        if self._paused != was_paused:
            self._statistics.count_register(s.LXOFFTXC if self._paused else s.LXONTXC)
        self._end_burst()

    def _take_burst(self, frames: list[bytes]) -> int:
        """Take frames until flow control pauses the partner; returns how many."""
        cache = None if self._faulty else self.flow_cache
        taken = 0
        while taken < len(frames):
            if cache is not None and not self._buffered:
                taken = cache.deliver_many(frames, taken)
                if taken == len(frames):
                    break
            frame = frames[taken]
            taken += 1
            if self._buffered and self._full():
                self._statistics.missed()
            else:
                self._take(memoryview(frame))
            if self._buffered and self._pauses():
                self._paused = True
                break
        return taken

    def _pauses(self) -> bool:
        """Whether the packet buffer is full and flow control pauses the partner."""
        return bool(self._buffered and self._full() and self._file[r.FCCFG] & TFCE)

    def loop_back(self, frame: bytes) -> None:
        """Receive a frame from MAC loopback."""
        if self._broken_loopback.armed and self._broken_loopback.fires():
            return
        if self._file[r.RXCTRL] & RXEN:
            self._faulty = self._faults.poll()
            self._take(memoryview(frame), mark=LOOPED)
            self._loop.schedule()

    def _full(self) -> bool:
        return self._buffered_bytes >= (self._file[r.RXPBSIZE, 0] or 1 << 10)

    def _buffer(self, frame: Buffer, mark: int) -> None:
        self._buffered.append((bytes(frame), mark))
        self._buffered_bytes += len(frame)

    def _drain(self) -> None:
        """Deliver frames from the packet buffer, in order, while there are descriptors."""
        cache = None if self._faulty else self.flow_cache
        while self._buffered:
            frame, mark = self._buffered[0]
            cached = cache is not None and not mark and cache.deliver(frame, counted=True)
            if not cached and not self._deliver(memoryview(frame), mark):
                break
            self._buffered_bytes -= len(frame)
            self._buffered.popleft()

    def _take(self, frame: memoryview, *, mark: int = 0) -> None:
        """Apply MAC and filters, then deliver or buffer the frame. `mark` is added to the status of its descriptor."""
        size = len(frame)
        if size < ETH_ZLEN:  # unlike Ethernet, a tap carries frames without padding
            if size < ETH_HLEN:
                self._statistics.count_register(s.RUC)
                return
            frame = memoryview(bytes(frame) + bytes(ETH_ZLEN - size))
            size = ETH_ZLEN
        destination = bytes(frame[:6])
        vet = self._values[_VLNCTRL] & 0xFFFF
        tagged = frame[12] << 8 | frame[13] == vet
        control = self._values[_HLREG0]
        limit = (self._values[_MAXFRS] >> 16 if control & JUMBO else MAX_STANDARD) + (4 if tagged else 0)
        if size + ETH_FCS_LEN > limit or (
            self._faulty and size > ETH_FRAME_LEN + VLAN_HLEN and self._faults["rx.jumbo.dropped"]
        ):
            self._statistics.count_register(s.ROC)
            return
        if self._faulty and self._faults["rx.frame.dropped"]:
            return
        tci = frame[14] << 8 | frame[15] if tagged else None
        passed = self._filters.passes(destination) and self._filters.passes_vlan(tci)
        broadcast = destination == BROADCAST
        self._statistics.arrived(size + ETH_FCS_LEN, destination[0], broadcast=broadcast, passed=passed)
        if not passed:
            return
        if self._time.listens and self._time.received(frame, parse(frame)):
            mark |= STAMPED
        if self._faulty:
            for each in self._frame_faults.apply(frame):
                self._enqueue(each, mark)
        else:
            self._enqueue(frame, mark)

    def _enqueue(self, frame: memoryview, mark: int) -> None:
        if self._buffered or not self._deliver(frame, mark):
            self._buffer(frame, mark)

    # To the host

    def _deliver(self, frame: memoryview, mark: int) -> bool:
        """Steer a frame and deliver it to its queue; False if it has to wait for descriptors.

        A frame on which the model fails is lost, and its queue is disabled until the driver enables it again.
        """
        self._current = None
        try:
            return self._steer(frame, mark)
        except DmaError:
            if self._current is not None:
                self._rx.dma_error(self._current)
        except Exception as error:
            self._host.failures.add(error, direction="rx", queue=None if self._current is None else self._current.index)
            if self._current is not None:
                self._disable(self._current)
        return True

    def _disable(self, queue: RxQueue) -> None:
        queue.enabled = False
        queue.posted.clear()
        self._file[r.RXDCTL, queue.index] &= ~ENABLE
        self.flow_cache.flush()
        self._host.events.add("queue.halt", direction="rx", queue=queue.index)

    def _forget(self) -> None:
        """A turn failed."""
        self.flow_cache.flush()
        self.rsc.reset()

    def _steer(self, frame: memoryview, mark: int) -> bool:
        headers = parse(frame)
        vet = self._values[_VLNCTRL] & 0xFFFF
        tci = frame[14] << 8 | frame[15] if frame[12] << 8 | frame[13] == vet else None
        target = self._steering.target(frame, headers, tci)
        if target.queue is None:
            return True
        queue = self._current = self.queues[target.queue]
        if not queue.enabled:
            return True
        checks = self._checks(queue, frame, headers)
        strip = tci is not None and queue.strips
        if strip and self._faulty and self._faults.fires("rx.vlan.not-stripped", queue=queue.index):
            strip = False
        pieces: list[Buffer] = [frame[:12], frame[16:]] if strip else [frame]
        report = self._report(queue, frame, headers, target, checks, tci if strip else None)
        if mark:
            report = report._replace(status=report.status | mark)
        if not self._strips_crc():
            pieces.append(struct.pack("<I", zlib.crc32(frame)))
        elif checks & (L4E | IPE) == 0 and self.rsc.takes(queue.index):
            outcome = self.rsc.receive(queue, frame, headers, report, strip=4 if strip else 0, good=bool(checks & L4CS))
            if outcome is not None:
                if outcome:
                    self._statistics.delivered(queue.index, len(frame))
                return outcome
        if not self._place_frame(queue, pieces, report):
            if queue.drops:
                self._statistics.dropped(queue.index)
                return True
            return False
        self._statistics.delivered(queue.index, len(frame))
        good = checks & L4CS and not checks & (L4E | IPE)
        if tci is None and not mark and not self._faulty and (good or not headers.version):
            self._learn(frame, headers, queue, report, target)
        return True

    def _learn(self, frame: memoryview, headers: Headers, queue: RxQueue, report: RxStatus, target: Target) -> None:
        """Cache the flow, if the queue's configuration allows."""
        if queue.descriptor_type != ONE_BUFFER or not self._strips_crc() or self.rsc.takes(queue.index):
            return
        if not self._values[_RXCSUM] & PCSD or self._time.enabled or self._steering.reads_payload:
            return
        counter = None
        if target.flow_director is not None and headers.version:
            counter = MATCHED if target.flow_director else MISSED
        jumbo = self._values[_HLREG0] & JUMBO
        limit = (self._values[_MAXFRS] >> 16 if jumbo else MAX_STANDARD) - ETH_FCS_LEN
        self.flow_cache.learn(frame, headers, queue, report, limit, counter)

    def _strips_crc(self) -> bool:
        return bool(self._values[_HLREG0] & CRC_STRIP)

    def _checks(self, queue: RxQueue, frame: memoryview, headers: Headers) -> int:
        """Checksum status and error bits."""
        checks = 0
        ip = ip_checksum_ok(frame, headers)
        if ip is not None:
            checks |= IPCS if ip else IPCS | IPE
        l4 = l4_checksum_ok(frame, headers)
        if l4 is not None:
            checks |= L4CS if l4 else L4CS | L4E
            if headers.l4 == UDP:
                checks |= UDPCS
        if self._faulty and checks & (IPCS | L4CS):
            if checks & (IPE | L4E) and self._faults.fires("rx.checksum.bad-as-good", queue=queue.index):
                checks &= ~(IPE | L4E)
            elif not checks & (IPE | L4E) and self._faults.fires("rx.checksum.good-as-bad", queue=queue.index):
                checks |= L4E if checks & L4CS else IPE
            elif self._faults.fires("rx.checksum.unreported", queue=queue.index):
                checks = 0
        return checks

    def _report(
        self, queue: RxQueue, frame: memoryview, headers: Headers, target: Target, checks: int, tci: int | None
    ) -> RxStatus:
        if headers.version == 4:
            kind = TYPE_IPV4_EX | TYPE_IPV4 if headers.options else TYPE_IPV4
        elif headers.version == 6:
            kind = TYPE_IPV6_EX | TYPE_IPV6 if headers.options else TYPE_IPV6
        else:
            kind = 0
        if headers.l4:
            kind |= TYPE_L4[headers.l4]
        if target.ethertype_filter is not None:
            kind = TYPE_ETQF | target.ethertype_filter << 4
        status = checks
        if target.flow_match:
            status |= FLM
        if frame[0] & 1 and bytes(frame[:6]) != BROADCAST and self._filters.matching(bytes(frame[:6])) is None:
            status |= PIF
        vlan = 0
        if tci is not None:
            status |= VP
            vlan = tci
            if self._faulty and self._faults.fires("rx.vlan.wrong", queue=queue.index):
                vlan = vlan & 0xF000 | (vlan + 1) & 0xFFF
        info, value = kind | target.rss_type, target.hash
        if not self._values[_RXCSUM] & PCSD:
            info, value = kind, self._fragment(frame, headers)
        split = 0
        if queue.descriptor_type in (SPLIT, SPLIT_ALWAYS):
            split = self._split_at(queue, headers, stripped=tci is not None)
        return RxStatus(info, value, status, vlan, split)

    def _fragment(self, frame: memoryview, headers: Headers) -> int:
        """Fragment checksum and IP identification, which the descriptor reports without RXCSUM.PCSD."""
        if headers.version != 4:
            return 0
        start = headers.l3_offset
        value = int.from_bytes(frame[start + 4 : start + 6], "big")
        if headers.fragment and self._values[_RXCSUM] & 1 << 12:
            value |= word_sum(frame[headers.l4_offset : headers.l3_end]) << 16
        return value

    def _split_at(self, queue: RxQueue, headers: Headers, *, stripped: bool) -> int:
        """Bytes of header by PSRTYPE; 0 if the packet is not split."""
        types = self._file[r.PSRTYPE, 0]
        at = 0
        if (headers.l4 == TCP and types & 1 << 4) or (headers.l4 == UDP and types & 1 << 5):
            at = headers.payload_offset
        elif (headers.version == 4 and types & 1 << 8) or (headers.version == 6 and types & 1 << 9):
            at = headers.l4_offset
        elif types & 1 << 12:
            at = headers.l3_offset
        if at and stripped:
            at -= 4
        return at if at <= queue.header_size else 0

    def _place_frame(self, queue: RxQueue, pieces: list[Buffer], report: RxStatus) -> bool:
        """Copy a frame into posted buffers; False if there are not enough."""
        total = 0
        for piece in pieces:
            total += len(piece)
        size = queue.size
        header = report.header_length
        if queue.descriptor_type == SPLIT_ALWAYS and not header:
            header = min(total, queue.header_size)
        needed = max(-(-(total - header) // size), 1)
        try:
            if not self._rx.fetch(queue, needed):
                return False
            if self._faulty and total > 1024 and self._faults.fires("rx.frame.truncated", queue=queue.index):
                pieces, total, needed, header = [b"".join(pieces)[:1024]], 1024, 1, 0
            if needed == 1 and not header:
                index, address, _ = queue.take()
                self._copy(address, pieces)
                self._rx.write_back(queue, index, report, total, EOP)
            else:
                self._scatter(queue, b"".join(pieces), header, report)
        except DmaError:
            self._rx.dma_error(queue)
        return True

    def _copy(self, address: int, pieces: list[Buffer]) -> None:
        memory = self._host.memory
        for piece in pieces:
            memory.write(address, piece)
            address += len(piece)

    def _scatter(self, queue: RxQueue, data: bytes, header: int, report: RxStatus) -> None:
        """A frame over several descriptors, or split into header and payload."""
        view = memoryview(data)
        memory = self._host.memory
        size = queue.size
        first_info = report.info
        if header:
            memory.write(queue.posted.words[1] & ~1, view[:header])
            first_info |= header << 21 & 0x7FE0_0000 | SPH
        view = view[header:]
        first = True
        while True:
            index, address, _ = queue.take()
            part = view[:size]
            view = view[size:]
            memory.write(address, part)
            last = not view
            shown = report if last else RxStatus(report.info, 0, 0, 0)
            if first:
                shown = shown._replace(info=first_info)
            self._rx.write_back(queue, index, shown, len(part), EOP if last else 0)
            first = False
            if last:
                return

    def _end_burst(self) -> None:
        self.rsc.finish()
        self._rx.flush()
