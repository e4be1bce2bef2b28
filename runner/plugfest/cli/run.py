# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run``: run the suite on a driver and write the reports."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import click

from plugfest import faults
from plugfest.build.confinement import Limits
from plugfest.cli.dry_run import print_commands
from plugfest.cli.dut import DutOptions, check_options, dut_options, run_on_dut
from plugfest.cli.execute import check_unused, default_output, execute, make_latest
from plugfest.cli.options import build_limits, guest_options, option, patch_options, repeat_options
from plugfest.cli.patched import check_patches, patched
from plugfest.cli.prepare import GuestOptions, plan, settings
from plugfest.cli.repeat import repeat, run_once, seed_of
from plugfest.cli.terminal import terminal
from plugfest.errors import UsageError
from plugfest.falsify.table import TABLE
from plugfest.plugin import suite
from plugfest.requirements import drivers as registry
from plugfest.run.capacity import MOST, choose_guests

_ALL_RUNS = "all"
"""What --load without a number is taken for."""


class _SuiteCommand(click.Command):
    """A command whose arguments after ``--`` are pytest's, also where DRIVER is left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep them from being taken for DRIVER."""
        own, more = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
        rest = super().parse_args(ctx, own)
        ctx.params["pytest_arguments"] = (*ctx.params.get("pytest_arguments", ()), *more)
        return rest


@click.command(cls=_SuiteCommand)
@click.argument("driver", required=False)
@option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the reports.  [default: results/DRIVER-KERNEL-TIME; results/latest links to it]",
)
@option("--area", "areas", multiple=True, help="Run only this area of the suite; may be repeated.")
@option("--slow", is_flag=True, help="Also run the tests that take minutes each.")
@option("--falsify", is_flag=True, help="Run each test with its fault armed, and require that the test detects it.")
@option("--no-confirm", is_flag=True, help="Do not run a failed test again in a fresh guest to confirm its verdict.")
@option(
    "--strict-waits",
    is_flag=True,
    help="Fail the run if a test waits for more than half of a deadline: such a verdict would hang on the host's speed.",
)
@option(
    "--keep",
    is_flag=True,
    help="Keep the guest up, and run the tests again, with your edits, each time you press Enter.",
)
@option("--strict-known", is_flag=True, help="Fail if a known issue that applies does not show.")
@option(
    "--guests",
    type=click.IntRange(min=1),
    help="How many guests run tests side by side.  [default: what cores and memory allow, 4 on a small host]",
)
@option(
    "--max-guests",
    type=click.IntRange(min=1),
    default=MOST,
    show_default=True,
    help="Without --guests: how many at most, though cores and memory allow more.",
)
@repeat_options
@option(
    "--load",
    is_flag=False,
    flag_value=_ALL_RUNS,
    metavar="[RUNS]",
    help="Keep all cores of the host busy during the run; with --repeat during so many of the runs, the last ones.",
)
@patch_options
@dut_options
@build_limits
@guest_options
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- PYTEST-ARGUMENTS]...")
@click.pass_context
def run(
    context: click.Context,
    /,
    driver: str | None,
    output: Path | None,
    areas: tuple[str, ...],
    slow: bool,
    falsify: bool,
    no_confirm: bool,
    strict_waits: bool,
    keep: bool,
    strict_known: bool,
    guests: int | None,
    max_guests: int,
    count: int,
    shuffle: str | None,
    load: str | None,
    patches: tuple[Path, ...],
    together: bool,
    build_seconds: float,
    build_memory: int,
    pytest_arguments: tuple[str, ...],
    **rest: Any,
) -> int:
    """Run the suite on DRIVER and write the reports.

    With --dut, on a real machine, whose interface has its driver already; DRIVER may be left out.

    Arguments after -- go to pytest: plugfest run ixgbe -- -k xdp -x
    """
    machine_options = DutOptions(**{field.name: rest.pop(field.name) for field in dataclasses.fields(DutOptions)})
    check_options(context, machine_options)
    if machine_options.dut is None and driver is None:
        raise click.UsageError("Missing argument 'DRIVER', or --dut", context)
    if keep and falsify:
        raise UsageError("--keep with --falsify: expected one of them; a fault leaves no guest that could be kept")
    if keep and count > 1:
        raise UsageError("--keep with --repeat: expected one of them; --keep repeats when you press Enter")
    if strict_known and falsify:
        raise UsageError("--strict-known with --falsify: expected one of them; under a fault no known issue applies")
    if together and not patches:
        raise UsageError("--together: expected --patch with it, found none; add the series")
    seed, loaded = seed_of(shuffle), _loaded_runs(load, count)
    if machine_options.dut is not None:
        return _on_real_machine(
            machine_options,
            driver,
            pytest_arguments,
            output=_absolute(output),
            cache_dir=rest["cache_dir"],
            mirror=rest["mirror"],
            fields={
                "confirm": not no_confirm,
                "strict_waits": strict_waits,
                "strict_known": strict_known,
                "seed": seed,
                "areas": areas,
                "slow": slow,
            },
        )
    assert driver is not None
    alone = _what_needs_one_guest(pytest_arguments, keep=keep)
    if alone is not None and guests is not None and guests > 1:
        raise UsageError(f"--guests {guests} with {alone}: expected one guest; leave out one of the two")
    options = GuestOptions(**rest)
    guests = choose_guests(1 if alone else guests, options.memory, max_guests)
    chosen = registry.find(driver)
    series = check_patches(patches, chosen, options)
    wanted = suite.check_areas(areas) if areas else [area for area in suite.areas() if area in chosen.areas]
    arguments = suite.pytest_arguments(wanted, pytest_arguments, slow=slow)
    provision = settings(options.cache_dir, options.mirror, options.qemu)
    suite.check_selection(arguments, pytest_arguments, cache=provision.cache)
    faults.check_local(options.faults, TABLE)
    ready = dataclasses.replace(
        plan(driver, options, _absolute(output) or Path()),
        falsify=falsify,
        confirm=not no_confirm,
        strict_waits=strict_waits,
        strict_known=strict_known,
        keep=keep,
        guests=guests,
        seed=seed,
        loaded=loaded > 0,
        areas=areas,
        slow=slow,
    )
    if output is None:
        ready = default_output(ready)
    if options.dry_run:
        print_commands(ready)
        return 0
    console = terminal()
    console.print(
        f"{ready.driver} on Linux {ready.kernel.release}, QEMU {ready.toolchain.version}, "
        f"{ready.acceleration} ({ready.acceleration_reason})",
        soft_wrap=True,
    )
    check_unused(ready.output)
    if series:
        limits = Limits(build_seconds, build_memory)
        ready = patched(ready, series, provision, limits=limits, together=together)
    make_latest(ready.output)
    executes = functools.partial(execute, arguments=arguments, user_arguments=pytest_arguments)
    if count > 1:
        return repeat(ready, executes, console, count=count, load=loaded)
    return run_once(ready, executes, console)


