# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes all reports of a run from its journal."""

from __future__ import annotations

from pathlib import Path

from plugfest.report import document, html, junit, tap
from plugfest.report.document import Document
from plugfest.run import journal


def write_reports(folder: Path, *, died: str | None = None, status: int | None = None) -> Document:
    """Write ``report.json``, ``report.html``, ``junit.xml`` and ``report.tap`` into a run's output folder.

    Beside each register trace and each capture it writes a page, which ``report.html`` links to.

    Args:
        folder: the output folder, which holds the journal.
        died: how the run was ended, if the journal does not have it.
        status: the exit status of a run that was ended; by default 3.

    Returns:
        The document.

    Raises:
        InfrastructureError: the journal is missing or has no run.
    """
    found = document.build(journal.read(folder), died=died, status=status)
    document.write(found, folder / "report.json")
    (folder / "report.tap").write_text(tap.render(found), encoding="utf-8")
    junit.write(found, folder / "junit.xml")
    html.write(found, folder)
    return found
