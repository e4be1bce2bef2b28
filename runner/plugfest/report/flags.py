# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of flags: advertised, works, refused cleanly; from the results of the requirements that name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plugfest.requirements.netdev_flags import FLAGS
from plugfest.requirements.verdict import Verdict

ADVERTISED = {True: "yes", False: "no", None: "?"}
"""How a report says whether the driver advertises a flag; nobody asked it where there is a question mark."""


def matrix(
    requirements: Iterable[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], told: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Make one row for each flag of netdev.yaml.

    Args:
        requirements: as the document has them.
        results: likewise.
        told: the journal's results, with what the driver was seen to advertise.

    Returns:
        Rows with flag; advertised (null: nobody asked); works and refused, how many results of the requirements that show
        it have each verdict, those that skipped left out; requirements, the ids of those.
    """
    requirements = list(requirements)
    readings = [set(entry["advertised"]) for entry in told if entry.get("advertised") is not None]
    seen: set[str] = set().union(*readings)
    return [
        {
            "flag": flag,
            "advertised": flag in seen if readings else None,
            "works": _counts(results, _naming(requirements, "proves", flag)),
            "refused": _counts(results, _naming(requirements, "refuses", flag)),
            "requirements": _naming(requirements, "proves", flag) + _naming(requirements, "refuses", flag),
        }
        for flag in FLAGS
    ]


def _naming(requirements: Iterable[Mapping[str, Any]], how: str, flag: str) -> list[str]:
    return [entry["id"] for entry in requirements if flag in entry.get(how, ())]


def _counts(results: Iterable[Mapping[str, Any]], identifiers: Sequence[str]) -> dict[str, int]:
    found = [result["verdict"] for result in results if result["requirement"] in identifiers]
    return {
        verdict.value: found.count(verdict)
        for verdict in Verdict
        if verdict is not Verdict.SKIP and found.count(verdict)
    }


def not_shown(row: Mapping[str, Any]) -> str | None:
    """Return the column of a row in which nothing was shown though something had to be; None if there is none."""
    if row["advertised"] is None:
        return None
    wanted = "works" if row["advertised"] else "refused"
    return None if row[wanted] else wanted


def shown(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the matrix of a document, for readers: nothing where the run had no requirement that names a flag."""
    rows: Sequence[Mapping[str, Any]] = document.get("flags", ())
    return rows if any(row["requirements"] for row in rows) else ()
