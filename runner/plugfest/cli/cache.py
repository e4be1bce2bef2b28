# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest cache``: list, check and prune the cache."""

from __future__ import annotations

import time
from pathlib import Path

import click

from plugfest.cli.listing import show, table
from plugfest.cli.options import option
from plugfest.cli.prepare import settings
from plugfest.errors import InfrastructureError
from plugfest.machine.snapshot import Snapshots
from plugfest.provision.cache import Cache
from plugfest.provision.progress import activity

_DAY = 86400.0

cache_dir_option = option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache.  [default: $XDG_CACHE_HOME/plugfest]",
)


@click.group()
def cache() -> None:
    """Manage the cache of everything that was fetched or built."""


@cache.command("list")
@cache_dir_option
def list_entries(cache_dir: Path | None) -> None:
    """List the entries, most recently used first."""
    kept = Cache(settings(cache_dir, None, None).cache)
    made = table("entry", "what it holds", "MiB", "built", "used")
    entries = kept.entries()
    for entry in entries:
        made.add_row(entry.path.name, entry.title, f"{entry.size / 2**20:.0f}", _when(entry.created), _when(entry.used))
    snapshots = _snapshots(kept).stored()
    for folder in snapshots:
        used = _when((folder / "note.json").stat().st_mtime)
        made.add_row(f"snapshots/{folder.name}", "snapshot of a guest", f"{_size(folder) / 2**20:.0f}", "", used)
    show(made)
    size = sum(entry.size for entry in entries) + sum(_size(folder) for folder in snapshots)
    click.echo(f"{len(entries)} entries, {len(snapshots)} snapshots, {size / 2**20:.0f} MiB, in {kept.root}")


@cache.command()
@cache_dir_option
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    envvar="PLUGFEST_CACHE_DAYS",
    show_envvar=True,
    help="Delete entries that no run has used for this many days; 0 deletes everything.",
)
def prune(cache_dir: Path | None, days: float) -> None:
    """Delete entries that have not been used for a long time."""
    kept = Cache(settings(cache_dir, None, None).cache)
    gone = kept.prune(unused_for=days * _DAY)
    for entry in gone:
        click.echo(f"deleted {entry.path.name} ({entry.title})")
    snapshots = _snapshots(kept).prune(unused_for=days * _DAY)
    for folder in snapshots:
        click.echo(f"deleted snapshots/{folder.name}")
    size = sum(entry.size for entry in gone)
    click.echo(f"deleted {len(gone)} entries of {size / 2**20:.0f} MiB, and {len(snapshots)} snapshots")


@cache.command()
@cache_dir_option
def verify(cache_dir: Path | None) -> None:
    """Read every entry and compare it with its manifest; delete damaged entries."""
    kept = Cache(settings(cache_dir, None, None).cache)
    damaged = []
    entries = kept.entries()
    with activity(f"reading {len(entries)} entries"):
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
            "there is nothing to do: they were deleted, and the next run builds them again"
        )
    click.echo(f"{len(entries)} entries, all good, in {kept.root}")


def _snapshots(kept: Cache) -> Snapshots:
    return Snapshots(kept.root / "snapshots")


def _size(folder: Path) -> int:
    """Return the bytes used on disk; a snapshot's file is sparse."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "?"
