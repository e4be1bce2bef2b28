# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest matrix``: many runs, as many at a time as the machine allows, or on a Dask cluster."""

from __future__ import annotations

import importlib.util
import shlex
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import click

from plugfest.cli.execute import shown
from plugfest.cli.options import option
from plugfest.cli.terminal import terminal
from plugfest.errors import InfrastructureError
from plugfest.matrix import definition, ledger, summary
from plugfest.matrix.conduct import Open, conduct
from plugfest.matrix.definition import Matrix
from plugfest.matrix.ledger import Ledger
from plugfest.matrix.place import Place
from plugfest.matrix.pool import Pool
from plugfest.matrix.progress import ConsoleDisplay, Display
from plugfest.run import sandbox
from plugfest.run.capacity import SMALL_HOST

file_argument = click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
jobs_option = option(
    "--jobs",
    type=click.IntRange(min=1),
    help="How many jobs at a time.  [default: as many as have guests for all cores and fit into memory]",
)
scheduler_option = option(
    "--scheduler",
    metavar="ADDRESS",
    help="Run the jobs on the workers of this Dask scheduler, as tcp://10.0.0.1:8786.",
)
new_option = option("--new", is_flag=True, help="Begin anew, though the last matrix of this FILE is unfinished.")


@click.command()
@file_argument
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports; one with the same matrix is continued.  [default: results/FILE-TIME, or an unfinished one]",
)
@jobs_option
@scheduler_option
@new_option
@option("--dry-run", is_flag=True, help="Check FILE, print the command of each job's first attempt, and exit.")
def matrix(file: Path, output: Path | None, jobs: int | None, scheduler: str | None, new: bool, dry_run: bool) -> int:
    """Run the jobs of the matrix in FILE: drivers, profiles, kernels, and kinds of tests.

    Each is a plugfest run of its own. After an interruption the same command continues. The exit status is the worst of the jobs'; 3
    if one has no result.
    """
    place = place_of(jobs, scheduler)
    found = read_matrix(file, scheduler)
    if output is None:
        output = choose_output(found, Path("results"), new=new)
    if dry_run:
        print_jobs(found, output.absolute(), jobs, scheduler)
        return 0
    return run_matrix(found, output, place)


def read_matrix(file: Path, scheduler: str | None) -> Matrix:
    """Read a matrix that may have the kinds of jobs for which this plugfest has a command."""
    program = click.get_current_context().find_root().command
    available = program.commands if isinstance(program, click.Group) else ()
    return definition.read(file, available, elsewhere=scheduler is not None)


def print_jobs(found: Matrix, output: Path, at_a_time: int | None, scheduler: str | None) -> None:
    """Print the command of each job's first attempt."""
    pool = Pool(at_a_time)
    for job in found.jobs:
        most_guests = pool.need(job).guests if scheduler is None else SMALL_HOST
        click.echo(shlex.join(["plugfest", *job.arguments(ledger.attempt_folder(output, job, 1), most_guests)]))


def place_of(jobs: int | None, scheduler: str | None) -> Open:
    """Return what opens the place of the jobs.

    Raises:
        InfrastructureError: this machine lacks what it takes.
    """
    if scheduler is None:

        @asynccontextmanager
        async def here(display: Display) -> AsyncIterator[Place]:  # noqa: ARG001 - a cluster's place writes to it
            sandbox.check_host()
            yield Pool(jobs)

        return here
    if importlib.util.find_spec("distributed") is None:
        raise InfrastructureError(
            "--scheduler: expected Dask distributed, found none; install it: pip install 'plugfest[dask]'"
        )

    @asynccontextmanager
    async def there(display: Display) -> AsyncIterator[Place]:
        from plugfest.matrix import cluster  # noqa: PLC0415 - optional, and imported in half a second

        async with cluster.connected(scheduler, display) as opened:
            yield opened

    return there


def choose_output(found: Matrix, parent: Path, *, new: bool, fresh: Callable[[Path], bool] = lambda _: True) -> Path:
    """Return the output folder: the last one of this matrix if it is unfinished, else one that is new.

    Args:
        found: the matrix.
        parent: the folder that holds the output folders.
        new: a new one in any case.
        fresh: whether an unfinished one is to be continued.
    """
    earlier = ledger.folders(parent, found.name)
    if earlier and not new:
        last = earlier[-1]
        if ledger.unfinished(last, found.jobs) and fresh(last):
            return last.absolute()
    name = f"{found.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    # A nightly may have deleted all but the last of the folders of this second.
    taken = [int(path.name[len(name) + 1 :] or 1) for path in parent.glob(f"{name}*")]
    return (parent / (f"{name}-{max(taken) + 1}" if taken else name)).absolute()


def run_matrix(found: Matrix, output: Path, place: Open) -> int:
    """Carry out what is to be done of a matrix, print what was found, and return the exit status."""
    console = terminal()
    opened = Ledger(output.absolute(), found.jobs)
    try:
        done, total = len(opened.finished), len(opened.jobs)
        console.print(
            f"{found.name}: {total} job{'s' * (total != 1)} in {shown(opened.folder)}"
            + (f", of which {done} are done" if done else "")
            + ("; --new begins anew" if 0 < done < total else ""),
            markup=False,
            soft_wrap=True,
        )
        interrupted = None
        if not opened.complete:
            display = ConsoleDisplay(console, total, done)
            try:
                interrupted = conduct(opened, place, display)
            finally:
                display.close()
                opened.write_summary()
        summary.render(opened, console, shown(opened.folder))
    finally:
        opened.close()
    if interrupted is not None:
        console.print(f"interrupted ({interrupted.name}); the same command continues", soft_wrap=True)
        return 128 + interrupted
    return opened.status
