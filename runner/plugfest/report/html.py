# SPDX-License-Identifier: GPL-2.0-or-later
"""``report.html``: the report that people read. Large artifacts stay in files of their own, which it links to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.report import flags, kept, pages, tables
from plugfest.report.artifact import Artifact
from plugfest.report.document import Document, blockers, observed, split_test, strict_waits, tight_waits
from plugfest.requirements.verdict import WORST_FIRST, Verdict, worst
from plugfest.run.journal import GUEST

_FILES = ("report.json", "junit.xml", "report.tap", "console.log", "model.log", "journal.jsonl")


@dataclass(frozen=True)
class Row:
    """One requirement and the results of its variants.

    Attributes:
        requirement: of the document.
        results: at least one, worst first.
        open: whether the page shows it expanded.
    """

    requirement: Mapping[str, Any]
    results: tuple[Mapping[str, Any], ...]
    open: bool

    @property
    def verdict(self) -> Verdict:
        """The worst of the variants' verdicts; ``skip`` if they have no other."""
        return worst(Verdict(each["verdict"]) for each in self.results)

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many variants have each verdict that occurs, worst first."""
        return {verdict: count for verdict in WORST_FIRST if (count := _count(self.results, verdict))}

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """What the collapsed row shows: each reason once, behind the names of its variants.

        The names are empty where the reason is that of all variants.
        """
        found: dict[str, list[str]] = {}
        for result in self.results:
            shows = result["known_issue"] is not None and result["verdict"] == Verdict.XFAIL
            reason = result["known_issue"]["reason"] if shows else observed(result)
            if reason:
                found.setdefault(reason, []).append(variant(result))
        return [
            ("" if len(names) == len(self.results) else ", ".join(names), reason) for reason, names in found.items()
        ]


@dataclass(frozen=True)
class Section:
    """A heading of the page and the requirements under it."""

    key: str
    title: str
    rows: list[Row]


def write(document: Document, folder: Path) -> None:
    """Write ``report.html``, and a page beside each register trace and each capture.

    Args:
        document: the report.
        folder: the output folder, which holds the artifacts.
    """
    tables.write(document, folder)
    (folder / "report.html").write_text(render(document, folder), encoding="utf-8")


def render(document: Document, folder: Path) -> str:
    """Return the page.

    Args:
        document: the report.
        folder: the output folder; the page links to those of its files that exist.
    """
    rows = _rows(document)
    results = document["results"]
    blocking = blockers(document)
    sentences = {each["id"]: each["sentence"] for each in document["requirements"]}
    return pages.render(
        "report.html",
        script="report.js",
        run=document["run"],
        verdicts={verdict: count for verdict in WORST_FIRST if (count := document["summary"][verdict.value])},
        total=len(results),
        requirements=len(rows),
        areas={
            area: {verdict: _count(found, verdict) for verdict in WORST_FIRST} | {"seconds": _seconds(found)}
            for area, found in _by_area(results).items()
        },
        levels=sorted({row.requirement["level"] for row in rows}),
        blocking=[(row, blocking[row.requirement["id"]]) for row in rows if row.requirement["id"] in blocking],
        sections=_sections(rows, blocking, falsified="falsification" in document),
        falsification=document.get("falsification"),
        flags=flags.rows(document),
        advertised=flags.ADVERTISED,
        untested=flags.untested,
        kept_settings=kept.rows(document),
        operations=kept.columns(document),
        unseen=[
            (issue, sentences[issue["requirement"]])
            for issue in document.get("known_issues", ())
            if not issue["showed"]
        ],
        tight_waits=tight_waits(document),
        strict_waits=strict_waits(document),
        variant=variant,
        observed=observed,
        artifacts=lambda result: _artifacts(result, folder),
        files=[str(path.relative_to(folder)) for name in _FILES for path in _found(folder, name)],
    )


def _found(folder: Path, name: str) -> list[Path]:
    """Return a file of the output folder, and those of this name that each guest of several has."""
    return [path for path in (folder / name, *sorted(folder.glob(f"{GUEST}*/{name}"))) if path.is_file()]


def variant(result: Mapping[str, Any]) -> str:
    """Return what identifies a result among its requirement's variants: the test's parameters, or its name."""
    test, parameters = split_test(result["test"])
    return parameters or test.rpartition("::")[2]


def _rows(document: Document) -> list[Row]:
    results: dict[str, list[Mapping[str, Any]]] = {}
    for result in document["results"]:
        results.setdefault(result["requirement"], []).append(result)
    rows = []
    for requirement in document["requirements"]:
        variants = sorted(results.get(requirement["id"], ()), key=_rank)
        if variants:
            failed = any(Verdict(each["verdict"]).is_failure and each["start"] is not None for each in variants)
            rows.append(Row(requirement, tuple(variants), failed and "falsification" not in document))
    return rows


def _rank(result: Mapping[str, Any]) -> int:
    return WORST_FIRST.index(result["verdict"])


def _sections(rows: Sequence[Row], blocking: Collection[str], *, falsified: bool) -> list[Section]:
    """List failures first, those that block others before the rest; then what is blocked, known issues, and all else by area.

    Under ``--falsify`` a failure is the expected verdict: then everything is listed by area.
    """
    first = []
    if not falsified:
        unlike = (Verdict.UNSTABLE, Verdict.BLOCKED)
        failures = [row for row in rows if row.verdict.is_failure and row.verdict not in unlike]
        failures.sort(key=lambda row: (row.requirement["id"] not in blocking, WORST_FIRST.index(row.verdict)))
        first = [
            Section("failures", "Failures", failures),
            Section("unstable", "Unstable", [row for row in rows if row.verdict is Verdict.UNSTABLE]),
            Section("blocked", "Blocked", [row for row in rows if row.verdict is Verdict.BLOCKED]),
            Section("quarantined", "Quarantined", [row for row in rows if row.verdict is Verdict.QUARANTINED]),
            Section("known-issues", "Known issues", [row for row in rows if row.verdict is Verdict.XFAIL]),
        ]
    placed = {row.requirement["id"] for section in first for row in section.rows}
    areas: dict[str, list[Row]] = {}
    for row in rows:
        if row.requirement["id"] not in placed:
            areas.setdefault(row.requirement["area"], []).append(row)
    rest = [Section(f"area-{area}", area, found) for area, found in areas.items()]
    return [section for section in (*first, *rest) if section.rows]


def _by_area(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    areas: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        areas.setdefault(result["area"], []).append(result)
    return areas


def _count(results: Sequence[Mapping[str, Any]], verdict: Verdict) -> int:
    return sum(result["verdict"] == verdict for result in results)


def _seconds(results: Sequence[Mapping[str, Any]]) -> float:
    return float(sum(result["seconds"] for result in results))


def _artifacts(result: Mapping[str, Any], folder: Path) -> list[Artifact]:
    found = (Artifact.find(folder, name, path) for name, path in result["artifacts"].items())
    return sorted(found, key=lambda artifact: artifact.rank)
