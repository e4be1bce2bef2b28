# SPDX-License-Identifier: MIT
"""The receive path: the MAC, and the receive queues in front of the DMA.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.2 (receive queues), MAC_Rx_Configuration, MTL_RxQ_Operation_Mode.

Frames are received in bursts. Frames without a descriptor wait in their receive queue, in order; when it is full, frames
are dropped or, with flow control, the link partner is paused.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from nicmodels.ethernet import ETH_FCS_LEN, ETH_FRAME_LEN, ETH_HLEN, ETH_P_PAUSE, ETH_ZLEN, VLAN_HLEN
from nicmodels.faults.frames import RxFrameFaults
from nicmodels.models.xgbe import descriptors as d
from nicmodels.models.xgbe.fault_points import RECEIVE
from nicmodels.models.xgbe.flow_cache import FlowCache
from nicmodels.models.xgbe.registers import REGISTERS, mac, mtl
from nicmodels.models.xgbe.rx_dma import QueuedFrame, RxDma
from nicmodels.models.xgbe.rx_offload import RxOffload
from nicmodels.nic.engine import LONG_BURST, ReceiveLoop
from nicmodels.offload.headers import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.models.xgbe.filters import Filters
    from nicmodels.models.xgbe.interrupts import InterruptBlock
    from nicmodels.models.xgbe.mmc import Counters
    from nicmodels.models.xgbe.ptp import SystemTime
    from nicmodels.models.xgbe.steering import Steering
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

    Buffer = bytes | bytearray | memoryview

RE, GPSLCE, WD, JE, LM = (1 << bit for bit in (0, 6, 7, 8, 10))
STANDARD, JUMBO, WATCHDOG, WATCHDOG_JUMBO = ETH_FRAME_LEN + ETH_FCS_LEN, 9018, 2048, 10240
STORE, FORWARD_ERRORS, KEEP_CHECKSUM_ERRORS, FLOW_CONTROL = 1 << 5, 1 << 4, 1 << 6, 1 << 7
THRESHOLDS = (64, 32, 96, 128)
TRANSMIT_FLOW_CONTROL = 1 << 1
PAUSE, PAUSE_ADDRESS = 1, bytes.fromhex("0180c2000001")
PASS_CONTROL = 3 << 6
_RCR = REGISTERS.offset(mac.RCR) >> 2


class Receiver:
    """All receive channels, and the receive queues in front of them.

    Args:
        link_up: whether the link is up.
        pause: called with the quanta of a received PAUSE frame.
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
        link_up: Callable[[], bool],
        pause: Callable[[int], None],
    ) -> None:
        self._file = file
        self._values = file.values
        self._host = host
        self._counters = counters
        self._filters = filters
        self._steering = steering
        self._time = time
        self._link_up = link_up
        self._pause = pause
        self._faults = host.faults.subset(RECEIVE)
        self._rx_offload = RxOffload(file, filters, time, self._faults)
        self._broken_loopback = host.faults["device.loopback.broken"]
        self._faulty = False
        self._frame_faults = RxFrameFaults(self._faults)
        self._holding = False
        self.queues: list[deque[QueuedFrame]] = [deque() for _ in range(channels)]
        self._buffered = [0] * channels
        self.dma = RxDma(
            file,
            host,
            interrupts,
            counters,
            self._rx_offload,
            self._faults,
            channels=channels,
            resumed=self._resume,
        )
        self.flow_cache = FlowCache(self.dma, counters)
        self._loop = ReceiveLoop(host, self._run, self._end_burst, LONG_BURST, self.flow_cache.flush)
        file.on_write(mac.RCR, self._write_mac)
        file.on_write(mac.RQC0R, self._write_queues)
        file.on_read(mtl.RQDR, self._queue_state, peek=self._queue_state)

    def reset(self) -> None:
        """Stop all channels, and empty all queues."""
        self.flow_cache.flush()
        self.dma.reset()
        for queue in self.queues:
            queue.clear()
        self._buffered = [0] * len(self.queues)
        self._frame_faults.reset()
        self._holding = False

    # Registers

    def _write_mac(self, _index: int, value: int) -> None:
        self._file[mac.RCR] = value
        if value & RE:
            self._loop.schedule()

    def _write_queues(self, _index: int, value: int) -> None:
        """Disabling a queue drops its frames."""
        self._file[mac.RQC0R] = value
        for number, queue in enumerate(self.queues):
            if not value >> 2 * number & 3:
                queue.clear()
                self._buffered[number] = 0

    def _queue_state(self, index: int) -> int:
        if index >= len(self.queues) or not self.queues[index]:
            return 0
        return min(len(self.queues[index]), 0x3FFF) << 16 | 2 << 4

    # The wire

    def _resume(self) -> None:
        """A channel was started, or descriptors were posted: continue with waiting frames."""
        if self._holding or any(self._buffered):
            self._loop.schedule()

    def arrived(self) -> None:
        """Receive frames until the wire has none, or the partner is paused."""
        self._loop.turn()

    def _run(self) -> None:
        self._faulty = self._faults.poll()
        self._drain()
        control = self._values[_RCR]
        listening = control & RE and not control & LM and self._link_up()
        self._holding = bool(listening and self._holds())
        for frames in () if self._holding else self._loop.bursts(singly=lambda: any(self._buffered)):
            if listening:
                taken = self._take_burst(frames)
                if self._holding:
                    self._loop.put_back(frames[taken:])
                    break
        self._end_burst()

    def _take_burst(self, frames: list[bytes]) -> int:
        """Take frames until flow control pauses the partner; returns how many."""
        taken = 0
        while taken < len(frames):
            if not self._faulty and not any(self._buffered):
                taken = self.flow_cache.deliver_many(frames, taken)
                if taken == len(frames):
                    break
            self._take(memoryview(frames[taken]))
            taken += 1
            if self._holds():
                self._holding = True
                break
        return taken

    def loop_back(self, frame: bytes) -> None:
        """Receive a frame from MAC loopback."""
        if self._broken_loopback.armed and self._broken_loopback.fires():
            return
        if self._values[_RCR] & RE:
            self._faulty = self._faults.poll()
            self._take(memoryview(frame))
            self._loop.schedule()

    def _end_burst(self) -> None:
        self.dma.flush()

    def _room(self, queue: int) -> int:
        """Bytes of a receive queue."""
        return ((self._file[mtl.RQOMR, queue] >> 16 & 0x1FF) + 1) * 256

    def _holds(self) -> bool:
        """Whether a queue is so full that flow control pauses the partner."""
        return any(self._buffered) and any(
            waiting
            and self._file[mtl.RQOMR, number] & FLOW_CONTROL
            and self._file[mac.QTFCR, min(number, 7)] & TRANSMIT_FLOW_CONTROL
            and waiting >= self._room(number) - 1024 - (self._file[mtl.RQFCR, number] >> 1 & 0x3F) * 512
            for number, waiting in enumerate(self._buffered)
        )

    def _drain(self) -> None:
        """Deliver frames from the receive queues, in order, while there are descriptors."""
        for number, queue in enumerate(self.queues):
            while queue:
                queued = queue[0]
                if not self.dma.deliver(queued):
                    break
                queue.popleft()
                self._buffered[number] -= len(queued.frame)

    def _take(self, frame: memoryview) -> None:
        """Pad a frame, and apply the faults of received frames."""
        size = len(frame)
        if size < ETH_HLEN:
            self._counters.runt()
            return
        if size < ETH_ZLEN:  # unlike Ethernet, a tap carries frames without padding
            frame = memoryview(bytes(frame) + bytes(ETH_ZLEN - size))
        if self._faulty:
            if self._faults["rx.frame.dropped"] or (
                len(frame) > ETH_FRAME_LEN + VLAN_HLEN and self._faults["rx.jumbo.dropped"]
            ):
                return
            for each in self._frame_faults.apply(frame):
                self._receive(each)
        else:
            self._receive(frame)

    def _limit(self, *, tagged: bool) -> tuple[int, int]:
        """The longest frame that is not a giant, and the length at which the watchdog cuts, with FCS."""
        control = self._values[_RCR]
        giant = (JUMBO if control & JE else STANDARD) + (4 if tagged else 0)
        if control & GPSLCE:
            giant = control >> 16 & 0x3FFF
        return giant, 0x4000 if control & WD else WATCHDOG_JUMBO if control & JE else WATCHDOG

    def _receive(self, frame: memoryview) -> None:
        destination = bytes(frame[:6])
        kind = frame[12] << 8 | frame[13]
        if kind == ETH_P_PAUSE and self._control(frame, destination):
            return
        tagged = kind == self._filters.tag_type()
        tci = frame[14] << 8 | frame[15] if tagged else None
        if not self._filters.passes(destination) or not self._filters.passes_vlan(tci):
            return
        size = len(frame) + ETH_FCS_LEN
        giant, watchdog = self._limit(tagged=tagged)
        error = 0
        if size > watchdog:
            self._counters.cut()
            frame = frame[: watchdog - ETH_FCS_LEN]
        if size > giant:
            self._counters.oversized(size)
            error = d.ERROR | d.ERROR_GIANT << d.TYPE_SHIFT
        else:
            self._counters.arrived(size, destination, tagged=tagged)
        headers = parse(frame)
        target = self._steering.target(frame, headers, tci)
        if target.queue is None:
            return
        error = error or self._rx_offload.checks(frame, headers, target.channel)
        if error and self._drops_errors(target.queue, size, error):
            self._counters.dropped(target.channel)
            return
        stripped, report = self._rx_offload.report(
            frame,
            headers,
            target.channel,
            tci=tci,
            value=target.hash,
            error=error,
            splits=self.dma.channels[target.channel].splits,
        )
        queued = QueuedFrame(stripped, target.channel, report, len(frame))
        queue = self.queues[target.queue]
        if not queue and self.dma.deliver(queued):
            if not (error or self._faulty or self._time.enabled or kind == ETH_P_PAUSE) and stripped == frame:
                self.flow_cache.learn(frame, headers, target.channel, report, min(giant, watchdog) - ETH_FCS_LEN)
            return
        if self._buffered[target.queue] + size > self._room(target.queue):
            self._counters.overflowed()
            self._counters.dropped(target.channel)
            return
        queue.append(queued)
        self._buffered[target.queue] += len(stripped)

    def _control(self, frame: memoryview, destination: bytes) -> bool:
        """Handle a MAC control frame; returns whether it is filtered."""
        if destination == PAUSE_ADDRESS and frame[14] << 8 | frame[15] == PAUSE:
            self._counters.pause()
            if self._file[mac.RFCR] & 1:
                self._pause(frame[16] << 8 | frame[17])
        return not self._file[mac.PFR] & PASS_CONTROL

    def _drops_errors(self, queue: int, size: int, error: int) -> bool:
        """Whether a queue drops a frame with an error: if its start was not passed to the DMA before the error was known."""
        mode = self._file[mtl.RQOMR, queue]
        if mode & FORWARD_ERRORS:
            return False
        if error >> d.TYPE_SHIFT & 15 in (d.ERROR_IP, d.ERROR_PAYLOAD) and mode & KEEP_CHECKSUM_ERRORS:
            return False
        return bool(mode & STORE) or size <= THRESHOLDS[mode & 3]
