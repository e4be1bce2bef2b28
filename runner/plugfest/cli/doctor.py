# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest doctor``: check this machine for what a run needs."""

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
    """Check whether this machine has what a run needs, and print what is missing and what to do."""
    bad = []
    for finding in examination.examine(settings(cache_dir, mirror, qemu)):
        click.echo(
            f"{click.style(f'{finding.grade:<4}', fg=_COLOURS[finding.grade])}  {finding.what:<14} {finding.found}"
        )
        if finding.grade == "bad":
            bad.append(finding.what)
    if bad:
        raise InfrastructureError(
            f"expected this machine to have what a run needs, found problems with: {', '.join(bad)}; see above"
        )
