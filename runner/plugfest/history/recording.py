# SPDX-License-Identifier: GPL-2.0-or-later
"""How the report of a run comes into the history."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugfest.errors import InfrastructureError
from plugfest.history.database import writing
from plugfest.patch.queue import TOGETHER
from plugfest.report import document
from plugfest.report.comparison import intermittent_tests
from plugfest.report.document import Document, observed, split_test
from plugfest.report.fingerprint import fingerprint
from plugfest.report.identity import identity
from plugfest.requirements.verdict import Verdict


@dataclass(frozen=True)
class Recorded:
    """What became of a run that was to be added.

    Attributes:
        id: its number in the history.
        document: its report.
        added: whether it is new to the history.
    """

    id: int
    document: Document
    added: bool


def add(path: Path, folders: Sequence[Path]) -> list[Recorded]:
    """Add finished runs to a history: all, or none if anything is wrong with one of them. A run that is in it already is left alone.

    Args:
        path: the database; made if it is missing.
        folders: output folders of runs, or a ``report.json`` each.

    Raises:
        UsageError: a run with faults armed, which says nothing about the driver.
        InfrastructureError: no report, or a damaged one.
        HistoryError: the history cannot be written.
    """
    # Everything is read before the database is touched: a torn report makes no empty one.
    documents = [(folder, _load(folder)) for folder in folders]
    with writing(path) as connection:
        return [_add(connection, found, folder) for folder, found in documents]


def _load(folder: Path) -> Document:
    found = document.load(folder)
    document.check_without_faults(found, folder)
    return found


def _add(connection: sqlite3.Connection, found: Document, folder: Path) -> Recorded:
    known = connection.execute("SELECT id FROM run WHERE identity = ?", (identity(found),)).fetchone()
    if known is not None:
        return Recorded(known["id"], found, added=False)
    try:
        number = _insert(connection, found, (folder if folder.is_dir() else folder.parent).resolve())
    except sqlite3.IntegrityError as error:
        # The tables hold what a report's schema cannot say, so it is the report that is wrong, not the history.
        raise InfrastructureError(
            f"{folder}: expected a report with each test once and its requirement, found: {error}; "
            "make it from the journal with plugfest report, or leave it out"
        ) from error
    return Recorded(number, found, added=True)


def _insert(connection: sqlite3.Connection, found: Document, folder: Path) -> int:
    run = found["run"]
    number = connection.execute(
        "INSERT INTO run (identity, configuration, release, start, seconds, complete, interrupted, exit_status, accel, subject, "
        "versions, folder) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            identity(found),
            _configuration(connection, run),
            run["kernel"]["release"],
            run["start"],
            run["seconds"],
            run["complete"],
            run["interrupted"],
            run["exit_status"],
            run["accel"]["name"],
            run["subject"]["text"],
            json.dumps(run["versions"], sort_keys=True),
            str(folder),
        ),
    ).lastrowid
    assert number is not None
    connection.executemany(
        "INSERT INTO requirement (id, area, level, source, sentence) VALUES (:id, :area, :level, :source, :sentence) ON CONFLICT (id) "
        "DO UPDATE SET area = excluded.area, level = excluded.level, source = excluded.source, sentence = excluded.sentence",
        [{key: each[key] for key in ("id", "area", "level", "source", "sentence")} for each in found["requirements"]],
    )
    luck = intermittent_tests(found)
    for result in found["results"]:
        test = _test(connection, result)
        connection.execute(
            "INSERT INTO result (run, test, verdict, reason, seconds, intermittent) VALUES (?, ?, ?, ?, ?, ?)",
            (number, test, result["verdict"], _reason(result), result["seconds"], result["test"] in luck),
        )
        for complaint in {fingerprint(problem) for problem in result["problems"]}:
            connection.execute("INSERT INTO crash (run, test, fingerprint) VALUES (?, ?, ?)", (number, test, complaint))
    return number


def _configuration(connection: sqlite3.Connection, run: Mapping[str, Any]) -> int:
    series = run["options"].get("series", [])
    modules = ", ".join(Path(module).name for module in run["options"]["modules"])
    if series:  # what lies together in a queue changes from night to night, and is one column of the site nevertheless
        modules = f"with {series[0] if len(series) == 1 else TOGETHER}"
    if "kind" in run:  # a history of upstream's tests of its own, in which those of the suite are not missing
        modules = f"{modules}, {run['kind']}".removeprefix(", ")
    key = (run["driver"], run["subject"]["profile"] or "", run["kernel"]["spec"], modules)
    connection.execute(
        "INSERT OR IGNORE INTO configuration (driver, profile, kernel, modules) VALUES (?, ?, ?, ?)", key
    )
    where = "driver = ? AND profile = ? AND kernel = ? AND modules = ?"
    return int(connection.execute(f"SELECT id FROM configuration WHERE {where}", key).fetchone()["id"])  # noqa: S608


def _test(connection: sqlite3.Connection, result: Mapping[str, Any]) -> int:
    test, subtest = split_test(result["test"])
    connection.execute(
        "INSERT INTO test (test, subtest, requirement) VALUES (?, ?, ?) "
        "ON CONFLICT (test, subtest) DO UPDATE SET requirement = excluded.requirement",
        (test, subtest, result["requirement"]),
    )
    found = connection.execute("SELECT id FROM test WHERE test = ? AND subtest = ?", (test, subtest)).fetchone()
    return int(found["id"])


def _reason(result: Mapping[str, Any]) -> str:
    if result["verdict"] == Verdict.XFAIL:
        return str(result["known_issue"]["reason"])
    return observed(result)
