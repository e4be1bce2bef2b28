# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of each job of a matrix, written as it goes, so that whatever ends the matrix, the same command continues it.

The output folder of a matrix has one folder for each job, and in it ``attempt-N``, the output folder of each attempt at the job, and
``latest``, a link to the last one. ``matrix.jsonl`` is only appended to. ``begin`` is on disk before its attempt starts, and one
``end`` without ``retry`` or ``interrupted`` is what counts of a job.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.build.errors import BuildError
from plugfest.errors import InfrastructureError, UsageError
from plugfest.matrix.attempt import LOG, AttemptEnd
from plugfest.matrix.job import Job
from plugfest.report import document, text_file
from plugfest.report.write import write_reports
from plugfest.run import journal
from plugfest.run.journal import Journal, read
from plugfest.run.latest import link_latest

NAME = "matrix.jsonl"
SUMMARY = "matrix.json"
SCHEMA_VERSION = 1
"""Of ``matrix.json``."""

REFUSED = "refused"
"""The outcome of a job whose patches do not apply or build: a result, though without a report."""

MOST_LOST = 3
"""How many attempts at a job may be lost with the matrix, by SIGKILL or with the machine; one more may well take the machine with it."""


@dataclass(frozen=True)
class Finished:
    """What counts of a job.

    Attributes:
        job: the job.
        attempt: the number of the attempt that counts, from 1.
        folder: its output folder.
        status: 0 or 1 as ``plugfest run`` has it, 3 if there is no result.
        seconds: that the attempt took.
        summary: number of tests by verdict, those that occur; empty if there is no report.
        reason: why there is no result, or why the job's patches were refused; or None.
        where: the machine, or None if it was this one.
    """

    job: Job
    attempt: int
    folder: Path
    status: int
    seconds: float
    summary: Mapping[str, int]
    reason: str | None
    where: str | None

    @property
    def outcome(self) -> str:
        """One word, or two: ``passed``, ``failed``, ``refused`` (patches that do not apply or build), ``no result``."""
        if self.status == BuildError.exit_status and self.reason is not None:
            return REFUSED
        return {0: "passed", 1: "failed"}.get(self.status, "no result")

    @property
    def has_report(self) -> bool:
        """Whether there is a report, if only of a part of the tests."""
        return bool(self.summary)


