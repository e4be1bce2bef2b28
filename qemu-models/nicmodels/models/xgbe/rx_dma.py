# SPDX-License-Identifier: MIT
"""The receive DMA: frames to descriptors.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.2 (receive DMA), 5.1.6.3.4 (descriptors), 5.1.6.3.6 (split headers).

Descriptors of a burst are written back together, and each channel interrupts once. With split headers buffer 1 takes the
header, up to the size in MAC_RCR.HDSMS, or the start of a frame that is not split, and the rest goes to buffer 2 of as
many descriptors as necessary; without, both buffers have RBSZ bytes.
"""

from __future__ import annotations

import struct
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.models.xgbe import descriptors as d
from nicmodels.models.xgbe.interrupts import FBE, RBU, RI, RPS
from nicmodels.models.xgbe.registers import dma
from nicmodels.models.xgbe.ring import OwnedRing, doublewords
from nicmodels.offload.flow_table import leading
from nicmodels.rings import Posted, WriteBacks
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.clock import Timer
    from nicmodels.faults.points import FaultSet
    from nicmodels.models.xgbe.cached_flow import CachedFlow
    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.models.xgbe.mmc import Counters
    from nicmodels.models.xgbe.rx_offload import RxOffload, RxStatus
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

FETCH = 32
START = 1
SPH = 1 << 24
INTERRUPT = d.RX_INTERRUPT << 32
"""In the second quadword."""
RIWT_UNIT = 256 / 500e6
STOPPED, WAITING, SUSPENDED = 0, 3, 4
_WRITE_BACK = struct.Struct("<IIII")


class RxChannel:
    """A receive channel. `posted` holds the descriptors fetched, the last just before the ring's head: two quadwords."""

    __slots__ = ("index", "posted", "ring", "running", "size", "splits", "starved", "watchdog")

    def __init__(self, index: int, ring: OwnedRing) -> None:
        self.index = index
        self.ring = ring
        self.posted = Posted(2)
        self.running = False
        self.starved = False
        self.size = 0
        self.splits = False
        self.watchdog: Timer | None = None

    @property
    def head(self) -> int:
        """The next descriptor to be used."""
        return self.ring.back(len(self.posted)) if self.posted else self.ring.head


class QueuedFrame(NamedTuple):
    """A frame in a receive queue.

    Attributes:
        frame: as written to memory.
        channel: its DMA channel.
        report: its status in the descriptors.
        length: on the wire, without FCS.
    """

    frame: bytes
    channel: int
    report: RxStatus
    length: int


