# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds what runs found of known issues to known_issue_reasons.tsv: ``python tests/suite/measured_reasons.py results/*``.

One reason is kept for each test, driver, profile and kernel: the first.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plugfest.report import document

TABLE = Path(__file__).with_name("known_issue_reasons.tsv")
COLUMNS = ("requirement", "test", "driver", "profile", "kernel", "reason")


def read() -> list[dict[str, str]]:
    """Return the rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def measured(report: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield a row for each test of a run that a known issue accounts for."""
    run = report["run"]
    kernel = re.match(r"[\d.]+", run["kernel"]["release"])
    for result in report["results"]:
        known = result["known_issue"]
        found = known and re.fullmatch(
            re.escape(f"{known['reason']}, {known['link']} (found: ") + r"\w+: (.*?)(?: \(and \d+ more\))?\)",
            result["reason"],
        )
        if found:
            yield {
                "requirement": result["requirement"],
                "test": result["test"].rpartition("::")[2],
                "driver": run["driver"],
                "profile": run["subject"]["profile"] or "",
                "kernel": kernel[0] if kernel else "",
                "reason": found[1].replace("\t", " "),
            }


def merged(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the rows sorted, the first of those that differ in the reason alone."""
    first: dict[tuple[str, ...], Mapping[str, str]] = {}
    for row in rows:
        first.setdefault(tuple(row[name] for name in COLUMNS if name != "reason"), row)
    return sorted(first.values(), key=lambda row: [row[name] for name in COLUMNS])


def main(folders: Sequence[str]) -> None:
    """Add the reasons of the runs whose reports are in these folders."""
    rows: list[Mapping[str, str]] = [*read()]
    for folder in folders:
        rows += measured(document.load(Path(folder)))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([row[name] for name in COLUMNS] for row in merged(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
