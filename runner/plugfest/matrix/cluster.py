# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster of Dask distributed, whose workers carry out the jobs: each job is a task, and its output folder comes back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client, KilledWorker
from distributed.client import FutureCancelledError

from plugfest import __version__
from plugfest.errors import InfrastructureError
from plugfest.matrix import archive, task
from plugfest.matrix.attempt import AttemptEnd, Count
from plugfest.matrix.job import SUITE, Job
from plugfest.matrix.place import Watcher
from plugfest.matrix.progress import Display
from plugfest.run.capacity import OVERHEAD, SMALL_HOST

MEMORY, KVM = "MEMORY", "KVM"
"""The resources that workers declare: MiB for guests, and how many guests may run on KVM."""

CONNECT = 10.0
"""Seconds to wait for the scheduler, at first and after the connection was lost."""

PATIENCE = 600.0
"""Seconds to wait for a worker that declares what a job needs, while nothing else runs."""
LOOK = 5.0
"""Seconds between two looks at the workers."""


def resources(job: Job) -> dict[str, float]:
    """Return what a job needs of its worker.

    A job whose file does not set ``guests`` has four at most, as on a small host: what the worker has is known only there.
    """
    guests = (job.settings.guests or SMALL_HOST) if job.kind == SUITE else 1
    found = {MEMORY: float(guests * (job.settings.memory + OVERHEAD))}
    return found | ({KVM: float(guests)} if job.settings.accel == "kvm" else {})


@asynccontextmanager
async def connected(address: str, display: Display) -> AsyncIterator[Cluster]:
    """Connect to a scheduler.

    Args:
        address: as ``tcp://10.0.0.1:8786``.
        display: shows what the workers lack.

    Raises:
        InfrastructureError: there is no scheduler.
    """
    # What it logs of a lost connection is said in one line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    client = None
    try:
        client = Client(address, asynchronous=True, timeout=CONNECT, set_as_default=False)
        await client
    except (OSError, ValueError) as error:
        if client is not None:
            await client.close()
        raise InfrastructureError(
            f"--scheduler {address}: expected Dask's scheduler, found: {_first_line(error)}; start it, or correct the address"
        ) from error
    try:
        await _check_versions(client, address)
        cluster = Cluster(client, address, display)
        try:
            yield cluster
        finally:
            cluster.close()
    finally:
        with suppress(OSError, TimeoutError):
            await client.close(timeout=CONNECT)


async def _check_versions(client: Client, address: str) -> None:
    """Check that all workers have this plugfest: one that fails each job at once would get most of them.

    Raises:
        InfrastructureError: one has not, or the connection was lost.
    """
    try:
        found = await client.run(task.version, on_error="return")
        names = await client.run_on_scheduler(_names)
    except OSError as error:
        raise InfrastructureError(
            f"--scheduler {address}: expected its workers to answer, found: {_first_line(error)}; try again"
        ) from error
    for worker, version in found.items():
        where = names.get(worker, worker)
        if isinstance(version, ImportError | AttributeError):
            raise InfrastructureError(
                task.wrong_version(where, __version__, f"none, or an older one ({_first_line(version)})")
            )
        if isinstance(version, str) and version != __version__:  # else it is a worker that has just gone
            raise InfrastructureError(task.wrong_version(where, __version__, version))


