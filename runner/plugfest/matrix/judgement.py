# SPDX-License-Identifier: GPL-2.0-or-later
"""What pending series of patches change: each job with patches against the same job without, in one matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugfest.errors import InfrastructureError
from plugfest.matrix.job import Job
from plugfest.matrix.ledger import REFUSED, Ledger
from plugfest.report import comparison, document, text_file
from plugfest.report.comparison import Change
from plugfest.report.document import Document

NAME = "patches.json"
"""In the output folder of a matrix."""
SCHEMA_VERSION = 1
_SHOWN = (Change.FIXED, Change.BROKEN, Change.NEW, Change.UNCHANGED)
_TESTBED = ("qemu", "kernel", "root", "suite")
"""What must be the same in both runs, or the patches are not all that differs."""


@dataclass(frozen=True)
class SeriesJudgement:
    """What is known of one job with patches.

    Attributes:
        job: the job.
        outcome: ``judged``, ``refused``, or ``not judged``, as long as one of the two runs has no result.
        reason: why it was not judged; of one that was, None.
        comparison: of the two runs, as `plugfest.report.comparison.build` makes it; None if there is none.
        series: that the driver was built with; of those together some may have been left out.
    """

    job: Job
    outcome: str
    reason: str | None = None
    comparison: Mapping[str, Any] | None = None
    series: Sequence[str] = field(default=())

    @property
    def worse(self) -> bool:
        """Whether the patches are refused, or break a test."""
        return self.outcome == REFUSED or (self.comparison is not None and self.comparison["exit_status"] != 0)

    @property
    def line(self) -> str:
        """All of it on one line."""
        if self.comparison is None:
            return f"{self.job.title}: {self.outcome}: {self.reason}"
        counts = self.comparison["counts"]
        words = [f"{counts[change]} {change}" for change in _SHOWN]
        rest = sum(counts.values()) - sum(counts[change] for change in _SHOWN)
        left_out = len(self.job.queued.paths) - len(self.series) if self.job.queued else 0
        without = f"; {left_out} of {left_out + len(self.series)} series were left out" if left_out else ""
        return f"{self.job.title}: {', '.join(words)}{f', {rest} changed otherwise' if rest else ''}{without}"

    @property
    def mark(self) -> list[Any]:
        """What distinguishes it from the judgement of another night, as JSON has it: the patches and what they break."""
        tests = self.comparison["tests"] if self.comparison is not None else []
        worse = sorted(row["test"] for row in tests if row["change"] in (Change.BROKEN, Change.LOST))
        return [list(self.job.queued.digests) if self.job.queued else [], self.outcome, worse]


def judge(opened: Ledger) -> list[SeriesJudgement]:
    """Judge the jobs with patches of which something counts."""
    found = []
    for job in opened.jobs:
        finished = opened.finished.get(job.name)
        if job.queued is None or finished is None:
            continue
        if finished.outcome == REFUSED:
            found.append(SeriesJudgement(job, REFUSED, finished.reason))
            continue
        before = opened.finished.get(job.before.name)
        if finished.reason is not None or before is None or before.reason is not None:
            why = finished.reason or (before.reason if before is not None else None) or "the run without them is to do"
            found.append(SeriesJudgement(job, "not judged", why))
        else:
            found.append(_compared(job, before.folder, finished.folder))
    return found


def _compared(job: Job, before: Path, after: Path) -> SeriesJudgement:
    try:
        first, second = document.load(before), document.load(after)
    except InfrastructureError as error:
        return SeriesJudgement(job, "not judged", str(error))
    difference = _difference(first, second)
    if difference is not None:
        return SeriesJudgement(job, "not judged", f"the runs differ in more than the patches: {difference}")
    names = (str(before.parent.name), str(after.parent.name))
    found = comparison.build(first, second, names=names)
    return SeriesJudgement(job, "judged", None, found, second["run"]["options"].get("series", []))


def _difference(first: Document, second: Document) -> str | None:
    """Return what differs though the patches do not concern it: a kernel may have been updated between two jobs."""
    releases = [run["run"]["kernel"]["release"] for run in (first, second)]
    if releases[0] != releases[1]:
        return f"Linux {releases[0]} and {releases[1]}"
    testbeds = [run["run"].get("testbed", {}) for run in (first, second)]
    return next((name for name in _TESTBED if testbeds[0].get(name) != testbeds[1].get(name)), None)


def write(judgements: Iterable[SeriesJudgement], folder: Path) -> None:
    """Write ``patches.json`` into the output folder of a matrix.

    Raises:
        InfrastructureError: it cannot be written.
    """
    found = {
        "schema": SCHEMA_VERSION,
        "jobs": {
            each.job.name: {
                "title": each.job.title,
                "outcome": each.outcome,
                "reason": each.reason,
                "series": list(each.series),
                "mark": each.mark,
                "comparison": each.comparison,
            }
            for each in judgements
        },
    }
    try:
        text_file.write(folder / NAME, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InfrastructureError(
            f"{folder / NAME}: expected to write it, found: {error.strerror}; see that there is space"
        ) from error


def marks(folder: Path) -> dict[str, Any]:
    """Return the marks of the judgements of an earlier matrix, by the names of the jobs; none if there are none to be read."""
    try:
        jobs = json.loads((folder / NAME).read_text())["jobs"]
        return {name: each["mark"] for name, each in jobs.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