class RxDma:
    """All receive channels.

    Args:
        faults: of reception.
        resumed: called when a channel was started, or descriptors were posted.
    """

    def __init__(
        self,
        file: RegisterFile,
        host: Host,
        interrupts: InterruptBlock,
        counters: Counters,
        rx_offload: RxOffload,
        faults: FaultSet,
        *,
        channels: int,
        resumed: Callable[[], None],
    ) -> None:
        self._file = file
        self._host = host
        self._memory = host.memory
        self._interrupts = interrupts
        self._counters = counters
        self._rx_offload = rx_offload
        self._truncated = faults["rx.frame.truncated"]
        self._stuck = host.faults["device.register.stuck"]
        self._resumed = resumed
        self._written = WriteBacks()
        self._causes: dict[int, int] = {}
        self.channels = [RxChannel(index, OwnedRing(host.memory)) for index in range(channels)]
        file.on_write(dma.RDLR_LO, self._write_base)
        file.on_write(dma.RDLR_HI, self._write_base_high)
        file.on_write(dma.RDRLR, self._write_length)
        file.on_write(dma.RDTR_LO, self._write_tail)
        file.on_write(dma.RCR, self._write_control)
        file.on_write(dma.CR, self._write_common)
        file.on_read(dma.CARDR, self._current, peek=self._current)

    def reset(self) -> None:
        """Stop and empty all channels."""
        for channel in self.channels:
            channel.running = channel.starved = channel.splits = False
            channel.ring.setup(0, 0)
            channel.posted.clear()
            channel.size = 0
            self._stop_watchdog(channel)
        self._written.clear()
        self._causes.clear()

    def state(self, index: int) -> int:
        """The engine's state in DMA_DSR."""
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
        if channel.running:
            self._resumed()

    def _write_control(self, index: int, value: int) -> None:
        self._file[dma.RCR, index] = value
        if index >= len(self.channels):
            return
        channel = self.channels[index]
        channel.size = value >> 1 & 0x3FFF
        running = bool(value & START)
        if running == channel.running:
            return
        self.flush()
        if not running and channel.posted:
            channel.ring.head = channel.head
            channel.posted.clear()
        channel.running = running
        channel.starved = False
        self._host.events.add("queue.enable" if running else "queue.disable", direction="rx", queue=index)
        if running:
            self._resumed()
        else:
            self._stop_watchdog(channel)
            self._interrupts.event(index, RPS)

    def _write_common(self, index: int, value: int) -> None:
        self._file[dma.CR, index] = value
        if index < len(self.channels):
            self.channels[index].splits = bool(value & SPH)

    def _current(self, index: int) -> int:
        if index >= len(self.channels):
            return 0
        channel = self.channels[index]
        return channel.ring.address(channel.head) & 0xFFFF_FFFF

    # To the host

    def _fetch(self, channel: RxChannel, number: int) -> bool:
        """Fetch until `posted` has at least `number` descriptors; False if the driver has not posted so many."""
        posted, ring = channel.posted, channel.ring
        if len(posted) >= number:
            return True
        before = len(posted)
        posted.extend(ring.owned_words(max(FETCH, number)))
        ring.advance(len(posted) - before)
        return len(posted) >= number

    def _needed(self, channel: RxChannel, total: int, header: int) -> int:
        """Number of descriptors for a frame, without the one for its timestamp."""
        if not channel.splits:
            return max(-(-total // (2 * channel.size)), 1) if channel.size else 0
        if not channel.size:
            return 0
        rest = total - (header or min(total, self._rx_offload.header_size()))
        return max(-(-rest // channel.size), 1)

    def deliver(self, queued: QueuedFrame) -> bool:
        """Deliver a frame to its channel; False if it has to wait for descriptors."""
        frame, number, report, length = queued
        channel = self.channels[number]
        if not channel.running or channel.starved:
            return not channel.running and not channel.ring.base
        if self._truncated.armed and len(frame) > 1024 and self._truncated.fires(queue=number):
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
        except Exception as error:
            self._host.failures.add(error, direction="rx", queue=number)
            self._stop(channel, RPS)
            return True
        self._counters.delivered(number, length)
        return True

    def deliver_run(self, flow: CachedFlow, frames: list[bytes], sizes: list[int]) -> tuple[int, int]:
        """Deliver frames of one flow, one descriptor each; those after the first that does not fit are left.

        Args:
            flow: their flow.
            frames: at least as many as `sizes`.
            sizes: their lengths.

        Returns:
            How many frames were taken, and how many of these were delivered: a DMA error loses one.
        """
        channel = self.channels[flow.channel]
        if not channel.running or channel.starved or not channel.size or not sizes:
            return 0, 0
        room = channel.size
        if channel.splits:
            room = flow.header or self._rx_offload.header_size()
        sizes = leading(sizes, room + channel.size)
        try:
            self._fetch(channel, len(sizes))
        except DmaError:  # the slow path reports it
            return 0, 0
        posted = channel.posted
        number = min(len(posted), len(sizes))
        if not number:
            return 0, 0
        first = channel.head
        words = posted.take_many(number)
        mask = d.WIDE if self._file[dma.SBMR] & dma.EAME else d.NARROW
        base, size, memory = self._memory.window()
        end = size - max(sizes[:number])
        taken = delivered = number
        buffers = zip(range(number), words[::2], words[1::2], frames, sizes, strict=False)
        for position, buffer, buffer_2, frame, length in buffers:
            address = buffer & mask
            start = address - base
            if address and 0 <= start <= end:
                if length <= room:
                    memory[start : start + length] = frame
                    continue
                address_2 = buffer_2 & mask
                start_2 = address_2 - base
                if address_2 and 0 <= start_2 <= end:
                    memory[start : start + room] = frame[:room]
                    memory[start_2 : start_2 + length - room] = frame[room:]
                    continue
            try:
                at = self._fill(address, memoryview(frame), 0, room)
                self._fill(buffer_2 & mask, memoryview(frame), at, channel.size)
            except DmaError:
                taken, delivered = position + 1, position
                self._dma_error(channel)
                break
        if delivered:
            reports = flow.reports.of(sizes[:delivered])
            self._written.add_many(channel.index, first, delivered, reports, channel.ring.count)
        self._complete_many(channel, words[1 : 2 * delivered : 2])
        return taken, delivered

    def _complete_many(self, channel: RxChannel, words: list[int]) -> None:
        """Like `_complete` of each frame, in order: an interrupt ends the wait that those before it began.

        Args:
            channel: of the frames.
            words: the last quadword of each one's descriptor.
        """
        if words:
            final = bool(words[-1] & INTERRUPT)
            if not final and reduce(or_, words) & INTERRUPT:
                self._complete(channel, interrupt=True)
            self._complete(channel, interrupt=final)

    def _scatter(self, channel: RxChannel, frame: bytes, report: RxStatus, needed: int) -> None:
        """Copy a frame into the buffers of posted descriptors, and add their write-back."""
        view = memoryview(frame)
        total, at = len(frame), 0
        interrupt = False
        for number in range(needed):
            index = channel.head
            low, high, low_2, last = doublewords(*channel.posted.take())
            first, final = number == 0, number == needed - 1
            room = channel.size
            if channel.splits:
                room = (report.header or self._rx_offload.header_size()) if first else 0
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
            self._written.add(channel.index, index, _WRITE_BACK.pack(word_0, word_1, word_2, word_3))
        if report.time is not None:
            index = channel.head
            *_, last = doublewords(*channel.posted.take())
            interrupt = interrupt or bool(last & d.RX_INTERRUPT)
            seconds, nanoseconds = report.time
            self._written.add(
                channel.index, index, _WRITE_BACK.pack(nanoseconds, seconds, 0, d.CONTEXT | d.TIMESTAMP_AVAILABLE)
            )
        self._complete(channel, interrupt=interrupt)

    def _address(self, low: int, high: int) -> int:
        return low | (high & d.ADDRESS_HIGH) << 32 if self._file[dma.SBMR] & dma.EAME else low

    def _fill(self, address: int, view: memoryview, at: int, room: int) -> int:
        """Write what fits; an address of 0 means no buffer."""
        part = view[at : at + room]
        if not address or not part:
            return at
        self._memory.write(address, part)
        return at + len(part)

    def _complete(self, channel: RxChannel, *, interrupt: bool) -> None:
        """RI at once if the descriptor requests it, otherwise when the watchdog expires."""
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
        """An address of the channel is not mapped: a fatal bus error stops it."""
        self._counters.dma_errors += 1
        self._host.events.add("dma.error", direction="rx", queue=channel.index)
        self._stop(channel, FBE)

    def _stop(self, channel: RxChannel, cause: int) -> None:
        """Stop a channel until the driver starts it again."""
        channel.running = False
        channel.posted.clear()
        self._file[dma.RCR, channel.index] &= ~START
        self._host.events.add("queue.halt", direction="rx", queue=channel.index)
        self._causes[channel.index] = self._causes.get(channel.index, 0) | cause

    def flush(self) -> None:
        """Write the descriptors of the burst back, in order, and interrupt."""
        for number, runs in self._written.take().items():
            try:
                self.channels[number].ring.write_runs(runs)
            except DmaError:
                self._dma_error(self.channels[number])
        causes, self._causes = self._causes, {}
        for number, bits in causes.items():
            self._interrupts.event(number, bits)
