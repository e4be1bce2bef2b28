# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest patch``: patches of a driver, judged: what the suite finds before and after."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from plugfest.build.confinement import Limits
from plugfest.build.errors import BuildError, NothingTogetherError
from plugfest.cli.execute import Ended, check_unused, default_output, execute, make_latest, shown
from plugfest.cli.failure import print_error
from plugfest.cli.options import build_limits, guest_options, option
from plugfest.cli.prepare import GuestOptions, plan, settings
from plugfest.cli.terminal import terminal
from plugfest.errors import UsageError
from plugfest.patch.driver import Source, Workshop, check_driver
from plugfest.patch.queue import TOGETHER, Series, Submission, submission, submissions
from plugfest.patch.series import Patch
from plugfest.plugin import suite
from plugfest.provision.build_root import check_channel, ensure_build_root, ensure_driver_source
from plugfest.report import comparison, text_file
from plugfest.report.text import printable
from plugfest.requirements import drivers as registry
from plugfest.run.capacity import choose_guests
from plugfest.run.plan import RunPlan

SCHEMA_VERSION = 1
BEFORE = "before"
REPORT = "patch.json"


@dataclass(frozen=True)
class Bench:
    """What every submission of a command shares.

    Attributes:
        ready: the plan of a run, whose output folder holds those of all runs.
        arguments: pytest's.
        workshop: builds the driver.
        source: the driver's, unpatched.
        console: for the user.
    """

    ready: RunPlan
    arguments: Sequence[str]
    workshop: Workshop
    source: Source
    console: Console

    @property
    def driver(self) -> registry.Driver:
        """The driver."""
        return registry.find(self.ready.driver)

    def run(self, folder: Path, module: Path, series: Sequence[Series] = ()) -> Ended:
        """Run the suite on a build of the driver, with the series that were applied, and write the reports into a folder."""
        self.console.print(f"\n{folder.name}", style="bold", markup=False)
        each = dataclasses.replace(
            self.ready,
            output=folder,
            extra_modules=(module,),
            in_tree=self.source.of_kernel,
            series=tuple(one.name for one in series),
        )
        return execute(each, self.console, self.arguments, ())


@click.command()
@click.argument("series", nargs=-1, required=True)
@option("--driver", required=True, help="The driver that they patch.")
@option(
    "--tree",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Your kernel tree: the patches apply to its HEAD, or to the start of a range.  [default: Debian's source of the kernel]",
)
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports.  [default: results/DRIVER-KERNEL-TIME; results/latest links to it]",
)
@option("--area", "areas", multiple=True, help="Run only this area of the suite; may be repeated.")
@option(
    "--tests",
    "-k",
    "tests",
    metavar="EXPRESSION",
    help="Run only these tests: what pytest's -k takes, or a requirement's id.",
)
@option("--slow", is_flag=True, help="Also run the tests that take minutes each.")
@option(
    "--guests",
    type=click.IntRange(min=1),
    help="How many guests run tests side by side.  [default: as of plugfest run]",
)
@build_limits
@guest_options
def patch(
    series: tuple[str, ...],
    driver: str,
    tree: Path | None,
    output: Path | None,
    areas: tuple[str, ...],
    tests: str | None,
    slow: bool,
    guests: int | None,
    build_seconds: float,
    build_memory: int,
    **rest: Any,
) -> int:
    """Judge patches of a driver: run the suite before and after, and say what they fix and break.

    SERIES are mails, mailboxes and diffs, applied in this order, or a range of commits (A..B, of --tree or of the tree here). One folder
    is a queue: each series in it is judged alone, then all together.

    Only the driver's folder is built, as a module, against the headers of the kernel. The exit status is 1 if a test broke, or if a
    series does not apply, does not build, or touches more than the module.
    """
    folder = Path(series[0])
    # Before anything is fetched: whatever is wrong with the command line.
    wanted = submissions(folder) if len(series) == 1 and folder.is_dir() else [submission(series, tree or Path())]
    options = GuestOptions(**rest)
    bench = prepare(
        driver,
        options,
        tree=tree,
        revision=next((each for each in series if ".." in each and not Path(each).exists()), None),
        output=output,
        areas=areas,
        tests=tests,
        slow=slow,
        guests=guests,
        limits=Limits(build_seconds, build_memory),
    )
    check_unused(bench.ready.output)
    make_latest(bench.ready.output)
    return judge(bench, wanted)


def prepare(
    name: str,
    options: GuestOptions,
    *,
    tree: Path | None,
    revision: str | None,
    output: Path | None,
    areas: Sequence[str],
    tests: str | None,
    slow: bool,
    guests: int | None,
    limits: Limits,
) -> Bench:
    """Check the arguments, then provision what builds and runs need.

    Args:
        name: of the driver.
        options: of the guest.
        tree: the user's kernel tree; None for Debian's source.
        revision: of a git tree, or a range whose start counts; None for HEAD.
        output: folder for the reports; None for the default.
        areas: of the suite; none for all of the driver's.
        tests: pytest's ``-k``.
        slow: also run the tests that take minutes each.
        guests: how many; None for what suits this machine.
        limits: of each build.

    Raises:
        UsageError: the arguments do not go together.
        InfrastructureError: something cannot be fetched, built or run.
    """
    driver = registry.find(name)
    check_driver(driver)
    check_channel(options.kernel)
    for given, what in ((options.modules, "--module"), (options.faults, "--fault"), (options.dry_run, "--dry-run")):
        if given:
            raise UsageError(f"{what}: expected none with patches and commits; use plugfest run")
    source = None
    if tree is not None:
        source = Source.of_tree(driver, tree.absolute(), (revision or "HEAD").partition("..")[0] or "HEAD")
    chosen = suite.check_areas(areas) if areas else [area for area in suite.areas() if area in driver.areas]
    more = ("-k", tests) if tests else ()
    arguments = suite.pytest_arguments(chosen, more, slow=slow)
    count = choose_guests(guests, options.memory)
    wanted = settings(options.cache_dir, options.mirror, options.qemu)
    suite.check_selection(arguments, more, cache=wanted.cache)
    ready = dataclasses.replace(
        plan(driver.name, options, output.absolute() if output else Path()),
        guests=count,
        areas=tuple(areas),
        slow=slow,
    )
    if output is None:
        ready = default_output(ready)
    root = ensure_build_root(wanted, ready.kernel)
    if source is None:
        source = Source.of_channel(driver, ensure_driver_source(wanted, ready.kernel, root))
    return Bench(ready, arguments, Workshop(wanted, root, limits), source, terminal())


