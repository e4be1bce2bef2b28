# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest findings``: what a run found, one text file each."""

from __future__ import annotations

from pathlib import Path

import click

from plugfest.cli.options import option
from plugfest.cli.terminal import terminal
from plugfest.errors import UsageError
from plugfest.findings import finding
from plugfest.report import document
from plugfest.run import journal


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the texts.")
def findings(folder: Path, out: Path) -> int:
    """Write a text for each test of a run whose verdict is fail, crash, timeout or xfail.

    FOLDER is the run's output folder. Each text has a subject, the versions, what is expected by which document, what was found, the
    steps as commands to type, and the relevant lines of the kernel's log, the registers and the wire. Its index lists them by subject.
    A run with faults armed is refused.
    """
    if not (folder / journal.NAME).is_file():
        raise UsageError(
            f"{folder}: expected a run's journal, {journal.NAME}, found none; name the output folder of one run"
        )
    report = document.build(journal.read(folder))
    document.check_without_faults(report, folder)
    found = finding.findings(report, folder)
    names = finding.write(found, out)
    console = terminal()
    for name, each in zip(names, found, strict=True):
        console.print(f"{out / name}: {each.subject}", markup=False, soft_wrap=True)
    console.print(f"{len(names)} findings, listed in {out / finding.INDEX}", markup=False, soft_wrap=True)
    return 0
