# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest report``: regenerate a run's reports."""

from __future__ import annotations

from pathlib import Path

import click

from plugfest.cli.terminal import terminal
from plugfest.errors import UsageError
from plugfest.report import console
from plugfest.report.write import write_reports
from plugfest.run import journal


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("results/latest"))
def report(folder: Path) -> int:
    """Regenerate the reports of a run from its journal.

    FOLDER is the run's output folder [default: results/latest]. Use this if the runner itself was killed. The exit
    status is the run's.
    """
    if not (folder / journal.NAME).is_file():
        raise UsageError(
            f"{folder}: expected a run's journal, {journal.NAME}, found none; name the output folder of a run"
        )
    document = write_reports(folder, died="the runner itself was killed")
    console.render(document, terminal(), folder=folder)
    status: int = document["run"]["exit_status"]
    return status