def judge(bench: Bench, wanted: Sequence[Submission]) -> int:
    """Judge submissions: the unpatched driver once, then each submission against it. What is made is kept, whatever ends the command.

    Args:
        bench: what they share.
        wanted: the submissions.

    Returns:
        The exit status: 0 if no submission broke a test, 1 if one did or could not be judged, another if a run could not be made.

    Raises:
        BuildError: the unpatched driver does not build.
        InfrastructureError: nothing can be built or run here.
    """
    output, console = bench.ready.output, bench.console
    report: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "driver": bench.ready.driver,
        "kernel": bench.ready.kernel.release,
        "source": bench.source.title,
        "compiler": bench.workshop.root.compiler,
        "before": BEFORE,
        "submissions": [],
    }
    console.print(
        f"{bench.ready.driver} of {bench.source.title}, by {bench.workshop.root.compiler}, on Linux {bench.ready.kernel.release}",
        soft_wrap=True,
        markup=False,
    )
    built: list[tuple[Submission, Path, list[str]]] = []
    refused: set[str] = set()
    base, start = bench.workshop.base(bench.driver, bench.source, output / BEFORE / "module")
    # All builds before the first run: what does not apply is said in seconds.
    for each in wanted:
        chosen = dataclasses.replace(each, series=tuple(one for one in each.series if one.name not in refused))
        try:
            module, patches, chosen = _build(bench, chosen, output / each.name / "module", start)
        except NothingTogetherError as error:
            console.print(printable(f"{each.name}: {error}"), markup=False, soft_wrap=True)
            continue
        except BuildError as error:
            refused |= {one.name for one in each.series}
            print_error(str(error), error.exit_status)
            report["submissions"].append(_outcome(chosen, "refused", reason=str(error)))
            _write(report, output)
            continue
        if len(chosen.series) < len(each.series):
            without = ", ".join(one.name for one in each.series if one not in chosen.series)
            console.print(f"{each.name} is without {without}", markup=False, soft_wrap=True)
        built.append((chosen, module, [patch.subject for patch in patches]))
    if not built:
        return BuildError.exit_status
    before = bench.run(output / BEFORE, base)
    if before.interrupted or before.status not in (0, 1):
        return before.status
    worst = BuildError.exit_status if refused else 0
    lines = []
    for each, module, subjects in built:
        after = bench.run(output / each.name, module, each.series)
        if after.interrupted or after.status not in (0, 1):
            report["submissions"].append(
                _outcome(each, "not run", patches=subjects, reason=after.interrupted or "see its report")
            )
            _write(report, output)
            return after.status
        names = str(shown(output / BEFORE)), str(shown(output / each.name))
        found = comparison.build(before.document, after.document, names=names)
        console.print()
        comparison.render(found, console)
        report["submissions"].append(_outcome(each, "judged", patches=subjects, comparison=found))
        _write(report, output)
        worst = max(worst, found["exit_status"])
        counts = ", ".join(f"{found['counts'][change]} {change}" for change in ("fixed", "broken", "new", "unchanged"))
        rest = sum(found["counts"].values()) - sum(
            found["counts"][change] for change in ("fixed", "broken", "new", "unchanged")
        )
        lines.append(f"{each.name}: {counts}{f', {rest} changed otherwise' if rest else ''}")
    console.print()
    for line in lines:
        console.print(line, style="bold", markup=False, soft_wrap=True)
    console.print(f"{shown(output / REPORT)} has all of it", markup=False, soft_wrap=True)
    return worst


def _build(bench: Bench, each: Submission, folder: Path, start: Path) -> tuple[Path, list[Patch], Submission]:
    """Build a submission; of several series without those that do not apply on top of the others, each of which is named in a line.

    Raises:
        NothingTogetherError: there is one series left of several, or none.
        BuildError: it does not build, or the only series does not apply.
    """
    if each.name != TOGETHER:
        return *bench.workshop.build(bench.driver, bench.source, folder, each.series, start), each
    module, patches, found = bench.workshop.build_together(bench.driver, bench.source, folder, each.series, start)
    for refusal in found.refusals:
        print_error(str(refusal), refusal.exit_status)
    return module, patches, dataclasses.replace(each, series=found.series)


def _outcome(each: Submission, outcome: str, **fields: object) -> dict[str, object]:
    known: dict[str, object] = {"patches": [], "reason": None, "comparison": None}
    return {"name": each.name, "series": [one.name for one in each.series], "outcome": outcome, **known, **fields}


def _write(report: dict[str, Any], output: Path) -> None:
    text_file.write(output / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
