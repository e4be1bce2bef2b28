# SPDX-License-Identifier: GPL-2.0-or-later
"""One attempt at a job: a process of its own, which ends with this one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from plugfest.errors import InfrastructureError
from plugfest.matrix import guarded
from plugfest.requirements.verdict import FAILURES
from plugfest.run import journal, sandbox

PROGRAM: Sequence[str] = (sys.executable, "-m", "plugfest")
"""What carries out a job, before its arguments."""

LOG = "output.log"
"""In the folder of an attempt: what the process printed."""

GRACE = sandbox.GRACE + 30.0
"""Seconds that a process has to end after SIGINT: the sandbox's own, and those in which it makes its reports."""

LOOK = 1.0
"""Seconds between two looks at how far a run is."""

_OF_THE_MACHINE = frozenset({"PLUGFEST_CACHE_DIR", "PLUGFEST_MIRROR", "PLUGFEST_QEMU"})
"""The variables of plugfest that a job inherits. The others say what is run or what its verdicts are, which the matrix does."""
_NOT_INHERITED = frozenset({"PYTEST_ADDOPTS", "FORCE_COLOR", "CLICOLOR_FORCE"})

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Count:
    """How far a run is.

    Attributes:
        done: tests with a verdict.
        planned: tests that are to run; 0 until that is known.
        failures: those that fail the run.
    """

    done: int = 0
    planned: int = 0
    failures: int = 0


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended.

    Attributes:
        status: the exit status of the process; 128 + N if signal N ended it.
        seconds: that it took.
        reason: why there is no result, as far as is known, or None.
        final: a further attempt would end so, too.
    """

    status: int
    seconds: float
    reason: str | None = None
    final: bool = False


@dataclass
class Tally:
    """Counts the verdicts of a run by its journals, which grow.

    Attributes:
        folder: the run's output folder.
    """

    folder: Path
    _read: dict[Path, int] = field(default_factory=dict)
    _planned: int = 0
    _verdicts: dict[str, bool] = field(default_factory=dict)

    def look(self) -> Count:
        """Read what was added since the last call."""
        with suppress(OSError):
            for path in (self.folder / journal.NAME, *self.folder.glob(f"{journal.GUEST}*/{journal.NAME}")):
                self._look(path)
        return Count(len(self._verdicts), self._planned, sum(self._verdicts.values()))

    def _look(self, path: Path) -> None:
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read[path] = self._read.get(path, 0) + len(line)
                with suppress(ValueError, KeyError):
                    event = json.loads(line)
                    if event["event"] == "planned":
                        self._planned = len(event["tests"])
                    elif event["event"] == "cases":  # one of upstream's tests has listed them
                        self._planned += len(event["tests"]) - 1
                    elif event["event"] == "result":
                        self._verdicts[event["test"]] = event["verdict"] in FAILURES


def environment(outside: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a job: what the machine's user set for the machine, and nothing that says what is run."""
    return {
        name: value
        for name, value in outside.items()
        if name not in _NOT_INHERITED and (not name.startswith("PLUGFEST_") or name in _OF_THE_MACHINE)
    } | {"NO_COLOR": "1"}


async def carry_out(
    arguments: Sequence[str],
    folder: Path,
    *,
    time_limit: float,
    counted: Callable[[Count], None],
    killed: asyncio.Event,
) -> AttemptEnd:
    """Run plugfest until it ends, in a session of its own: a terminal's ^C does not reach it.

    If this is cancelled, the process gets SIGINT, and its time to make the reports.

    Args:
        arguments: of plugfest.
        folder: the output folder, made here; what the process prints is in its file `LOG`.
        time_limit: seconds.
        counted: called while it runs with how far it is.
        killed: once it is set, the process is given no time to end.

    Raises:
        InfrastructureError: the process cannot be started.
    """
    journal.make_folder(folder)
    begin = time.monotonic()
    process = await _start(arguments, folder)
    look = asyncio.create_task(_watch(Tally(folder), counted))
    reason = None
    try:
        async with asyncio.timeout(time_limit):
            status = await process.wait()
    except TimeoutError:
        reason = f"it took longer than its time limit, {time_limit / 60:g} min"
        status = await to_the_end(_end(process, killed))
    except asyncio.CancelledError:
        await to_the_end(_end(process, killed))
        raise
    finally:
        look.cancel()
    return AttemptEnd(
        status if status >= 0 else 128 - status, time.monotonic() - begin, reason, final=reason is not None
    )


async def to_the_end(work: Awaitable[_Result]) -> _Result:
    """Wait for what must not be left half done: a cancellation in the meantime is raised once it has ended."""
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


async def _start(arguments: Sequence[str], folder: Path) -> asyncio.subprocess.Process:
    guard = [sys.executable, "-IS", str(guarded.__file__), str(os.getpid())]
    try:
        with (folder / LOG).open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *guard,
                *PROGRAM,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=environment(os.environ),
                start_new_session=True,
            )
    except OSError as error:
        raise InfrastructureError(
            f"{folder}: expected to start a run, found: {error.strerror}; see that there are space and processes"
        ) from error


async def _watch(tally: Tally, counted: Callable[[Count], None]) -> None:
    while True:
        await asyncio.sleep(LOOK)
        counted(tally.look())


async def _end(process: asyncio.subprocess.Process, killed: asyncio.Event) -> int:
    """End a process that runs: by SIGINT, and by SIGKILL if it takes too long."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    kill = asyncio.create_task(killed.wait())
    ended = asyncio.create_task(process.wait())
    await asyncio.wait({kill, ended}, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
    kill.cancel()
    if not ended.done():
        with suppress(ProcessLookupError):
            process.kill()
    return await ended
