# SPDX-License-Identifier: GPL-2.0-or-later
"""Three runs of one kind that must agree: those of the suite, or those of upstream's tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from plugfest.report import repetition
from plugfest.report.document import Document, has_faults
from plugfest.report.repetition import Run
from plugfest.requirements.verdict import Verdict, worst

RUNS = 3
"""How many runs must agree."""

WARNED = (Verdict.XFAIL, Verdict.QUARANTINED)
"""Verdicts that are no failure of a run, and no pass: the exceptions of a certificate."""

_SHOWN = 10
"""How many tests an objection names."""


class Kind(StrEnum):
    """What runs are of. The value is the field ``kind`` of their reports, which the suite's lack."""

    SUITE = "suite"
    SELFTESTS = "selftests"

    @property
    def folder(self) -> str:
        """What the names of the runs' folders begin with, in results and in a bundle."""
        return "" if self is Kind.SUITE else f"{self}/"

    @property
    def what(self) -> str:
        """What people call it."""
        return "the suite" if self is Kind.SUITE else "upstream's tests"


@dataclass(frozen=True)
class Group:
    """Runs of one kind.

    Attributes:
        kind: what they must be of.
        runs: in their order, each with its report.
    """

    kind: Kind
    runs: tuple[Run, ...]

    @property
    def document(self) -> Document:
        """The report of the first run, which stands for all where they agree."""
        return self.runs[0].document

    @cached_property
    def objections(self) -> list[str]:
        """Why the runs certify nothing, one line each; empty if they do."""
        if len(self.runs) != RUNS:
            return [f"{self._name}expected {RUNS} runs, found {len(self.runs)}"]
        found = [line for run in self.runs for line in self._unfit(run)]
        if found:
            return found
        seeds = {run.document["run"]["options"]["seed"] for run in self.runs}
        if len(seeds) < RUNS:
            found.append(f"{self._name}expected each run in another order, found one order twice")
        found += self._differences()
        if not found:
            found += self._disagreements()
        return found

    @property
    def short(self) -> bool:
        """Whether there are not as many runs as there must be, or one of them did not end."""
        return len(self.runs) != RUNS or not all(run.document["run"]["complete"] for run in self.runs)

    @property
    def _name(self) -> str:
        """What an objection begins with that names no run and no test."""
        return "" if self.kind is Kind.SUITE else f"{self.kind}: "

    def _unfit(self, run: Run) -> Iterator[str]:
        """Yield why a run is not one that certifies."""
        document, name = run.document, run.folder
        ran, options = document["run"], document["run"]["options"]
        kind = Kind(ran.get("kind", Kind.SUITE))
        if kind is not self.kind:
            yield f"{name} is a run of {kind.what}, expected one of {self.kind.what}"
            return
        if not ran["complete"]:
            yield f"{name} is not complete: {ran['interrupted']}"
        if "testbed" not in ran or (kind is Kind.SELFTESTS and not _has_upstream(ran)):
            yield f"{name} was made by a plugfest that did not record the testbed"
            return
        if has_faults(document):
            yield f"{name} ran under a fault"
        if kind is Kind.SUITE and options["pytest"]:
            yield f"{name} ran with arguments of pytest ({' '.join(options['pytest'])}), which may leave tests out"
        if options["seed"] is None:
            yield f"{name} was not shuffled"

    def _differences(self) -> Iterator[str]:
        """Yield what is not the same in all runs, though it must be."""
        first = self.runs[0]
        for run in self.runs[1:]:
            both = f"{first.folder} and {run.folder} differ in"
            yield from (f"{both} {key}" for key in differing(_identity(first.document), _identity(run.document)))
            tests = [{result["test"] for result in each.document["results"]} for each in (first, run)]
            alone = [
                *(f"{test} is in {first.folder} alone" for test in sorted(tests[0] - tests[1])),
                *(f"{test} is in {run.folder} alone" for test in sorted(tests[1] - tests[0])),
            ]
            if alone:
                more = [f"and {len(alone) - _SHOWN} more"] if len(alone) > _SHOWN else []
                yield f"{both} the tests: {', '.join([*alone[:_SHOWN], *more])}"

    def _disagreements(self) -> Iterator[str]:
        """Yield the tests whose verdict is not the same in all runs."""
        varied = repetition.build(self.runs, RUNS, None)["varied"]
        rows = [row for row in varied if not repetition.is_expected(row)]
        for row in rows[:_SHOWN]:
            cells = ", ".join(cell["verdict"] for cell in row["verdicts"])
            yield f"{row['requirement']} ({row['test'].rpartition('::')[2]}) was {cells}"
        if len(rows) > _SHOWN:
            yield f"and {len(rows) - _SHOWN} more tests varied"

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each requirement, in the suite's order, or of each of upstream's tests: the worst of its tests in all runs."""
        found: dict[str, set[Verdict]] = {}
        for run in self.runs:
            for result in run.document["results"]:
                found.setdefault(result["requirement"], set()).add(Verdict(result["verdict"]))
        return {each["id"]: worst(found[each["id"]]) for each in self.document["requirements"] if each["id"] in found}

    def requirements(self, *verdicts: Verdict) -> list[str]:
        """Return the ids of the requirements with these verdicts."""
        return [identity for identity, verdict in self.verdicts.items() if verdict in verdicts]

    @property
    def failed(self) -> list[str]:
        """The ids of the requirements that failed, in whichever way."""
        return [identity for identity, verdict in self.verdicts.items() if verdict.is_failure]


def _has_upstream(ran: Mapping[str, Any]) -> bool:
    """Whether a run's journal says what upstream's tests hang on."""
    return "source" in ran and "selftests" in ran["testbed"] and {"disruptive", "time_limit"} <= ran["options"].keys()


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ."""
    return [key for key, value in first.items() if second[key] != value]


def _identity(document: Document) -> dict[str, Any]:
    """Return what must be the same in all runs of a kind, beside the tests."""
    run = document["run"]
    chosen = ("confirm", "areas", "slow", "modules")
    only = ("pytest", "disruptive", "time_limit", "without_selftests")
    options = {key: run["options"][key] for key in chosen} | {key: run["options"].get(key) for key in only}
    return {
        **{key: run[key] for key in ("driver", "module", "subject", "kernel", "versions")},
        "acceleration": run["accel"]["name"],
        "the guest's CPUs and memory": (run["guest"]["cpus"], run["guest"]["memory"]),
        "options": options,
        "the testbed": run["testbed"],
        "the tests' source": run.get("source"),
        "requirements": sorted(document["requirements"], key=lambda each: str(each["id"])),
    }


def shared(document: Document) -> dict[str, Any]:
    """Return what must be the same in runs of either kind: upstream's tests have a guest root and lists of known issues of their own."""
    run = document["run"]
    bed = run["testbed"]
    return {
        **{key: run[key] for key in ("driver", "module", "subject", "kernel", "versions")},
        "acceleration": run["accel"]["name"],
        "the testbed": {key: bed[key] for key in ("qemu", "kernel", "modules", "suite", "module")},
    }


def runs_of(documents: Mapping[str, Document], kind: Kind) -> Group:
    """Return the runs of a kind.

    Args:
        documents: reports, by the name of each one's folder; of any kind.
        kind: whose folders are wanted.
    """
    prefix = f"{kind.folder}{repetition.PREFIX}"
    names: Sequence[str] = [name for name in documents if name.startswith(prefix)]
    numbered = sorted(names, key=lambda name: int(name.removeprefix(prefix)))
    return Group(kind, tuple(Run(name, documents[name]) for name in numbered))