class Ledger:
    """The ledger of one matrix, open for appending. Another process that opens it is refused.

    Attributes:
        folder: the output folder of the matrix.
        jobs: in their order.
        finished: what counts, by the name of the job.
        why: why the last attempt at a job had no result, by the name of the job.
    """

    def __init__(self, folder: Path, jobs: Sequence[Job]) -> None:
        """Open the ledger in the output folder of a matrix, or begin it.

        Args:
            folder: made if it is missing.
            jobs: of the matrix.

        Raises:
            UsageError: the folder has another matrix, or one that another process carries out.
            InfrastructureError: the ledger cannot be written, or is damaged.
        """
        self.folder = folder
        self.jobs = tuple(jobs)
        self.why: dict[str, str] = {}
        self._journal = Journal(folder, NAME)
        try:
            fcntl.flock(self._journal.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise UsageError(
                f"{folder}: expected a matrix that no process carries out, found one that does; wait for it"
            ) from error
        try:
            _drop_torn_line(folder / NAME)
            events = read(folder / NAME)
            self.finished, self._begun, self._failed, self._lost = _state(events, self.jobs, folder)
        except BaseException:
            self.close()
            raise
        if not events:
            self._write("matrix", durable=True, jobs=[job.describe() for job in self.jobs])
        for job, number in self._lost_attempts(events):
            self._recover(job, number)

    @property
    def complete(self) -> bool:
        """Whether each job has what counts of it."""
        return len(self.finished) == len(self.jobs)

    @property
    def status(self) -> int:
        """The worst exit status of the jobs; 0 if there is none yet."""
        return max((each.status for each in self.finished.values()), default=0)

    def waiting(self) -> list[Job]:
        """Return the jobs of which nothing counts yet, in their order."""
        return [job for job in self.jobs if job.name not in self.finished]

    def next_attempt(self, job: Job) -> int | None:
        """Return the number of the next attempt at a job; None if it has had all that it may have."""
        return None if job.name in self.finished else self._begun.get(job.name, 0) + 1

    def attempt_folder(self, job: Job, number: int) -> Path:
        """Return the output folder of an attempt."""
        return attempt_folder(self.folder, job, number)

    def begin(self, job: Job, number: int, where: str | None = None) -> None:
        """Write that an attempt begins; wait until that is on disk."""
        self._begun[job.name] = number
        self._write("begin", durable=True, job=job.name, attempt=number, where=where)

    def end(self, job: Job, number: int, ended: AttemptEnd, where: str | None) -> Finished | None:
        """Judge how an attempt ended, and write it.

        Args:
            job: whose.
            number: of the attempt.
            ended: how its process ended.
            where: the machine; None for this one.

        Returns:
            What counts of the job; None if it is to be tried again.
        """
        self._begun[job.name] = number  # also of an attempt that ended before it was reported to begin
        folder = self.attempt_folder(job, number)
        if folder.is_dir():
            link_latest(folder)
        if job.queued is not None and (path := job.queued.changed) is not None:
            # What ran, nobody knows; the next matrix has it as it is by then.
            ended = dataclasses.replace(ended, reason=f"{path} was changed since the matrix began", final=True)
        _report_what_there_is(folder, ended.status)
        summary, problem = _report(folder)
        if problem is None and ended.status in (0, 1) and ended.reason is None:
            return self._count(Finished(job, number, folder, ended.status, ended.seconds, summary, None, where))
        if (
            job.queued is not None
            and ended.status == BuildError.exit_status
            and ended.reason is None
            and not (folder / journal.NAME).exists()
        ):
            refusal = _last_line(folder / LOG) or "its patches do not apply or build"
            return self._count(Finished(job, number, folder, ended.status, ended.seconds, {}, refusal, where))
        why = ended.reason or _last_line(folder / LOG) or _how(ended.status, problem)
        self.why[job.name] = why
        self._failed[job.name] = self._failed.get(job.name, 0) + 1
        # What the command line is blamed for would end so again, and so would what has used its time up.
        final = ended.final or ended.status == UsageError.exit_status or self._failed[job.name] > job.settings.retries
        if not final:
            self._write("end", durable=True, job=job.name, attempt=number, retry=True, reason=why)
            return None
        status = InfrastructureError.exit_status
        return self._count(Finished(job, number, folder, status, ended.seconds, summary, why, where))

    def interrupt(self, job: Job, number: int) -> None:
        """Write that an attempt was interrupted: it counts as none."""
        self._write("end", durable=True, job=job.name, attempt=number, interrupted=True)

    def _write(self, event: str, *, durable: bool, **fields: object) -> None:
        try:
            self._journal.write(event, durable=durable, **fields)
        except OSError as error:
            raise InfrastructureError(
                f"{self.folder / NAME}: expected to write it, found: {error.strerror}; see that there is space, and try again"
            ) from error

    def _count(self, finished: Finished) -> Finished:
        if finished.job.name not in self.finished:
            self.finished[finished.job.name] = finished
            self._write("end", durable=True, **_described(finished))
            self.write_summary()
        return self.finished[finished.job.name]

    def write_summary(self) -> None:
        """Write ``matrix.json``.

        Raises:
            InfrastructureError: it cannot be written.
        """
        found = {
            "schema": SCHEMA_VERSION,
            "complete": self.complete,
            "exit_status": self.status,
            "jobs": [
                {
                    **job.describe(),
                    "name": job.name,
                    **(
                        {key: value for key, value in _described(self.finished[job.name]).items() if key != "job"}
                        if job.name in self.finished
                        else {"outcome": None}
                    ),
                }
                for job in self.jobs
            ],
        }
        try:
            text_file.write(self.folder / SUMMARY, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise InfrastructureError(
                f"{self.folder / SUMMARY}: expected to write it, found: {error.strerror}; see that there is space"
            ) from error

    def _lost_attempts(self, events: Sequence[Mapping[str, Any]]) -> list[tuple[Job, int]]:
        """Return the attempts that began and have no end: the process of the matrix was killed."""
        ended = {(event["job"], event["attempt"]) for event in events if event["event"] == "end"}
        begun = [(event["job"], event["attempt"]) for event in events if event["event"] == "begin"]
        jobs = {job.name: job for job in self.jobs}
        return [(jobs[name], number) for name, number in dict.fromkeys(begun) if (name, number) not in ended]

    def _recover(self, job: Job, number: int) -> None:
        """Count an attempt whose report is whole, though nobody wrote that it ended; one too many that was lost ends its job."""
        if job.name in self.finished:
            return
        folder = self.attempt_folder(job, number)
        summary, problem = _report(folder)
        if problem is None and (found := document.load(folder)["run"])["exit_status"] in (0, 1):
            link_latest(folder)
            self._count(Finished(job, number, folder, found["exit_status"], found["seconds"], summary, None, None))
        elif self._lost[job.name] >= MOST_LOST:
            why = f"{MOST_LOST} attempts were lost: each time the matrix was killed, or its machine went down"
            self._count(Finished(job, number, folder, InfrastructureError.exit_status, 0.0, summary, why, None))

    def close(self) -> None:
        """Close the ledger, so that another process may open it. Idempotent."""
        self._journal.close()


def attempt_folder(folder: Path, job: Job, number: int) -> Path:
    """Return the output folder of an attempt in that of its matrix."""
    return folder / job.name / f"attempt-{number}"


def folders(parent: Path, name: str) -> list[Path]:
    """Return the output folders of the matrices of one name, the oldest first: ``NAME-DATE-TIME``, as the commands name them."""
    found = (path.parent for path in parent.glob(f"*/{NAME}"))
    return sorted(path for path in found if re.fullmatch(rf"{re.escape(name)}-\d{{8}}-\d{{6}}(-\d+)?", path.name))


def unfinished(folder: Path, jobs: Sequence[Job]) -> bool:
    """Whether an output folder has a matrix of these jobs that is not complete."""
    try:
        events = read(folder / NAME)
        return bool(events) and len(_state(events, jobs, folder)[0]) < len(jobs)
    except (InfrastructureError, UsageError):
        return False


def left_at(folder: Path) -> float:
    """Return when something last happened to the matrix in an output folder, in seconds since the epoch.

    Raises:
        InfrastructureError: there is none.
    """
    events = read(folder / NAME)
    if not events:
        raise InfrastructureError(f"{folder}: expected the output folder of a matrix, found no job; run the matrix")
    return float(events[-1]["time"])


def jobs_of(folder: Path) -> list[Job]:
    """Return the jobs of the matrix in an output folder.

    Raises:
        InfrastructureError: there is none, or its ledger is damaged.
    """
    events = read(folder / NAME)
    try:
        return [Job.of(each) for each in events[0]["jobs"]]
    except (IndexError, KeyError, TypeError) as error:
        raise InfrastructureError(
            f"{folder / NAME}: expected the ledger of a matrix, found another file; name the output folder of a matrix"
        ) from error


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a crash left without its end: what is appended must not continue it."""
    with path.open("r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)


def _state(
    events: Sequence[Mapping[str, Any]], jobs: Sequence[Job], folder: Path
) -> tuple[dict[str, Finished], dict[str, int], dict[str, int], dict[str, int]]:
    """Return what counts, and how many attempts at each job have begun, failed, and were lost.

    Raises:
        UsageError: it is another matrix.
        InfrastructureError: it is no ledger.
    """
    known = {job.name: job for job in jobs}
    finished: dict[str, Finished] = {}
    begun: dict[str, int] = {}
    failed: dict[str, int] = {}
    lost: dict[str, int] = {}
    try:
        if events and [Job.of(each) for each in events[0]["jobs"]] != list(jobs):
            raise UsageError(
                f"{folder}: expected a new folder, or the same matrix, found one of other jobs or settings; "
                "name another folder with --output"
            )
        for event in events[1:]:
            name, number = event["job"], event["attempt"]
            if event["event"] == "begin":
                lost[name] = lost.get(name, 0) + (number != begun.get(name))
                begun[name] = number
            elif event.get("interrupted") or event.get("retry"):
                lost[name] = lost.get(name, 0) - (number == begun.get(name))
                begun[name] = number
                failed[name] = failed.get(name, 0) + bool(event.get("retry"))
            else:
                finished.setdefault(name, _counted(event, known[name], folder))
    except (KeyError, TypeError) as error:
        raise InfrastructureError(
            f"{folder / NAME}: expected the ledger of a matrix, found another file, or one of a newer plugfest; "
            "name another folder with --output"
        ) from error
    return finished, begun, failed, lost


def _described(finished: Finished) -> dict[str, Any]:
    return {
        "job": finished.job.name,
        "attempt": finished.attempt,
        "folder": f"{finished.job.name}/attempt-{finished.attempt}",
        "outcome": finished.outcome,
        "status": finished.status,
        "seconds": round(finished.seconds, 1),
        "summary": dict(finished.summary),
        "reason": finished.reason,
        "where": finished.where,
    }


def _counted(event: Mapping[str, Any], job: Job, folder: Path) -> Finished:
    return Finished(
        job,
        event["attempt"],
        folder / event["folder"],
        event["status"],
        event["seconds"],
        event["summary"],
        event["reason"],
        event["where"],
    )


def _report(folder: Path) -> tuple[dict[str, int], str | None]:
    """Return the tests by verdict of an attempt's report, and what is wrong with it, or None."""
    try:
        found = document.load(folder)
    except InfrastructureError as error:
        return {}, str(error)
    return {verdict: count for verdict, count in found["summary"].items() if count}, None


def _report_what_there_is(folder: Path, status: int) -> None:
    """Make the report of a run that was killed before it could: its journal has what it found."""
    if (folder / journal.NAME).exists() and not (folder / "report.json").exists():
        died = f"killed by signal {status - 128}" if status > 128 else None
        with suppress(InfrastructureError, OSError):
            write_reports(folder, died=died, status=InfrastructureError.exit_status)


def _how(status: int, problem: str | None) -> str:
    if status > 128:
        return f"it was ended by signal {status - 128}"
    return problem if problem is not None and status in (0, 1) else f"its exit status is {status}"


def _last_line(log: Path) -> str | None:
    """Return the error that a process printed."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    errors = [line.removeprefix("plugfest: ") for line in lines if line.startswith("plugfest: ")]
    return errors[-1] if errors else None
