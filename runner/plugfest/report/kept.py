# SPDX-License-Identifier: GPL-2.0-or-later
"""Which settings stay in effect over which operations: from the results of the requirements that name a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def matrix(requirements: Iterable[Mapping[str, Any]], results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each setting that a test of the run is of, in the suite's order.

    Args:
        requirements: of the document.
        results: of the document; the parameter of each test is its operation.

    Returns:
        Rows with ``setting``; ``requirement``, its id; ``operations``, each with ``operation``, ``verdict`` and ``test``.
    """
    rows = {
        entry["id"]: {"setting": entry["keeps"], "requirement": entry["id"], "operations": []}
        for entry in requirements
        if entry.get("keeps")
    }
    for result in results:
        if result["requirement"] in rows:
            cell = {"operation": operation_of(result["test"]), "verdict": result["verdict"], "test": result["test"]}
            rows[result["requirement"]]["operations"].append(cell)
    return list(rows.values())


def operation_of(test: str) -> str:
    """Return the parameter of a test; its whole name if it has none."""
    _, bracket, parameters = test.partition("[")
    return parameters.removesuffix("]") if bracket else test


def columns(document: Mapping[str, Any]) -> list[str]:
    """Return the operations of a document's rows, each once, in the order in which they first come."""
    return list(dict.fromkeys(cell["operation"] for row in document.get("kept", ()) for cell in row["operations"]))


def rows(document: Mapping[str, Any]) -> Sequence[tuple[Mapping[str, Any], Sequence[str | None]]]:
    """Return each row of a document and its verdicts by column; None where the run has no such test."""
    names = columns(document)
    found = []
    for row in document.get("kept", ()):
        verdicts = {cell["operation"]: cell["verdict"] for cell in row["operations"]}
        found.append((row, [verdicts.get(name) for name in names]))
    return found
