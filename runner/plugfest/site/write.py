# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the site: an index, a page for each run and a page for each requirement."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from plugfest import __version__
from plugfest.errors import InfrastructureError
from plugfest.history.stability import STREAK, Stability
from plugfest.history.timeline import Configuration, RecordedRun, Test, Timeline
from plugfest.report import pages, text_file
from plugfest.report.comparison import Change
from plugfest.requirements.verdict import WORST_FIRST, Verdict
from plugfest.site.chart import HEIGHT, chart
from plugfest.site.requirement import cell, releases, strips

WINDOW = 60
"""How many runs of a configuration the site shows: the newest."""
STALE = timedelta(days=14)
"""A configuration without a run for so long before the newest run of all is said to be stale."""

GLYPHS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.SKIP: "-",
    Verdict.XFAIL: "x",
    Verdict.ERROR: "E",
    Verdict.CRASH: "!",
    Verdict.TIMEOUT: "T",
    Verdict.UNSTABLE: "~",
    Verdict.QUARANTINED: "Q",
    Verdict.BLOCKED: "B",
    Verdict.MISS: "?",
}
"""What the heat map has for each verdict: a colour alone would leave out who cannot tell colours apart."""


@dataclass
class Crash:
    """A complaint of the kernel, wherever it came up.

    Attributes:
        fingerprint: see `plugfest.report.fingerprint`.
        count: in how many results.
        first: the oldest run with it.
        last: the newest one.
        configurations: where, in words.
        requirements: whose tests it came up in.
    """

    fingerprint: str
    first: RecordedRun
    last: RecordedRun
    count: int = 0
    configurations: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)


def write(timeline: Timeline, folder: Path, *, title: str) -> int:
    """Write the pages of a history into a folder; pages of these names are replaced, all else is left alone.

    The same history gives the same bytes.

    Args:
        timeline: the history.
        folder: made if it is missing. A run's report is linked if its output folder lies in the same folder as this one, or below
            that: then both can be published together.
        title: of the index.

    Returns:
        How many pages were written.

    Raises:
        InfrastructureError: it cannot be written.
    """
    site = _Site(timeline, folder, title)
    made = {"index.html": site.index()}
    for configuration in timeline.configurations:
        made |= {_run_page(configuration, run): site.run(configuration, run) for run in configuration.runs[-WINDOW:]}
    made |= {_requirement_page(requirement): site.requirement(requirement) for requirement in timeline.requirements}
    try:
        for path, text in made.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            text_file.write(file, text)
    except OSError as error:
        raise InfrastructureError(
            f"{folder}: expected a folder to write the site to, found: {error.strerror}; choose another with --out"
        ) from error
    return len(made)


def _run_page(configuration: Configuration, run: RecordedRun) -> str:
    words = f"{configuration.driver}-{configuration.profile}-{run.release}"
    return f"runs/{run.id}-{re.sub(r'[^A-Za-z0-9_.]+', '-', words).strip('-')}.html"


def _requirement_page(requirement: str) -> str:
    return f"requirements/{re.sub(r'[^A-Za-z0-9_.-]+', '-', requirement)}.html"