def _on_real_machine(
    machine_options: DutOptions,
    driver: str | None,
    pytest_arguments: tuple[str, ...],
    *,
    output: Path | None,
    cache_dir: Path | None,
    mirror: str | None,
    fields: dict[str, Any],
) -> int:
    wanted = suite.check_areas(fields["areas"])
    arguments = suite.pytest_arguments(wanted, pytest_arguments, slow=fields["slow"])
    suite.check_selection(arguments, pytest_arguments, cache=settings(cache_dir, mirror, None).cache)
    console = terminal()
    return run_on_dut(
        machine_options,
        driver,
        arguments,
        pytest_arguments,
        console,
        output=output,
        cache_dir=cache_dir,
        mirror=mirror,
        fields=fields,
    )


def _what_needs_one_guest(pytest_arguments: tuple[str, ...], *, keep: bool) -> str | None:
    """Return the option with which there can be one guest alone, or None."""
    return "--keep" if keep else next((word for word in pytest_arguments if word in ("--pdb", "--trace")), None)


def _loaded_runs(load: str | None, count: int) -> int:
    """Return how many of the runs are to be under load.

    Raises:
        UsageError: not a number of runs that there are.
    """
    if load is None:
        return 0
    if load == _ALL_RUNS:
        return count
    if not load.isascii() or not load.isdecimal() or not 1 <= int(load) <= count:
        raise UsageError(
            f"--load {load}: expected how many of the runs are to be under load, from 1 to {count} (--repeat), "
            "or nothing for all; write --load after DRIVER, or --load=RUNS"
        )
    return int(load)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()
