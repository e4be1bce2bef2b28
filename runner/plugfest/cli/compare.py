# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest compare``: what changed from one run to another."""

from __future__ import annotations

import json
from pathlib import Path

import click

from plugfest.cli.options import option
from plugfest.cli.terminal import terminal
from plugfest.report import comparison, document


@click.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@option("--json", "as_json", is_flag=True, help="Print it for programs: all tests that changed, with both reasons.")
def compare(first: Path, second: Path, as_json: bool) -> int:
    """Compare two runs, test by test: what broke, what was fixed, what else changed from A to B.

    A and B are output folders of runs, or a report.json each. The exit status is 1 if a test broke, or has a verdict in B that
    fails a run and had none in A; else 0.
    """
    found = comparison.build(document.load(first), document.load(second), names=(str(first), str(second)))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        comparison.render(found, terminal())
    status: int = found["exit_status"]
    return status