class _Site:
    def __init__(self, timeline: Timeline, folder: Path, title: str) -> None:
        self._timeline = timeline
        self._folder = folder.resolve()
        self._title = title
        self._tests: dict[str, list[Test]] = {requirement: [] for requirement in timeline.requirements}
        for test in timeline.tests.values():
            self._tests[test.requirement].append(test)
        self._areas: dict[str, list[str]] = {}
        for requirement, about in timeline.requirements.items():
            self._areas.setdefault(about["area"], []).append(requirement)
        self._pages = {
            run.id: _run_page(configuration, run)
            for configuration in timeline.configurations
            for run in configuration.runs[-WINDOW:]
        }
        self._crashes = self._find_crashes()

    def index(self) -> str:
        timeline = self._timeline
        newest = max((configuration.latest.start for configuration in timeline.configurations), default=None)
        cells = {
            requirement: [cell(configuration, self._tests[requirement]) for configuration in timeline.configurations]
            for requirement in timeline.requirements
        }
        return self._render(
            "index.html",
            "",
            title=self._title,
            configurations=timeline.configurations,
            stale=[configuration.name for configuration in timeline.configurations if _is_stale(configuration, newest)],
            newest=None if newest is None else f"{datetime.fromisoformat(newest):%Y-%m-%d %H:%M}",
            charts=[chart(configuration.runs[-WINDOW:]) for configuration in timeline.configurations],
            height=HEIGHT,
            flaky={configuration.id: timeline.flaky(configuration) for configuration in timeline.configurations},
            areas=self._areas,
            cells=cells,
            worst={
                area: {
                    verdict: count
                    for verdict in WORST_FIRST
                    if (
                        count := sum(
                            each is not None and each.verdict is verdict for row in rows for each in cells[row]
                        )
                    )
                }
                for area, rows in self._areas.items()
            },
            crashes=list(self._crashes.values()),
        )

    def run(self, configuration: Configuration, run: RecordedRun) -> str:
        found = [(test, run.outcomes[test.id]) for test in self._timeline.tests.values() if test.id in run.outcomes]
        found.sort(key=lambda each: WORST_FIRST.index(each[1].verdict))
        areas: dict[str, dict[Verdict, list[Test]]] = {}
        for test, outcome in found:
            area = self._timeline.requirements[test.requirement]["area"]
            areas.setdefault(area, {}).setdefault(outcome.verdict, []).append(test)
        number = configuration.runs.index(run)
        before = configuration.runs[number - 1] if number and configuration.runs[number - 1].id in self._pages else None
        after = configuration.runs[number + 1] if number + 1 < len(configuration.runs) else None
        return self._render(
            "run.html",
            "../",
            title=f"{configuration.device} on Linux {run.release}, {run.when}",
            configuration=configuration,
            run=run,
            report=self._report(run),
            verdicts={verdict: run.counts[verdict] for verdict in WORST_FIRST if verdict in run.counts},
            listed=[(test, outcome) for test, outcome in found if outcome.verdict not in (Verdict.PASS, Verdict.SKIP)],
            areas=dict(sorted(areas.items())),
            seconds=dict(self._seconds(run)),
            before=before,
            after=after,
        )

    def requirement(self, requirement: str) -> str:
        tests = self._tests[requirement]
        columns = [
            release
            for release in releases(self._timeline)
            if any(
                run.release == release and any(test.id in run.outcomes for test in tests)
                for configuration in self._timeline.configurations
                for run in configuration.runs
            )
        ]
        tested = [
            configuration for configuration in self._timeline.configurations if cell(configuration, tests) is not None
        ]
        return self._render(
            "requirement.html",
            "../",
            title=requirement,
            about=self._timeline.requirements[requirement],
            columns=columns,
            rows=[
                (
                    configuration,
                    [
                        cell(configuration, tests, [run for run in configuration.runs if run.release == release])
                        for release in columns
                    ],
                )
                for configuration in tested
            ],
            strips=[(configuration, strips(configuration, tests, WINDOW)) for configuration in tested],
            crashes=[crash for crash in self._crashes.values() if requirement in crash.requirements],
        )

    def _render(self, template: str, up: str, **values: object) -> str:
        return pages.render(
            template,
            script=None,
            package="plugfest.site",
            style="site.css",
            up=up,
            version=__version__,
            page=lambda run: quote(up + self._pages[run.id]) if run.id in self._pages else None,
            about_requirement=lambda requirement: quote(up + _requirement_page(requirement)),
            requirements=self._timeline.requirements,
            glyphs=GLYPHS,
            legend=WORST_FIRST,
            Change=Change,
            Stability=Stability,
            streak=STREAK,
            window=WINDOW,
            **values,
        )

    def _seconds(self, run: RecordedRun) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for number, outcome in run.outcomes.items():
            area = self._timeline.requirements[self._timeline.tests[number].requirement]["area"]
            found[area] = found.get(area, 0.0) + outcome.seconds
        return found

    def _report(self, run: RecordedRun) -> str | None:
        """Return the address of a run's own report, from its page here; None if the two cannot be published together."""
        report = Path(run.folder) / "report.html"
        if not report.is_file() or not report.is_relative_to(self._folder.parent):
            return None
        return quote(os.path.relpath(report, self._folder / "runs"))

    def _find_crashes(self) -> dict[str, Crash]:
        """Return what the kernel complained of, what was seen last first."""
        found: dict[str, Crash] = {}
        for configuration in self._timeline.configurations:
            for run in configuration.runs:
                for number, outcome in run.outcomes.items():
                    for text in outcome.crashes:
                        crash = found.setdefault(text, Crash(text, run, run))
                        crash.count += 1
                        crash.first = min(crash.first, run, key=lambda each: (each.start, each.id))
                        crash.last = max(crash.last, run, key=lambda each: (each.start, each.id))
                        for known, new in (
                            (crash.configurations, configuration.name),
                            (crash.requirements, self._timeline.tests[number].requirement),
                        ):
                            if new not in known:
                                known.append(new)
        return dict(sorted(found.items(), key=lambda each: (each[1].last.start, each[0]), reverse=True))


def _is_stale(configuration: Configuration, newest: str | None) -> bool:
    return (
        newest is not None
        and datetime.fromisoformat(newest) - datetime.fromisoformat(configuration.latest.start) > STALE
    )
