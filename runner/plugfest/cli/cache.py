# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest cache``: what is kept, and how to be rid of it."""

from __future__ import annotations

import time
from pathlib import Path

import click

from plugfest.cli.listing import show, table
from plugfest.cli.options import option
from plugfest.cli.prepare import settings
from plugfest.errors import InfrastructureError
from plugfest.provision.cache import Cache

_DAY = 86400.0

cache_dir_option = option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache.  [default: $XDG_CACHE_HOME/plugfest]",
)


@click.group()
def cache() -> None:
    """Look after the cache of everything fetched and built."""


@cache.command("list")
@cache_dir_option
def list_entries(cache_dir: Path | None) -> None:
    """List the entries, the one used last first."""
    kept = Cache(settings(cache_dir, None, None).cache)
    made = table("entry", "what it holds", "MiB", "built", "used")
    entries = kept.entries()
    for entry in entries:
        made.add_row(entry.path.name, entry.title, f"{entry.size / 2**20:.0f}", _when(entry.created), _when(entry.used))
    show(made)
    click.echo(f"{len(entries)} entries, {sum(entry.size for entry in entries) / 2**20:.0f} MiB, in {kept.root}")


@cache.command()
@cache_dir_option
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    envvar="PLUGFEST_CACHE_DAYS",
    show_envvar=True,
    help="Delete what no run has used for so many days; 0 for everything.",
)
def prune(cache_dir: Path | None, days: float) -> None:
    """Delete what has not been used for long."""
    kept = Cache(settings(cache_dir, None, None).cache)
    gone = kept.prune(unused_for=days * _DAY)
    for entry in gone:
        click.echo(f"deleted {entry.path.name} ({entry.title})")
    click.echo(f"{len(gone)} entries, {sum(entry.size for entry in gone) / 2**20:.0f} MiB")


@cache.command()
@cache_dir_option
def verify(cache_dir: Path | None) -> None:
    """Read every entry and compare it with what was built; delete those that differ."""
    kept = Cache(settings(cache_dir, None, None).cache)
    damaged = []
    entries = kept.entries()
    for entry in entries:
        wrong = kept.verify(entry)
        click.echo(f"{entry.path.name}: {wrong or 'good'}")
        if wrong is not None:
            kept.remove(entry)
            damaged.append(entry.path.name)
    if damaged:
        raise InfrastructureError(
            f"the cache {kept.root}: expected {len(entries)} good entries, found {len(damaged)} damaged "
            f"({', '.join(damaged)}); "
            "they were deleted and the next run builds them again"
        )


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "?"
