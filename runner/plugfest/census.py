# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered frames to the DUT at an even pace while something happens to it, and how many of them its stack got."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plugfest.traffic import FLOWS_PER_QUEUE, check_same, payloads

if TYPE_CHECKING:
    from plugfest.probe import Probe
    from plugfest.traffic import Traffic
    from plugfest.wire import WireEnd

PACE = 0.02
"""Seconds between two batches."""
BATCH = 8
SIZES = (60, 256, 1024)


class Count:
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


class Census:
    """Keeps frames coming and counts them."""

    def __init__(self, traffic: Traffic, wire: WireEnd) -> None:
        """Send nothing yet."""
        self._traffic = traffic
        self._wire = wire

    @contextmanager
    def during(self, sizes: Sequence[int] = SIZES) -> Iterator[Count]:
        """Send while the block runs, in flows enough to reach every queue that RSS spreads over; then count."""
        self._traffic.ready()
        count = Count()
        over = threading.Event()
        failures: list[OSError] = []
        prepared: list[Probe] = []

        def pour() -> None:
            try:
                while not over.wait(PACE):
                    if len(prepared) < BATCH:
                        # The guest is not asked for its queues again: it may be busy with what this goes on beside.
                        prepared.extend(self._traffic.probes(sizes=sizes, flows=flows))
                    batch = prepared[:BATCH]
                    del prepared[:BATCH]
                    self._wire.send([probe.frame for probe in batch])
                    count.sent += batch
            except OSError as error:
                failures.append(error)

        flows = FLOWS_PER_QUEUE * self._traffic.queues()
        thread = threading.Thread(target=pour, name="census", daemon=True)
        thread.start()
        try:
            yield count
        finally:
            over.set()
            thread.join()
        if failures:
            raise failures[0]
        count.arrived = self._traffic.received(count.sent)
