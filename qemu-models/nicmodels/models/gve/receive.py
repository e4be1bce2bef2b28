# SPDX-License-Identifier: MIT
"""The receive path, from the wire to the queues, which are format-specific.

Sources: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst; gve_adminq.h. The interface has no address
filters: the device receives every frame that the virtual switch forwards.

Frames are received in bursts: each queue writes its completions and interrupts once per burst. A frame without a buffer
waits for one, up to a limit per queue; beyond it frames are dropped and counted.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from nicmodels.ethernet import BROADCAST, ETH_FRAME_LEN, ETH_HLEN, ETH_ZLEN, VLAN_HLEN
from nicmodels.faults.frames import RxFrameFaults
from nicmodels.models.gve.fault_points import RECEIVE
from nicmodels.models.gve.flow_cache import FlowCache
from nicmodels.models.gve.rsc import HardwareGro
from nicmodels.models.gve.rx_dqo import RxQueueDqo
from nicmodels.models.gve.rx_gqi import RxQueueGqi
from nicmodels.models.gve.rx_packet import RxPacket
from nicmodels.nic.engine import ReceiveLoop
from nicmodels.offload.headers import TCP, UDP, Headers, ip_checksum_ok, l4_checksum_ok, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nicmodels.models.gve.flow_rules import FlowRules
    from nicmodels.models.gve.interrupts import NotificationBlocks
    from nicmodels.models.gve.link import Link
    from nicmodels.models.gve.profiles import Profile
    from nicmodels.models.gve.rss import ReceiveScaling
    from nicmodels.models.gve.statistics import Statistics
    from nicmodels.nic.device import Host

    RxQueue = RxQueueDqo | RxQueueGqi

WAITING_BYTES = 1 << 18
SECOND = 1_000_000_000
"""Nanoseconds."""


class Receiver:
    """All receive queues.

    Args:
        host: the device's host.
        profile: the device's profile.
        mac: its address.
        link: frames are received only while it is up.
        statistics, blocks, scaling, rules: of the device.
    """

    def __init__(
        self,
        host: Host,
        profile: Profile,
        mac: bytes,
        link: Link,
        statistics: Statistics,
        blocks: NotificationBlocks,
        scaling: ReceiveScaling,
        rules: FlowRules,
    ) -> None:
        self.faults = host.faults.subset(RECEIVE)
        self.queues: list[RxQueue | None] = [None] * profile.max_rx
        self._host = host
        self._mac = mac
        self._link = link
        self._statistics = statistics
        self._blocks = blocks
        self._scaling = scaling
        self._rules = rules
        self._limit = profile.largest_mtu + ETH_HLEN
        self._frame_faults = RxFrameFaults(self.faults)
        self._gro = HardwareGro(self._enqueue, self.faults["rx.coalescing.corrupted"])
        self._waiting: list[deque[RxPacket]] = [deque() for _ in self.queues]
        self._waiting_bytes = [0] * profile.max_rx
        self._gone: dict[int, RxQueueDqo] = {}
        self._touched: set[int] = set()
        self._faulty = False
        self.flow_cache = FlowCache(statistics, scaling, self._limit)
        # No long bursts: gve polls 64 completions and, on another CPU than the interrupt's, arms it and waits for one for the rest
        # (gve_napi_poll_dqo). The device, which has an event for each completion, would raise it; one for a whole burst is spent.
        self._loop = ReceiveLoop(host, self._run, self._end_burst, failed=self._forget)

    def reset(self) -> None:
        """Remove all queues."""
        self.flow_cache.flush()
        for index in self.present():
            self.remove(index)
        self._gro.reset()
        self._frame_faults.reset()
        self._gone.clear()

    def present(self) -> Iterable[int]:
        """The numbers of the existing queues."""
        return [queue.index for queue in self.queues if queue is not None]

    def add(self, queue: RxQueue) -> None:
        """Add a new queue."""
        self.flow_cache.flush()
        self.queues[queue.index] = queue
        self._gone.pop(queue.index, None)
        self._scaling.queues_changed(len(list(self.present())))

    def remove(self, index: int) -> None:
        """Remove a queue, which receives no frame and accesses no memory from now on."""
        queue = self.queues[index]
        if queue is None:
            return
        self._gro.finish(index)
        self._flush()
        queue.stop()
        self.flow_cache.flush()
        self.queues[index] = None
        self._statistics.rx[index].dropped += len(self._waiting[index])
        self._waiting[index].clear()
        self._waiting_bytes[index] = 0
        if isinstance(queue, RxQueueDqo):
            self._gone[index] = queue
        self._scaling.queues_changed(len(list(self.present())))

    def replenished(self, index: int) -> None:
        """The driver posted buffers: deliver the frames that wait for them."""
        if self._waiting[index]:
            self._loop.schedule()

    # The wire

    def arrived(self) -> None:
        """Receive frames until the wire has none."""
        self._loop.turn()

    def _run(self) -> None:
        self._faulty = self.faults.poll() or self._frame_faults.holding
        self._drain()
        self.flow_cache.refresh()
        up = self._link.up
        for frames in self._loop.bursts():
            if up:
                self._take_burst(frames)
        self._end_burst()

    def _take_burst(self, frames: list[bytes]) -> None:
        """Take frames, as many as possible through the flow cache."""
        cached = not self._faulty and not self._rules and not any(self._waiting_bytes)
        taken = 0
        while taken < len(frames):
            if cached:
                stamp = self._stamp()
                taken, touched = self.flow_cache.deliver_many(frames, taken, stamp)
                self._touched |= touched
                if taken == len(frames):
                    break
            self._take(memoryview(frames[taken]))
            taken += 1
            cached = cached and not any(self._waiting_bytes)

    def _stamp(self) -> int:
        """The timestamp of a frame that is received now."""
        return int(self._host.clock.now() * 1e9) & 0xFFFF_FFFF

    def _take(self, frame: memoryview) -> None:
        size = len(frame)
        if size < ETH_HLEN:
            return
        if size < ETH_ZLEN:  # unlike Ethernet, a tap carries frames without padding
            frame = memoryview(bytes(frame) + bytes(ETH_ZLEN - size))
        if self._faulty:
            frame = memoryview(bytearray(frame))
            if self._lost(frame):
                return
            for each in self._frame_faults.apply(frame):
                self._receive(each)
        else:
            self._receive(frame)

    def _lost(self, frame: memoryview) -> bool:
        """Apply the faults that drop a frame, and the one that changes its tag."""
        faults = self.faults
        destination = bytes(frame[:6])
        if faults["rx.frame.dropped"]:
            return True
        if destination == BROADCAST:
            if faults["rx.broadcast.ignored"]:
                return True
        elif destination[0] & 1:
            if faults["rx.multicast.ignored"] or faults["rx.promiscuous.ignored"]:
                return True
        elif destination != self._mac and faults["rx.promiscuous.ignored"]:
            return True
        if len(frame) > ETH_FRAME_LEN + VLAN_HLEN and faults["rx.jumbo.dropped"]:
            return True
        if frame[12] == 0x81 and frame[13] == 0:
            if faults["rx.vlan.filter-closed"]:
                return True
            if faults["rx.vlan.wrong"]:
                tci = frame[14] << 8 | frame[15]
                struct.pack_into(">H", frame, 14, tci & 0xF000 | (tci + 1) & 0xFFF)
        return False

    def _receive(self, frame: memoryview) -> None:
        """Steer a frame, verify its checksums and pass it to its queue."""
        headers = parse(frame)
        index, value = self._steer(frame, headers)
        size = len(frame)
        if size > self._limit + VLAN_HLEN * len(headers.vlans):
            self._statistics.over_mru[index] += 1
            self._statistics.rx[index].dropped += 1
            return
        ip_good = ip_checksum_ok(frame, headers)
        good = l4_checksum_ok(frame, headers)
        if self._faulty and (ip_good is not None or good is not None):
            ip_good, good = self._fault_checksums(index, ip_good, good)
        split = headers.payload_offset if headers.l4 in (TCP, UDP) and not headers.fragment else 0
        stamp = self._stamp()
        if self._faulty and self.faults.fires("rx.timestamp.late", queue=index):
            stamp = (stamp + SECOND) & 0xFFFF_FFFF
        packet = RxPacket([frame], size, headers, split, ip_good, good, value, stamp, 0, 1, size)
        queue = self.queues[index]
        if queue is None or queue.halted:
            self._after_stop(index, packet)
            return
        if queue.coalesces and isinstance(queue, RxQueueDqo):
            if good and ip_good is not False:
                if self._gro.receive(queue, packet):
                    return
            else:
                self._gro.finish(index)
        self._enqueue(queue, packet)

    def _steer(self, frame: memoryview, headers: Headers) -> tuple[int, int]:
        """Select the queue; returns it and the RSS hash."""
        choice = self._scaling.scaling.choose(frame, headers)
        index, value = (choice.entry, choice.hash) if choice is not None else (0, 0)
        faults = self.faults
        if self._faulty and choice is not None:
            if faults.fires("rx.rss.queue", queue=index):
                index = (index + 1) % max(len(list(self.present())), 1)
            if faults.fires("rx.rss.hash", queue=index):
                value ^= 1
            if faults.fires("rx.rss.unreported", queue=index):
                value = 0
        if len(self._rules):
            steered = self._rules.match(frame, headers)
            if steered is not None and not (self._faulty and faults.fires("rx.flow-director.ignored", queue=steered)):
                index = steered
        return index, value

    def _fault_checksums(self, queue: int, ip_good: bool | None, good: bool | None) -> tuple[bool | None, bool | None]:
        """Apply the faults of checksum verification."""
        faults = self.faults
        if ip_good is False or good is False:
            if faults.fires("rx.checksum.bad-as-good", queue=queue):
                return (None if ip_good is None else True), (None if good is None else True)
        elif faults.fires("rx.checksum.good-as-bad", queue=queue):
            return (False if good is None else ip_good), (None if good is None else False)
        if faults.fires("rx.checksum.unreported", queue=queue):
            return None, None
        return ip_good, good

    # To the host

    def _enqueue(self, queue: RxQueue, packet: RxPacket) -> None:
        index = queue.index
        waiting = self._waiting[index]
        if not waiting and self._deliver(queue, packet):
            good = packet.l4_good and packet.ip_good is not False
            plain = not self._faulty and not self._rules  # a rule steers the flow elsewhere for as long as it stands
            if (good or not packet.headers.version) and plain and isinstance(queue, RxQueueDqo) and not queue.halted:
                self.flow_cache.learn(queue, packet)
            return
        if self._waiting_bytes[index] + packet.length > WAITING_BYTES:
            self._statistics.no_buffers[index] += packet.frames
            self._statistics.rx[index].dropped += packet.frames
            return
        waiting.append(packet.kept())
        self._waiting_bytes[index] += packet.length

    def _deliver(self, queue: RxQueue, packet: RxPacket) -> bool:
        """Deliver a packet; False if too few buffers are posted. One on which the model fails is lost, and its queue halts."""
        try:
            if not queue.halted and not queue.deliver(packet):
                return False
        except Exception as error:
            self._host.failures.add(error, direction="rx", queue=queue.index)
            queue.halt("rx")
            self.flow_cache.flush()
        if queue.halted:
            self._statistics.rx[queue.index].dropped += packet.frames
            return True
        queue.packets += 1
        account = self._statistics.rx[queue.index]
        account.frames += packet.frames
        account.bytes += packet.frame_bytes
        self._touched.add(queue.index)
        return True

    def _forget(self) -> None:
        """A turn failed."""
        self.flow_cache.flush()
        self._gro.reset()

    def _drain(self) -> None:
        """Deliver waiting packets, in order, while there are buffers."""
        for index, waiting in enumerate(self._waiting):
            queue = self.queues[index]
            while waiting and queue is not None and self._deliver(queue, waiting[0]):
                self._waiting_bytes[index] -= waiting.popleft().length

    def _after_stop(self, index: int, packet: RxPacket) -> None:
        """Drop a frame for a queue that does not exist."""
        self._statistics.rx[index].dropped += packet.frames
        gone = self._gone.get(index)
        fault = self.faults["rx.stopped.dma"]
        if gone is not None and fault.armed and gone.posted and fault.fires(queue=index):
            gone.write_after_stop(packet)

    def _end_burst(self) -> None:
        self._gro.finish()
        self._flush()

    def _flush(self) -> None:
        """Write the completions of the burst, and interrupt."""
        if not self._touched:
            return
        touched, self._touched = self._touched, set()
        for index in touched:
            queue = self.queues[index]
            if queue is not None and queue.flush():
                queue.written = self._host.clock.now()
                self._blocks.event(queue.block)
