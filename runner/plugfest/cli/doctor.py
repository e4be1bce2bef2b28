# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest doctor``: what this machine lacks for a run."""

from __future__ import annotations

from pathlib import Path

import click

from plugfest.cli.options import cache_options
from plugfest.cli.prepare import settings
from plugfest.errors import InfrastructureError
from plugfest.run import doctor as examination

_COLOURS = {"good": "green", "note": "yellow", "bad": "red"}


@click.command()
@cache_options
def doctor(cache_dir: Path | None, mirror: str | None, qemu: str | None) -> None:
    """Look at what a run needs of this machine, and say what is missing and what to do."""
    bad = []
    for finding in examination.examine(settings(cache_dir, mirror, qemu)):
        click.echo(
            f"{click.style(f'{finding.grade:<4}', fg=_COLOURS[finding.grade])}  {finding.what:<14} {finding.found}"
        )
        if finding.grade == "bad":
            bad.append(finding.what)
    if bad:
        raise InfrastructureError(
            f"expected this machine to be fit for a run, found trouble with: {', '.join(bad)}; see above"
        )
