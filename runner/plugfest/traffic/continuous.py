# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered frames to the DUT, or from it, at an even pace while something happens to it, and how many of them arrived."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plugfest.deadline import poll
from plugfest.frames.probe import burst, frames_of, number_in
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, check_same, payloads

if TYPE_CHECKING:
    from plugfest.frames.probe import Probe
    from plugfest.machine.agent import AgentClient
    from plugfest.machine.machine import Machine
    from plugfest.machine.remote import Remote
    from plugfest.traffic.packet_socket import PacketSender
    from plugfest.traffic.traffic import Traffic

PACE = 0.02
"""Seconds between two batches."""
BATCH = 8
SIZES = (60, 256, 1024)
DRAIN_TIMEOUT = 2.0
"""Seconds for the last frames that the DUT sent to be on the wire, on a guest of speed 1."""
FETCH_WAIT = 0.2
"""Seconds without a frame after which the stack's are fetched: a socket's buffer holds no more than some thousands."""


class TrafficResult:
    """What was sent and what arrived.

    Attributes:
        sent: the probes, in order.
        arrived: payloads that the stack got.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.sent: list[Probe] = []
        self.arrived: list[bytes] = []

    def check(self) -> None:
        """Each frame must have arrived once and unchanged.

        Raises:
            AssertionError: one was lost, changed or doubled.
        """
        check_same(self.arrived, payloads(self.sent), "payloads in the DUT's stack")

    @property
    def lost(self) -> int:
        """How many did not arrive."""
        return len(self.sent) - len(self.arrived)


class SentTrafficResult(TrafficResult):
    """The same of frames that the DUT sent: `arrived` are whole frames that the wire carried."""

    def check(self) -> None:
        """Each frame must have left once and unchanged.

        Raises:
            AssertionError: one was lost, changed or doubled.
        """
        check_same(self.arrived, frames_of(self.sent), "frames on the wire")


class ContinuousTraffic:
    """Keeps frames coming and counts them."""

    def __init__(
        self, guest: Machine, traffic: Traffic, remote: Remote, agent: AgentClient, packet_sender: PacketSender
    ) -> None:
        """Send nothing yet.

        Args:
            guest: has the DUT.
            traffic: makes the frames and has the sockets.
            remote: sends them.
            agent: a connection of its own, to fetch what arrived while the test asks other things.
            packet_sender: sends from the DUT, by the same connection.
        """
        self._guest = guest
        self._traffic = traffic
        self._remote = remote
        self._agent = agent
        self._packet_sender = packet_sender

    @contextmanager
    def from_dut(self, sizes: Sequence[int] = SIZES) -> Iterator[SentTrafficResult]:
        """Have the DUT send while the block runs, from each of its CPUs in turn, and so by several queues; then count on the wire."""
        self._traffic.ready()
        result = SentTrafficResult()
        over = threading.Event()
        cpus = self._traffic.cpus()

        def send() -> None:
            for turn in itertools.count():
                first = len(result.sent)
                batch = burst(self._traffic.ends_back, flows=BATCH, sizes=sizes, versions=(4,), first=first)
                self._packet_sender.send(frames_of(batch), cpu=turn % cpus)
                result.sent += batch
                if over.wait(PACE):
                    break

        with self._traffic.capture_sent() as seen:
            worker = _Worker(send)
            try:
                yield result
            finally:
                over.set()
                worker.join()
            worker.check()
            poll(lambda: seen.reached(len(result.sent)), self._guest.deadline(DRAIN_TIMEOUT))
            result.arrived = seen.frames()

    @contextmanager
    def to_dut(self, sizes: Sequence[int] = SIZES) -> Iterator[TrafficResult]:
        """Send while the block runs, in flows enough to reach every queue that RSS spreads over; then count."""
        self._traffic.ready()
        result = TrafficResult()
        over = threading.Event()
        flows = FLOWS_PER_QUEUE * self._traffic.queues()
        prepared: list[Probe] = []
        taken: list[bytes] = []

        def send() -> None:
            while not over.wait(PACE):
                if len(prepared) < BATCH:
                    # The guest is not asked for its queues again: it may be busy with what this goes on beside.
                    prepared.extend(self._traffic.probes(sizes=sizes, flows=flows))
                batch = prepared[:BATCH]
                del prepared[:BATCH]
                self._remote.send([probe.frame for probe in batch])
                result.sent += batch

        def fetch() -> None:
            while not over.is_set():
                taken.extend(self._traffic.waiting(self._agent, timeout=FETCH_WAIT, count=256))

        workers = [_Worker(send), _Worker(fetch)]
        try:
            yield result
        finally:
            over.set()
            for each in workers:
                each.join()
        for each in workers:
            each.check()
        wanted = {probe.number for probe in result.sent}
        taken = [payload for payload in taken if number_in(payload) in wanted]
        seen = {number_in(payload) for payload in taken}
        result.arrived = taken + self._traffic.received([probe for probe in result.sent if probe.number not in seen])


class _Worker(threading.Thread):
    """A thread that keeps the exception that ends it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="continuous traffic", daemon=True)
        self._work = work
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._error = error

    def check(self) -> None:
        if self._error is not None:
            raise self._error