class Cluster:
    """Carries out each job as a task. All are submitted at once; the scheduler chooses workers by what they declare."""

    def __init__(self, client: Client, address: str, display: Display) -> None:
        """Begin to listen to what the workers report.

        Args:
            client: connected, and asynchronous.
            address: of the scheduler, for messages.
            display: shows what the workers lack.
        """
        self._client = client
        self._address = address
        self._display = display
        self._name = f"plugfest-{secrets.token_hex(8)}"
        self._waiting: dict[str, _Waiting] = {}
        self._submitted = 0
        self._client.subscribe_topic(self._name, self._report)
        self._look = asyncio.create_task(self._watch())

    async def attempt(self, job: Job, folder: Path, watcher: Watcher) -> AttemptEnd:
        """Carry out one attempt at a job; see `Place`."""
        self._submitted += 1
        key = f"{self._name}-{self._submitted}-{job.name}"  # Dask does not compute again what it knows by its key
        self._waiting[key] = _Waiting(job, watcher)
        future = self._client.submit(
            task.carry_out,
            job.describe(),
            self._name,
            __version__,
            key=key,
            pure=False,
            priority=-self._submitted,  # in the order of the file
            resources=resources(job),
        )
        result = asyncio.create_task(self._result(future))
        # If the first of several jobs has said that the scheduler is lost, nobody asks the others.
        result.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait({result, self._look}, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                self._look.result()  # raises why no worker will ever take it
            returned = await result
            if isinstance(returned, AttemptEnd):
                return returned
            self._waiting[key].began(returned.where)
            try:
                archive.unpack(returned.data, folder)
            except archive.TornArchiveError as error:
                return AttemptEnd(InfrastructureError.exit_status, returned.ended.seconds, str(error))
            return returned.ended
        finally:
            result.cancel()
            del self._waiting[key]
            try:
                if not future.done():
                    with suppress(Exception):  # the scheduler may be gone
                        await self._client.cancel([future], force=True)
            finally:
                future.release()

    async def _result(self, future: Any) -> task.Returned | AttemptEnd:
        """Wait for a task.

        Raises:
            InfrastructureError: the scheduler is lost.
        """
        try:
            returned: task.Returned = await future
        except FutureCancelledError as error:
            raise InfrastructureError(
                f"--scheduler {self._address}: expected Dask's scheduler, found that the connection was lost "
                f"({error.reason}); start it again, then the same command continues"
            ) from error
        except task.WrongVersionError as error:  # of a worker that came later
            raise InfrastructureError(f"{error}; then the same command continues") from error
        except KilledWorker as error:
            return AttemptEnd(3, 0.0, f"{error.allowed_failures + 1} workers were lost in the middle of it")
        except Exception as error:  # whatever a worker raises costs this attempt alone
            return AttemptEnd(3, 0.0, _first_line(error))
        return returned

    def kill(self) -> None:
        """Do nothing: the workers end what runs."""

    def close(self) -> None:
        """Look at the workers no longer."""
        self._look.cancel()

    def _report(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take what a worker reports of its task."""
        _, message = event
        waiting = self._waiting.get(message["key"])
        if waiting is None:
            return
        waiting.began(message["where"])
        if message["count"] is not None:
            waiting.watcher.counted(Count(*message["count"]))

    async def _watch(self) -> None:
        """Say which jobs wait for a worker that there is not.

        Raises:
            InfrastructureError: nothing has run for `PATIENCE`, and nothing will.
        """
        since, said = time.monotonic(), ""
        while True:
            await asyncio.sleep(LOOK)
            try:
                workers = await self._client.run_on_scheduler(_declared)
            except Exception:  # noqa: S112 - a lost connection ends the tasks themselves
                continue
            lacking = [each.job for each in self._waiting.values() if not _suits_any(each.job, workers)]
            if len(lacking) < len(self._waiting) or not lacking:
                since = time.monotonic()
            if not lacking:
                continue
            need = _words(resources(lacking[0]))
            text = f"{lacking[0].title} needs a worker with {need}, and none of {len(workers)} declares that"
            advised = f"start one: dask worker {self._address} --nthreads 1 --resources '{need}'"
            if time.monotonic() - since > PATIENCE:
                raise InfrastructureError(
                    f"--scheduler {self._address}: expected within {PATIENCE / 60:g} min a worker, found that {text}; {advised}"
                )
            if text != said:
                self._display.note(f"{text}; {advised}")
                said = text


@dataclass
class _Waiting:
    """A job whose result is waited for.

    Attributes:
        job: the job.
        watcher: gets its progress.
        where: the worker that reported last.
    """

    job: Job
    watcher: Watcher
    where: str | None = None

    def began(self, where: str) -> None:
        """Take a worker's word that it carries the job out."""
        if where != self.where:
            self.where = where
            self.watcher.began(where)


def _names(dask_scheduler: Any) -> dict[str, str]:
    """Return the workers' names by their addresses; runs in the scheduler."""
    return {address: str(worker.name) for address, worker in dask_scheduler.workers.items()}


def _declared(dask_scheduler: Any) -> dict[str, dict[str, float]]:
    """Return by worker what it declares; runs in the scheduler."""
    return {address: dict(worker.resources) for address, worker in dask_scheduler.workers.items()}


def _suits_any(job: Job, workers: Mapping[str, Mapping[str, float]]) -> bool:
    needed = resources(job)
    return any(all(has.get(name, 0.0) >= amount for name, amount in needed.items()) for has in workers.values())


def _words(needed: Mapping[str, float]) -> str:
    return " ".join(f"{name}={amount:g}" for name, amount in needed.items())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
