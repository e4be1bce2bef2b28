# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest selftests``: run upstream's tests of NIC drivers on a driver, and write the reports."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from plugfest.build.confinement import Limits
from plugfest.cli.dry_run import print_commands
from plugfest.cli.execute import check_unused, default_output, how_it_ended, make_latest, shown
from plugfest.cli.listing import show, table
from plugfest.cli.options import build_limits, guest_options, option, patch_options
from plugfest.cli.patched import check_patches, patched
from plugfest.cli.prepare import GuestOptions, plan, provenance, settings
from plugfest.cli.terminal import terminal
from plugfest.errors import InfrastructureError, PlugfestError, UsageError
from plugfest.provision.kernel import check_kernel, ensure_kernel
from plugfest.provision.settings import ProvisionSettings
from plugfest.provision.toolchain import ensure_bwrap
from plugfest.report import console as summary
from plugfest.report.write import write_reports
from plugfest.requirements import drivers as registry
from plugfest.requirements import known_issues
from plugfest.run import journal, sandbox, testbed
from plugfest.run.plan import RunPlan
from plugfest.run.subject import subject_of
from plugfest.selftests.image import ensure_image
from plugfest.selftests.remote_host import RemoteHost
from plugfest.selftests.selection import Selected, select
from plugfest.selftests.selftest import Selftests, ensure_tests
from plugfest.selftests.session import KNOWN_ISSUES, Session, sentence

_OWN_LIMIT = 600.0


@click.command()
@click.argument("driver")
@option("--list", "listed", is_flag=True, help="Print the tests of the kernel's source and exit.")
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports.  [default: results/DRIVER-KERNEL-TIME; results/latest links to it]",
)
@option("--no-confirm", is_flag=True, help="Do not run a failed case again in a fresh guest to confirm its verdict.")
@option("--strict-known", is_flag=True, help="Fail if a known issue that applies does not show.")
@option(
    "--not-disruptive",
    is_flag=True,
    help="Skip what takes the interface down (DISRUPTIVE=no).",
)
@option(
    "--time-limit",
    type=click.FloatRange(min=1),
    default=_OWN_LIMIT,
    show_default=True,
    help="Seconds for a test whose settings have none (drivers/net/hw); longer on a slow guest, as those of settings are.",
)
@patch_options
@build_limits
@guest_options
@click.argument("names", nargs=-1, metavar="[-- TESTS]...")
def selftests(
    driver: str,
    listed: bool,
    output: Path | None,
    no_confirm: bool,
    strict_known: bool,
    not_disruptive: bool,
    time_limit: float,
    patches: tuple[Path, ...],
    together: bool,
    build_seconds: float,
    build_memory: int,
    names: tuple[str, ...],
    **rest: Any,
) -> int:
    """Run the tests of the kernel's own source (drivers/net, drivers/net/hw) on DRIVER and write the reports.

    TESTS are names, patterns or folders of them, each perhaps with a case: plugfest selftests ixgbe -- ping.py 'rss*' stats.py::check_pause
    """
    if together and not patches:
        raise UsageError("--together: expected --patch with it, found none; add the series")
    options = GuestOptions(**rest)
    chosen = registry.find(driver)
    registry.check_profile(chosen, options.profile)
    check_kernel(options.kernel)
    series = check_patches(patches, chosen, options)
    provision = settings(options.cache_dir, options.mirror, options.qemu)
    tests = ensure_tests(provision, ensure_kernel(provision, options.kernel))
    selected = select(tests.tests, names)
    if listed:
        _print(tests, selected)
        return 0
    ready = dataclasses.replace(
        plan(driver, options, output.absolute() if output else Path(), ensure_image(provision, tests)),
        confirm=not no_confirm,
        strict_known=strict_known,
        guests=1,
    )
    if output is None:
        ready = default_output(ready)
    if options.dry_run:
        print_commands(ready)
        return 0
    console = terminal()
    console.print(
        f"upstream's tests on {ready.driver}, Linux {ready.kernel.release}, QEMU {ready.toolchain.version}, "
        f"{ready.acceleration} ({ready.acceleration_reason})",
        soft_wrap=True,
    )
    check_unused(ready.output)
    if series:
        ready = patched(ready, series, provision, limits=Limits(build_seconds, build_memory), together=together)
    make_latest(ready.output)
    return _execute(
        ready, tests, selected, provision, console, own_limit=time_limit, disruptive=not not_disruptive, names=names
    )


def _execute(
    ready: RunPlan,
    tests: Selftests,
    selected: Sequence[Selected],
    provision: ProvisionSettings,
    console: Console,
    *,
    own_limit: float,
    disruptive: bool,
    names: Sequence[str],
) -> int:
    bwrap = ensure_bwrap(provision)
    listed = [*known_issues.load(), *known_issues.load(KNOWN_ISSUES)]
    issues = known_issues.KnownIssues(listed, subject_of(ready))
    with journal.Journal(ready.output) as written:
        written.write("run", durable=True, kind="selftests", source=tests.title, **provenance(ready, names))
    if ready.kernel.config is not None:
        shutil.copyfile(ready.kernel.config, ready.output / testbed.CONFIG)
    shutil.copyfile(tests.log, ready.output / "helpers.log")
    outcome = sandbox.enter(
        functools.partial(_inside, ready, tests, selected, bwrap, issues, own_limit, disruptive),
        folder=ready.scratch,
        writable=ready.writable(),
    )
    if outcome.status < 128 and not any(event["event"] == "planned" for event in journal.read(ready.output)):
        raise InfrastructureError(f"expected the tests to run, found exit status {outcome.status}; see above")
    status = None if outcome.signal is None else 128 + outcome.signal
    document = write_reports(ready.output, died=how_it_ended(outcome), status=status)
    summary.render(document, console, folder=shown(ready.output))
    return int(document["run"]["exit_status"]) if status is None else status


def _inside(
    ready: RunPlan,
    tests: Selftests,
    selected: Sequence[Selected],
    bwrap: Sequence[str],
    issues: known_issues.KnownIssues,
    own_limit: float,
    disruptive: bool,
) -> int:
    """Run the tests in the run's namespaces."""
    assert ready.root.folder is not None
    try:
        with journal.Journal(ready.output) as written:
            remote = RemoteHost(bwrap, ready.root.folder, ready.scratch / "remote")
            session = Session(ready, tests, issues, remote, written, own_limit=own_limit, disruptive=disruptive)
            session.run(selected)
    except PlugfestError as error:
        print(f"plugfest: {error}", file=sys.stderr)  # noqa: T201 - the run's own process has no other way
        return error.exit_status
    return 0


def _print(tests: Selftests, selected: Sequence[Selected]) -> None:
    made = table("test", "what it says of itself", "helpers that were not built")
    for each in selected:
        lacking = ", ".join(tests.lacking(each.test))
        made.add_row(str(each.test), sentence(tests.text(each.test)), lacking)
    show(made)
