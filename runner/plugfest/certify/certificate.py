# SPDX-License-Identifier: GPL-2.0-or-later
"""What three runs certify, as a function of their reports: whether they agree, the testbed's manifest, the in-toto statement."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from plugfest.report import repetition
from plugfest.report.document import Document, has_faults
from plugfest.report.repetition import Run
from plugfest.requirements import drivers as registry
from plugfest.requirements import known_issues, quarantine
from plugfest.requirements.verdict import Verdict, worst
from plugfest.run import testbed

RUNS = 3
"""How many runs must agree."""

MANIFEST = "testbed.json"
SUMS = "SHA256SUMS"
MANIFEST_SCHEMA = 1
"""Incremented when readers of the previous version would misread the new one."""

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"

WARNED = (Verdict.XFAIL, Verdict.QUARANTINED)
"""Verdicts that are no failure of a run, and no pass: the exceptions of a certificate."""

_LISTS = {
    "known_issues": ("a list of known issues", known_issues.DEFAULT),
    "quarantine": ("a quarantine", quarantine.DEFAULT),
}
"""What a verdict may hang on beside the driver, by its name in the journal."""

_SHOWN = 10
"""How many tests an objection names."""


@dataclass(frozen=True)
class Certificate:
    """Three runs of the suite.

    Attributes:
        runs: in their order, each with its report.
    """

    runs: tuple[Run, ...]

    @property
    def document(self) -> Document:
        """The report of the first run, which stands for all where they agree."""
        return self.runs[0].document

    @cached_property
    def objections(self) -> list[str]:
        """Why the runs certify nothing, one line each; empty if they do."""
        if len(self.runs) != RUNS:
            return [f"expected {RUNS} runs, found {len(self.runs)}"]
        found = [line for run in self.runs for line in _unfit(run)]
        if found:
            return found
        seeds = {run.document["run"]["options"]["seed"] for run in self.runs}
        if len(seeds) < RUNS:
            found.append("expected each run in another order, found one order twice")
        found += self._differences()
        if not found:
            found += self._disagreements()
        if not found and Verdict.PASS not in self.verdicts.values():
            found.append("expected a requirement that passes, found none")
        return found

    def _differences(self) -> Iterator[str]:
        """Yield what is not the same in all runs, though it must be."""
        first, *others = (_identity(run.document) for run in self.runs)
        for run, other in zip(self.runs[1:], others, strict=True):
            for key, value in first.items():
                if other[key] != value:
                    yield f"{self.runs[0].folder} and {run.folder} differ in {key}"

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
        """The verdict of each requirement: the worst of its tests in all runs, in the suite's order."""
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

    @property
    def result(self) -> str:
        """``PASSED``, ``WARNED`` if there are exceptions, or ``FAILED``."""
        if self.failed:
            return "FAILED"
        return "WARNED" if self.requirements(*WARNED) else "PASSED"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The testbed: everything that the verdicts hang on, what departs from the default run, and the known issues that showed."""
        run = self.document["run"]
        found, options = run["testbed"], run["options"]
        return {
            "schema": MANIFEST_SCHEMA,
            "driver": {
                "name": run["driver"],
                "version": run["versions"].get("driver"),
                "module": found["module"],
                "out-of-tree": found["modules"],
            },
            "device": {**{key: run["subject"][key] for key in ("kind", "name", "profile", "text")}}
            | {"model": run["versions"].get("model")},
            "kernel": {**run["kernel"], **found["kernel"]},
            "qemu": {**found["qemu"], "acceleration": run["accel"]["name"]},
            "guest": {"cpus": run["guest"]["cpus"], "memory": run["guest"]["memory"], **found["root"]},
            "host": {key: run["versions"][key] for key in ("host", "python")},
            "suite": {
                **found["suite"],
                "requirements": len(self.verdicts),
                "tests": len(self.document["results"]),
                "areas": sorted({each["area"] for each in self.document["requirements"]}),
                "slow": options["slow"],
                "lists": found["lists"],
            },
            "runs": [_ran(each) for each in self.runs],
            "deviations": self.deviations,
            "known_issues": self._known_issues(),
        }

    @cached_property
    def same_program(self) -> bool:
        """Whether the plugfest that made the runs is this one, whose drivers and lists are then theirs."""
        made_by = self.document["run"]["testbed"]["suite"]["plugfest"]
        return bool(made_by == testbed.tree_sha256(Path(testbed.__file__).parents[1]))

    @property
    def deviations(self) -> list[str]:
        """What departs from the default run of the suite, one line each. Another plugfest's areas and lists are not known here."""
        run = self.document["run"]
        options = run["options"]
        found = []
        if options["areas"]:
            driver = registry.drivers().get(run["driver"]) if self.same_program else None
            left_out = [] if driver is None else [area for area in driver.areas if area not in options["areas"]]
            more = f"; left out: {', '.join(left_out) or 'none'}" if self.same_program else ""
            found.append(f"only the areas {', '.join(options['areas'])}{more}")
        if not options["confirm"]:
            found.append("verdicts against the driver were not confirmed in a fresh guest (--no-confirm)")
        for name, (what, own) in _LISTS.items():
            if run["testbed"]["lists"].get(name) != testbed.file_sha256(own):
                found.append(
                    f"{what} of the signer's own, not plugfest's"
                    if self.same_program
                    else f"{what} that is not this plugfest's: another plugfest made the runs, with its own or the signer's"
                )
        return found

    def _known_issues(self) -> list[dict[str, Any]]:
        """Join the rows of the runs' reports by issue: its requirements, and in how many tests of all runs it showed."""
        joined: dict[tuple[str, str], dict[str, Any]] = {}
        for run in self.runs:
            for row in run.document["known_issues"]:
                found = joined.setdefault((row["title"], row["link"]), {"requirements": set(), "showed": 0})
                found["requirements"] |= {row["requirement"]} - {None}
                found["showed"] += row["showed"]
        return [
            {"title": title, "link": link, "requirements": sorted(each["requirements"]), "showed": each["showed"]}
            for (title, link), each in joined.items()
            if each["showed"]
        ]

    def statement(self, files: Mapping[str, bytes]) -> bytes:
        """Return the in-toto statement (test-result 0.1).

        Args:
            files: the content of the manifest and of the list of checksums.

        Returns:
            JSON; the same for the same runs and files.
        """
        kernel = self.document["run"]["kernel"]["release"]
        image, module = (self.document["run"]["testbed"][key] for key in ("kernel", "module"))
        subjects = [{"name": f"linux-{kernel}", "digest": {"sha256": image["sha256"]}}]
        if module is not None:
            subjects.insert(0, {"name": module["file"], "digest": {"sha256": module["sha256"]}})
        kinds = {MANIFEST: "application/json", SUMS: "text/plain"}
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": subjects,
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "result": self.result,
                "configuration": [
                    {"name": name, "mediaType": kind, "digest": {"sha256": hashlib.sha256(files[name]).hexdigest()}}
                    for name, kind in kinds.items()
                ],
                "passedTests": self.requirements(Verdict.PASS),
                "warnedTests": self.requirements(*WARNED),
                "failedTests": self.failed,
            },
        }
        return as_json(statement)


