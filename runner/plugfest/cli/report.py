# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest report``: make a run's reports again."""

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
    """Make the reports of a run again, from its journal.

    FOLDER is the run's output folder [default: results/latest]. Do this when the runner itself was killed. The exit
    status is the run's.
    """
    if not (folder / journal.NAME).is_file():
        raise UsageError(
            f"{folder}: expected the journal of a run, {journal.NAME}, found none; name a run's output folder"
        )
    document = write_reports(folder, died="the runner itself was killed")
    console.render(document, terminal(), folder=folder)
    status: int = document["run"]["exit_status"]
    return status
