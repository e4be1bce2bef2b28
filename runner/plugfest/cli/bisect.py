# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest bisect``: the first commit of a driver's folder that fails a requirement."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from plugfest.build.confinement import Limits
from plugfest.build.errors import BuildError
from plugfest.cli.execute import check_unused, make_latest
from plugfest.cli.options import build_limits, guest_options, option
from plugfest.cli.patch import Bench, prepare
from plugfest.cli.prepare import GuestOptions
from plugfest.errors import InfrastructureError, UsageError
from plugfest.patch.bisection import Bisection, Mark
from plugfest.patch.driver import Source
from plugfest.patch.tree import GitTree
from plugfest.report.comparison import FAILING, UNDECIDED
from plugfest.report.document import Document
from plugfest.report.text import printable
from plugfest.requirements import drivers as registry
from plugfest.requirements.verdict import Verdict


@click.command()
@click.argument("requirement")
@option("--driver", required=True, help="The driver whose folder's history is searched.")
@option(
    "--tree",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="The git tree of a kernel; it is only read.  [default: the one here]",
)
@option("--good", required=True, metavar="COMMIT", help="A commit that meets the requirement.")
@option("--bad", default="HEAD", show_default=True, metavar="COMMIT", help="A later one that does not.")
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports of each commit.  [default: results/DRIVER-KERNEL-TIME; results/latest links to it]",
)
@build_limits
@guest_options
def bisect(
    requirement: str,
    driver: str,
    tree: Path,
    good: str,
    bad: str,
    output: Path | None,
    build_seconds: float,
    build_memory: int,
    **rest: Any,
) -> int:
    """Find the first commit of a driver's folder with which the driver fails REQUIREMENT, by halves.

    Each commit's folder is built as a module against the headers of the kernel, as plugfest patch does it; a commit that does not build
    there, or gets no verdict, is skipped, as git bisect skip does it. The exit status is 0 if the first bad commit was found, and 1 if
    it is one of several because what lies between was skipped.
    """
    chosen = registry.find(driver)
    repository = GitTree(tree.absolute())
    ends = {Mark.GOOD: repository.commit(good), Mark.BAD: repository.commit(bad)}
    bench = prepare(
        driver,
        GuestOptions(**rest),
        tree=repository.path,
        revision=bad,
        output=output,
        areas=(),
        tests=requirement,
        slow=True,
        guests=1,
        limits=Limits(build_seconds, build_memory),
    )
    check_unused(bench.ready.output)
    make_latest(bench.ready.output)
    with tempfile.TemporaryDirectory() as scratch:
        # Before the ends are tested, which takes longer.
        search = Bisection(repository, Path(scratch), chosen.source, good=ends[Mark.GOOD], bad=ends[Mark.BAD])
        start = _start(bench, repository, ends[Mark.GOOD])
        for wanted, commit in ends.items():
            found, why = _test(bench, repository, commit, start)
            if found is not wanted:
                raise UsageError(
                    f"--{wanted} {repository.describe(commit)}: expected it to be {wanted} by {requirement}, found {found} ({why}); "
                    "choose another commit"
                )
        while search.current is not None:
            found, why = _test(bench, repository, search.current, start)
            click.echo(printable(f"{repository.describe(search.current)}: {found} ({why})"))
            search.mark(found)
    if len(search.candidates) == 1:
        click.echo(printable(f"the first bad commit: {repository.describe(search.candidates[0])}"))
        return 0
    click.echo(
        f"the first bad commit is one of these {len(search.candidates)}, of which all but the last were skipped:"
    )
    for commit in search.candidates:
        click.echo(printable(repository.describe(commit)))
    return 1


def _start(bench: Bench, repository: GitTree, commit: str) -> Path | None:
    """Return the folder of a build of a commit, with which those of the others begin; None if it does not build."""
    try:
        source = Source.of_tree(bench.driver, repository.path, commit)
        return bench.workshop.base(bench.driver, source, bench.ready.output / "start")[1]
    except (BuildError, UsageError):
        return None  # as the test of that commit will say


def _test(bench: Bench, repository: GitTree, commit: str, start: Path | None) -> tuple[Mark, str]:
    """Build a commit's driver, run the requirement's tests, and return what the commit is, and why.

    Raises:
        InfrastructureError: the run could not be made, or was interrupted: that says nothing about the commit.
    """
    folder = bench.ready.output / commit[:12]
    try:
        source = Source.of_tree(bench.driver, repository.path, commit)
        module, _ = bench.workshop.build(bench.driver, source, folder / "module", start=start)
    except (BuildError, UsageError) as error:
        return Mark.SKIP, " ".join(str(error).split())
    ended = bench.run(folder, module)
    if ended.interrupted:
        raise KeyboardInterrupt
    if ended.status not in (0, 1):
        raise InfrastructureError(
            f"{commit[:12]}: expected a run of its driver, found exit status {ended.status}; see {folder}, then begin again there"
        )
    return mark_of(ended.document)


def mark_of(document: Document) -> tuple[Mark, str]:
    """Return what a commit is, by the verdicts on the requirement's tests: bad if one failed, good if each passed or was skipped."""
    verdicts = {Verdict(result["verdict"]) for result in document["results"]}
    for kinds, mark in ((FAILING, Mark.BAD), (UNDECIDED, Mark.SKIP)):
        if verdicts & kinds:
            return mark, ", ".join(sorted(verdicts & kinds))
    return Mark.GOOD, ", ".join(sorted(verdicts))