def as_json(value: object) -> bytes:
    """Return JSON as a bundle has it: the same bytes for the same value."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _unfit(run: Run) -> Iterator[str]:
    """Yield why a run is not one that certifies."""
    document, name = run.document, run.folder
    ran, options = document["run"], document["run"]["options"]
    if not ran["complete"]:
        yield f"{name} is not complete: {ran['interrupted']}"
    if "testbed" not in ran:
        yield f"{name} was made by a plugfest that did not record the testbed"
        return
    if has_faults(document):
        yield f"{name} ran under a fault"
    if options["pytest"]:
        yield f"{name} ran with arguments of pytest ({' '.join(options['pytest'])}), which may leave tests out"
    if options["seed"] is None:
        yield f"{name} was not shuffled"


def _identity(document: Document) -> dict[str, Any]:
    """Return what must be the same in all runs."""
    run = document["run"]
    options = {key: run["options"][key] for key in ("confirm", "areas", "slow", "modules")}
    return {
        **{key: run[key] for key in ("driver", "module", "subject", "kernel", "versions")},
        "acceleration": run["accel"]["name"],
        "the guest's CPUs and memory": (run["guest"]["cpus"], run["guest"]["memory"]),
        "options": options,
        "the testbed": run["testbed"],
        "requirements": sorted(document["requirements"], key=lambda each: str(each["id"])),
        "the tests": sorted(result["test"] for result in document["results"]),
    }


def _ran(run: Run) -> dict[str, Any]:
    ran = run.document["run"]
    return {
        "folder": run.folder,
        "start": ran["start"],
        "seconds": ran["seconds"],
        "seed": ran["options"]["seed"],
        "load": ran["options"]["load"],
        "guests": ran["options"]["guests"],
        "verdicts": {verdict: count for verdict, count in run.document["summary"].items() if count},
    }


def runs_of(documents: Mapping[str, Document]) -> tuple[Run, ...]:
    """Return the runs of reports, by the name of each one's folder, in the order of their numbers."""
    names: Sequence[str] = sorted(documents, key=lambda name: int(name.removeprefix(repetition.PREFIX)))
    return tuple(Run(name, documents[name]) for name in names)
