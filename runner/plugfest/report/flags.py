# SPDX-License-Identifier: GPL-2.0-or-later
"""Which XDP flags the driver advertises, and whether they work or are refused cleanly: from the requirements' results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plugfest.requirements.netdev_flags import FLAGS
from plugfest.requirements.verdict import Verdict

ADVERTISED = {True: "yes", False: "no", None: "?"}
"""Whether the driver advertises a flag, in words; a question mark where no test read the flags."""


def matrix(
    requirements: Iterable[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    finished: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return one row for each flag of netdev.yaml.

    Args:
        requirements: of the document.
        results: of the document.
        finished: the journal's results, with the flags that the driver advertised during each test.

    Returns:
        Rows with ``flag``; ``advertised`` (None: no test read the flags); ``works`` and ``refused``, the number of results
        with each verdict, without those that no test ran for, of the requirements that test it; ``requirements``, their ids.
    """
    requirements = list(requirements)
    readings = [set(entry["advertised"]) for entry in finished if entry.get("advertised") is not None]
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
        if verdict not in (Verdict.SKIP, Verdict.BLOCKED) and found.count(verdict)
    }


def untested(row: Mapping[str, Any]) -> str | None:
    """Return the column that should have a result and has none: ``works`` of an advertised flag, else ``refused``."""
    if row["advertised"] is None:
        return None
    wanted = "works" if row["advertised"] else "refused"
    return None if row[wanted] else wanted


def rows(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a document that a reader wants: none if no requirement of the run tests a flag."""
    found: Sequence[Mapping[str, Any]] = document.get("flags", ())
    return found if any(row["requirements"] for row in found) else ()
