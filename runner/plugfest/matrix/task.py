# SPDX-License-Identifier: GPL-2.0-or-later
"""A job as a task of Dask distributed: what runs on a worker, in one of its threads."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker

from plugfest import __version__
from plugfest.errors import InfrastructureError
from plugfest.matrix import archive, attempt
from plugfest.matrix.attempt import AttemptEnd, Count
from plugfest.matrix.job import Job
from plugfest.run.capacity import SMALL_HOST


@dataclass(frozen=True)
class Returned:
    """What comes back from a worker.

    Attributes:
        ended: how the attempt ended.
        where: the worker.
        data: the output folder, as `plugfest.matrix.archive.pack` packs it.
    """

    ended: AttemptEnd
    where: str
    data: bytes


class WrongVersionError(InfrastructureError):
    """A worker has another plugfest than the one that asks."""


def version() -> str:
    """Return the version of this worker's plugfest."""
    return __version__


def wrong_version(where: str, expected: str, found: str) -> str:
    """Return what to say of a worker that has another plugfest, or none."""
    return f"worker {where}: expected plugfest {expected}, found {found}; install the same one on all workers"


def carry_out(described: dict[str, Any], topic: str, asked_by: str) -> Returned:
    """Carry out one attempt at a job, in a folder that ends with this call.

    Args:
        described: the job, as `Job.describe` does.
        topic: of Dask's events, to report how it goes.
        asked_by: the version of the plugfest that asks.

    Raises:
        WrongVersionError: this worker has another plugfest.
        InfrastructureError: it cannot start a run.
    """
    worker = get_worker()
    where = str(worker.name)
    if asked_by != __version__:
        raise WrongVersionError(wrong_version(where, asked_by, __version__))
    key = worker.get_current_task()
    job = Job.of(described)

    def tell(count: Count | None) -> None:
        counts = None if count is None else [count.done, count.planned, count.failures]
        worker.log_event(topic, {"key": str(key), "where": where, "count": counts})

    tell(None)
    with tempfile.TemporaryDirectory(prefix="plugfest-", dir=worker.local_directory) as scratch:
        folder = Path(scratch) / "run"
        ended = asyncio.run(_attempt(job, folder, worker, key, tell))
        return Returned(ended, where, archive.pack(folder))


async def _attempt(job: Job, folder: Path, worker: Worker, key: Any, tell: Any) -> AttemptEnd:
    """Carry it out; interrupt it once nobody waits for it any longer: the client has cancelled the task, or has gone."""
    work = asyncio.create_task(
        attempt.carry_out(
            job.arguments(folder, SMALL_HOST),
            folder,
            time_limit=job.settings.time_limit * 60,
            counted=tell,
            killed=asyncio.Event(),
        )
    )
    while not work.done():
        await asyncio.wait({work}, timeout=attempt.LOOK)
        state = worker.state.tasks.get(key)
        if state is None or state.state == "cancelled":
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            raise InfrastructureError("expected that its result is waited for, found that it is not any longer")
    return work.result()
