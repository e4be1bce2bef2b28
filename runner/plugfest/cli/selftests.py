# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest selftests``: run upstream's tests of NIC drivers on a driver, and write the reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from plugfest.build.confinement import Limits
from plugfest.cli.dry_run import print_commands
from plugfest.cli.execute import check_unused, default_output, make_latest
from plugfest.cli.listing import show, table
from plugfest.cli.options import build_limits, guest_options, option, patch_options, repeat_options
from plugfest.cli.patched import check_patches, patched
from plugfest.cli.prepare import GuestOptions, plan, settings
from plugfest.cli.repeat import repeat, run_once, seed_of
from plugfest.cli.terminal import terminal
from plugfest.cli.upstream import Upstream
from plugfest.errors import UsageError
from plugfest.provision.kernel import check_kernel, ensure_kernel
from plugfest.requirements import drivers as registry
from plugfest.run.time_limit import OWN_LIMIT
from plugfest.selftests.image import ensure_image
from plugfest.selftests.selection import Selected
from plugfest.selftests.selftest import Selftests, ensure_tests
from plugfest.selftests.session import sentence


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
    default=OWN_LIMIT,
    show_default=True,
    help="Seconds for a test whose settings have none (drivers/net/hw); longer on a slow guest, as those of settings are.",
)
@repeat_options
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
    count: int,
    shuffle: str | None,
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
    seed = seed_of(shuffle)
    options = GuestOptions(**rest)
    chosen = registry.find(driver)
    registry.check_profile(chosen, options.profile)
    check_kernel(options.kernel)
    series = check_patches(patches, chosen, options)
    provision = settings(options.cache_dir, options.mirror, options.qemu)
    tests = ensure_tests(provision, ensure_kernel(provision, options.kernel))
    upstream = Upstream(tests, names, provision, own_limit=time_limit, disruptive=not not_disruptive)
    selected = upstream.selected()
    if listed:
        _print(tests, selected)
        return 0
    ready = dataclasses.replace(
        plan(driver, options, output.absolute() if output else Path(), ensure_image(provision, tests)),
        confirm=not no_confirm,
        strict_known=strict_known,
        guests=1,
        seed=seed,
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
    if count > 1:
        return repeat(ready, upstream.execute, console, count=count)
    return run_once(ready, upstream.execute, console)


def _print(tests: Selftests, selected: Sequence[Selected]) -> None:
    made = table("test", "what it says of itself", "helpers that were not built")
    for each in selected:
        lacking = ", ".join(tests.lacking(each.test))
        made.add_row(str(each.test), sentence(tests.text(each.test)), lacking)
    show(made)
