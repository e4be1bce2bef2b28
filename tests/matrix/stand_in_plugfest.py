# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest`` whose jobs are carried out by the stand-in; ``worker ADDRESS NAME RESOURCES`` is a Dask worker of the same kind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from plugfest import cli
from plugfest.matrix import attempt, cluster
from plugfest.run import sandbox

PROGRAM = (sys.executable, "-IS", str(Path(__file__).with_name("stand_in_run.py")))


def use_stand_in() -> None:
    attempt.PROGRAM = PROGRAM
    attempt.LOOK = 0.05
    cluster.LOOK = 0.2
    cluster.CONNECT = float(os.environ.get("STAND_IN_CONNECT", "10"))
    cluster.PATIENCE = float(os.environ.get("STAND_IN_PATIENCE", "600"))
    sandbox.check_host = lambda: None


async def worker(address: str, name: str, resources: str) -> None:
    from distributed import Worker

    async with Worker(address, name=name, resources=json.loads(resources), nthreads=1, dashboard=False) as made:
        await made.finished()


async def scheduler(file: str) -> None:
    from distributed import Scheduler

    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as made:
        Path(file).write_text(made.address)
        await made.finished()


if __name__ == "__main__":
    use_stand_in()
    match sys.argv[1:]:
        case ["worker", *arguments]:
            asyncio.run(worker(*arguments))
        case ["scheduler", file]:
            asyncio.run(scheduler(file))
        case arguments:
            sys.exit(cli.status_of(arguments))
