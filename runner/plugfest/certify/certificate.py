# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs certify, as a function of their reports: whether they agree, the testbed's manifest, the in-toto statement."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from plugfest.certify.group import WARNED, Group, Kind, differing, runs_of, shared
from plugfest.report.document import Document
from plugfest.report.repetition import Run
from plugfest.requirements import drivers as registry
from plugfest.requirements import known_issues, quarantine
from plugfest.requirements.verdict import Verdict
from plugfest.run import testbed
from plugfest.run.time_limit import OWN_LIMIT

MANIFEST = "testbed.json"
SUMS = "SHA256SUMS"
MANIFEST_SCHEMA = 2
"""Incremented when readers of the previous version would misread the new one."""

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"

_LISTS = {
    "known_issues": ("a list of known issues", known_issues.DEFAULT),
    "quarantine": ("a quarantine", quarantine.DEFAULT),
}
"""What a verdict may hang on beside the driver, by its name in the journal."""


@dataclass(frozen=True)
class Certificate:
    """Three runs of the suite, and perhaps three of upstream's tests.

    Attributes:
        suite: the runs of the suite.
        selftests: those of upstream's tests; None if there are none.
        left_out: whether there are some, which the signer left out.
    """

    suite: Group
    selftests: Group | None
    left_out: bool = False

    @property
    def groups(self) -> tuple[Group, ...]:
        """The runs of each kind."""
        return (self.suite,) if self.selftests is None else (self.suite, self.selftests)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of all kinds."""
        return tuple(run for group in self.groups for run in group.runs)

    @property
    def document(self) -> Document:
        """The report of the first run of the suite."""
        return self.suite.document

    @cached_property
    def objections(self) -> list[str]:
        """Why the runs certify nothing, one line each; empty if they do."""
        found = [line for group in self.groups for line in group.objections]
        if not found and self.selftests is not None:
            first, other = (group.runs[0] for group in self.groups)
            both = f"{first.folder} and {other.folder} differ in"
            found += [f"{both} {key}" for key in differing(shared(first.document), shared(other.document))]
        if not found and Verdict.PASS not in self.suite.verdicts.values():
            found.append("expected a requirement that passes, found none")
        return found

    def requirements(self, *verdicts: Verdict) -> list[str]:
        """Return the ids of the requirements, and of upstream's tests, with these verdicts."""
        return [identity for group in self.groups for identity in group.requirements(*verdicts)]

    @property
    def failed(self) -> list[str]:
        """The ids of the requirements, and of upstream's tests, that failed, in whichever way."""
        return [identity for group in self.groups for identity in group.failed]

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
                "requirements": len(self.suite.verdicts),
                "tests": len(self.document["results"]),
                "areas": sorted({each["area"] for each in self.document["requirements"]}),
                "slow": options["slow"],
                "lists": found["lists"],
            },
            "runs": [_ran(each) for each in self.suite.runs],
            "selftests": None if self.selftests is None else _selftests(self.selftests),
            "selftests_left_out": self.left_out,
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
        """What departs from the default, one line each. Another plugfest's areas and lists are not known here."""
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
        if self.selftests is None:
            not_run = options.get("without_selftests", "they were not run")
            why_left = "there are runs of them, which the signer left out (--no-selftests)"
            found.append(f"without upstream's tests: {why_left if self.left_out else not_run}")
        else:
            found += _selftests_deviations(self.selftests.document["run"]["options"])
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


def _selftests(group: Group) -> dict[str, Any]:
    """Return the manifest's part about upstream's tests: whose source they are of, what the guest has for them, and the runs."""
    run = group.document["run"]
    return {
        "source": run["source"],
        "sha256": run["testbed"]["selftests"],
        "tests": len(group.verdicts),
        "cases": len(group.document["results"]),
        "chosen": run["options"]["pytest"],
        "disruptive": run["options"]["disruptive"],
        "time_limit": run["options"]["time_limit"],
        "guest": {"cpus": run["guest"]["cpus"], "memory": run["guest"]["memory"], **run["testbed"]["root"]},
        "runs": [_ran(each) for each in group.runs],
    }


def _selftests_deviations(options: Mapping[str, Any]) -> Iterator[str]:
    if options["pytest"]:
        yield f"only upstream's tests {', '.join(options['pytest'])}"
    if not options["disruptive"]:
        yield "without those of upstream's tests that take the interface down (--not-disruptive)"
    if options["time_limit"] != OWN_LIMIT:
        yield f"{options['time_limit']:g} s, not {OWN_LIMIT:g} s, for each of upstream's tests that has no time limit (--time-limit)"
    if not options["confirm"]:
        yield "verdicts of upstream's tests against the driver were not confirmed in a fresh guest (--no-confirm)"


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


def certificate_of(documents: Mapping[str, Document], *, left_out: bool = False) -> Certificate:
    """Return what runs certify.

    Args:
        documents: their reports, by the name of each one's folder: ``run-1``, ``selftests/run-1``.
        left_out: whether there are runs of upstream's tests that are not among them.
    """
    selftests = runs_of(documents, Kind.SELFTESTS)
    suite = runs_of(documents, Kind.SUITE)
    return Certificate(suite, selftests) if selftests.runs else Certificate(suite, None, left_out)
