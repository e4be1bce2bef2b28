# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest report``: regenerate a run's reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from plugfest.cli.terminal import terminal
from plugfest.errors import UsageError
from plugfest.report import console, repetition
from plugfest.report.write import write_reports
from plugfest.run import journal

_KILLED = "the runner itself was killed"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("results/latest"))
def report(folder: Path) -> int:
    """Regenerate the reports of a run from its journal.

    FOLDER is the run's output folder [default: results/latest]. Use this if the runner itself was killed. The exit
    status is the run's. Of a repeated run it regenerates the reports of each run and the comparison.
    """
    runs = repetition.run_folders(folder)
    if runs:
        return _compare(folder, runs)
    if not (folder / journal.NAME).is_file():
        raise UsageError(
            f"{folder}: expected a run's journal, {journal.NAME}, found none; name the output folder of a run"
        )
    document = write_reports(folder, died=_KILLED)
    console.render(document, terminal(), folder=folder)
    status: int = document["run"]["exit_status"]
    return status


def _compare(folder: Path, runs: Sequence[Path]) -> int:
    """Regenerate the reports of a repeated run, of the runs that there are."""
    known = repetition.load(folder)
    documents = [repetition.Run(run.name, write_reports(run, died=_KILLED)) for run in runs]
    wanted = max(len(runs), 0 if known is None else known["wanted"])
    found = repetition.build(documents, wanted, None if known is None else known["interrupted"])
    repetition.write(found, folder)
    repetition.render(found, terminal(), folder=folder)
    status: int = found["exit_status"]
    return status
