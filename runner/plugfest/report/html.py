# SPDX-License-Identifier: GPL-2.0-or-later
"""``report.html``: one file, no external resources, for people."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from plugfest.report.document import Document
from plugfest.report.flags import ADVERTISED, not_shown, shown
from plugfest.requirements.verdict import Verdict

TEXT_LIMIT = 256 * 1024
"""Bytes of a text artifact that are embedded, the last ones."""

BINARY_LIMIT = 4 * 1024 * 1024
"""Bytes of a capture that is embedded; a larger one is named only."""

_WORST_FIRST = (
    Verdict.CRASH,
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.TIMEOUT,
    Verdict.MISS,
    Verdict.XFAIL,
    Verdict.SKIP,
    Verdict.PASS,
)


@dataclass(frozen=True)
class Attachment:
    """An artifact as the page embeds it.

    Attributes:
        name: its file name.
        path: within the output folder.
        text: what it holds, or None for a binary one.
        data: a ``data:`` address to save a binary one from, or None.
        note: what is missing, if anything.
    """

    name: str
    path: str
    text: str | None = None
    data: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One requirement and the results of its variants.

    Attributes:
        requirement: as the document has it.
        results: at least one.
        verdict: the worst of them.
        open: whether the page shows it unfolded.
    """

    requirement: Mapping[str, Any]
    results: tuple[Mapping[str, Any], ...]
    verdict: Verdict
    open: bool

    def count(self, verdict: str) -> int:
        """Count the variants with this verdict."""
        return sum(result["verdict"] == verdict for result in self.results)

    @property
    def seconds(self) -> float:
        """Sum of the variants' times."""
        return float(sum(result["seconds"] for result in self.results))


def render(document: Document, folder: Path) -> str:
    """Return the page.

    Args:
        document: the report.
        folder: the output folder, whose artifacts are embedded.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("plugfest.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = _rows(document)
    areas: dict[str, list[Row]] = {}
    for row in rows:
        areas.setdefault(row.requirement["area"], []).append(row)
    return environment.get_template("report.html").render(
        run=document["run"],
        summary={verdict: document["summary"][verdict.value] for verdict in Verdict},
        total=len(document["results"]),
        areas=areas,
        failures=[row for row in rows if row.verdict.is_failure],
        falsification=document.get("falsification"),
        flags=shown(document),
        advertised=ADVERTISED,
        not_shown=not_shown,
        verdicts=tuple(Verdict),
        attach=lambda result: [attachment(folder, name, path) for name, path in result["artifacts"].items()],
    )


def _rows(document: Document) -> list[Row]:
    results: dict[str, list[Mapping[str, Any]]] = {}
    for result in document["results"]:
        results.setdefault(result["requirement"], []).append(result)
    rows = []
    for requirement in document["requirements"]:
        variants = tuple(results.get(requirement["id"], ()))
        if variants:
            worst = min((Verdict(variant["verdict"]) for variant in variants), key=_WORST_FIRST.index)
            rows.append(Row(requirement, variants, worst, worst.is_failure and "falsification" not in document))
    return rows


def attachment(folder: Path, name: str, path: str) -> Attachment:
    """Read an artifact for the page; one that is not there is named with a note.

    Args:
        folder: the output folder.
        name: the artifact's name.
        path: its path within the folder; one that leads out of it is not read.
    """
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        return Attachment(name, path, note="not embedded: the path leads out of the output folder")
    try:
        content = file.read_bytes()
    except OSError as error:
        return Attachment(name, path, note=f"not embedded: {error.strerror}")
    if file.suffix != ".pcap":
        note = (
            f"only the last {TEXT_LIMIT // 1024} KiB of {len(content) // 1024} KiB" if len(content) > TEXT_LIMIT else ""
        )
        return Attachment(name, path, text=content[-TEXT_LIMIT:].decode("utf-8", "replace"), note=note)
    if len(content) > BINARY_LIMIT:
        return Attachment(name, path, note=f"not embedded: {len(content) // 1024} KiB")
    encoded = base64.b64encode(content).decode("ascii")
    return Attachment(
        name, path, data=f"data:application/vnd.tcpdump.pcap;base64,{encoded}", note=f"{len(content)} bytes"
    )
