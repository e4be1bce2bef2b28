# SPDX-License-Identifier: MIT
"""The receive path: frames to descriptors.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.2 (receive DMA), 5.1.6.3.4 (descriptors), 5.1.6.3.6 (split headers).

Frames come in bursts: descriptors of a burst are written back together, and each channel interrupts once. What finds no
descriptor waits in its receive queue, in order; when that is full frames are lost, or, with flow control, stay with the
partner. With split headers buffer 1 takes the header, up to the size in MAC_RCR.HDSMS, or the start of a frame that is
not split, and all else goes to buffer 2 of as many descriptors as it takes; without, both buffers have RBSZ bytes.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.frame_faults import Arrivals
from nicmodels.offload.completion import complete
from nicmodels.offload.headers import parse
from nicmodels.vfio_user.memory import DmaError
from nicmodels.xgbe import descriptors as d
from nicmodels.xgbe.fault_points import RECEIVE
from nicmodels.xgbe.inspection import Inspector, Report
from nicmodels.xgbe.interrupts import FBE, RBU, RI, RPS
from nicmodels.xgbe.registers import REGISTERS, dma, mac, mtl
from nicmodels.xgbe.ring import OwnedRing

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.device import Host
    from nicmodels.reactor import Timer
    from nicmodels.registers import RegisterFile
    from nicmodels.xgbe.filters import Filters
    from nicmodels.xgbe.interrupts import InterruptBlock
    from nicmodels.xgbe.mmc import Counters
    from nicmodels.xgbe.ptp import SystemTime
    from nicmodels.xgbe.steering import Steering

    Buffer = bytes | bytearray | memoryview

BURST, TURN, FETCH = 64, 256, 32
MINIMUM, FCS, ETHERNET = 60, 4, 14
START = 1
RE, GPSLCE, WD, JE, LM = (1 << bit for bit in (0, 6, 7, 8, 10))
SPH = 1 << 24
EAME = 1 << 11
STANDARD, JUMBO, WATCHDOG, WATCHDOG_JUMBO = 1518, 9018, 2048, 10240
STORE, FORWARD_ERRORS, KEEP_CHECKSUM_ERRORS, FLOW_CONTROL = 1 << 5, 1 << 4, 1 << 6, 1 << 7
THRESHOLDS = (64, 32, 96, 128)
TRANSMIT_FLOW_CONTROL = 1 << 1
MAC_CONTROL, PAUSE, PAUSE_ADDRESS = 0x8808, 1, bytes.fromhex("0180c2000001")
PASS_CONTROL = 3 << 6
RIWT_UNIT = 256 / 500e6
STOPPED, WAITING, SUSPENDED = 0, 3, 4
_RCR = REGISTERS.offset(mac.RCR) >> 2
_WRITE_BACK = struct.Struct("<IIII")


class RxChannel:
    """A receive channel. `posted` holds the descriptors that were fetched: (index, four doublewords)."""

    __slots__ = ("index", "posted", "ring", "running", "size", "splits", "starved", "watchdog")

    def __init__(self, index: int, ring: OwnedRing) -> None:
        self.index = index
        self.ring = ring
        self.posted: deque[tuple[int, tuple[int, ...]]] = deque()
        self.running = False
        self.starved = False
        self.size = 0
        self.splits = False
        self.watchdog: Timer | None = None


class Waiting(NamedTuple):
    """A frame in a receive queue.

    Attributes:
        frame: as it goes to memory.
        channel: where it goes.
        report: what the descriptors say of it.
        length: as it was on the wire, without FCS.
    """

    frame: bytes
    channel: int
    report: Report
    length: int


class Receiver:
    """All receive channels, and the receive queues in front of them.

    Args:
        hears: whether the link brings frames.
        pause: told for how many quanta a PAUSE frame asks.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        counters: Counters,
        filters: Filters,
        steering: Steering,
        time: SystemTime,
        *,
        channels: int,
        hears: Callable[[], bool],
        pause: Callable[[int], None],
    ) -> None:
        self._file = file
        self._values = file.values
        self._host = host
        self._memory = host.memory
        self._interrupts = interrupts
        self._counters = counters
        self._filters = filters
        self._steering = steering
        self._hears = hears
        self._pause = pause
        self._faults = {point.name: host.faults[point.name] for point in RECEIVE}
        self._inspector = Inspector(file, filters, time, self._faults)
        self._stuck = host.faults["device.register.stuck"]
        self._broken_loopback = host.faults["device.loopback.broken"]
        self._faulty = False
        self._arrivals = Arrivals(self._faults)
        self._scheduled = False
        self._holding = False
        self._written: dict[int, list[tuple[int, bytes]]] = {}
        self._causes: dict[int, int] = {}
        self.queues: list[deque[Waiting]] = [deque() for _ in range(channels)]
        self._buffered = [0] * channels
        self.channels = [RxChannel(index, OwnedRing(host.memory)) for index in range(channels)]
        file.on_write(dma.RDLR_LO, self._write_base)
        file.on_write(dma.RDLR_HI, self._write_base_high)
        file.on_write(dma.RDRLR, self._write_length)
        file.on_write(dma.RDTR_LO, self._write_tail)
        file.on_write(dma.RCR, self._write_control)
        file.on_write(dma.CR, self._write_common)
        file.on_write(mac.RCR, self._write_mac)
        file.on_write(mac.RQC0R, self._write_queues)
        file.on_read(mtl.RQDR, self._queue_state, peek=self._queue_state)
        file.on_read(dma.CARDR, self._current, peek=self._current)

    def reset(self) -> None:
        """All channels stopped, nothing waiting."""
        for channel in self.channels:
            channel.running = channel.starved = channel.splits = False
            channel.ring.setup(0, 0)
            channel.posted.clear()
            channel.size = 0
            self._stop_watchdog(channel)
        for queue in self.queues:
            queue.clear()
        self._buffered = [0] * len(self.queues)
        self._arrivals.reset()
        self._written.clear()
        self._causes.clear()
        self._holding = False

    def state(self, index: int) -> int:
        """The engine's state as DMA_DSR shows it."""
        channel = self.channels[index]
        return STOPPED if not channel.running else SUSPENDED if channel.starved else WAITING

    # Registers

    def _write_base(self, index: int, value: int) -> None:
        if self._stuck.armed and self._stuck.fires():
            return
        self._file[dma.RDLR_LO, index] = value & dma.RDLR_LO.writable
        self._place(index)

    def _write_base_high(self, index: int, value: int) -> None:
        self._file[dma.RDLR_HI, index] = value & dma.RDLR_HI.writable
        self._place(index)

    def _place(self, index: int) -> None:
        """A new list address: the current descriptor is the first."""
        if index < len(self.channels):
            channel = self.channels[index]
            channel.ring.base = self._file[dma.RDLR_HI, index] << 32 | self._file[dma.RDLR_LO, index]
            channel.ring.head = channel.ring.tail = 0
            channel.posted.clear()

    def _write_length(self, index: int, value: int) -> None:
        self._file[dma.RDRLR, index] = value & dma.RDRLR.writable
        if index < len(self.channels):
            self.channels[index].ring.count = (value & 0xFFFF) + 1

    def _write_tail(self, index: int, value: int) -> None:
        self._file[dma.RDTR_LO, index] = value & dma.RDTR_LO.writable
        if index >= len(self.channels):
            return
        channel = self.channels[index]
        channel.ring.place_tail(value)
        channel.starved = False
        if channel.running and (self._holding or any(self._buffered)):
            self._schedule()

    def _write_control(self, index: int, value: int) -> None:
        self._file[dma.RCR, index] = value
        if index >= len(self.channels):
            return
        channel = self.channels[index]
        channel.size = value >> 1 & 0x3FFF
        running = bool(value & START)
        if running == channel.running:
            return
        self._flush()
        if not running and channel.posted:
            channel.ring.head = channel.posted[0][0]
            channel.posted.clear()
        channel.running = running
        channel.starved = False
        self._host.events.add("queue.enable" if running else "queue.disable", direction="rx", queue=index)
        if running:
            self._schedule()
        else:
            self._stop_watchdog(channel)
            self._interrupts.event(index, RPS)

    def _write_common(self, index: int, value: int) -> None:
        self._file[dma.CR, index] = value
        if index < len(self.channels):
            self.channels[index].splits = bool(value & SPH)

    def _write_mac(self, _index: int, value: int) -> None:
        self._file[mac.RCR] = value
        if value & RE:
            self._schedule()

    def _write_queues(self, _index: int, value: int) -> None:
        """A queue that is turned off loses what waits in it."""
        self._file[mac.RQC0R] = value
        for number, queue in enumerate(self.queues):
            if not value >> 2 * number & 3:
                queue.clear()
                self._buffered[number] = 0

    def _queue_state(self, index: int) -> int:
        if index >= len(self.queues) or not self.queues[index]:
            return 0
        return min(len(self.queues[index]), 0x3FFF) << 16 | 2 << 4

    def _current(self, index: int) -> int:
        if index >= len(self.channels):
            return 0
        channel = self.channels[index]
        ring = channel.ring
        return ring.address(channel.posted[0][0] if channel.posted else ring.head) & 0xFFFF_FFFF

    # The wire

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._host.clock.call_later(0.0, self._again)

    def _again(self) -> None:
        self._scheduled = False
        self.arrived()

    def arrived(self) -> None:
        """Take frames off the wire until there are none, or the partner is paused."""
        self._faulty = any(fault.armed for fault in self._faults.values())
        self._drain()
        control = self._values[_RCR]
        listening = control & RE and not control & LM and self._hears()
        wire = self._host.wire
        self._holding = False
        for number in range(TURN):
            if listening and self._holds():
                self._holding = True
                break
            frame = wire.receive()
            if frame is None:
                break
            if listening:
                for each in complete(frame, wire.received_offload):
                    self._take(each)
            if number % BURST == BURST - 1:
                self._flush()
        else:
            self._schedule()
        self._flush()

    def loop_back(self, frame: bytes) -> None:
        """A frame that MAC loopback turned around."""
        if self._broken_loopback.armed and self._broken_loopback.fires():
            return
        if self._values[_RCR] & RE:
            self._faulty = any(fault.armed for fault in self._faults.values())
            self._take(memoryview(frame))
            self._schedule()

    def _room(self, queue: int) -> int:
        """Bytes of a receive queue."""
        return ((self._file[mtl.RQOMR, queue] >> 16 & 0x1FF) + 1) * 256

    def _holds(self) -> bool:
        """Whether a queue is so full that the partner has been told to pause."""
        return any(
            waiting
            and self._file[mtl.RQOMR, number] & FLOW_CONTROL
            and self._file[mac.QTFCR, min(number, 7)] & TRANSMIT_FLOW_CONTROL
            and waiting >= self._room(number) - 1024 - (self._file[mtl.RQFCR, number] >> 1 & 0x3F) * 512
            for number, waiting in enumerate(self._buffered)
        )

    def _drain(self) -> None:
        """Deliver what waits in the receive queues, in order, as far as there are descriptors."""
        for number, queue in enumerate(self.queues):
            while queue:
                waiting = queue[0]
                if not self._deliver(waiting):
                    break
                queue.popleft()
                self._buffered[number] -= len(waiting.frame)

    def _take(self, frame: memoryview) -> None:
        """MAC and filters; then to the host, or to a receive queue."""
        size = len(frame)
        if size < ETHERNET:
            self._counters.runt()
            return
        if size < MINIMUM:  # taps carry frames without padding; Ethernet does not
            frame = memoryview(bytes(frame) + bytes(MINIMUM - size))
        if self._faulty:
            if self._faults["rx.frame.dropped"] or (len(frame) + FCS > 1522 and self._faults["rx.jumbo.dropped"]):
                return
            for each in self._arrivals.spoil(frame):
                self._receive(each)
        else:
            self._receive(frame)

    def _limit(self, *, tagged: bool) -> tuple[int, int]:
        """Longest frame that is no giant, and where the watchdog cuts; with FCS."""
        control = self._values[_RCR]
        giant = (JUMBO if control & JE else STANDARD) + (4 if tagged else 0)
        if control & GPSLCE:
            giant = control >> 16 & 0x3FFF
        return giant, 0x4000 if control & WD else WATCHDOG_JUMBO if control & JE else WATCHDOG

    def _receive(self, frame: memoryview) -> None:
        destination = bytes(frame[:6])
        kind = frame[12] << 8 | frame[13]
        if kind == MAC_CONTROL and self._control(frame, destination):
            return
        tagged = kind == self._filters.tag_type()
        tci = frame[14] << 8 | frame[15] if tagged else None
        if not self._filters.passes(destination) or not self._filters.passes_vlan(tci):
            return
        size = len(frame) + FCS
        giant, watchdog = self._limit(tagged=tagged)
        error = 0
        if size > watchdog:
            self._counters.cut()
            frame = frame[: watchdog - FCS]
        if size > giant:
            self._counters.oversized(size)
            error = d.ERROR | d.ERROR_GIANT << d.TYPE_SHIFT
        else:
            self._counters.arrived(size, destination, tagged=tagged)
        headers = parse(frame)
        target = self._steering.target(frame, headers, tci)
        if target.queue is None:
            return
        error = error or self._inspector.checks(frame, headers, target.channel)
        if error and self._drops_errors(target.queue, size, error):
            self._counters.dropped(target.channel)
            return
        stripped, report = self._inspector.report(
            frame,
            headers,
            target.channel,
            tci=tci,
            value=target.hash,
            error=error,
            splits=self.channels[target.channel].splits,
        )
        waiting = Waiting(stripped, target.channel, report, len(frame))
        queue = self.queues[target.queue]
        if not queue and self._deliver(waiting):
            return
        if self._buffered[target.queue] + size > self._room(target.queue):
            self._counters.overflowed()
            self._counters.dropped(target.channel)
            return
        queue.append(waiting)
        self._buffered[target.queue] += len(stripped)

    def _control(self, frame: memoryview, destination: bytes) -> bool:
        """A MAC control frame: PAUSE is obeyed; whether it goes no further."""
        if destination == PAUSE_ADDRESS and frame[14] << 8 | frame[15] == PAUSE:
            self._counters.pause()
            if self._file[mac.RFCR] & 1:
                self._pause(frame[16] << 8 | frame[17])
        return not self._file[mac.PFR] & PASS_CONTROL

    def _drops_errors(self, queue: int, size: int, error: int) -> bool:
        """Whether a frame with an error ends in its queue: where its start has not gone to the DMA before it was known."""
        mode = self._file[mtl.RQOMR, queue]
        if mode & FORWARD_ERRORS:
            return False
        if error >> d.TYPE_SHIFT & 15 in (d.ERROR_IP, d.ERROR_PAYLOAD) and mode & KEEP_CHECKSUM_ERRORS:
            return False
        return bool(mode & STORE) or size <= THRESHOLDS[mode & 3]

    # To the host

    def _fetch(self, channel: RxChannel, number: int) -> bool:
        """Have at least `number` descriptors in `posted`; False when the driver has not given so many."""
        posted, ring = channel.posted, channel.ring
        if len(posted) >= number:
            return True
        index = ring.head
        for each in ring.owned(max(FETCH, number)):
            posted.append((index, each))
            index = index + 1 if index + 1 < ring.count else 0
        ring.head = index
        return len(posted) >= number

    def _needed(self, channel: RxChannel, total: int, header: int) -> int:
        """Descriptors for a frame, without that for its timestamp."""
        if not channel.splits:
            return max(-(-total // (2 * channel.size)), 1) if channel.size else 0
        if not channel.size:
            return 0
        rest = total - (header or min(total, self._inspector.header_size()))
        return max(-(-rest // channel.size), 1)

    def _deliver(self, waiting: Waiting) -> bool:
        """Hand a frame to its channel; False when it has to wait for descriptors."""
        frame, number, report, length = waiting
        channel = self.channels[number]
        if not channel.running or channel.starved:
            return not channel.running and not channel.ring.base
        if self._faulty and len(frame) > 1024 and self._faults["rx.frame.truncated"].fires(queue=number):
            frame = frame[:1024]
        needed = self._needed(channel, len(frame), report.header)
        try:
            if not needed or not self._fetch(channel, needed + (report.time is not None)):
                channel.starved = True
                self._causes[number] = self._causes.get(number, 0) | RBU
                return False
            self._scatter(channel, frame, report, needed)
        except DmaError:
            self._dma_error(channel)
            return True
        self._counters.delivered(number, length)
        return True

    def _scatter(self, channel: RxChannel, frame: bytes, report: Report, needed: int) -> None:
        """Copy a frame into the buffers of posted descriptors, and note their write-back."""
        view = memoryview(frame)
        total, at = len(frame), 0
        interrupt = False
        for number in range(needed):
            index, (low, high, low_2, last) = channel.posted.popleft()
            first, final = number == 0, number == needed - 1
            room = channel.size
            if channel.splits:
                room = (report.header or self._inspector.header_size()) if first else 0
            at = self._fill(self._address(low, high), view, at, room)
            at = self._fill(self._address(low_2, last), view, at, channel.size)
            word_0 = word_1 = word_2 = word_3 = 0
            if first:
                word_3 |= d.FIRST
                word_2 |= report.header & d.HEADER_MASK
            if final:
                word_3 |= d.LAST | report.status | total & 0x3FFF
                word_0 = report.vlan or 0
                if report.hash is not None:
                    word_1 = report.hash
                    word_3 |= d.HASH_VALID
                if report.time is not None:
                    word_3 |= d.CONTEXT_AFTER
                interrupt = bool(last & d.RX_INTERRUPT)
            self._note(channel.index, index, _WRITE_BACK.pack(word_0, word_1, word_2, word_3))
        if report.time is not None:
            index, (*_, last) = channel.posted.popleft()
            interrupt = interrupt or bool(last & d.RX_INTERRUPT)
            seconds, nanoseconds = report.time
            self._note(
                channel.index, index, _WRITE_BACK.pack(nanoseconds, seconds, 0, d.CONTEXT | d.TIMESTAMP_AVAILABLE)
            )
        self._complete(channel, interrupt=interrupt)

    def _address(self, low: int, high: int) -> int:
        return low | (high & d.ADDRESS_HIGH) << 32 if self._file[dma.SBMR] & EAME else low

    def _fill(self, address: int, view: memoryview, at: int, room: int) -> int:
        """Write what fits; an address of zero is no buffer."""
        part = view[at : at + room]
        if not address or not part:
            return at
        self._memory.write(address, part)
        return at + len(part)

    def _complete(self, channel: RxChannel, *, interrupt: bool) -> None:
        """RI at once where the descriptor asks for it, else when the watchdog runs out."""
        if interrupt:
            self._stop_watchdog(channel)
            self._causes[channel.index] = self._causes.get(channel.index, 0) | RI
        elif channel.watchdog is None:
            ticks = self._file[dma.RIWT, channel.index] & 0xFF
            if ticks:
                channel.watchdog = self._host.clock.call_later(ticks * RIWT_UNIT, partial(self._expired, channel))

    def _expired(self, channel: RxChannel) -> None:
        channel.watchdog = None
        self._interrupts.event(channel.index, RI)

    def _stop_watchdog(self, channel: RxChannel) -> None:
        if channel.watchdog is not None:
            channel.watchdog.cancel()
            channel.watchdog = None

    def _dma_error(self, channel: RxChannel) -> None:
        """An address of the channel is not there: a fatal bus error stops it."""
        channel.running = False
        channel.posted.clear()
        self._file[dma.RCR, channel.index] &= ~START
        self._counters.dma_errors += 1
        self._host.events.add("dma.error", direction="rx", queue=channel.index)
        self._causes[channel.index] = self._causes.get(channel.index, 0) | FBE

    def _note(self, channel: int, index: int, data: bytes) -> None:
        """Note a descriptor's bytes for the write-back at the end of the burst."""
        entries = self._written.get(channel)
        if entries is None:
            entries = self._written[channel] = []
        entries.append((index, data))

    def _flush(self) -> None:
        """Write the descriptors of the burst back, in order, and interrupt."""
        written, self._written = self._written, {}
        for number, entries in written.items():
            ring = self.channels[number].ring
            try:
                for index, data in entries:
                    ring.write(index, data)
            except DmaError:
                self._dma_error(self.channels[number])
        causes, self._causes = self._causes, {}
        for number, bits in causes.items():
            self._interrupts.event(number, bits)
