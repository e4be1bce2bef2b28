# SPDX-License-Identifier: GPL-2.0-or-later
"""What the history has: configurations, their runs, each test's verdicts over the runs, and what changed in each run."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from plugfest.history.stability import NOT_RUN, Stability, stability
from plugfest.report.comparison import UNDECIDED, Change, change_of, is_worse
from plugfest.requirements.verdict import Verdict

NEWEST = 200
"""How many runs of a configuration are read: the newest. A year of nights of one has 170 000 results."""


_NEWEST_RUNS = """
SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY configuration ORDER BY start DESC, id DESC) AS age FROM run)
WHERE age <= ? ORDER BY start, id
"""
_VERDICTS = {str(verdict): verdict for verdict in Verdict}


@dataclass(frozen=True)
class Test:
    """A test of the history.

    Attributes:
        id: its number.
        name: pytest's node id without parameters.
        subtest: the parameters; empty if there are none.
        requirement: the id of its requirement.
    """

    __test__ = False  # pytest is not to take it for tests

    id: int
    name: str
    subtest: str
    requirement: str

    @property
    def short(self) -> str:
        """What distinguishes it among the tests of its requirement."""
        return self.subtest or self.name.rpartition("::")[2]


@dataclass(frozen=True, slots=True)
class RecordedResult:
    """The result of a test in one run of the history.

    Attributes:
        verdict: as reported.
        reason: one line; of an ``xfail`` the title of its known issue.
        seconds: that the test took.
        intermittent: a known issue concerns the test that need not show in each run.
        crashes: the fingerprints of what the kernel complained of.
    """

    verdict: Verdict
    reason: str
    seconds: float
    intermittent: bool
    crashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transition:
    """A verdict of a run that differs from the one before.

    Attributes:
        test: whose.
        change: in the words of `plugfest.report.comparison`.
        before: the last verdict about the driver in an earlier run of the configuration.
        outcome: of this run.
    """

    test: Test
    change: Change
    before: Verdict
    outcome: RecordedResult

    @property
    def worse(self) -> bool:
        """Whether it would fail a comparison of the two runs."""
        return is_worse(self.before, self.outcome.verdict, self.change)


@dataclass
class RecordedRun:
    """A run of the history.

    Attributes:
        id: its number.
        release: ``uname -r`` of its kernel.
        start: in ISO 8601, UTC.
        seconds: that it took.
        complete: whether every selected test ran.
        interrupted: why not.
        exit_status: of the run.
        accel: ``kvm`` or ``tcg``.
        subject: the device, in words.
        versions: by name.
        folder: its output folder when it was added.
        outcomes: by the number of the test.
        transitions: what changed since the runs before it.
    """

    id: int
    release: str
    start: str
    seconds: float
    complete: bool
    interrupted: str | None
    exit_status: int
    accel: str
    subject: str
    versions: Mapping[str, str]
    folder: str
    outcomes: dict[int, RecordedResult] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def when(self) -> str:
        """Its start, to the minute, in words."""
        return f"{datetime.fromisoformat(self.start):%Y-%m-%d %H:%M}"

    @cached_property
    def counts(self) -> dict[Verdict, int]:
        """How many results have each verdict that occurs."""
        found = [outcome.verdict for outcome in self.outcomes.values()]
        return {verdict: found.count(verdict) for verdict in Verdict if verdict in found}

    def changed(self, *changes: Change) -> list[Transition]:
        """Return the transitions of some kinds."""
        return [each for each in self.transitions if each.change in changes]


@dataclass
class Configuration:
    """What is run again and again: a driver with a profile of its device on a kernel.

    Attributes:
        id: its number.
        driver: name in the registry.
        profile: of the model; empty if it has none.
        kernel: as the user gave it: a channel, a tree.
        modules: the file names of out-of-tree modules, or ``with`` and a series of patches; empty if the kernel's own are tested.
        runs: the oldest first.
    """

    id: int
    driver: str
    profile: str
    kernel: str
    modules: str
    runs: list[RecordedRun] = field(default_factory=list)

    @property
    def device(self) -> str:
        """The driver, with the profile and modules if there are any."""
        return " ".join(
            [self.driver, *([f"({self.profile})"] if self.profile else ()), *([self.modules] if self.modules else ())]
        )

    @property
    def name(self) -> str:
        """All of it in words."""
        return f"{self.device} on {self.kernel}"

    @property
    def latest(self) -> RecordedRun:
        """Its newest run."""
        return self.runs[-1]

    def verdicts(self, test: int) -> list[tuple[RecordedRun, RecordedResult]]:
        """Return a test's results, the oldest first, in the runs that have one."""
        return [(run, run.outcomes[test]) for run in self.runs if test in run.outcomes]

    def stability(self, test: int) -> Stability | None:
        """Judge a test's verdicts; None if it has never been run."""
        found = [outcome.verdict for _, outcome in self.verdicts(test)]
        return stability(found) if set(found) - NOT_RUN else None

    def last(self, test: int) -> tuple[RecordedRun, RecordedResult] | None:
        """Return a test's newest result; None if no run has one."""
        return next(((run, run.outcomes[test]) for run in reversed(self.runs) if test in run.outcomes), None)


