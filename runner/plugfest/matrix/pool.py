# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine, which carries out as many jobs at a time as its cores and memory allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from plugfest.matrix import attempt
from plugfest.matrix.attempt import AttemptEnd
from plugfest.matrix.job import SUITE, Job
from plugfest.matrix.place import Watcher
from plugfest.run.capacity import MOST, OVERHEAD, SMALL_HOST, cores, free_memory


@dataclass(frozen=True)
class Need:
    """What a job takes of a machine.

    Attributes:
        guests: that run side by side.
        memory: of all of them, MiB.
    """

    guests: int
    memory: int


class Pool:
    """Jobs side by side, in the order in which they were asked for: none overtakes one that waits for more room.

    A run has guests of its own. Together those of all jobs are as many as one run would have on this machine: one for each core, four
    at least, and no more than memory allows.
    """

    def __init__(self, at_a_time: int | None = None) -> None:
        """Measure the machine.

        Args:
            at_a_time: how many jobs; None for what suits the machine.
        """
        self.at_a_time = at_a_time
        self._cores = max(SMALL_HOST, cores())
        self._memory = free_memory()
        self._running: list[Need] = []
        self._queue: deque[object] = deque()
        self._changed = asyncio.Condition()
        self._killed = asyncio.Event()

    def need(self, job: Job) -> Need:
        """Return what a job takes: the guests that its file gives it, or its share."""
        each = job.settings.memory + OVERHEAD
        if job.kind != SUITE:
            return Need(1, each)
        most = self._cores if self._memory is None else max(1, min(self._cores, self._memory // each))
        guests = job.settings.guests or max(1, min(MOST, most // (self.at_a_time or 1)))
        return Need(guests, guests * each)

    async def attempt(self, job: Job, folder: Path, watcher: Watcher) -> AttemptEnd:
        """Carry out one attempt at a job; see `Place`."""
        need = self.need(job)
        async with self._room(need):
            watcher.began(None)
            return await attempt.carry_out(
                job.arguments(folder, need.guests),
                folder,
                time_limit=job.settings.time_limit * 60,
                counted=watcher.counted,
                killed=self._killed,
            )

    def kill(self) -> None:
        """Give what runs no time to end."""
        self._killed.set()

    @asynccontextmanager
    async def _room(self, need: Need) -> AsyncIterator[None]:
        turn = object()
        self._queue.append(turn)
        async with self._changed:
            try:
                await self._changed.wait_for(lambda: self._queue[0] is turn and self._fits(need))
                self._running.append(need)
            finally:
                self._queue.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            async with self._changed:
                self._running.remove(need)
                self._changed.notify_all()

    def _fits(self, need: Need) -> bool:
        """Whether there is room; alone a job may take more than there is."""
        if not self._running:
            return True
        memory = need.memory + sum(each.memory for each in self._running)
        if self._memory is not None and memory > self._memory:
            return False
        if self.at_a_time is not None:
            return len(self._running) < self.at_a_time
        return need.guests + sum(each.guests for each in self._running) <= self._cores
