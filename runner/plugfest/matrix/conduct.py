# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries out the jobs of a matrix that wait, each until something counts of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

from plugfest.matrix.attempt import Count, to_the_end
from plugfest.matrix.job import Job
from plugfest.matrix.ledger import Ledger
from plugfest.matrix.place import Place
from plugfest.matrix.progress import Display

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Open = Callable[[Display], AbstractAsyncContextManager[Place]]
"""Opens a place, for as long as jobs are carried out there."""


def conduct(ledger: Ledger, place: Open, display: Display) -> signal.Signals | None:
    """Carry out the jobs that wait.

    SIGINT, SIGTERM and SIGHUP interrupt what runs; a second signal kills it. An interrupted attempt counts as none.

    Args:
        ledger: of the matrix.
        place: where.
        display: shows how it goes.

    Returns:
        The signal that interrupted the matrix, or None.

    Raises:
        InfrastructureError: the place was lost.
    """
    return asyncio.run(_conduct(ledger, place, display))


async def _conduct(ledger: Ledger, opened: Open, display: Display) -> signal.Signals | None:
    received: list[signal.Signals] = []
    loop = asyncio.get_running_loop()
    async with opened(display) as place:
        work = asyncio.create_task(_all(ledger, place, display))

        def interrupt(number: signal.Signals) -> None:
            received.append(number)
            if len(received) == 1:
                display.note(f"{number.name}: ends the jobs that run; once more kills them")
                work.cancel()
            else:
                place.kill()

        for number in _SIGNALS:
            loop.add_signal_handler(number, interrupt, number)
        try:
            with suppress(asyncio.CancelledError):
                await work
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
    return received[0] if received else None


async def _all(ledger: Ledger, place: Place, display: Display) -> None:
    tasks = [asyncio.create_task(_carry_out(job, ledger, place, display)) for job in ledger.waiting()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:  # what the first error, or an interruption, leaves; each is cancelled once, and has its time to end
        for task in tasks:
            task.cancel()
        await to_the_end(asyncio.gather(*tasks, return_exceptions=True))


async def _carry_out(job: Job, ledger: Ledger, place: Place, display: Display) -> None:
    while (number := ledger.next_attempt(job)) is not None:
        watcher = _Watcher(job, number, ledger, display)
        try:
            ended = await place.attempt(job, ledger.attempt_folder(job, number), watcher)
        except BaseException:
            display.paused(job)
            if watcher.begun:
                ledger.interrupt(job, number)
            raise
        finished = ledger.end(job, number, ended, watcher.where)
        if finished is None:
            display.paused(job)
            display.note(f"{job.title} ended without a result, and is tried again: {ledger.why[job.name]}")
        else:
            display.ended(finished)


@dataclass
class _Watcher:
    job: Job
    number: int
    ledger: Ledger
    display: Display
    where: str | None = None
    begun: bool = False

    def began(self, where: str | None) -> None:
        if self.begun:
            self.display.note(f"{self.job.title}: {self.where} was lost in the middle of it; {where} takes it over")
        self.begun, self.where = True, where
        self.ledger.begin(self.job, self.number, where)
        self.display.began(self.job, self.number, where)

    def counted(self, count: Count) -> None:
        self.display.counted(self.job, count)