@dataclass(frozen=True)
class Timeline:
    """All of a history.

    Attributes:
        configurations: by driver, profile, kernel and modules.
        tests: by number, in the order of their requirements.
        requirements: by id, each with area, level, source and sentence, in the order of areas and ids.
    """

    configurations: list[Configuration]
    tests: dict[int, Test]
    requirements: dict[str, Mapping[str, str]]

    def flaky(self, configuration: Configuration) -> list[Test]:
        """Return the tests whose verdicts come and go."""
        return [test for test in self.tests.values() if configuration.stability(test.id) is Stability.FLAKY]


def read(connection: sqlite3.Connection, newest: int = NEWEST) -> Timeline:
    """Read a history.

    Args:
        connection: as `plugfest.history.database.reading` opens it.
        newest: how many runs of each configuration, the newest ones; what changed in the oldest of them is not known.
    """
    requirements: dict[str, Mapping[str, str]] = {
        row["id"]: {key: row[key] for key in ("area", "level", "source", "sentence")}
        for row in connection.execute("SELECT * FROM requirement ORDER BY area, id")
    }
    tests = {
        row["id"]: Test(row["id"], row["test"], row["subtest"], row["requirement"])
        for row in connection.execute("SELECT * FROM test ORDER BY requirement, id")
    }
    configurations = {
        row["id"]: Configuration(*row)
        for row in connection.execute("SELECT * FROM configuration ORDER BY driver, profile, kernel, modules")
    }
    for row in connection.execute(_NEWEST_RUNS, (newest,)):
        run = RecordedRun(
            row["id"],
            row["release"],
            row["start"],
            row["seconds"],
            bool(row["complete"]),
            row["interrupted"],
            row["exit_status"],
            row["accel"],
            row["subject"],
            json.loads(row["versions"]),
            row["folder"],
            _outcomes(connection, row["id"]),
        )
        configurations[row["configuration"]].runs.append(run)
    for configuration in configurations.values():
        _compare(configuration, tests)
    return Timeline(list(configurations.values()), tests, requirements)


def _outcomes(connection: sqlite3.Connection, run: int) -> dict[int, RecordedResult]:
    crashes: dict[int, list[str]] = {}
    for row in connection.execute("SELECT test, fingerprint FROM crash WHERE run = ? ORDER BY fingerprint", (run,)):
        crashes.setdefault(row["test"], []).append(sys.intern(row["fingerprint"]))
    return {
        row["test"]: RecordedResult(
            _VERDICTS[row["verdict"]],
            sys.intern(row["reason"]),
            row["seconds"],
            bool(row["intermittent"]),
            tuple(crashes.get(row["test"], ())),
        )
        for row in connection.execute("SELECT * FROM result WHERE run = ? ORDER BY test", (run,))
    }


def _compare(configuration: Configuration, tests: Mapping[int, Test]) -> None:
    """Find what changed in each run: a verdict is compared with the last one that said something about the driver."""
    known: dict[int, RecordedResult] = {}
    previous: dict[int, Verdict] = {}
    for run in configuration.runs:
        for number in (each for each in tests if each in run.outcomes):
            outcome, before = run.outcomes[number], known.get(number)
            # What stays undecided night after night was lost once.
            if before is not None and outcome.verdict not in (before.verdict, previous[number]):
                luck = before.intermittent or outcome.intermittent
                change = change_of(before.verdict, outcome.verdict, intermittent=luck)
                run.transitions.append(Transition(tests[number], change, before.verdict, outcome))
            previous[number] = outcome.verdict
            if outcome.verdict not in UNDECIDED:
                known[number] = outcome
        run.transitions.sort(key=lambda each: list(Change).index(each.change))
