# SPDX-License-Identifier: GPL-2.0-or-later
"""The processes of a cluster of Dask distributed. Each imports this module, so it imports little."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from distributed import Scheduler, Worker
from plugfest.matrix import attempt, task


async def _worker(address: str, name: str, resources: Mapping[str, float]) -> None:
    async with Worker(address, name=name, resources=resources, nthreads=1, dashboard_address=":0") as made:
        (Path(os.environ["STAND_IN"]) / f"worker-{name}").touch()
        await made.finished()


async def _scheduler(file: Path) -> None:
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as made:
        file.write_text(made.address)
        await made.finished()


def _broken() -> None:
    (Path(os.environ["STAND_IN"]) / f"tried-{time.time_ns()}").touch()
    raise OSError("this worker is broken")


def worker(
    home: str, program: Sequence[str], address: str, name: str, resources: Mapping[str, float], broken: bool
) -> None:
    """Be a Dask worker whose jobs are carried out by a program that finds what to do in a folder; a broken one fails each."""
    if broken:
        task.get_worker = _broken
    attempt.PROGRAM, attempt.LOOK = program, 0.05
    os.environ["STAND_IN"] = home
    asyncio.run(_worker(address, name, resources))


def scheduler(file: Path) -> None:
    """Be a Dask scheduler, and write its address into a file."""
    asyncio.run(_scheduler(file))
